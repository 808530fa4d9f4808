//! davfs2: the directory as a part of the file system, by a kernel that knows nothing of HTTP.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use medusa_testkit::{Process, Server, Site, wait};
use rustix::process::geteuid;

use super::{active_locks, ask, no_debris, of_users, open, shared_names, status, versions};
use crate::support::start;

/// What is mounted, where nobody else sees it. It goes with the value, by whatever way: the namespaces of processes and of mounts
/// that it is in end with the first process in them.
struct Mounted {
    holder: Process,
    directory: Site,
}

impl Mounted {
    /// Mounts `/dav/` of a server; `None`, and a word to whoever reads the output, where the machine has no FUSE.
    #[track_caller]
    fn of(server: &Server) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() || !geteuid().is_root() {
            eprintln!("skipped: davfs2 mounts by /dev/fuse, and only for root");
            return None;
        }
        // The kernel asks for more of a directory at once than davfs2 has room for by default. Nothing is put off.
        let settings = "use_locks 1\nask_auth 0\nuse_proxy 0\ndelay_upload 0\ndir_refresh 0\nfile_refresh 0\nbuf_size 256\n";
        let directory = Site::new()
            .file("settings", settings)
            .file("secrets", format!("{} alice secret\n", server.url("/dav/")))
            .file("at/.keep", "");
        fs::set_permissions(directory.at("secrets"), fs::Permissions::from_mode(0o600)).expect("ours");
        let script = "set -e
            mount -t tmpfs tmpfs \"$(realpath /var/run)\"
            mount -t tmpfs -o mode=1777 tmpfs /var/cache/davfs2
            mount --bind settings /etc/davfs2/davfs2.conf
            mount --bind secrets /etc/davfs2/secrets
            mount.davfs \"$1\" \"$PWD/at\"
            echo mounted
            sleep 600 &
            wait";
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"]);
        let holder = Process::start(command.arg(server.url("/dav/")).current_dir(directory.path()));
        holder.stdout().wait_for("mounted");
        Some(Self { holder, directory })
    }

    /// The path of a file in it, for those outside of its namespace.
    fn at(&self, name: &str) -> PathBuf {
        let [shell] = medusa_testkit::process::children(self.holder.pid())[..] else { panic!("one child") };
        let inside = self.directory.at("at").join(name);
        Path::new("/proc")
            .join(shell.to_string())
            .join("root")
            .join(inside.strip_prefix("/").expect("absolute"))
    }
}

#[track_caller]
fn becomes(path: &Path, content: &str) {
    wait::until("it is written at the server", || (fs::read_to_string(path).ok()? == content).then_some(()));
}

#[test]
fn a_mounted_directory_is_written_to_and_read() {
    let site = of_users();
    let server = start(&site);
    let Some(mounted) = Mounted::of(&server) else { return };
    assert_eq!(fs::read_to_string(mounted.at("page.txt")).expect("readable"), "the first page");
    fs::write(mounted.at("new.txt"), "written by a kernel").expect("writable");
    becomes(&site.at("shared/new.txt"), "written by a kernel");
    fs::OpenOptions::new()
        .append(true)
        .open(mounted.at("page.txt"))
        .and_then(|mut file| file.write_all(b", and more"))
        .expect("writable");
    becomes(&site.at("shared/page.txt"), "the first page, and more");
    fs::create_dir(mounted.at("folder")).expect("a directory");
    fs::rename(mounted.at("new.txt"), mounted.at("folder/moved \u{20ac}.txt")).expect("moved");
    becomes(&site.at("shared/folder/moved \u{20ac}.txt"), "written by a kernel");
    let large: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(mounted.at("folder/large.bin"), &large).expect("writable");
    wait::until("all of it is there", || {
        (fs::read(site.at("shared/folder/large.bin")).ok()? == large).then_some(())
    });
    let listed: Vec<_> = super::names(&mounted.at("folder"));
    assert_eq!(listed, ["large.bin", "moved \u{20ac}.txt"]);
    fs::remove_file(mounted.at("folder/large.bin")).expect("removed");
    fs::remove_file(mounted.at("folder/moved \u{20ac}.txt")).expect("removed");
    fs::remove_dir(mounted.at("folder")).expect("removed");
    assert_eq!(shared_names(&site), ["new.txt", "page.txt"].map(str::to_owned)[1..]);
    // It makes a file before it has something to put there.
    assert!(!versions(&server, "page.txt").contains(&0));
    no_debris(&site);
}

#[test]
fn what_is_open_for_writing_is_locked_for_others() {
    let site = open("");
    let server = start(&site);
    let Some(mounted) = Mounted::of(&server) else { return };
    let mut file = fs::OpenOptions::new().append(true).open(mounted.at("page.txt")).expect("writable");
    let mut client = server.connect();
    assert_eq!(active_locks(&mut client, "/dav/page.txt").len(), 1);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "of another"), 423);
    file.write_all(b"!").expect("written");
    drop(file);
    becomes(&site.at("shared/page.txt"), "the first page!");
    wait::until("it is given up", || active_locks(&mut client, "/dav/page.txt").is_empty().then_some(()));
    assert_eq!(ask(&mut client, "PUT /dav/page.txt", &[], "of another").status, 204);
    wait::until("the new page is seen", || {
        (fs::read_to_string(mounted.at("page.txt")).ok()? == "of another").then_some(())
    });
}
