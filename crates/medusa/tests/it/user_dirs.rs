//! `medusa.handler.user_dirs`: the pages of the system's users.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use medusa_testkit::wait;
use rustix::process::geteuid;

use super::support::{MEDUSA, start, web};

const SITE: &str = "web:mount('/~{user}/', medusa.handler.user_dirs('public_html', { listing = true }))
    web:mount('/wrong/', medusa.handler.user_dirs('public_html', { listing = true }))";

#[test]
fn who_is_no_person_is_not_there() {
    let site = web(SITE);
    let server = start(&site);
    let unknown = server.get("/~no-such-user-here/");
    assert_eq!(unknown.status, 404);
    for name in ["root", "daemon", "bin", "nobody", "..", "%2e%2e", "a%2Fb", "%00", "-x", ""] {
        let answer = server.get(&format!("/~{name}/"));
        assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.status);
    }
    assert_eq!(server.get("/~root/").text(), unknown.text(), "nothing tells them apart");
    assert_eq!(server.get("/wrong/").status, 404);
    server.stderr().wait_for("no `{user}` is in the pattern");
    server.reload();
    assert!(!server.documents("handler.user_dirs").is_empty());
    for (arguments, told) in [
        ("", "the directory must be a string"),
        ("'/etc'", "is no directory below a home"),
        ("'public_html', { indexes = 1 }", "there is no option \"indexes\""),
        ("'public_html', { index = 'a/b' }", "is not the name of an index file"),
    ] {
        let error = server.command(["eval", &format!("medusa.handler.user_dirs({arguments})")]).failure(1);
        assert!(error.contains("medusa.handler.user_dirs") && error.contains(told), "{arguments}: {error}");
    }
}

/// In a mount namespace, where the system has a user more.
#[test]
fn a_person_has_pages() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root may give the system a user for a test");
    }
    let (uid, gid) = (48_123, 48_123);
    let site = web(SITE).file("home/public_html/a.txt", "ada's").file("home/public_html/roots.txt", "root's");
    let home = site.at("home");
    let users = fs::read_to_string("/etc/passwd").expect("the users");
    site.write("passwd", format!("{users}ada:x:{uid}:{gid}::{}:/bin/sh\n", home.display()));
    for path in ["home", "home/public_html", "home/public_html/a.txt"] {
        chown(site.at(path), Some(uid), Some(gid)).expect("given to ada");
    }
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let mount = format!("mount --bind '{}' /etc/passwd && exec \"$@\"", site.at("passwd").display());
    let server = MEDUSA.serve(site.path()).within(["unshare", "-m", "sh", "-c", &mount, "sh"]).start();
    let page = server.get("/~ada/a.txt");
    assert_eq!((page.status, page.text().as_str()), (200, "ada's"));
    let bare = server.get("/~ada");
    assert_eq!((bare.status, bare.header("location")), (301, Some("/~ada/")));
    assert_eq!(server.get("/~ada/roots.txt").status, 404);
    let listing = server.get("/~ada/").text();
    assert!(listing.contains("a.txt") && !listing.contains("roots.txt"), "{listing}");
    chown(site.at("home/public_html"), Some(0), Some(0)).expect("taken away");
    wait::until("it is seen", || (server.get("/~ada/a.txt").status == 404).then_some(()));
}
