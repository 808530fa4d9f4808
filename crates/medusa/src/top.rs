//! `medusa top`: the server in numbers, once a second; drawn again in place on a terminal, and in lines elsewhere.

use std::io::{self, IsTerminal};

use medusa_monitor::Op;
use medusa_monitor::protocol::Reply;
use medusa_proto::top::TopSample;
use medusa_proto::with_causes;

use crate::remote::{Remote, now_shown};
use crate::term;

/// Shows `n` seconds, or all that come; `term` is `$TERM`.
pub(crate) fn top(remote: &Remote, n: Option<u64>, term: &str) -> Result<(), String> {
    let mut drawing = (io::stdout().is_terminal() && !matches!(term, "" | "dumb")).then(Drawing::default);
    let (mut requests, mut replies) = remote.connect()?.split().map_err(|error| error.to_string())?;
    requests.send(&Op::Top { n }).map_err(|error| with_causes(&error))?;
    loop {
        let listens = match replies.next_reply().map_err(|error| with_causes(&error))? {
            Reply::Top(sample) => match &mut drawing {
                Some(drawing) => drawing.draw(&sample),
                None => term::draw(&format!("{}  {sample}\n", now_shown())),
            },
            Reply::Done(_) => return Ok(()),
            Reply::Failed(failure) => return Err(failure.message),
            Reply::Output { .. } | Reply::Waiting { .. } | Reply::News { .. } | Reply::Trial { .. } => true,
        };
        if !listens {
            return Ok(());
        }
    }
}

/// What was drawn last.
#[derive(Default)]
struct Drawing {
    lines: usize,
    columns: u16,
}

impl Drawing {
    /// Draws a sample where the last was. Whether anybody looks.
    fn draw(&mut self, sample: &TopSample) -> bool {
        let (columns, rows) = term::stdout_size().unwrap_or((80, 24));
        term::draw(&self.steps(sample, columns, rows))
    }

    /// What does that on a terminal of this size. What is made narrower has the old lines broken somewhere: all is cleared then.
    fn steps(&mut self, sample: &TopSample, columns: u16, rows: u16) -> String {
        let lines = sample.screen(usize::from(columns.max(2)) - 1, usize::from(rows.max(2)) - 1);
        let mut steps = match self.lines {
            0 => String::new(),
            _ if self.columns != columns => "\x1b[H\x1b[2J".to_owned(),
            drawn => format!("\r\x1b[{drawn}A"),
        };
        for line in &lines {
            steps.push_str(line);
            steps.push_str("\x1b[K\r\n");
        }
        steps.push_str("\x1b[J");
        (self.lines, self.columns) = (lines.len(), columns);
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_is_drawn_where_the_last_was() {
        let (mut drawing, sample) = (Drawing::default(), TopSample::default());
        let first = drawing.steps(&sample, 80, 24);
        assert!(
            first.starts_with("requests       0.0 /s\x1b[K\r\n") && first.ends_with("\r\n\x1b[J"),
            "{first:?}"
        );
        let second = drawing.steps(&sample, 80, 24);
        assert_eq!(second, format!("\r\x1b[6A{first}"));
        assert!(drawing.steps(&sample, 40, 3).starts_with("\x1b[H\x1b[2J"));
        assert!(drawing.steps(&sample, 40, 3).starts_with("\r\x1b[2A"), "no more than there is room for");
    }
}
