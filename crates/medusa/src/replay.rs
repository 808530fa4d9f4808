//! `medusa audit replay`: what changed a server's site, according to its audit log, is done once more in another server.
//!
//! What only looked is left out, and so is what concerned the server that the log is of: its files, sessions and requests. Numbers of
//! generations are others in the other server: those that it made here are known by what they are there.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use medusa_monitor::audit::{AuditFiles, Effect, Findings, LogLine, Outcome, Record, RecordKind, Text};
use medusa_monitor::{Client, Done, Op, looks_first};
use medusa_proto::progress::TaskProgress;
use medusa_proto::shown::Escaped;
use medusa_proto::with_causes;

use crate::audit::{MARGIN, check};
use crate::term;

/// How many statements are kept until their result is read: more than sessions could have under way.
const MAX_OPEN: usize = 64;

/// How many generations are known by what they are in the other server: as many as a server remembers.
const MAX_KNOWN: usize = 1000;

/// What a report says of a change that is on trial.
const ON_TRIAL: &str = " unless confirm()";

/// Does what succeeded according to the log in `state`, in the order in which it ended, in the server whose state directory is `into`;
/// without `yes` it only lists it.
pub(crate) fn replay(state: &Path, into: &Path, yes: bool) -> Result<(), String> {
    if let (Ok(from), Ok(to)) = (state.canonicalize(), into.canonicalize())
        && from == to
    {
        return Err(format!("{} is the server that this log is of: replay into another", into.display()));
    }
    let files = AuditFiles::new(state);
    let key = files.key(None).map_err(|error| with_causes(&error))?;
    // Nobody has added a statement to it.
    verify(&check(&files, &key, &[]).map_err(|error| with_causes(&error))?)?;
    let mut replay = Replay::default();
    if yes {
        replay.connect(into)?;
    }
    let read = files.check(&key, &[], |line| replay.line(line));
    read.map_err(|error| with_causes(&error))?;
    let skipped = replay.skipped();
    let Replay { done, failed, .. } = replay;
    let told = match (failed, yes) {
        (Some(failed), _) => Err(failed),
        (None, true) => {
            term::note(format_args!("{done} statements were run"));
            Ok(())
        }
        (None, false) => {
            Err(format!("nothing was run: these are {done} statements; add `--yes` to run them"))
        }
    };
    if let Some(skipped) = skipped {
        term::note(format_args!("left out: {skipped}"));
    }
    told
}

fn verify(findings: &Findings) -> Result<(), String> {
    let damage = || findings.damage.first().map(ToString::to_string);
    match findings.told().or_else(damage) {
        Some(told) => Err(format!("the audit log is not whole, so nothing of it is run: {told}")),
        None => Ok(()),
    }
}

/// What is to be done with something that succeeded.
#[derive(Debug, PartialEq)]
enum Step {
    /// It is run, as this statement.
    Run(String),
    /// What is on trial is decided so.
    Decide(&'static str),
    /// The site goes back to this generation of the log.
    GoBack(u64),
    /// It is left out; why.
    Skip(&'static str),
}

impl Step {
    /// What is to be done with a statement that had this effect.
    fn of_statement(source: String, effect: Option<&Effect>) -> Result<Self, &'static str> {
        if effect.is_none() && looks_first(&source).is_some() {
            return Ok(Self::Skip("it only looks"));
        }
        let mut words = source.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        if words.any(|word| word == "rollback") {
            return Err("goes back to a generation by a number that is another there");
        }
        Ok(Self::Run(source))
    }

    /// What is to be done with a request, as it is recorded: `rollback generation=8`.
    fn of_request(text: &str) -> Self {
        let field = |name: &str| text.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        match text.split(' ').next().unwrap_or_default() {
            // It is committed as it is: what it was called is called otherwise elsewhere.
            "commit" => {
                let seconds = field("confirm").and_then(|seconds| seconds.parse::<f64>().ok());
                Self::Run(format!(
                    "commit({})",
                    seconds.map(|seconds| seconds.to_string()).unwrap_or_default()
                ))
            }
            "confirm" => Self::Decide("confirm()"),
            "cancel" => Self::Decide("cancel()"),
            "rollback" => match field("generation").and_then(|number| number.parse().ok()) {
                Some(number) => Self::GoBack(number),
                None => Self::Skip("it does not say where to"),
            },
            "reload" => Self::Skip("the other server has a script of its own"),
            "save" => Self::Skip("what stays in the other server is for whoever runs that to say"),
            "approve" => Self::Skip("who replays needs nobody's approval"),
            _ if looks_first(text).is_some() => Self::Skip("it only looks"),
            _ => Self::Skip("it concerns what went on in that server"),
        }
    }
}

/// A statement or request without a result so far.
struct OpenRecord {
    is_statement: bool,
    text: Text,
}

#[derive(Default)]
struct Replay {
    /// Where to run it; none: it is only listed.
    client: Option<Client>,
    open: HashMap<u64, OpenRecord>,
    /// The generations of the log, and what they are there.
    generations: BTreeMap<u64, u64>,
    /// The generation there before anything is run.
    base: Option<u64>,
    /// Whether what was run last is on trial there.
    on_trial: bool,
    done: u64,
    /// What was left out: how often, by what it is called.
    skipped: BTreeMap<String, u64>,
    failed: Option<String>,
}

impl Replay {
    fn connect(&mut self, into: &Path) -> Result<(), String> {
        let mut client = Client::connect(into).map_err(|error| with_causes(&error))?;
        let known = client.call(&Op::Generations, |_event| {}).map_err(|error| with_causes(&error))?;
        self.base = known.generations.and_then(|known| known.first().map(|last| last.number));
        self.client = Some(client);
        Ok(())
    }

    fn line(&mut self, line: LogLine<'_>) {
        if self.failed.is_some() {
            return;
        }
        let Ok(record) = Record::decode(line.bytes) else { return };
        match (record.kind, record.text, record.of, record.result) {
            // What only looks, and what ends things, is recorded when it is done.
            (RecordKind::Request, Some(text), _, Some(result)) => {
                match (Step::of_request(text.kept()), result) {
                    (Step::Decide(_), Outcome::Ok(_)) => {
                        let asked = OpenRecord { is_statement: false, text };
                        self.failed = self.ended(record.seq, asked, record.effect.as_ref()).err();
                    }
                    _ => self.skip(text.kept()),
                }
            }
            (kind @ (RecordKind::Statement | RecordKind::Request), Some(text), ..) => {
                if self.open.len() >= MAX_OPEN {
                    // It never ended, as the server did before.
                    let oldest = self.open.keys().min().copied();
                    oldest.and_then(|oldest| self.open.remove(&oldest));
                }
                let is_statement = kind == RecordKind::Statement;
                self.open.insert(record.seq, OpenRecord { is_statement, text });
            }
            (RecordKind::Result, _, Some(of), Some(result)) => {
                let Some(asked) = self.open.remove(&of) else { return };
                match (result, record.effect) {
                    (Outcome::Ok(_), effect) => self.failed = self.ended(of, asked, effect.as_ref()).err(),
                    (Outcome::Error(_), Some(_)) => {
                        self.tell_skipped(
                            of,
                            asked.text.kept(),
                            "it failed after it had published something",
                        );
                    }
                    (Outcome::Error(_), None) => {}
                }
            }
            _ => {}
        }
    }

    /// Does once more what has ended well.
    fn ended(&mut self, seq: u64, asked: OpenRecord, effect: Option<&Effect>) -> Result<(), String> {
        let stop =
            |why: &str| Err(format!("the statement of record {seq} {why}: it and what follows were not run"));
        let kept = asked.text.kept().to_owned();
        let step = match asked {
            OpenRecord { is_statement: true, text: Text::Whole(source) } => {
                match Step::of_statement(source, effect) {
                    Ok(step) => step,
                    Err(why) => return stop(why),
                }
            }
            OpenRecord { is_statement: true, text: Text::Cut { .. } } => {
                return stop("was too long to be kept");
            }
            OpenRecord { is_statement: false, text } => Step::of_request(text.kept()),
        };
        let source = match step {
            Step::Skip(why) => {
                self.tell_skipped(seq, &kept, why);
                return Ok(());
            }
            // Of a reload, which is left out.
            Step::Decide(_) if !self.on_trial => {
                self.tell_skipped(seq, &kept, "nothing that was run is on trial");
                return Ok(());
            }
            Step::Decide(statement) => statement.to_owned(),
            Step::Run(source) => {
                self.end_trial(seq, effect);
                source
            }
            Step::GoBack(number) => {
                self.end_trial(seq, effect);
                match (&self.client, self.generations.get(&number)) {
                    (Some(_), None) => {
                        return stop(&format!(
                            "goes back to generation {number}, which nothing of this has made"
                        ));
                    }
                    (_, known) => format!("rollback({})", known.unwrap_or(&number)),
                }
            }
        };
        self.run(seq, source, effect)
    }

    /// Takes back what is on trial where the log has no end of it: nobody has confirmed it before something else was published.
    /// If there its time is over already, that is as good.
    fn end_trial(&mut self, seq: u64, effect: Option<&Effect>) {
        if self.on_trial && effect.is_some() {
            let _over = self.run(seq, "cancel()".to_owned(), None);
            self.on_trial = false;
        }
    }

    fn run(&mut self, seq: u64, source: String, effect: Option<&Effect>) -> Result<(), String> {
        term::answer(format_args!("{seq:>6}  {}", Escaped::lines(&source, MARGIN)));
        let decides = source.contains("confirm(") || source.contains("cancel(");
        let mut report = effect.and_then(|effect| effect.diff.last().cloned());
        if let Some(client) = &mut self.client {
            let show = |event: TaskProgress| term::aside(&event.to_string());
            let done = client.call(&Op::Eval { source }, show).map_err(|error| {
                format!(
                    "the statement of record {seq} failed there, and what follows was not run ({} were before it): {}",
                    self.done,
                    with_causes(&error)
                )
            })?;
            if let Some(effect) = effect {
                self.note(effect, &done);
            }
            report = done.report;
        }
        match report {
            Some(report) => self.on_trial = report.contains(ON_TRIAL),
            None => self.on_trial &= !decides,
        }
        self.done += 1;
        Ok(())
    }

    /// Notes what the generations of the log are there.
    fn note(&mut self, effect: &Effect, done: &Done) {
        let of_log: Vec<_> = effect.earlier.iter().copied().chain([effect.generation]).collect();
        let there = done.earlier.iter().map(|earlier| earlier.generation).chain(done.generation);
        if let (Some(base), Some(before)) =
            (self.base.take(), of_log.first().and_then(|first| first.checked_sub(1)))
        {
            self.generations.insert(before, base);
        }
        self.generations.extend(of_log.into_iter().zip(there));
        while self.generations.len() > MAX_KNOWN {
            self.generations.pop_first();
        }
    }

    /// Leaves out a record, and says so.
    fn tell_skipped(&mut self, seq: u64, text: &str, why: &str) {
        let line = Escaped::line(text.lines().next().unwrap_or_default()).to_string();
        term::aside(&format!("{seq:>6}  left out, as {why}: {line}"));
        self.skip(text);
    }

    fn skip(&mut self, text: &str) {
        let first =
            |text: &str| text.split(|char: char| !char.is_ascii_alphanumeric()).next().map(str::to_owned);
        let name =
            looks_first(text).map(str::to_owned).or_else(|| first(text)).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| "others".to_owned());
        let is_known = self.skipped.contains_key(&name) || self.skipped.len() < MAX_OPEN;
        *self.skipped.entry(if is_known { name } else { "others".to_owned() }).or_default() += 1;
    }

    /// What was left out: `3 trace, 1 reload`.
    fn skipped(&self) -> Option<String> {
        let mut told = String::new();
        for (name, count) in &self.skipped {
            let _ =
                write!(told, "{}{count} {}", if told.is_empty() { "" } else { ", " }, Escaped::line(name));
        }
        (!told.is_empty()).then_some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_a_record_is_told_by_its_text_and_its_effect() {
        let effect = Effect::new(3, Vec::new());
        let run = |source: &str| Ok(Step::Run(source.to_owned()));
        let statement = |source: &str, effect| Step::of_statement(source.to_owned(), effect);
        assert_eq!(statement("trace(f, 5)", None), Ok(Step::Skip("it only looks")));
        assert_eq!(statement("help(web) x:remove()", Some(&effect)), run("help(web) x:remove()"));
        assert_eq!(statement("x = 1", None), run("x = 1"));
        assert!(statement("x = 1 rollback(3)", Some(&effect)).is_err());
        for (request, step) in [
            (r#"commit change="3f" confirm=60.0 reason="a b""#, Step::Run("commit(60)".to_owned())),
            (r#"commit reason="x confirm=stop()""#, Step::Run("commit()".to_owned())),
            ("confirm", Step::Decide("confirm()")),
            ("cancel generation=4", Step::Decide("cancel()")),
            (r#"rollback generation=8 reason="generation=9""#, Step::GoBack(8)),
            (r#"trace of={"path":"/"}"#, Step::Skip("it only looks")),
        ] {
            assert_eq!(Step::of_request(request), step, "{request}");
        }
        assert!(matches!(Step::of_request("reload confirm=60.0"), Step::Skip(_)));
    }
}
