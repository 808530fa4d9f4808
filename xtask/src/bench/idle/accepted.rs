//! Which connections a server has accepted, as `/proc/net/tcp` shows them.
//!
//! A connection that its client sees as made may still wait in the kernel's queue, or be dropped from it and tried
//! again. One that is accepted belongs to a file of the server: its inode is not 0.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::herd::Herd;
use crate::bench::side::Side;
use crate::error::{Error, Result};

/// The time that a server may take to accept the last connections after they were made.
const WITHIN: Duration = Duration::from_mins(1);
/// The interval at which it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The table, and an established connection in it (`TCP_ESTABLISHED` of the kernel's `tcp_states.h`).
const TABLE: &str = "/proc/net/tcp";
const ESTABLISHED: &str = "01";

/// Waits until the server has accepted so many.
pub(super) fn wait(side: &Side, herd: &Herd, count: u32) -> Result {
    let deadline = Instant::now() + WITHIN;
    loop {
        let table = fs::read_to_string(TABLE).map_err(Error::io("read", TABLE))?;
        let accepted = count_in(&table, side.address);
        if accepted >= count as usize {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(
                side.fault(&format!("must accept {count} connections, and has {accepted} after {WITHIN:?}"))
            );
        }
        herd.hold(side, LOOK_EVERY)?;
    }
}

/// The number of connections to this address of ours that are established and accepted.
fn count_in(table: &str, address: SocketAddr) -> usize {
    let IpAddr::V4(host) = address.ip() else { return 0 };
    // As the machine has it in memory.
    let address = format!("{:08X}:{:04X}", u32::from_ne_bytes(host.octets()), address.port());
    let accepted = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(_remote), Some(state)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        // Queues, timer, retransmits, user and timeout stand between the state and the inode.
        local == address && state == ESTABLISHED && fields.nth(5).is_some_and(|inode| inode != "0")
    };
    table.lines().filter(accepted).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_counts_when_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let count = || count_in(&fs::read_to_string(TABLE).expect("the table"), address);
        let _client = TcpStream::connect(address).expect("connect");
        assert_eq!(count(), 0, "it still waits in the queue");
        let _server = listener.accept().expect("accept");
        assert_eq!(count(), 1);
    }

    #[test]
    fn other_ports_states_and_headings_do_not_count() {
        let line = |local, state, inode| {
            format!("  1: 0100007F:{local} 0100007F:C350 {state} 0:0 00:0 0 0 0 {inode} 1 0")
        };
        let table = [
            "  sl  local_address rem_address   st".to_owned(),
            line("1F90", "01", "77"),
            line("1F91", "01", "77"),
            line("1F90", "08", "77"),
            line("1F90", "01", "0"),
            line("1F90", "01", "78").replace("0100007F:1F90", "0200007F:1F90"),
        ];
        assert_eq!(count_in(&table.join("\n"), SocketAddr::from(([127, 0, 0, 1], 8080))), 1);
    }
}
