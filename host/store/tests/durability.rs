//! What survives: the contract, kill -9, a full disk, a second process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a step that fails must fail its test")]

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use shoal_ports::{Store, Write, store_contract};
use shoal_store::RedbStore;

/// Set for a process that this file starts of itself: the store it works on.
const CHILD: &str = "SHOAL_STORE_TEST_FILE";

/// A folder that is removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shoal-store-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Write {
    Write { key: key.as_bytes().to_vec(), value: Some(value.into()) }
}

/// Runs one test of this file in a process of its own, as that process's only work.
fn start_child(test: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_file_keeps_the_contract() {
    let folder = Folder::new("contract");
    let file = folder.file();
    store_contract(RedbStore::open(&file).unwrap(), |store| {
        drop(store);
        RedbStore::open(&file).unwrap()
    });
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_new_store_is_empty_and_a_wide_mode_is_narrowed() {
    let folder = Folder::new("new");
    assert!(RedbStore::open(folder.file()).unwrap().scan(b"").unwrap().is_empty());
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    RedbStore::open(folder.file()).unwrap();
    assert_eq!(folder.file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_store_is_refused_by_name() {
    let folder = Folder::new("foreign");
    std::fs::write(folder.file(), "not a database".repeat(1000)).unwrap();
    let error = RedbStore::open(folder.file()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot open {}: ", folder.file().display())), "{error}");
    let missing = RedbStore::open(folder.0.join("none/state")).unwrap_err().to_string();
    assert!(missing.contains("No such file or directory"), "{missing}");
}

#[test]
fn a_second_process_is_told_who_is_first() {
    let folder = Folder::new("second");
    if let Ok(file) = std::env::var(CHILD) {
        println!("refused: {}", RedbStore::open(file).unwrap_err());
        return;
    }
    let _first = RedbStore::open(folder.file()).unwrap();
    let output = start_child("a_second_process_is_told_who_is_first", &folder.file()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let sentence = format!("refused: cannot open {}: another process has it open", folder.file().display());
    assert!(said.contains(&sentence), "{said}");
}

/// Writes batches for ever, each setting all keys to one number, and prints the number of each that was confirmed.
fn write_for_ever(file: &str) -> ! {
    let mut store = RedbStore::open(file).unwrap();
    let last = store.scan(b"key-0").unwrap().pop().map_or(0, |(_, value)| number(&value));
    for round in last + 1.. {
        let value = [&round.to_be_bytes()[..], &[0xa5; 500]].concat();
        let batch: Vec<Write> = (0..20).map(|key| put(&format!("key-{key}"), value.clone())).collect();
        store.write(&batch).unwrap();
        println!("confirmed {round}");
        std::io::stdout().flush().unwrap();
    }
    unreachable!("the loop has no end");
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

#[test]
fn kill_leaves_whole_batches_and_every_confirmed_one() {
    if let Ok(file) = std::env::var(CHILD) {
        write_for_ever(&file);
    }
    let folder = Folder::new("kill");
    for round in 0..8 {
        let mut child =
            start_child("kill_leaves_whole_batches_and_every_confirmed_one", &folder.file()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_number =
            |line: std::io::Result<String>| line.unwrap().strip_prefix("confirmed ")?.parse::<u64>().ok();
        let first = lines.by_ref().find_map(is_number).expect("the child writes");
        std::thread::sleep(Duration::from_millis(7 + 13 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let confirmed = lines.filter_map(is_number).last().unwrap_or(first);

        let kept = RedbStore::open(folder.file()).unwrap().scan(b"key-").unwrap();
        assert_eq!(kept.len(), 20);
        let found = number(&kept[0].1);
        assert!(kept.iter().all(|(_, value)| number(value) == found), "half a batch was kept");
        assert!(found >= confirmed, "batch {confirmed} was confirmed, batch {found} was found");
    }
}

/// A small file system that only this thread sees; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("this test needs root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("shoal-store"), at, Some("tmpfs"), MsFlags::empty(), Some(size)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_is_an_error_only_while_it_is_full() {
    let folder = Folder::new("full");
    let _disk = SmallDisk::mount(&folder.0, "size=2m");
    let mut store = RedbStore::open(folder.file()).unwrap();
    store.write(&[put("old", "kept")]).unwrap();

    let ballast = folder.0.join("ballast");
    let mut filling = std::fs::File::create(&ballast).unwrap();
    while filling.write_all(&[0; 4096]).is_ok() {}
    let batch =
        |fill: u8| -> Vec<Write> { (0..64).map(|key| put(&format!("new/{key}"), [fill; 4000])).collect() };
    for fill in 0..3 {
        let error = store.write(&batch(fill)).unwrap_err().to_string();
        assert!(error.contains(&folder.file().display().to_string()), "{error}");
        assert!(error.contains("No space left on device"), "{error}");
    }
    assert_eq!(store.scan(b"").unwrap(), [(b"old".to_vec(), b"kept".to_vec())]);

    std::fs::remove_file(&ballast).unwrap();
    drop(filling);
    store.write(&batch(9)).unwrap();
    assert_eq!(store.scan(b"new/").unwrap().len(), 64);
    drop(store);
    let store = RedbStore::open(folder.file()).unwrap();
    assert_eq!(store.scan(b"old").unwrap().len(), 1);
    assert_eq!(store.scan(b"new/").unwrap().len(), 64);
}
