//! Where records go: who takes them, who does not, and who knows the names of those who ask.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;
use std::{fs, io};

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::server::Server;

/// Unbound reads its file in a moment; a minute would mean it hangs.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// All of them. The threads end with the bench.
pub(super) struct Receivers {
    udp: SocketAddr,
    tcp: SocketAddr,
    stalled: SocketAddr,
    dns: SocketAddr,
    unbound: Server,
}

impl Receivers {
    /// Starts them.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let failed = |source| Error::Io { what: "listen for log records".into(), source };
        let (unbound, dns) = start_unbound(&folder.join("unbound"))?;
        Ok(Self {
            udp: take_datagrams().map_err(failed)?,
            tcp: take_streams(true).map_err(failed)?,
            stalled: take_streams(false).map_err(failed)?,
            dns,
            unbound,
        })
    }

    /// `expression` with their addresses.
    pub(super) fn name(&self, expression: &str) -> String {
        let Self { udp, tcp, stalled, dns, .. } = self;
        let names = [("UDP", udp), ("TCP", tcp), ("STALLED", stalled), ("DNS", dns)];
        names
            .iter()
            .fold(expression.to_owned(), |text, (name, address)| text.replace(name, &address.to_string()))
    }

    /// Ends the name server.
    pub(super) fn stop(mut self) -> Result {
        self.unbound.stop(READY_WITHIN).map(drop)
    }
}

fn take_datagrams() -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while socket.recv(&mut buffer).is_ok() {}
    });
    Ok(address)
}

/// Takes connections, and what comes over them if it `reads`.
fn take_streams(reads: bool) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if reads {
                thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 20];
                    while matches!(stream.read(&mut buffer), Ok(1..)) {}
                });
            } else {
                held.push(stream);
            }
        }
    });
    Ok(address)
}

/// Unbound with a name for every address of 10.0.0.0/8: the same for all, as it is the questions that differ.
fn start_unbound(folder: &Path) -> Result<(Server, SocketAddr)> {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let address = free.map_err(|source| Error::Io { what: "find a free port".into(), source })?;
    fs::create_dir(folder).map_err(Error::io("create", folder))?;
    let file = folder.join("unbound.conf");
    fs::write(&file, configuration(address)).map_err(Error::io("write", &file))?;
    let unbound = Server::start("unbound", &Cmd::new("unbound").args(["-d", "-p", "-c"]).args([file]))?;
    unbound.wait_for(READY_WITHIN, |line| line.contains("start of service").then_some(()))?;
    Ok((unbound, address))
}

fn configuration(address: SocketAddr) -> String {
    format!(
        r#"server:
    interface: {}
    port: {}
    do-daemonize: no
    use-syslog: no
    logfile: ""
    verbosity: 1
    username: ""
    chroot: ""
    pidfile: ""
    num-threads: 1
    so-rcvbuf: 0
    local-zone: "10.in-addr.arpa." redirect
    local-data: "10.in-addr.arpa. 3600 IN PTR visitor.example.net."
remote-control:
    control-enable: no
"#,
        address.ip(),
        address.port()
    )
}
