//! Where records go: who takes them, who does not, and who knows the names of those who ask.

use std::io;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use medusa_testkit::{Unbound, Zone};

use crate::error::{Error, Result};

/// All of them. The threads end with the bench.
pub(super) struct Receivers {
    udp: SocketAddr,
    tcp: SocketAddr,
    stalled: SocketAddr,
    /// With a name for every address of 10.0.0.0/8: the same for all, as it is the questions that differ.
    unbound: Unbound,
}

impl Receivers {
    /// Starts them.
    pub(super) fn start() -> Result<Self> {
        let failed = |source| Error::Io { what: "listen for log records".into(), source };
        Ok(Self {
            udp: take_datagrams().map_err(failed)?,
            tcp: take_streams(true).map_err(failed)?,
            stalled: take_streams(false).map_err(failed)?,
            unbound: Unbound::start(&[Zone::new("10.in-addr.arpa", "* 3600 IN PTR visitor.example.net.")]),
        })
    }

    /// `expression` with their addresses.
    pub(super) fn name(&self, expression: &str) -> String {
        let Self { udp, tcp, stalled, unbound } = self;
        let names = [("UDP", *udp), ("TCP", *tcp), ("STALLED", *stalled), ("DNS", unbound.address())];
        names
            .iter()
            .fold(expression.to_owned(), |text, (name, address)| text.replace(name, &address.to_string()))
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
