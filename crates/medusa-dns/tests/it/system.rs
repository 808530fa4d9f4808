//! `resolv.conf` and the hosts file.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use medusa_dns::{DnsError, LookupError, RecordType, Resolver, Source, SystemOptions};
use medusa_proto::status::Value;
use tempfile::TempDir;

use crate::server::{Server, Step, a};

/// The files of a system.
struct System(TempDir);

impl System {
    fn new(resolv_conf: &str, hosts: &str) -> Self {
        let system = Self(tempfile::tempdir().expect("a directory"));
        system.write("resolv.conf", resolv_conf);
        system.write("hosts", hosts);
        system
    }

    /// Replaces a file as careful programs do: at once.
    fn write(&self, name: &str, text: &str) {
        let new = self.0.path().join("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, self.0.path().join(name)).expect("renamed");
    }

    fn options(&self) -> SystemOptions {
        let path = |name: &str| self.0.path().join(name);
        SystemOptions { resolv_conf: path("resolv.conf"), hosts: path("hosts"), ..SystemOptions::default() }
    }

    fn resolver(&self) -> Arc<Resolver> {
        let resolver = Resolver::system(self.options()).expect("a resolver");
        resolver.prepare().expect("started");
        resolver
    }
}

fn nameserver(server: &Server) -> String {
    let address = server.address();
    format!("nameserver [{}]:{}\n", address.ip, address.port.expect("a port"))
}

/// A server that knows only `known`.
fn server_of(known: &'static [&'static str]) -> Server {
    Server::start(move |question| {
        let answer = if known.contains(&&*question.name) {
            question.answer(60, &[a("192.0.2.1")])
        } else {
            question.negative(ResponseCode::NXDomain, 60, 60)
        };
        vec![Step::Send(answer)]
    })
}

/// Waits for what happens by itself within some seconds.
async fn until(what: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !what().await {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_short_name_is_searched_for() {
    let server = server_of(&["web.b.example.", "web.dev.", "host.c.example."]);
    let conf = nameserver(&server) + "search a.example b.example\n";
    let system = System::new(&conf, "");
    let resolver = system.resolver();
    let found = resolver.addresses("web").await.expect("addresses");
    assert_eq!(&*found.name, "web.b.example");
    let a_records = || server.asked().into_iter().filter(|asked| asked.ends_with(" A")).collect::<Vec<_>>();
    assert_eq!(a_records(), ["web.a.example. A", "web.b.example. A"]);

    // With enough dots, or a dot at its end, it is taken as it is.
    assert_eq!(&*resolver.addresses("host.c.example").await.expect("addresses").name, "host.c.example");
    assert_eq!(a_records().len(), 3);
    let error = resolver.addresses("web.").await.expect_err("no such name");
    assert_eq!(error, LookupError::NxDomain { name: "web".into() });
    assert_eq!(a_records().last().map(String::as_str), Some("web. A"));
    // One that is found nowhere was tried everywhere.
    let error = resolver.addresses("x.y").await.expect_err("no such name");
    assert!(error.is_negative());
    assert_eq!(a_records()[4..], ["x.y. A", "x.y.a.example. A", "x.y.b.example. A"]);
    // `lookup` takes a name as it is.
    resolver.lookup("web", RecordType::A).await.expect_err("no such name");
}

#[tokio::test]
async fn ndots_says_what_is_short() {
    let server = server_of(&["web.dev.a.example.", "web.dev."]);
    let conf = nameserver(&server) + "search a.example\noptions ndots:2\n";
    let system = System::new(&conf, "");
    let resolver = system.resolver();
    assert_eq!(&*resolver.addresses("web.dev").await.expect("addresses").name, "web.dev.a.example");
}

/// A server that says `code` of all names in `a.example`, and knows all others if `knows`.
fn failing(code: ResponseCode, knows: bool) -> Server {
    Server::start(move |question| {
        let answer = match &*question.name {
            "web.a.example." => question.code(code),
            _ if knows => question.answer(60, &[a("192.0.2.1")]),
            _ => question.negative(ResponseCode::NXDomain, 60, 60),
        };
        vec![Step::Send(answer)]
    })
}

async fn searched(server: &Server) -> Result<String, LookupError> {
    let conf = nameserver(server) + "search a.example b.example\n";
    let system = System::new(&conf, "");
    system.resolver().addresses("web").await.map(|found| found.name.to_string())
}

#[tokio::test]
async fn the_search_goes_on_behind_a_domain_whose_servers_fail() {
    assert_eq!(searched(&failing(ResponseCode::ServFail, true)).await, Ok("web.b.example".to_owned()));
    // Found nowhere: that it is not there is not known.
    let error = searched(&failing(ResponseCode::ServFail, false)).await.expect_err("a failure");
    assert!(matches!(error, LookupError::Failed { .. }), "{error:?}");
}

#[tokio::test]
async fn any_other_failure_ends_the_search() {
    let error = searched(&failing(ResponseCode::Refused, true)).await.expect_err("a failure");
    assert!(matches!(error, LookupError::Failed { .. }), "{error:?}");
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let server = server_of(&["other.example."]);
    let hosts = "192.0.2.9 Web.example web\n2001:db8::9 web.example\n";
    let system = System::new(&(nameserver(&server) + "search example\n"), hosts);
    let resolver = system.resolver();
    let found = resolver.addresses("WEB.example").await.expect("addresses");
    assert_eq!((found.addresses.len(), found.source), (2, Source::Hosts));
    let short = resolver.addresses("web").await.expect("addresses");
    assert_eq!((&*short.name, short.addresses.len()), ("web", 1), "it is found before the search begins");
    let ip: IpAddr = "192.0.2.9".parse().expect("an address");
    assert_eq!(resolver.ptr(ip).await.expect("a name").name(), Some("Web.example"));
    assert_eq!(resolver.cached_ptr(ip).expect("known").expect("a name").source, Source::Hosts);
    assert!(server.seen().is_empty());
    resolver.addresses("other.example").await.expect("addresses");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let (old, new) = (server_of(&["web.a.example."]), server_of(&["web.b.example."]));
    let system = System::new(&(nameserver(&old) + "search a.example\n"), "192.0.2.9 host\n");
    let resolver = system.resolver();
    resolver.addresses("web").await.expect("addresses");
    assert!(!resolver.cache(10).is_empty());

    system.write("hosts", "192.0.2.10 host\n");
    until(async || {
        let answer = resolver.lookup("host", RecordType::A).await.expect("in the file");
        answer.records[0].to_string() == "192.0.2.10"
    })
    .await;

    system.write("resolv.conf", &(nameserver(&new) + "search b.example\n"));
    until(async || resolver.addresses("web").await.is_ok_and(|found| &*found.name == "web.b.example")).await;
    assert_eq!(resolver.status().children.len(), 1);
    assert_eq!(resolver.status().children[0].name, new.address().to_string());

    // What cannot be read changes nothing.
    fs::remove_file(system.0.path().join("hosts")).expect("removed");
    fs::create_dir(system.0.path().join("hosts")).expect("a directory in its place");
    system.write("resolv.conf", &(nameserver(&new) + "search b.example c.example\n"));
    until(async || {
        resolver.addresses("x").await.is_err_and(|_| new.asked().contains(&"x.c.example. A".to_owned()))
    })
    .await;
    assert_eq!(resolver.lookup("host", RecordType::A).await.expect("as before").source, Source::Hosts);
}

#[tokio::test]
async fn a_new_option_keeps_what_is_remembered() {
    let server = server_of(&["web.example."]);
    let system = System::new(&nameserver(&server), "");
    let resolver = system.resolver();
    resolver.lookup("web.example", RecordType::A).await.expect("an answer");
    system.write("resolv.conf", &(nameserver(&server) + "search example\n"));
    until(async || resolver.addresses("web").await.is_ok()).await;
    let status = resolver.status();
    let Some(Value::Count(queries)) = status.children[0].get("queries") else { panic!("{status}") };
    assert!(*queries >= 2, "it is the server it was: {status}");
    assert_eq!(server.asked().iter().filter(|asked| *asked == "web.example. A").count(), 1);
}

#[test]
fn a_system_without_files_has_a_server_of_its_own() {
    let options = SystemOptions {
        resolv_conf: Path::new("/nonexistent/resolv.conf").into(),
        hosts: Path::new("/nonexistent/hosts").into(),
        ..SystemOptions::default()
    };
    let resolver = Resolver::system(options).expect("a resolver");
    resolver.check().expect("it is usable");
    resolver.prepare().expect("started");
    assert_eq!(resolver.status().children[0].name, "127.0.0.1:53");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let system = System::new("", "");
    let directory = SystemOptions { hosts: system.0.path().into(), ..system.options() };
    let error = Resolver::system(directory).expect("not read yet").check().expect_err("a directory");
    assert!(matches!(error, DnsError::Read { .. }), "{error:?}");
    system.write("resolv.conf", &"#".repeat(70_000));
    let error = Resolver::system(system.options()).expect("not read yet").prepare().expect_err("too large");
    assert!(matches!(error, DnsError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_that_must_not_be_told_is_not_told_with_a_domain_either() {
    let server = server_of(&[]);
    let system = System::new(&(nameserver(&server) + "search corp.example\n"), "");
    let resolver = system.resolver();
    for name in ["hidden.onion", "onion", "nothing.invalid"] {
        let error = resolver.addresses(name).await.expect_err("no such name");
        assert!(matches!(error, LookupError::NxDomain { .. }), "{error:?}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_being_written_is_not_read_yet() {
    let server = server_of(&["web.example."]);
    let conf = nameserver(&server);
    let system = System::new(&conf, "192.0.2.9 host\n");
    let resolver = system.resolver();
    resolver.lookup("web.example", RecordType::A).await.expect("an answer");
    // Written in place, as `cat >` does, over and over, with moments in which there is nothing in it.
    let path = system.0.path().join("resolv.conf");
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < Duration::from_millis(3500) {
        fs::write(&path, format!("# {written}\n")).expect("written");
        tokio::time::sleep(Duration::from_millis(100)).await;
        written += 1;
        assert_eq!(resolver.status().children[0].name, server.address().to_string());
    }
    fs::write(&path, &conf).expect("written");
    assert_eq!(resolver.lookup("web.example", RecordType::A).await.expect("kept").source, Source::Cache);
}

#[test]
fn a_name_with_very_many_addresses_does_no_harm() {
    let mut hosts = String::new();
    for number in 0..400_000_u32 {
        writeln!(hosts, "{} host", Ipv4Addr::from(0x0a00_0000 + number)).expect("written");
    }
    let system = System::new("", &hosts);
    let began = Instant::now();
    system.resolver();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
