//! Reading of an answer.

use std::sync::Arc;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::Failure;
use crate::cache::Lifetime;
use crate::name::Key;
use crate::{Data, LookupError, Rcode};

/// The most names that an alias may lead through (RFC 1034 §3.6.2 asks for no chains at all; those that exist have few).
const MAX_ALIASES: usize = 16;

/// The reply of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) value: Result<Arc<[Data]>, LookupError>,
    pub(crate) lifetime: Lifetime,
}

impl Reply {
    /// Reads the answer of `message` to the question `key`, whose name is `name`.
    pub(super) fn of(message: &Message, key: &Key, name: &Name) -> Result<Self, Failure> {
        check_question(&message.queries, key, name)?;
        let (records, ttl) = follow(message, name, key.kind().wire())?;
        match message.response_code {
            ResponseCode::NoError if records.is_empty() => {
                Ok(Self::negative(key, false, negative_ttl(message)))
            }
            ResponseCode::NoError => {
                Ok(Self { value: Ok(records.into()), lifetime: Lifetime::Positive(ttl) })
            }
            ResponseCode::NXDomain => Ok(Self::negative(key, true, negative_ttl(message))),
            code => Err(Failure::Code(Rcode(code.into()))),
        }
    }

    /// There is no such name, or no such record.
    pub(super) fn negative(key: &Key, is_nxdomain: bool, ttl: Option<u32>) -> Self {
        let name = key.shown();
        if is_nxdomain {
            return Self { value: Err(LookupError::NxDomain { name }), lifetime: Lifetime::NoName(ttl) };
        }
        let value = Err(LookupError::NoData { name, kind: key.kind() });
        Self { value, lifetime: Lifetime::Negative(ttl) }
    }
}

/// Whether an answer repeats the question `key`, whose name is `name`.
pub(super) fn check_question(queries: &[Query], key: &Key, name: &Name) -> Result<(), Failure> {
    match queries {
        [query] if query.name == *name && query.query_type == key.kind().wire() => Ok(()),
        _ => Err(Failure::Malformed("it answers another question")),
    }
}

/// Follows the aliases from `name` to its records of type `kind`: these, and the least TTL of all that was used. What else
/// the server may have put into its answer is left alone.
fn follow(message: &Message, name: &Name, kind: RecordType) -> Result<(Vec<Data>, u32), Failure> {
    let mut owner = name;
    let mut ttl = u32::MAX >> 1;
    for _ in 0..=MAX_ALIASES {
        let is_own = |record: &&Record| record.dns_class == DNSClass::IN && record.name == *owner;
        let own = || message.answers.iter().filter(is_own);
        let mut records = Vec::new();
        for record in own().filter(|record| record.record_type() == kind) {
            ttl = ttl.min(record.ttl);
            records.push(Data::of(&record.data));
        }
        let alias = own().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, record.ttl)),
            _ => None,
        });
        match alias {
            Some((target, its_ttl)) if records.is_empty() => {
                ttl = ttl.min(its_ttl);
                owner = target;
            }
            _ => return Ok((records, ttl)),
        }
    }
    Err(Failure::Malformed("its aliases lead in a circle, or through too many names"))
}

/// The time that a negative answer holds (RFC 2308 §5).
fn negative_ttl(message: &Message) -> Option<u32> {
    message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
