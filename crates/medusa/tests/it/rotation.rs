//! Log files that rotate: whatever happens to them, every request is one whole line in one of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use medusa_testkit::{H2Load, Load, Numbered, Signal, Site, wait};

use super::support::{MEDUSA, SmallDisk, start};

/// A server that logs to `logs/access.log` with these options.
fn logging(options: &str) -> Site {
    Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('logs/access.log', {options}) }}
        web:mount('/', function(req) return 'hello' end)"
    ))
}

/// The files of a directory and what they hold, unpacked by the programs that people have for it, the oldest first: what is
/// rotated in the order in which that was done, then the log itself. What a stop has left half compressed is not counted:
/// its lines are in the plain file beside it.
fn files(directory: &Path) -> BTreeMap<(bool, String, u32), String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_none_or(|extension| extension != "part"))
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let (program, rest) = match path.extension().and_then(|extension| extension.to_str()) {
                Some("zst") => ("zstd", name.trim_end_matches(".zst")),
                _ => ("cat", name.as_str()),
            };
            let mut command = Command::new(program);
            if program != "cat" {
                command.arg("-dcq");
            }
            let out = command.arg(&path).output().unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(out.status.success(), "{program} cannot read {name}: {out:?}");
            let suffix = rest.strip_prefix("access.log").expect("ours");
            let mut parts = suffix.trim_start_matches('.').split('.');
            let (tag, number) = (parts.next().unwrap_or_default(), parts.next().map_or(Ok(0), str::parse));
            let key = (suffix.is_empty(), tag.to_owned(), number.expect("a number"));
            (key, String::from_utf8(out.stdout).expect("UTF-8"))
        })
        .collect()
}

/// The lines of all files, in order. Each must be whole.
fn lines(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, text) in files(directory) {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line of {name:?} is torn");
        lines.extend(text.lines().map(str::to_owned));
    }
    let torn = lines.iter().find(|line| !(line.starts_with("127.0.0.1 - - [") && line.ends_with("\" 200 5")));
    assert_eq!(torn, None);
    lines
}

#[test]
fn rotation_by_size_under_load_loses_and_tears_no_line() {
    const REQUESTS: u64 = 10_000;
    for compress in ["", ", compress = 'zstd'"] {
        let site = logging(&format!("{{ format = 'common', rotate = '8KiB'{compress} }}"));
        let server = start(&site);
        H2Load::start(&server.url("/"), REQUESTS, 8, 10).expect_clean();
        wait::until("all is written", || (server.number("log.file", "written") == REQUESTS).then_some(()));
        let sink = server.documents("log.file").remove(0);
        server.terminate();
        assert!(sink["rotations"].as_u64() >= Some(10), "{sink}");
        assert_eq!((&sink["lost"], &sink["file_errors"]), (&0.into(), &0.into()), "{sink}");
        assert_eq!(lines(&site.at("logs")).len() as u64, REQUESTS, "{sink}");
    }
}

#[test]
fn lines_stay_in_their_order_from_file_to_file() {
    let site = logging("{ format = 'common', rotate = 1000, compress = 'zstd', fsync = true }");
    let server = start(&site);
    let mut client = server.connect();
    for n in 0..300 {
        assert_eq!(client.get(&format!("/{n}")).status, 200);
        if n % 10 == 0 {
            // So that there is more than one batch.
            wait::until("it is written", || (server.number("log.file", "written") > n).then_some(()));
        }
    }
    drop(client);
    let rotations = wait::until("all is written and compressed", || {
        let sink = server.documents("log.file").remove(0);
        let rotations = sink["rotations"].as_u64()?;
        (sink["written"] == 300 && sink["compressed"] == rotations).then_some(rotations)
    });
    server.terminate();
    assert!(rotations >= 10, "{rotations}");
    let targets: Vec<String> =
        lines(&site.at("logs")).iter().filter_map(|line| line.split(' ').nth(6)).map(str::to_owned).collect();
    assert_eq!(targets, (0..300).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

#[test]
fn the_newest_are_kept_and_other_files_left_alone() {
    let site = logging("{ format = 'common', rotate = { 'monthly', '1kB' }, keep = 3, compress = 'zstd' }")
        .file("logs/access.log.1", "logrotate's")
        .file("logs/access.log.2019-12", "the oldest of ours\n")
        .file("logs/error.log.2019-12", "another log's");
    let server = start(&site);
    let mut client = server.connect();
    let mut written = 0;
    wait::until("it has rotated ten times", || {
        for _ in 0..5 {
            assert_eq!(client.get("/").status, 200);
        }
        written += 5;
        wait::until("it is written", || (server.number("log.file", "written") == written).then_some(()));
        (server.number("log.file", "rotations") >= 10).then_some(())
    });
    let sink = wait::until("the rest is compressed", || {
        let names = names(&site.at("logs"));
        let plain = names
            .iter()
            .any(|name| name.starts_with("access.log.2") && name.split('.').all(|part| part != "zst"));
        // After that: what is too old is deleted before the newest is compressed.
        let mut sink = server.documents("log.file").remove(0);
        (sink["kept"] == 3 && !plain).then(|| sink.take())
    });
    assert_eq!(sink["rotate"], "monthly, 1000 bytes", "{sink}");
    assert!(sink["last_rotation"].is_string() && sink["deleted"].as_u64() >= Some(8), "{sink}");
    server.terminate();
    let names = names(&site.at("logs"));
    assert_eq!(names.len(), 6, "{names:?}");
    for name in ["access.log", "access.log.1", "error.log.2019-12"] {
        assert!(names.iter().any(|other| other == name), "{name} is not among {names:?}");
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_file_of_last_month_is_put_aside_and_compressed_at_the_next_start() {
    let old = "127.0.0.1 - - [01/Feb/2024:12:00:00 +0000] \"GET /old HTTP/1.1\" 200 5\n";
    let site = logging("{ format = 'common', rotate = 'monthly', compress = 'zstd' }")
        .file("logs/access.log", old)
        // A server before this one was killed in the middle of this.
        .file("logs/access.log.2024-01", old)
        .file("logs/access.log.2024-01.zst.part", "half of it");
    let february = UNIX_EPOCH + Duration::from_mins(28_450_000);
    let file = fs::File::options().append(true).open(site.at("logs/access.log")).expect("a file");
    file.set_modified(february).expect("an older file");
    MEDUSA.run(["check".as_ref(), site.path()]).success();
    let before = ["access.log", "access.log.2024-01", "access.log.2024-01.zst.part"];
    assert_eq!(names(&site.at("logs")), before, "a check changes nothing");
    let server = start(&site);
    server.get("/");
    wait::until("both are compressed", || (server.number("log.file", "compressed") == 2).then_some(()));
    server.terminate();
    let expected = ["access.log", "access.log.2024-01.zst", "access.log.2024-02.zst"];
    assert_eq!(names(&site.at("logs")), expected);
    assert_eq!(lines(&site.at("logs")).len(), 3);
}

#[test]
fn logrotate_beside_us_is_no_harm() {
    let site = logging("{ format = 'common', rotate = 1000 }");
    let mut server = start(&site);
    let mut client = server.connect();
    let mut sent = 0;
    for round in 0..5 {
        for _ in 0..40 {
            assert_eq!(client.get("/").status, 200);
            sent += 1;
        }
        // Ours may be at it in this very moment: then there is nothing to be renamed.
        let moved = site.at(&format!("logs/access.log.2020-01-0{}", round + 1));
        let _: Result<(), _> = fs::rename(site.at("logs/access.log"), moved);
        server.signal(Signal::USR1);
    }
    wait::until("all is written", || (server.number("log.file", "written") == sent).then_some(()));
    server.terminate();
    assert_eq!(lines(&site.at("logs")).len() as u64, sent);
}

#[test]
fn two_servers_may_rotate_one_file() {
    let site = logging("{ format = 'common', rotate = 1000, compress = 'zstd' }");
    let servers = [start(&site), start(&site)];
    let mut clients = servers.each_ref().map(|server| server.connect());
    let mut sent = [0; 2];
    for round in 0..60 {
        for (client, sent) in clients.iter_mut().zip(&mut sent) {
            for _ in 0..5 {
                assert_eq!(client.get("/").status, 200);
                *sent += 1;
            }
        }
        if round % 3 == 0 {
            for (server, sent) in servers.iter().zip(sent) {
                wait::until("it is written", || (server.number("log.file", "written") == sent).then_some(()));
            }
        }
    }
    drop(clients);
    for server in servers {
        assert_eq!(server.number("log.file", "file_errors"), 0, "{:?}", server.documents("log.file"));
        server.terminate();
    }
    assert_eq!(lines(&site.at("logs")).len() as u64, sent.iter().sum::<u64>());
}

#[test]
fn a_reload_may_change_how_a_file_rotates() {
    const RELOADS: u32 = 5;
    let script = |size: u32| {
        format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ requests = 0 }},
                log = medusa.log.file('logs/access.log', {{ format = 'common', rotate = {size}, compress = 'zstd' }}) }}
            web:mount('/', function(req) return 'hello' end)"
        )
    };
    let site = Site::script(&script(10_000));
    let server = start(&site);
    let load = Numbered::start(server.address(), 8);
    for reload in 1..=RELOADS {
        // The old sink may still be writing when the new one rotates the file.
        let before = load.answered();
        wait::until("the load goes on", || (load.answered() > before + 500).then_some(()));
        site.write("site.luau", script(10_000 + reload));
        server.reload();
    }
    let made = load.stop();
    made.expect_clean();
    server.terminate();
    assert_eq!(lines(&site.at("logs")).len() as u64, made.requests());
}

#[test]
fn a_kill_in_the_middle_leaves_whole_lines() {
    let site = logging("{ format = 'common', rotate = '4KiB', compress = 'zstd' }");
    let mut server = start(&site);
    let load = Load::start(server.address(), "/", 8);
    wait::until("it has rotated often", || (server.number("log.file", "rotations") >= 20).then_some(()));
    let written = server.number("log.file", "written");
    server.signal(Signal::KILL);
    server.wait();
    drop(load);
    // Those that were in the files are; the next server finishes what this one was at.
    assert!(lines(&site.at("logs")).len() as u64 >= written);
    let next = start(&site);
    next.get("/");
    wait::until("all is compressed", || {
        let left = names(&site.at("logs"));
        let plain = left.iter().filter(|name| name.split('.').all(|part| part != "zst")).count();
        (plain == 1 && left.iter().all(|name| !name.contains("part"))).then_some(())
    });
    next.terminate();
    assert!(lines(&site.at("logs")).len() as u64 > written);
}

#[test]
fn a_deleted_file_is_made_anew() {
    let site = logging("{ format = 'common', mode = '0600' }");
    let server = start(&site);
    let mut client = server.connect();
    client.get("/");
    wait::until("it is written", || (server.number("log.file", "written") == 1).then_some(()));
    fs::remove_dir_all(site.at("logs")).expect("deleted, with its directory");
    wait::until("there is a new one", || {
        client.get("/");
        site.at("logs/access.log").exists().then_some(())
    });
    drop(client);
    server.terminate();
    assert!(!lines(&site.at("logs")).is_empty());
    let meta = fs::metadata(site.at("logs/access.log")).expect("a file");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_disk_that_fills_up_while_files_rotate_loses_nothing_uncounted() {
    const REQUESTS: u64 = 8_000;
    let disk = SmallDisk::new(1024);
    let (logs, filler) = (disk.path().join("logs"), disk.path().join("filler"));
    fs::create_dir(&logs).expect("made");
    fs::write(&filler, vec![0; 960 * 1024]).expect("written");
    let log = logs.join("access.log");
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('{}', {{
            format = 'common', rotate = '16KiB', compress = 'zstd', queue = 512 }}) }}
        web:mount('/', function(req) return 'hello' end)",
        log.display()
    ));
    let server = start(&site);
    H2Load::start(&server.url("/"), REQUESTS, 4, 10).expect_clean();
    let full = wait::until("every record is written, waits or is lost", || {
        let sink = server.documents("log.file").remove(0);
        let all = ["written", "queue", "lost"].into_iter().filter_map(|count| sink[count].as_u64());
        (all.sum::<u64>() == REQUESTS).then_some(sink)
    });
    assert!(full["failing"] == true && full["lost"].as_u64() > Some(0), "{full}");
    fs::remove_file(&filler).expect("room is made");
    wait::until("what waited is written", || (server.number("log.file", "queue") == 0).then_some(()));
    server.get("/");
    wait::until("so is one more", || {
        let sink = server.documents("log.file").remove(0);
        let all = ["written", "lost"].into_iter().filter_map(|count| sink[count].as_u64());
        (all.sum::<u64>() == REQUESTS + 1).then_some(())
    });
    let sink = server.documents("log.file").remove(0);
    server.terminate();
    let (mut records, mut lost) = (0, 0);
    for (name, text) in files(&logs) {
        assert!(text.ends_with('\n'), "the last line of {name:?} is torn");
        for line in text.lines() {
            if let Some(loss) = line.strip_prefix("# ") {
                lost += loss.split(' ').next().and_then(|n| n.parse::<u64>().ok()).expect(line);
            } else {
                assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("\" 200 5"), "torn: {line}");
                records += 1;
            }
        }
    }
    assert_eq!((records + lost, Some(lost)), (REQUESTS + 1, sink["lost"].as_u64()), "{sink}");
}

#[test]
fn what_cannot_be_done_is_refused_with_its_place() {
    for (call, expected) in [
        ("'a.log', { rotate = 'yearly' }", "\"100MB\" is expected, not \"yearly\""),
        ("'a.log', { rotate = { 'daily', 'hourly' } }", "one period and one size at most"),
        ("'a.log', { rotate = {} }", "is expected"),
        ("'a.log', { rotate = 10 }", "at least 1000 bytes"),
        ("'a.log', { rotate = true }", "is expected, not \"true\""),
        ("'a.log', { keep = 3 }", "`keep` needs `rotate`"),
        ("'a.log', { compress = 'zstd' }", "`compress` needs `rotate`"),
        ("'a.log', { rotate = 'daily', keep = 0 }", "at least 1, not 0"),
        ("'a.log', { rotate = 'daily', compress = 'gzip' }", "\"zstd\" is expected, not \"gzip\""),
        ("'a.log', { rotate = 'daily', compress = 'xz' }", "\"zstd\" is expected, not \"xz\""),
        ("'a.log', { mode = '0666' }", "everybody could forge lines"),
        ("'a.log', { mode = 640 }", "must be a string"),
        ("'a.log', { fsync = '1h' }", "such as \"1s\""),
        ("'a.log', { fsync = 0.001 }", "10 ms to an hour"),
        ("'-', { rotate = 'daily' }", "stdout cannot be rotated"),
        (
            "'/dev/null', { rotate = 'daily' }",
            "/dev/null cannot be rotated: it is a terminal or another device",
        ),
        ("'pipe', { rotate = '1MB' }", "it is a pipe, not a file"),
        ("'pipe', { fsync = true }", "cannot be brought to the disk (`fsync`): it is a pipe"),
        ("'directory', { rotate = 'daily' }", "is a directory: name a file in it"),
    ] {
        let site = Site::script(&format!(
            "-- the first line\nweb = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file({call}) }}"
        ))
        .file("directory/file", "");
        assert!(Command::new("mkfifo").arg(site.at("pipe")).status().expect("mkfifo").success());
        let before = names(site.path());
        for error in [
            MEDUSA.run(["check".as_ref(), site.path()]).failure(1),
            MEDUSA.serve(site.path()).fail().failure(1),
        ] {
            assert!(error.contains(expected), "{call}: {error}");
            assert!(error.contains("site.luau:2:"), "{call}: {error}");
        }
        assert_eq!(names(site.path()), before, "{call} leaves nothing behind");
    }
}
