//! The shop's three images.

use anyhow::Result;
use shoal_netbed::{Host, Image, Packer};

/// What runs on the hosts.
pub(crate) struct Images {
    pub(crate) redis: Image,
    pub(crate) postgres: Image,
    pub(crate) front: Image,
}

/// Packages that look after services and users on a whole machine; an image has neither.
const CARETAKERS: [&str; 16] = [
    "adduser",
    "debconf",
    "dpkg",
    "init-system",
    "libllvm",
    "libpam-",
    "locales",
    "lsb-base",
    "passwd",
    "perl",
    "postgresql-client-common",
    "postgresql-common",
    "procps",
    "ssl-cert",
    "systemd",
    "sysvinit",
];

impl Images {
    /// Packs all three, or finds what was packed before.
    pub(crate) fn pack() -> Result<Self> {
        let redis = packages("demo/redis", &["redis-server"]).busybox();
        let redis = redis
            .change(r#"CMD ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]"#);
        let postgres = packages("demo/postgres", &["postgresql"]).busybox();
        let postgres = postgres
            .file("/etc/passwd", "root:x:0:0:root:/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n")
            .file("/etc/group", "root:x:0:\npostgres:x:70:\n")
            .file("/start", include_str!("postgres.sh"))
            .change("USER 70:70")
            .change(r#"CMD ["/start"]"#);
        let front = packages("demo/front", &["python3-minimal", "libpython3-stdlib"]).busybox();
        let front =
            front.file("/front.py", include_str!("front.py")).change(r#"CMD ["python3", "-u", "/front.py"]"#);
        Ok(Self { redis: redis.pack()?, postgres: postgres.pack()?, front: front.pack()? })
    }

    /// Brings to a host what runs there in the course of the demonstration.
    pub(crate) fn load(&self, host: &Host) -> Result<()> {
        let wanted = match host.name() {
            "h1" => vec![&self.redis],
            "h2" => vec![&self.postgres, &self.redis],
            _ => vec![&self.front],
        };
        wanted.into_iter().try_for_each(|image| image.load(host))
    }
}

fn packages(name: &str, packages: &[&str]) -> Packer {
    let packer = packages.iter().fold(Packer::new(name), |packer, package| packer.package(package));
    CARETAKERS.iter().fold(packer, |packer, prefix| packer.without(prefix))
}
