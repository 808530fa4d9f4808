//! cadaver, a client at a prompt.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use medusa_testkit::{Server, Site};

use super::{SECRET, of_users, shared_names};
use crate::support::start;

/// Has it do these things; everything it says.
#[track_caller]
fn cadaver(server: &Server, home: &Site, commands: &str) -> String {
    home.write("commands", commands);
    home.write(".netrc", "machine 127.0.0.1 login alice password secret\n");
    fs::set_permissions(home.at(".netrc"), fs::Permissions::from_mode(0o600)).expect("ours");
    let input = fs::File::open(home.at("commands")).expect("just written");
    let mut command = Command::new("timeout");
    command
        .args(["20", "cadaver"])
        .arg(server.url("/dav/"))
        .env("HOME", home.path())
        .current_dir(home.path());
    let said = command.stdin(Stdio::from(input)).output().expect("cadaver is installed");
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
    text
}

#[test]
fn it_makes_a_round_trip() {
    assert!(SECRET.starts_with("$2y$04$"), "hashing costs little here");
    let (site, home) = (of_users(), Site::new().file("local.txt", "written at home\n"));
    let server = start(&site);
    let said = cadaver(
        &server,
        &home,
        "put local.txt first.txt
        mkcol folder
        copy first.txt folder/second.txt
        move folder/second.txt folder/third.txt
        lock first.txt
        discover first.txt
        put local.txt first.txt
        unlock first.txt
        propset first.txt colour blue
        propget first.txt colour
        propnames first.txt
        propdel first.txt colour
        get folder/third.txt fetched.txt
        ls
        delete first.txt
        rmcol folder
        quit
        ",
    );
    let failed: Vec<_> =
        said.lines().filter(|line| line.contains("failed") || line.contains("Could not")).collect();
    assert!(failed.is_empty(), "{failed:?} in:\n{said}");
    for told in
        ["Lock token <", "Scope: exclusive", "Value of colour is: blue", "DAV: getetag", "Coll:   folder"]
    {
        assert!(said.contains(told), "no {told:?} in:\n{said}");
    }
    assert_eq!(home.read("fetched.txt"), "written at home\n");
    assert_eq!(shared_names(&site), ["page.txt"]);
}
