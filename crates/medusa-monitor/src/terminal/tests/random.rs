//! Random keys on random screens: what is seen is the prompt and the text, however the bytes arrive.

use proptest::prelude::*;

use super::*;

/// What may be typed, with what is shown of it and how wide that is. Only what is escaped may be split.
const TEXT: &[(&str, &str, usize)] = &[
    ("a", "a", 1),
    ("x ", "x ", 2),
    ("世", "世", 2),
    ("e\u{301}", "e\u{301}", 1),
    ("👍", "👍", 2),
    ("👨\u{200d}👩\u{200d}👧", "👨\u{200d}👩\u{200d}👧", 2),
    ("❤\u{fe0f}", "❤\u{fe0f}", 2),
    ("\u{202e}", r"\u{202e}", 8),
    ("\u{200b}", r"\u{200b}", 8),
    ("\x1b\r", "\n", 1),
    ("\x1b[200~\t\x1b[201~", "    ", 4),
];

const KEYS: &[&str] = &[
    "\x1b[A",
    "\x1bOB",
    "\x1b[C",
    "\x1b[D",
    "\x1bb",
    "\x1bf",
    "\x01",
    "\x05",
    "\x7f",
    "\x04",
    "\x0b",
    "\x15",
    "\x17",
    "\x1bd",
    "\x19",
    "\x1f",
    "\x14",
    "\r",
    "\x03",
    "\x0c",
    "\x12a",
    "\x12\x12",
    "\x07",
    "\t",
    "\x1b[200~a\r\n\x03\x1b[201~",
    "\x1b[15~",
    "\u{fffd}",
];

fn keys() -> impl Strategy<Value = Vec<String>> {
    let text = proptest::sample::select(TEXT).prop_map(|(keys, ..)| keys.to_owned());
    let key = proptest::sample::select(KEYS).prop_map(str::to_owned);
    proptest::collection::vec(prop_oneof![3 => text, 2 => key], 0..60)
}

type Expected = (Vec<String>, (usize, usize), Vec<(usize, usize, String)>);

/// What is seen of a view, by the table above: the rows, where the cursor is, and what of it every terminal shows alike.
fn expected(prompt: &str, text: &str, cursor: usize, columns: usize) -> Expected {
    let (mut rows, mut column, mut spot, mut certain) = (vec![String::new()], 0, None, Vec::new());
    let put = |rows: &mut Vec<String>, column: &mut usize, shown: &str, width: usize| {
        if *column + width > columns {
            rows.push(String::new());
            *column = 0;
        }
        let at = (rows.len() - 1, *column);
        rows.last_mut().expect("one").push_str(shown);
        *column += width;
        at
    };
    for c in prompt.chars() {
        put(&mut rows, &mut column, &c.to_string(), 1);
    }
    for (at, cluster) in clusters(text) {
        let known = TEXT.iter().find(|(keys, ..)| *keys == cluster);
        let mut place = None;
        match (known, cluster) {
            (_, "\n") => {
                place = Some(put(&mut rows, &mut column, "", 1));
                rows.push(". ".into());
                column = 2;
            }
            (Some((_, shown, width)), _) if *width <= 2 => {
                let spot = put(&mut rows, &mut column, shown, *width);
                if cluster.chars().count() == 1 && cluster < "\u{10000}" {
                    certain.push((spot.0, spot.1, (*shown).to_owned()));
                }
                place = Some(spot);
            }
            _ => {
                let shown = match (known, cluster) {
                    (Some((_, shown, _)), _) => (*shown).to_owned(),
                    (_, "\t") => "    ".to_owned(),
                    // Marks that an edit has parted from their letters.
                    _ if cluster.chars().all(|c| c.is_control() || "\u{301}\u{200d}\u{fe0f}".contains(c)) => {
                        cluster.escape_default().to_string()
                    }
                    _ => {
                        let wide = cluster
                            .chars()
                            .next()
                            .is_some_and(|c| c > '\u{1100}' && c != '❤' && c != '\u{fffd}');
                        let wide = wide || cluster.contains('\u{fe0f}') && cluster.starts_with('❤');
                        place = Some(put(&mut rows, &mut column, cluster, 1 + usize::from(wide)));
                        String::new()
                    }
                };
                for c in shown.chars() {
                    let spot = put(&mut rows, &mut column, &c.to_string(), 1);
                    place.get_or_insert(spot);
                }
            }
        }
        if at >= cursor && spot.is_none() {
            spot = place;
        }
    }
    let end = put(&mut rows, &mut column, "", 1);
    (rows, spot.unwrap_or(end), certain)
}

use crate::terminal::cells::clusters;

impl Seat {
    /// Does what was typed, beside a server whose every statement is done at once.
    fn serve(&mut self, bytes: &[u8]) {
        let (terminal, mut out) = (&mut self.terminal, Vec::new());
        terminal.feed(bytes);
        while let Some(action) = terminal.step(&mut out) {
            match &action {
                Action::Submit(text) if text.ends_with('x') => terminal.more(&mut out),
                Action::Submit(text) => {
                    terminal.print(&format!("= {}", text.len()), &mut out);
                    terminal.prompt("> ", &mut out);
                }
                Action::Complete { at, .. } => {
                    let done = Candidate { text: "done".into(), about: String::new() };
                    terminal.complete(*at, &[done], &mut out);
                }
                Action::Leave => terminal.prompt("> ", &mut out),
                Action::Interrupt => {}
                Action::Pause => continue,
            }
            self.actions.push(action);
        }
        self.screen.write(&out);
    }

    /// Checks that the rows at the bottom are those of what is edited.
    fn check(&self, columns: usize, rows: usize) -> Result<(), TestCaseError> {
        if !matches!(self.terminal.mode, Mode::Editing) {
            return Ok(());
        }
        let (text, cursor) = (self.terminal.line.text(), self.terminal.line.cursor());
        let (mut lines, at, certain) = expected("> ", text, cursor, columns);
        let top = if lines.len() > rows { at.0.saturating_sub(rows / 2).min(lines.len() - rows) } else { 0 };
        lines = lines.into_iter().skip(top).take(rows).map(|line| line.trim_end().to_owned()).collect();
        let (row, column) = self.screen.cursor();
        prop_assert_eq!(column, at.1, "{:?} at {}", text, cursor);
        prop_assert!(row + top >= at.0);
        let first = row + top - at.0;
        if self.screen.by_code_point {
            for (row, column, shown) in certain {
                if row >= top && row - top < rows {
                    prop_assert_eq!(self.screen.cell(first + row - top, column), shown, "{:?}", text);
                }
            }
            return Ok(());
        }
        let mut shown = self.screen.text();
        shown.resize(shown.len().max(first + lines.len()), String::new());
        prop_assert_eq!(&shown[first..], &lines[..], "{:?}", text);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_seen_is_the_prompt_and_the_text(
        keys in keys(), columns in 9_u16..30, rows in 1_u16..12, by_code_point in any::<bool>(), colour in any::<bool>(),
    ) {
        let size = Size { columns, rows };
        let mut seat = Seat::of("xterm-256color", size, "a1\nb\\na\n");
        seat.terminal = Terminal::new(TerminalKind { term: "tmux", colour, size }, History::from_text("a1\nb\\na\n"));
        seat.screen.by_code_point = by_code_point;
        seat.prompt();
        for key in keys {
            seat.serve(key.as_bytes());
            seat.check(columns.into(), rows.into())?;
        }
    }

    #[test]
    fn where_the_bytes_are_split_changes_nothing(keys in keys(), places in proptest::collection::vec(any::<u16>(), 0..20), dumb in any::<bool>()) {
        let bytes = keys.concat().into_bytes();
        let mut places: Vec<_> = places.iter().map(|&place| usize::from(place) % (bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        // Large, as what leaves the screen cannot be drawn on again.
        let size = Size { columns: 20, rows: 200 };
        let seat = |pieces: &[&[u8]]| {
            let mut seat = Seat::of(if dumb { "dumb" } else { "tmux" }, size, "a1\nb\\na\n");
            seat.prompt();
            for piece in pieces {
                seat.serve(piece);
            }
            seat
        };
        let whole = seat(&[&bytes]);
        let pieces: Vec<_> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let split = seat(&pieces);
        prop_assert_eq!(&split.actions, &whole.actions);
        if !dumb {
            prop_assert_eq!(split.screen.text(), whole.screen.text());
            prop_assert_eq!(split.screen.cursor(), whole.screen.cursor());
        }
    }

    #[test]
    fn any_bytes_will_do(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10), columns in 0_u16..20, rows in 0_u16..5) {
        let kind = TerminalKind { term: "xterm", colour: true, size: Size { columns, rows } };
        let mut terminal = Terminal::new(kind, History::default());
        let mut out = Vec::new();
        for piece in pieces {
            terminal.feed(&piece);
            while terminal.step(&mut out).is_some() {}
            terminal.prompt("> ", &mut out);
        }
        prop_assert!(out.len() < 200_000);
    }
}
