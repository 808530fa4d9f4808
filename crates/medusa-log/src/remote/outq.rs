//! Number of bytes sent that the other end has not acknowledged.
//!
//! The one `ioctl` that std and rustix have no function for. It reads an int, and the kernel writes an int, whatever the
//! socket: TCP counts bytes not acknowledged, a unix socket the memory of what its reader has not taken (which is more
//! than the bytes of it).
#![expect(unsafe_code, reason = "an ioctl that writes one int: there is no safe function for it")]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ`, which has the number of `TIOCOUTQ`.
const SIOCOUTQ: Opcode = linux_opcode();

const fn linux_opcode() -> Opcode {
    if cfg!(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "sparc64")) {
        rustix::ioctl::opcode::read::<c_int>(b't', 115)
    } else if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x7472
    } else {
        0x5411
    }
}

/// Bytes sent on `socket` that are not acknowledged. Zero: all is with the other end.
pub(super) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: the opcode is that of an ioctl that writes an int, and does nothing else.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn counts_what_the_reader_has_not_taken() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        assert_eq!(unacknowledged(&ours).expect("a socket"), 0);
        ours.write_all(b"abc").expect("room");
        assert!(unacknowledged(&ours).expect("a socket") >= 3);
        theirs.read_exact(&mut [0; 3]).expect("three");
        assert_eq!(unacknowledged(&ours).expect("a socket"), 0);
        let file = tempfile::tempfile().expect("a file");
        unacknowledged(&file).expect_err("a file has no such queue");
    }
}
