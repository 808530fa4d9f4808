//! A resolver, as a log asks it for the names of clients.
//!
//! Nothing is remembered here: what is known of an address, and whether its name has that address, is in the resolver's
//! cache, for as long as it holds.

use std::net::IpAddr;
use std::sync::Arc;

use medusa_dns::{LookupError, RecordType, Resolver};
use medusa_log::{Answer, Known, Names, NamesError, hostname};

/// The names of clients, by a resolver.
#[derive(Debug)]
pub(crate) struct LogNames {
    resolver: Arc<Resolver>,
    /// Whether a name must have the address it was found for.
    verify: bool,
}

impl LogNames {
    pub(crate) fn new(resolver: Arc<Resolver>, verify: bool) -> Self {
        Self { resolver, verify }
    }
}

impl Names for LogNames {
    fn check(&self) -> Result<(), NamesError> {
        Ok(self.resolver.check()?)
    }

    fn prepare(&self) -> Result<(), NamesError> {
        Ok(self.resolver.prepare()?)
    }

    fn known(&self, address: IpAddr) -> Known {
        let Some(found) = self.resolver.cached_ptr(address) else { return Known::NotYet };
        let Some(name) = name(found) else { return Known::NoName };
        if !self.verify {
            return Known::Name(name);
        }
        match self.resolver.cached(&name, family(address)) {
            None => Known::NotYet,
            Some(found) if has(&found, address) => Known::Name(name),
            Some(_) => Known::NoName,
        }
    }

    /// Asks for a name. Where there is none, `answer` is dropped, which says so.
    fn ask(&self, address: IpAddr, answer: Answer) {
        // Weak, as it is the resolver that holds these.
        let resolver = self.verify.then(|| Arc::downgrade(&self.resolver));
        self.resolver.ask_ptr(address, move |found| {
            let Some(name) = name(found) else { return };
            match resolver {
                None => answer.give(Some(name)),
                Some(resolver) => {
                    let Some(resolver) = resolver.upgrade() else { return };
                    resolver.ask_lookup(&Arc::clone(&name), family(address), move |found| {
                        if has(&found, address) {
                            answer.give(Some(name));
                        }
                    });
                }
            }
        });
    }
}

/// The first name among those of an address. One that would not be logged is not asked about either.
fn name(found: Result<medusa_dns::Answer, LookupError>) -> Option<Arc<str>> {
    let found = found.ok()?;
    found.name().and_then(hostname).map(Arc::from)
}

/// Whether a name has this address.
fn has(found: &Result<medusa_dns::Answer, LookupError>, address: IpAddr) -> bool {
    found.as_ref().is_ok_and(|found| found.addresses().any(|known| known == address))
}

fn family(address: IpAddr) -> RecordType {
    if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa }
}
