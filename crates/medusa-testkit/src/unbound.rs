//! `unbound`: a name server that is not ours, for zones that a test writes.
//!
//! It answers for these zones itself and asks nobody, over UDP (1,232 bytes at most), TCP, TLS and HTTPS, on an
//! address of its own, so that it comes back where it was.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::{Authority, OwnAddress, Process, Signal};

/// For UDP and TCP.
const PORT: u16 = 5353;
/// For TLS.
const TLS: u16 = 8853;
/// For HTTPS.
const HTTPS: u16 = 8443;

/// The name in its certificate.
const NAME: &str = "dns.example";

/// A running `unbound`. Killed when it is dropped.
#[derive(Debug)]
pub struct Unbound {
    /// None between [`stop`](Self::stop) and [`start_again`](Self::start_again).
    process: Option<Process>,
    address: OwnAddress,
    directory: TempDir,
    authority: Authority,
}

/// A zone: all names that end in `origin`, and what is known of them.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Without a dot at its end: `example`, `2.0.192.in-addr.arpa`.
    pub origin: String,
    /// The time that a client may remember that there is no such name, in seconds (RFC 2308 §5).
    pub negative: u32,
    /// Lines of a master file (RFC 1035 §5), with names relative to the origin: `www 60 IN A 192.0.2.1`.
    pub records: String,
}

impl Zone {
    /// A zone whose negative answers hold for a minute.
    pub fn new(origin: &str, records: &str) -> Self {
        Self { origin: origin.to_owned(), negative: 60, records: records.to_owned() }
    }

    fn file(&self) -> String {
        let Self { origin, negative, records } = self;
        format!(
            "$ORIGIN {origin}.\n@ {negative} IN SOA {NAME}. root.example. 1 3600 600 86400 {negative}\n\
             @ 60 IN NS {NAME}.\n{records}\n"
        )
    }
}

impl Unbound {
    /// Starts it with these zones, and waits until it answers.
    ///
    /// # Panics
    ///
    /// It does not start: it is not installed, or does not understand a zone.
    #[track_caller]
    pub fn start(zones: &[Zone]) -> Self {
        let address = OwnAddress::claim();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new("name servers");
        let certificate = authority.server(&[NAME, &address.ip().to_string()]);
        let mut unbound = Self { process: None, address, directory, authority };
        unbound.write("cert.pem", &certificate.cert);
        unbound.write("key.pem", &certificate.key);
        unbound.write("ca.pem", unbound.authority.pem());
        unbound.write("unbound.conf", &unbound.configuration(zones));
        for zone in zones {
            unbound.write(&zone.origin, &zone.file());
        }
        unbound.start_again();
        unbound
    }

    /// The address at which it answers over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address.port(PORT)
    }

    /// The address at which it answers over TLS.
    pub fn tls(&self) -> SocketAddr {
        self.address.port(TLS)
    }

    /// The address at which it answers over HTTPS, at `/dns-query`.
    pub fn https(&self) -> SocketAddr {
        self.address.port(HTTPS)
    }

    /// The authority of its certificate, which is for its address and for `dns.example`: the path of a PEM file.
    pub fn ca(&self) -> String {
        self.file("ca.pem")
    }

    /// Writes a zone that it was started with anew, and has it forget the old one.
    ///
    /// # Panics
    ///
    /// It is stopped, or does not understand the zone.
    #[track_caller]
    pub fn change(&mut self, zone: &Zone) {
        self.write(&zone.origin, &zone.file());
        let process = self.process.as_mut().expect("it runs");
        let before = process.stderr().count();
        process.signal(Signal::HUP);
        process.stderr().wait_for_from(before, "start of service");
    }

    /// Ends it: whoever asks is refused.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::TERM);
        process.wait();
    }

    /// Starts it where it was, after [`stop`](Self::stop).
    #[track_caller]
    pub fn start_again(&mut self) {
        // Programs of administrators are not in everybody's PATH.
        let mut command = Command::new("/usr/sbin/unbound");
        command.arg("-d").arg("-c").arg(self.file("unbound.conf"));
        let process = Process::start(&mut command);
        process.stderr().wait_for("start of service");
        self.process = Some(process);
    }

    /// Stops it for a while: questions arrive and are not answered.
    #[track_caller]
    pub fn freeze(&mut self) {
        self.process.as_mut().expect("it runs").signal(Signal::STOP);
    }

    /// Has a frozen one go on.
    #[track_caller]
    pub fn thaw(&mut self) {
        self.process.as_mut().expect("it runs").signal(Signal::CONT);
    }

    fn configuration(&self, zones: &[Zone]) -> String {
        let (ip, directory) = (self.address.ip(), self.file(""));
        let mut text = format!(
            r#"server:
  directory: "{directory}"
  username: ""
  chroot: ""
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  num-threads: 1
  module-config: "iterator"
  interface: {ip}@{PORT}
  interface: {ip}@{TLS}
  interface: {ip}@{HTTPS}
  port: {PORT}
  max-udp-size: 1232
  tls-port: {TLS}
  https-port: {HTTPS}
  tls-service-pem: "cert.pem"
  tls-service-key: "key.pem"
  access-control: 127.0.0.0/8 allow
  unblock-lan-zones: yes
  local-zone: "127.in-addr.arpa." nodefault
  local-zone: "." refuse
remote-control:
  control-enable: no
"#
        );
        for zone in zones {
            let origin = &zone.origin;
            // A zone of one's own goes before what the server has built in.
            let _ = write!(
                text,
                "server:\n  local-zone: \"{origin}.\" transparent\nauth-zone:\n  name: \"{origin}.\"\n  \
                 zonefile: \"{origin}\"\n  for-downstream: yes\n  for-upstream: yes\n"
            );
        }
        text
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    #[track_caller]
    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("its own directory");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::{Dnsmasq, PATIENCE};

    const A: u16 = 1;
    const PTR: u16 = 12;

    /// The bytes of an answer, behind its id.
    fn ask(at: SocketAddr, name: &str, kind: u16) -> Vec<u8> {
        let mut question = b"id\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        for label in name.split('.') {
            question.push(label.len() as u8);
            question.extend(label.as_bytes());
        }
        question.push(0);
        question.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        socket.send_to(&question, at).expect("sent");
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"id"));
        answer[2..length].to_vec()
    }

    /// The address at the end of an answer.
    fn address(at: SocketAddr, name: &str) -> Option<Ipv4Addr> {
        let answer = ask(at, name, A);
        let is_answered = code(&answer) == 0 && answer[4..6] != [0, 0];
        is_answered.then_some(Ipv4Addr::from(*answer.last_chunk::<4>()?))
    }

    fn refused(at: SocketAddr, name: &str) -> bool {
        code(&ask(at, name, A)) == 5
    }

    /// The server's verdict on the question (RFC 1035 §4.1.1).
    fn code(answer: &[u8]) -> u8 {
        answer[1] & 15
    }

    const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const TWO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn unbound_answers_for_its_zones_and_for_what_they_become() {
        let zone = |address| Zone::new("example", &format!("a 60 IN A {address}\nc 60 IN CNAME a"));
        let reverse = Zone::new("127.in-addr.arpa", "9.0.0 60 IN PTR a.example.");
        let mut unbound = Unbound::start(&[zone(ONE), reverse]);
        assert_eq!(address(unbound.address(), "c.example"), Some(ONE));
        let name = ask(unbound.address(), "9.0.0.127.in-addr.arpa", PTR);
        assert!(name.windows(10).any(|window| window == b"\x01a\x07example"), "{name:?}");
        unbound.change(&zone(TWO));
        assert_eq!(address(unbound.address(), "a.example"), Some(TWO));
        unbound.stop();
        unbound.start_again();
        assert_eq!(address(unbound.address(), "a.example"), Some(TWO));
        assert_eq!(address(unbound.address(), "none.example"), None);
        assert!(refused(unbound.address(), "www.elsewhere.org"), "it asks nobody");
    }

    #[test]
    fn dnsmasq_answers_from_its_hosts() {
        let mut dnsmasq = Dnsmasq::start("192.0.2.1 a.example", &["--cname=c.example,a.example"]);
        assert_eq!(address(dnsmasq.address(), "c.example"), Some(ONE));
        dnsmasq.change("192.0.2.2 a.example");
        assert_eq!(address(dnsmasq.address(), "a.example"), Some(TWO));
        assert!(refused(dnsmasq.address(), "www.elsewhere.org"), "it asks nobody");
    }
}
