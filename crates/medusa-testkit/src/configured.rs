//! Servers that are given their address by their configuration.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::{Process, Site, wait};

/// Starts `program` in a folder of its own, which is its working directory and has `file` by what `configuration` says for the
/// address it is given, and waits until it listens there.
#[track_caller]
pub(crate) fn start(
    program: &str,
    args: &[&str],
    file: &str,
    configuration: impl FnOnce(SocketAddr) -> String,
) -> (SocketAddr, Process, Site) {
    // It cannot report the port that it was given. This one is free until it takes it: one that is taken meanwhile fails
    // loudly.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.expect("a free port");
    let folder = Site::new().file(file, configuration(address));
    let process = Process::start(Command::new(program).args(args).current_dir(folder.path()));
    wait::until(&format!("{program} listens"), || TcpStream::connect(address).ok());
    (address, process, folder)
}
