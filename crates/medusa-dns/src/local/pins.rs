//! Names that someone has pinned: while the server runs, a script or an operator says where a name is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::AddressesByFamily;
use crate::DnsError;
use crate::name::Key;

/// The most names that can be pinned: they are put there one by one, by hand or by a script that should not leak.
const MAX_PINS: usize = 10_000;

/// One of them.
#[derive(Debug)]
struct Pin {
    families: AddressesByFamily,
    until: Option<Instant>,
}

/// All of them. A copy is made for each change, so that nobody who looks waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins {
    names: HashMap<Arc<str>, Arc<Pin>>,
}

impl Pins {
    /// These, with one more, or a new one in place of an old one. What is over goes.
    pub(crate) fn with(
        &self,
        key: &Key,
        addresses: &[IpAddr],
        until: Option<Instant>,
    ) -> Result<Self, DnsError> {
        let mut pins = self.clone();
        let now = Instant::now();
        pins.names.retain(|_, pin| pin.until.is_none_or(|until| now < until));
        let pin = Pin { families: AddressesByFamily::of(addresses), until };
        pins.names.insert(key.name().into(), Arc::new(pin));
        if pins.names.len() > MAX_PINS {
            return Err(DnsError::TooManyPins(MAX_PINS));
        }
        Ok(pins)
    }

    /// These, without one; none, if it is not there.
    pub(crate) fn without(&self, key: &Key) -> Option<Self> {
        let mut pins = self.clone();
        pins.names.remove(key.name())?;
        Some(pins)
    }

    /// The addresses of a name in lower case, and for how long they hold; without an end it is none.
    pub(crate) fn addresses(&self, name: &str) -> Option<(&AddressesByFamily, Option<Duration>)> {
        let pin = self.names.get(name)?;
        match pin.until {
            None => Some((&pin.families, None)),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                (!left.is_zero()).then_some((&pin.families, Some(left)))
            }
        }
    }

    /// Their number.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
