//! The number of lookups per second that the cache answers: `cargo run --release -p medusa-dns --example cached
//! [threads]`.
//!
//! A name server of its own, on a loopback port, gives the answers; then 10,000 names and 10,000 addresses are looked up
//! over and over, by every thread on its own, for two seconds each. What counts is the time that the threads had a
//! core for themselves, so that other work on the machine does not.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::{A, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType as Wire};
use medusa_dns::{RecordType, Resolver, ServerOptions};

const NAMES: u32 = 10_000;
const TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |number| number.parse())?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let server = socket.local_addr()?;
    std::thread::spawn(move || answer_all(&socket));
    let resolver = Resolver::server(vec![server.into()], ServerOptions::default())?;
    resolver.prepare()?;

    let names: Vec<String> = (0..NAMES).map(|number| format!("host-{number}.clients.example.org")).collect();
    let v4 = (0..NAMES).map(|number| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number * 37)));
    let v6 =
        (0..NAMES).map(|number| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(number))));
    let (v4, v6): (Vec<_>, Vec<_>) = (v4.collect(), v6.collect());

    let began = Instant::now();
    fill(&resolver, &names, &v4, &v6);
    println!(
        "asked  {:>12.0} names/s, one server on loopback",
        3.0 * f64::from(NAMES) / began.elapsed().as_secs_f64()
    );
    measure("name", threads, &resolver, &names, |resolver, name| {
        resolver.cached(name, RecordType::A).is_some()
    });
    measure("v4 ptr", threads, &resolver, &v4, |resolver, ip| resolver.cached_ptr(*ip).is_some());
    measure("v6 ptr", threads, &resolver, &v6, |resolver, ip| resolver.cached_ptr(*ip).is_some());
    println!("{}", resolver.status());
    Ok(())
}

/// Looks everything up once, with a hundred questions under way.
fn fill(resolver: &Arc<Resolver>, names: &[String], v4: &[IpAddr], v6: &[IpAddr]) {
    let (done, wait) = std::sync::mpsc::sync_channel(100);
    let mut open = 0;
    let settle = |limit: usize, open: &mut usize| {
        while *open > limit {
            let known: bool = wait.recv_timeout(Duration::from_secs(10)).unwrap_or(false);
            assert!(known, "a question was not answered");
            *open -= 1;
        }
    };
    for name in names {
        let done = done.clone();
        resolver
            .ask_lookup(name, RecordType::A, move |outcome| done.send(outcome.is_ok()).unwrap_or_default());
        open += 1;
        settle(99, &mut open);
    }
    for ip in v4.iter().chain(v6) {
        let done = done.clone();
        resolver.ask_ptr(*ip, move |outcome| done.send(outcome.is_ok()).unwrap_or_default());
        open += 1;
        settle(99, &mut open);
    }
    settle(0, &mut open);
}

/// Looks up `items` in a circle, by `threads` at once, and says how often per second of a core.
fn measure<T: Sync>(
    what: &str,
    threads: u32,
    resolver: &Resolver,
    items: &[T],
    look: fn(&Resolver, &T) -> bool,
) {
    let (total, time) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for first in 0..threads as usize {
            let (total, time) = (&total, &time);
            scope.spawn(move || {
                let began = on_core();
                let mut number = 0;
                let mut item = first * 1237 % items.len();
                while number % 4096 != 0 || on_core().saturating_sub(began) < TIME {
                    assert!(look(resolver, &items[item]), "it is known");
                    item = if item + 1 < items.len() { item + 1 } else { 0 };
                    number += 1;
                }
                total.fetch_add(number, Ordering::Relaxed);
                time.fetch_add(on_core().saturating_sub(began).as_nanos() as u64, Ordering::Relaxed);
            });
        }
    });
    let (total, time) = (total.into_inner() as f64, time.into_inner() as f64);
    println!(
        "{what:<6} {:>12.0} cached lookups/s/core, {:.0} ns each, {threads} threads",
        total / time * 1e9,
        time / total
    );
}

/// The time that this thread has had a core.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// Answers every question, forever.
fn answer_all(socket: &UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Ok(mut message) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(query) = message.queries.first().cloned() else { continue };
        let data = match query.query_type {
            Wire::PTR => Name::from_ascii("client.example.org.").map(|name| RData::PTR(PTR(name))),
            _ => Ok(RData::A(A::new(192, 0, 2, 1))),
        };
        let Ok(data) = data else { continue };
        message.metadata.message_type = MessageType::Response;
        message.add_answer(Record::from_rdata(query.name, 86_400, data));
        if let Ok(bytes) = message.to_vec() {
            let _ = socket.send_to(&bytes, from); // who has gone asks again
        }
    }
}
