//! Nothing of this process's memory is left behind: it may hold keys and tokens.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// No core is ever dumped, neither to a file nor to a program that collects cores, and only root may look inside
/// (prctl(2), `PR_SET_DUMPABLE`). The kernel refuses this to nobody, so a failure is not worth an error.
pub(super) fn keep_memory_private() {
    let _ = set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
}

#[cfg(test)]
mod tests {
    use nix::sys::prctl::get_dumpable;
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn no_core_is_dumped() {
        assert_eq!(get_dumpable(), Ok(true));
        keep_memory_private();
        assert_eq!(get_dumpable(), Ok(false));
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
    }
}
