//! The addresses of a host, with the search list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Outcome, Resolver};
use crate::local::{Families, special};
use crate::name::{Key, bad_name};
use crate::{Addresses, Answer, Data, LookupError, RecordType, Source};

/// What an address holds for that is its own name: for ever, as far as anyone can tell.
const LITERAL_TTL: Duration = Duration::from_hours(24);

/// The addresses of `host`.
pub(super) async fn find(resolver: &Resolver, host: &str) -> Result<Addresses, LookupError> {
    if let Some(ip) = literal(host) {
        return Ok(Addresses {
            name: host.into(),
            addresses: vec![ip],
            ttl: LITERAL_TTL,
            source: Source::Literal,
        });
    }
    let mut nothing: Option<LookupError> = None;
    for name in candidates(resolver, host)? {
        match of_name(resolver, &name).await {
            Err(error) if error.is_negative() => nothing = Some(less_absolute(nothing, error)),
            result => return result,
        }
    }
    Err(nothing.unwrap_or_else(|| bad_name(host, "with the search list behind it, it is too long")))
}

/// An address, perhaps in the brackets it has in a URL.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// The names to try, in this order: with enough dots as it is first, and then in the domains of the search list.
///
/// One that must not be told to a server is not told to it in a domain either (RFC 7686 §2): whoever has the domain would
/// learn which hidden service somebody looks for.
fn candidates(resolver: &Resolver, host: &str) -> Result<Vec<Key>, LookupError> {
    let as_it_is = Key::new(host, RecordType::A)?;
    let search = resolver.shared.search.load();
    let is_local =
        || special(as_it_is.name()).is_some() || resolver.shared.local_addresses(&as_it_is).is_some();
    if host.ends_with('.') || search.domains.is_empty() || is_local() {
        return Ok(vec![as_it_is]);
    }
    // One that becomes too long in a domain is not in that domain.
    let in_domain = |domain: &str| Key::new(&format!("{host}.{domain}"), RecordType::A).ok();
    let searched =
        search.domains.iter().filter(|domain| !domain.is_empty()).filter_map(|domain| in_domain(domain));
    let mut names: Vec<Key> = searched.collect();
    let dots = host.bytes().filter(|byte| *byte == b'.').count();
    let place = if dots >= search.ndots { 0 } else { names.len() };
    names.insert(place, as_it_is);
    Ok(names)
}

/// Of two negative answers, the one that leaves more open: the name exists, but has no addresses.
fn less_absolute(one: Option<LookupError>, other: LookupError) -> LookupError {
    match one {
        Some(one @ LookupError::NoData { .. }) => one,
        _ => other,
    }
}

/// The addresses of exactly this name.
async fn of_name(resolver: &Resolver, key: &Key) -> Result<Addresses, LookupError> {
    if let Some((families, ttl, source)) = resolver.shared.local_addresses(key) {
        return Ok(Addresses { name: key.told(), addresses: ordered(&families), ttl, source });
    }
    let v6 = Key::new(key.name(), RecordType::Aaaa)?;
    let (v4, v6) = tokio::join!(resolver.resolve(key.clone()), resolver.resolve(v6));
    both(key, v4, v6)
}

/// Makes one answer of two. One family is enough; a failure of the other is not told, since it is not asked for.
fn both(key: &Key, v4: Outcome, v6: Outcome) -> Result<Addresses, LookupError> {
    let (v4, v6) = match (v4, v6) {
        (Err(one), Err(other)) => return Err(more_telling(one, other)),
        (v4, v6) => (v4.ok(), v6.ok()),
    };
    let answers = || [&v4, &v6].into_iter().flatten();
    let records =
        |answer: &Option<Answer>| answer.as_ref().map(|answer| answer.records.clone()).unwrap_or_default();
    let families = Families { v4: records(&v4), v6: records(&v6) };
    Ok(Addresses {
        name: key.told(),
        addresses: ordered(&families),
        ttl: answers().map(|answer| answer.ttl).min().unwrap_or_default(),
        source: answers().map(|answer| answer.source).max().unwrap_or(Source::Server),
    })
}

/// Of two errors: a failure, since the other family might have had addresses; or that the name exists.
fn more_telling(one: LookupError, other: LookupError) -> LookupError {
    match (&one, &other) {
        (_, error) if !error.is_negative() => other,
        (LookupError::NxDomain { .. }, LookupError::NoData { .. }) => other,
        _ => one,
    }
}

/// In the order in which to try them: the families take turns, IPv6 first (RFC 8305 §4), unless this machine has no way
/// to its addresses (RFC 6724 §5, rule 1).
fn ordered(families: &Families) -> Vec<IpAddr> {
    let mut v4 = families.v4.iter().filter_map(Data::address);
    let mut v6 = families.v6.iter().filter_map(Data::address);
    let v6_first = families
        .v6
        .first()
        .and_then(Data::address)
        .is_some_and(|first| families.v4.is_empty() || has_route(first));
    let (first, second): (&mut dyn Iterator<Item = _>, &mut dyn Iterator<Item = _>) =
        if v6_first { (&mut v6, &mut v4) } else { (&mut v4, &mut v6) };
    let mut addresses = Vec::with_capacity(families.v4.len() + families.v6.len());
    loop {
        let turn = [first.next(), second.next()];
        if turn == [None, None] {
            return addresses;
        }
        addresses.extend(turn.into_iter().flatten());
    }
}

/// Whether the kernel knows a way to `ip`. Sends nothing, and takes a few microseconds.
fn has_route(ip: IpAddr) -> bool {
    let unspecified: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(unspecified, 0));
    socket.is_ok_and(|socket| socket.connect(SocketAddr::new(ip, 53)).is_ok())
}
