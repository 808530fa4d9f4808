//! Which instruction a breakpoint takes the place of, as the compiler tells: of a file's text, by its bytecode.
//!
//! The form is that of Luau's `lvmload.cpp`, up to version 11. What is of another form is in doubt, and so is what does not end where
//! it should.

use crate::chunk;

/// The one that must not be replaced: what a loop over values goes on with.
const FORGLOOP: u8 = 58;
/// The one that Luau passes over, at the beginning of a function.
const PREPVARARGS: u8 = 65;

/// The versions that are known.
const VERSIONS: std::ops::RangeInclusive<u8> = 4..=11;
/// Those of the types that come with it.
const TYPES: std::ops::RangeInclusive<u8> = 1..=3;
/// The version in which the types of a host's objects have names.
const NAMED_TYPES: u8 = 3;
/// The version since which functions have slots for what was called.
const WITH_FEEDBACK: u8 = 11;

/// Whether a breakpoint in that line of a file would take the place of what must not be replaced, or that cannot be told.
pub(super) fn is_split_loop(text: &str, line: u32) -> bool {
    let bytecode = chunk::bytecode(text);
    bytecode.and_then(|bytecode| replaces_loop(&bytecode, line)).unwrap_or(true)
}

fn replaces_loop(bytecode: &[u8], line: u32) -> Option<bool> {
    let mut reader = BytecodeReader(bytecode);
    let version = reader.byte()?;
    let types = reader.byte()?;
    if !VERSIONS.contains(&version) || !TYPES.contains(&types) {
        return None;
    }
    for _ in 0..reader.number()? {
        let length = reader.number()?;
        reader.skip(length)?;
    }
    if types == NAMED_TYPES {
        while reader.byte()? != 0 {
            reader.number()?;
        }
    }
    let mut found = false;
    for _ in 0..reader.number()? {
        found |= reader.function(version, line)?;
    }
    reader.number()?;
    reader.0.is_empty().then_some(found)
}

/// What is still to be read.
struct BytecodeReader<'a>(&'a [u8]);

impl<'a> BytecodeReader<'a> {
    fn skip(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.skip(1)?.first().copied()
    }

    /// A number in as many bytes as it needs.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).ok();
            }
        }
        None
    }

    /// Whether the first instruction of the line, if a function has one, is that of a loop.
    fn function(&mut self, version: u8, line: u32) -> Option<bool> {
        self.skip(5)?; // registers, parameters, upvalues, whether it takes `...`, flags
        let types = self.number()?;
        self.skip(types)?;
        let count = self.number()?;
        let code = self.skip(count.checked_mul(4)?)?;
        for _ in 0..self.number()? {
            self.constant()?;
        }
        for _ in 0..self.number()? {
            self.number()?; // a function in it
        }
        self.number()?; // its line
        self.number()?; // its name
        let mut found = false;
        if self.byte()? != 0 {
            let gap = u32::from(self.byte()?);
            let offsets = self.skip(count)?;
            let intervals = (count.checked_sub(1)? >> gap) + 1;
            let lines = self.skip(intervals.checked_mul(4)?)?;
            found = begins_with_loop(code, offsets, lines, gap, line)?;
        }
        if self.byte()? != 0 {
            for _ in 0..self.number()? {
                for _ in 0..3 {
                    self.number()?;
                }
                self.byte()?;
            }
            for _ in 0..self.number()? {
                self.number()?;
            }
        }
        if version >= WITH_FEEDBACK {
            for _ in 0..self.number()? {
                self.byte()?;
                self.number()?;
            }
        }
        Some(found)
    }

    fn constant(&mut self) -> Option<()> {
        match self.byte()? {
            0 => {}
            1 => drop(self.skip(1)?),
            2 => drop(self.skip(8)?),
            3 | 6 => drop(self.number()?),
            4 => drop(self.skip(4)?),
            5 => {
                for _ in 0..self.number()? {
                    self.number()?;
                }
            }
            7 => drop(self.skip(16)?),
            8 => {
                for _ in 0..self.number()? {
                    self.number()?;
                    self.skip(4)?;
                }
            }
            9 => {
                self.byte()?;
                self.number()?;
            }
            _ => return None,
        }
        Some(())
    }
}

/// Whether what Luau's `luaG_breakpoint` finds for a line is a loop; none: that cannot be told.
fn begins_with_loop(code: &[u8], offsets: &[u8], lines: &[u8], gap: u32, wanted: u32) -> Option<bool> {
    let (mut offset, mut absolute, mut last) = (0_u8, Vec::new(), 0_i32);
    for line in lines.chunks_exact(4) {
        last = last.checked_add(i32::from_le_bytes(line.try_into().ok()?))?;
        absolute.push(last);
    }
    for (at, (instruction, delta)) in code.chunks_exact(4).zip(offsets).enumerate() {
        offset = offset.wrapping_add(*delta);
        let line = absolute.get(at >> gap)?.checked_add(i32::from(offset))?;
        let operation = *instruction.first()?;
        if operation != PREPVARARGS && u32::try_from(line) == Ok(wanted) {
            return Some(operation == FORGLOOP);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_told_by_what_they_are_compiled_to() {
        for whole in [
            "for k, v in items do print(k) end",
            "for k, v in pairs({\n1, 2 }) do end",
            "for chunk in req:chunks() do end",
            "for k, v: number in next, items do end",
            "for i = 1,\n 10 do end",
            "local x = 1",
            "-- for x in\ny()",
            "local t = { a = 1, b = { 'x', nil, true, 2.5, vector.create(1, 2, 3) } } function t.f(...) return function(...) return ..., t end end",
        ] {
            assert!(!is_split_loop(whole, 1), "{whole}");
        }
        for (split, line) in [
            ("for k, v in\n items do print(k) end", 2),
            (
                "local text = 'one \\z\n two'\nlocal function f()\nfor x in\n(function() return text end)\ndo\nprint(x) end end return f",
                5,
            ),
            ("local brace = `{(\"{\")}x`\nfor k, v in\nitems\ndo print(k) end", 3),
            ("for k: typeof({ a = 1 }) in\nvalues()\n do print(k) end", 1),
            ("x = `{(function() for y in\n z do print(y) end end)()}`", 2),
        ] {
            let any = (1..=line + 2).any(|line| is_split_loop(split, line));
            assert!(any, "{split}");
        }
        assert!(is_split_loop("for x", 1), "what cannot be compiled is in doubt");
    }
}
