//! A small disk of its own, for what must not happen to the machine's: a tmpfs.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Disk(TempDir);

impl Disk {
    /// A disk of so many MiB. Only root may mount one: else says so, and the test that needs it has
    /// to be run as root, as CI does.
    pub(crate) fn mount(mib: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mib}m"))
            .arg("tmpfs")
            .arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                println!(
                    "NOT TESTED, it needs root: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                None
            }
            Err(error) => {
                println!("NOT TESTED, there is no `mount`: {error}");
                None
            }
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Lets nobody write to it any more.
    pub(crate) fn make_read_only(&self) {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(self.path())
            .status();
        assert!(remounted.unwrap().success());
    }

    /// Takes all the space that is left, but for `spare` bytes.
    pub(crate) fn fill(&self, spare: u64) {
        let stat = rustix::fs::statvfs(self.path()).unwrap();
        let mut options = std::fs::File::options();
        let filler = options.create(true).append(true).open(self.filler());
        let filler = filler.unwrap();
        let taken = filler.metadata().unwrap().len();
        let bytes = (stat.f_bavail * stat.f_frsize).saturating_sub(spare);
        if bytes > 0 {
            let all = rustix::fs::FallocateFlags::empty();
            rustix::fs::fallocate(filler, all, taken, bytes).unwrap();
        }
    }

    /// Gives back what [`Disk::fill`] took.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "cannot unmount {:?}",
            self.0
        );
    }
}
