//! The `Range` field, against the sizes of representations.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::range::{MAX_RANGES, Range, Ranges, parse};

fuzz_target!(|input: (u64, &[u8])| {
    let (total, field) = input;
    let parts = match parse(Some(field), total) {
        Ranges::Whole | Ranges::Unsatisfiable => return,
        Ranges::One(range) => vec![range],
        Ranges::Many(ranges) => ranges,
    };
    assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
    let mut sum = 0_u64;
    for &Range { start, len } in &parts {
        assert!(len > 0, "an empty range");
        assert!(start.checked_add(len).is_some_and(|end| end <= total), "outside: {start}+{len} of {total}");
        sum = sum.checked_add(len).expect("no more than the whole");
    }
    assert!(sum <= total, "{sum} bytes of {total}");
    for range in parts {
        let (text, last) = (range.content_range(total), range.start + range.len - 1);
        assert_eq!(text, format!("bytes {}-{last}/{total}", range.start));
    }
});
