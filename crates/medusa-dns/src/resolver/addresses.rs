//! The addresses of a host, with the search list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::time::Duration;

use super::{Outcome, Resolver};
use crate::local::{AddressesByFamily, special};
use crate::name::{Key, bad_name};
use crate::{Addresses, Answer, Data, LookupError, Rcode, RecordType, Source};

/// The time that an address holds that is its own name: for ever, as far as anyone can tell.
const LITERAL_TTL: Duration = Duration::from_hours(24);

/// The time that the addresses of one family wait for those of the other ([RFC 8305 §3]'s Resolution Delay): there
/// are servers that never answer a question for AAAA.
///
/// [RFC 8305 §3]: https://www.rfc-editor.org/rfc/rfc8305#section-3
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

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
            Err(error) if goes_on(&error) => nothing = Some(less_absolute(nothing, error)),
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

/// Whether the search goes on behind it: as in the C library, where the name is not, and where its domain's servers fail.
fn goes_on(error: &LookupError) -> bool {
    error.is_negative() || matches!(error, LookupError::Failed { code: Rcode::SERVFAIL, .. })
}

/// Of two errors, the one that leaves more open: that a domain's servers failed, or that the name exists, but has no
/// addresses.
fn less_absolute(one: Option<LookupError>, other: LookupError) -> LookupError {
    let openness = |error: &LookupError| match error {
        LookupError::NxDomain { .. } => 0,
        LookupError::NoData { .. } => 1,
        _ => 2,
    };
    match one {
        Some(one) if openness(&one) > openness(&other) => one,
        _ => other,
    }
}

/// The addresses of exactly this name.
async fn of_name(resolver: &Resolver, key: &Key) -> Result<Addresses, LookupError> {
    if let Some((families, ttl, source)) = resolver.shared.local_addresses(key) {
        return Ok(Addresses { name: key.shown(), addresses: ordered(&families), ttl, source });
    }
    let v6 = Key::new(key.name(), RecordType::Aaaa)?;
    let (mut v4, mut v6) = (pin!(resolver.resolve(key.clone())), pin!(resolver.resolve(v6)));
    tokio::select! {
        biased;
        first = &mut v4 => {
            let second = for_a_while(v6, &first).await;
            both(key, Some(first), second)
        }
        first = &mut v6 => {
            let second = for_a_while(v4, &first).await;
            both(key, second, Some(first))
        }
    }
}

/// The answer of the family that is slower: waited for as long as it takes if `first` has no addresses, else for
/// [`RESOLUTION_DELAY`]. It is still remembered when it comes.
async fn for_a_while(slower: impl Future<Output = Outcome>, first: &Outcome) -> Option<Outcome> {
    if first.is_err() {
        return Some(slower.await);
    }
    tokio::time::timeout(RESOLUTION_DELAY, slower).await.ok()
}

/// Makes one answer of two. One family is enough; a failure of the other is not told, since it is not asked for.
fn both(key: &Key, v4: Option<Outcome>, v6: Option<Outcome>) -> Result<Addresses, LookupError> {
    let (v4, v6) = match (v4, v6) {
        (Some(Err(one)), Some(Err(other))) => return Err(more_specific(one, other)),
        (v4, v6) => (v4.and_then(Outcome::ok), v6.and_then(Outcome::ok)),
    };
    let answers = || [&v4, &v6].into_iter().flatten();
    let records =
        |answer: &Option<Answer>| answer.as_ref().map(|answer| answer.records.clone()).unwrap_or_default();
    let families = AddressesByFamily { v4: records(&v4), v6: records(&v6) };
    Ok(Addresses {
        name: key.shown(),
        addresses: ordered(&families),
        ttl: answers().map(|answer| answer.ttl).min().unwrap_or_default(),
        source: answers().map(|answer| answer.source).max().unwrap_or(Source::Server),
    })
}

/// Of two errors: a failure, since the other family might have had addresses; or that the name exists.
fn more_specific(one: LookupError, other: LookupError) -> LookupError {
    match (&one, &other) {
        (_, error) if !error.is_negative() => other,
        (LookupError::NxDomain { .. }, LookupError::NoData { .. }) => other,
        _ => one,
    }
}

/// In the order in which to try them: the families take turns, IPv6 first (RFC 8305 §4), unless this machine has no way
/// to its addresses (RFC 6724 §5, rule 1).
fn ordered(families: &AddressesByFamily) -> Vec<IpAddr> {
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
