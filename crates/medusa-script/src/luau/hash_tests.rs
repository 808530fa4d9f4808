//! Strings are hashed with a seed, and it is ours that the VM uses.

use super::*;

/// Luau's own hash of strings shorter than 32 bytes.
fn luaus_own(text: &[u8]) -> u32 {
    text.iter().rev().fold(text.len() as u32, |hash, &byte| {
        hash ^ (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(byte))
    })
}

fn ours(text: &[u8]) -> u32 {
    // SAFETY: both are of the slice.
    unsafe { medusa_luau_hash(text.as_ptr(), text.len()) }
}

/// So many strings of eight letters whose hash by Luau ends in ten zeros.
fn colliding(count: usize) -> Vec<String> {
    let names = (0_u64..).map(|number| format!("{number:08x}"));
    names.filter(|name| luaus_own(name.as_bytes()).trailing_zeros() >= 10).take(count).collect()
}

/// The number of `texts` that share their slot of a table of 1,024 with the most others.
fn most_in_a_slot(texts: &[String], hash: fn(&[u8]) -> u32) -> usize {
    let mut slots = vec![0; 1024];
    for text in texts {
        slots[hash(text.as_bytes()) as usize % 1024] += 1;
    }
    slots.into_iter().max().unwrap_or_default()
}

#[test]
fn keys_that_collide_for_luau_do_not_for_us() {
    let texts = colliding(1000);
    assert_eq!(most_in_a_slot(&texts, luaus_own), 1000);
    assert!(most_in_a_slot(&texts, ours) < 20);
}

/// Tables are walked slot by slot: the order of their keys tells which hash the VM uses.
#[test]
fn the_vm_hashes_with_ours() {
    let lua = Lua::new();
    let texts = colliding(1000);
    let table = lua.create_table_with_capacity(0, 1024).unwrap();
    for text in &texts {
        table.raw_set(text.as_str(), true).unwrap();
    }
    let walked: Vec<String> = table.pairs::<String, bool>().map(|pair| pair.unwrap().0).collect();
    let at_home = |text: &&String| {
        let slot = ours(text.as_bytes()) as usize % 1024;
        walked.iter().position(|walked| walked == *text).is_some_and(|at| at.abs_diff(slot) < 64)
    };
    // Who finds the slot taken goes elsewhere, which is every third. By chance it would be one in eight.
    let at_home = texts.iter().filter(at_home).count();
    assert!(at_home > 400, "{at_home} of 1000 are near the slot of their hash");
}

#[test]
fn long_strings_are_told_apart_by_their_ends() {
    let long = "x".repeat(HASHED * 2);
    let hash = |text: String| ours(text.as_bytes());
    assert_ne!(hash(format!("{long}a")), hash(format!("{long}b")));
    assert_ne!(hash(format!("a{long}")), hash(format!("b{long}")));
    assert_ne!(hash(format!("{long}x")), hash(long.clone()));
    assert_ne!(hash(long[..HASHED].to_owned()), hash(format!("{}y", &long[1..HASHED])));
}
