//! Names that mean the same everywhere, so that no server must be asked for them (RFC 6761).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::AddressesByFamily;

/// The meaning of a name that means the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// It is this machine.
    Loopback,
    /// There is no such name, by agreement.
    Never,
}

/// The special meaning of `name`, in lower case.
///
/// `localhost` and what is below it are the loopback addresses (RFC 6761 §6.3): a server that said otherwise could make a
/// local service of a remote one. `invalid` does not exist (§6.4). Names below `onion` must not be told to a server (RFC
/// 7686 §2).
pub(crate) fn special(name: &str) -> Option<Special> {
    let last = name.rsplit('.').next()?;
    match last {
        "localhost" => Some(Special::Loopback),
        "invalid" | "onion" => Some(Special::Never),
        _ => None,
    }
}

impl Special {
    /// The addresses of this machine, to itself.
    pub(crate) fn loopback() -> &'static AddressesByFamily {
        static LOOPBACK: LazyLock<AddressesByFamily> = LazyLock::new(|| {
            AddressesByFamily::of(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        });
        &LOOPBACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_label_counts() {
        assert_eq!(special("localhost"), Some(Special::Loopback));
        assert_eq!(special("a.localhost"), Some(Special::Loopback));
        assert_eq!(special("localhost.example.org"), None);
        assert_eq!(special("notlocalhost"), None);
        assert_eq!(special("a.invalid"), Some(Special::Never));
        assert_eq!(special(""), None);
    }
}
