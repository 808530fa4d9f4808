//! What the fields of a request ask for: content codings, and preconditions.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::coding::{Accepts, Coding};
use medusa_proto::conditional::{ConditionalFields, ETag, Outcome, Validators, evaluate, if_range};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    accept: Vec<&'a [u8]>,
    offered: [bool; 3],
    get: bool,
    if_match: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    dates: [Option<u64>; 4],
    etag: Option<&'a [u8]>,
    exists: bool,
}

fuzz_target!(|input: Input<'_>| {
    codings(&input);
    preconditions(&input);
});

fn codings(input: &Input<'_>) {
    let accepts = Accepts::parse(input.accept.iter().copied());
    let offered = |coding| match coding {
        Coding::Brotli => input.offered[0],
        Coding::Zstd => input.offered[1],
        Coding::Gzip => input.offered[2],
    };
    let Some(chosen) = accepts.choose(offered) else { return };
    assert!(offered(chosen), "{chosen:?} was not offered");
    assert!((1..=1000).contains(&accepts.weight(chosen)), "{chosen:?} is not wanted");
    let liked = |coding: &Coding| offered(*coding) && accepts.weight(*coding) > accepts.weight(chosen);
    assert_eq!(Coding::ALL.into_iter().find(liked), None, "another than {chosen:?} is liked better");
    let names = |line: &&[u8]| {
        let line = line.to_ascii_lowercase();
        line.contains(&b'*') || line.windows(chosen.name().len()).any(|word| word == chosen.name().as_bytes())
    };
    assert!(input.accept.iter().any(|line| names(&line)), "nobody named {chosen:?}");
}

fn preconditions(input: &Input<'_>) {
    let [modified_since, unmodified_since, last_modified, date] = input.dates;
    let fields = ConditionalFields {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: modified_since,
        if_unmodified_since: unmodified_since,
    };
    let current = Validators { etag: input.etag.and_then(ETag::parse), last_modified };
    let outcome = evaluate(input.get, &fields, input.exists.then_some(&current));
    assert!(input.get || outcome != Outcome::NotModified, "304 is for GET and HEAD alone");
    if fields == ConditionalFields::default() {
        assert_eq!(outcome, Outcome::Proceed, "nothing was asked for");
    }
    if let Some(etag) = current.etag {
        assert!(etag.weak_eq(etag));
    }
    if let Some(field) = input.if_match {
        let holds = if_range(field, date, &current);
        assert!(!holds || date.is_some() || current.etag.is_some(), "{field:?} holds by nothing");
    }
}
