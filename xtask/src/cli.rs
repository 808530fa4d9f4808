//! From the command line to a command: their help, and the reading of arguments.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::term;

/// One command. `help` is shown under the usage line; newlines at its end are left out.
#[derive(Debug)]
pub(crate) struct Command {
    /// The word that selects it.
    pub(crate) name: &'static str,
    /// What follows the name on a command line.
    pub(crate) usage: &'static str,
    /// One line for the list.
    pub(crate) summary: &'static str,
    /// The whole story.
    pub(crate) help: &'static str,
    /// What it does.
    pub(crate) run: fn(Arguments) -> Result,
}

/// Every command, in the order of the help.
pub(crate) type Commands = &'static [&'static Command];

/// Does what the command line says.
pub(crate) fn run(commands: Commands, words: Vec<String>) -> Result {
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        term::answer(&overview(commands));
        return Ok(());
    };
    let rest: Vec<String> = words.collect();
    if matches!(first.as_str(), "help" | "--help" | "-h") {
        return help(commands, rest.first().map(String::as_str));
    }
    let command = find(commands, &first)?;
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        return help(commands, Some(command.name));
    }
    (command.run)(Arguments { command: command.name, words: rest })
}

fn help(commands: Commands, topic: Option<&str>) -> Result {
    let text = match topic {
        None => overview(commands),
        Some(name) => full_help(find(commands, name)?),
    };
    term::answer(&text);
    Ok(())
}

fn find(commands: Commands, name: &str) -> Result<&'static Command> {
    commands.iter().copied().find(|command| command.name == name).ok_or_else(|| {
        let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
        Error::Usage(format!("there is no command `{name}`; the commands are {}", names.join(", ")))
    })
}

fn overview(commands: Commands) -> String {
    let mut text = String::from(
        "The repository's own commands.\n\nUsage: cargo xtask COMMAND [ARGUMENTS]\n\nCommands:\n",
    );
    for command in commands {
        let call = format!("{} {}", command.name, command.usage);
        let _infallible = writeln!(text, "  {call:<24} {}", command.summary);
    }
    text += "  help [COMMAND]           This list, or the whole story of one command\n\n";
    text += "A day's work: change a crate, `cargo xtask check` in its folder until it is quiet,\n";
    text += "`cargo xtask ci` before handing in.";
    text
}

fn full_help(command: &Command) -> String {
    format!(
        "{}\n\nUsage: cargo xtask {} {}\n\n{}",
        command.summary,
        command.name,
        command.usage,
        command.help.trim_end()
    )
}

/// The words after the command's name. A command takes out what it knows and ends with [`finish`](Self::finish), so
/// that a word nobody knows is always an error.
#[derive(Debug)]
pub(crate) struct Arguments {
    command: &'static str,
    words: Vec<String>,
}

impl Arguments {
    /// Takes out the flag `name`; says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// Takes out `name VALUE` or `name=VALUE`.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>> {
        let joined = format!("{name}=");
        let Some(at) = self.words.iter().position(|word| word == name || word.starts_with(&joined)) else {
            return Ok(None);
        };
        let word = self.words.remove(at);
        match word.strip_prefix(&joined) {
            Some(value) => Ok(Some(value.to_owned())),
            None if at < self.words.len() => Ok(Some(self.words.remove(at))),
            None => Err(Error::Usage(format!("`{}`: {name} needs a value", self.command))),
        }
    }

    /// Takes out `name NUMBER`, a whole number from 1 to `most`.
    pub(crate) fn count(&mut self, name: &str, most: u32) -> Result<Option<u32>> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Error::Usage(format!(
                "`{}`: {name} takes a whole number from 1 to {most}, not `{text}`",
                self.command
            ))),
        }
    }

    /// Takes out the first word that is not an option. Call it after the options are taken out.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.words.iter().position(|word| !word.starts_with('-'))?;
        Some(self.words.remove(at))
    }

    /// Refuses whatever is left.
    pub(crate) fn finish(self) -> Result {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Error::Usage(format!("`{}` does not take `{word}`", self.command))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::COMMANDS;

    fn arguments(line: &str) -> Arguments {
        Arguments { command: "test", words: line.split_whitespace().map(str::to_owned).collect() }
    }

    #[test]
    fn options_are_taken_in_any_order_and_both_spellings() {
        let mut given = arguments("--rounds 3 http --json=out.json --check");
        assert!(given.flag("--check"));
        assert!(!given.flag("--check"));
        assert_eq!(given.count("--rounds", 100).expect("a number"), Some(3));
        assert_eq!(given.value("--json").expect("a value").as_deref(), Some("out.json"));
        assert_eq!(given.word().as_deref(), Some("http"));
        given.finish().expect("nothing left");
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let error = arguments("--chekc").finish().expect_err("unknown");
        assert!(error.to_string().starts_with("`test` does not take `--chekc`"), "{error}");
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_its_bounds() {
        for wrong in ["0", "101", "-1", "five", "1e3"] {
            let error = arguments(&format!("--rounds {wrong}")).count("--rounds", 100).expect_err(wrong);
            assert!(error.to_string().contains(&format!("from 1 to 100, not `{wrong}`")), "{error}");
        }
        assert_eq!(arguments("").count("--rounds", 100).expect("not given"), None);
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        let error = arguments("--json").value("--json").expect_err("no value");
        assert!(error.to_string().contains("--json needs a value"), "{error}");
    }

    #[test]
    fn every_command_has_a_help_worth_reading() {
        for command in COMMANDS {
            assert!(command.help.lines().count() >= 4, "{}", command.name);
            assert!(command.help.lines().all(|line| line.chars().count() <= 100), "{}", command.name);
            assert!(overview(COMMANDS).contains(command.summary), "{}", command.name);
        }
    }

    #[test]
    fn an_unknown_command_lists_the_known_ones() {
        let error = run(COMMANDS, vec!["tydi".to_owned()]).expect_err("unknown");
        assert!(
            error.to_string().contains("check, tidy, docs, deny, advisories, bench, fuzz, soak, dist, ci"),
            "{error}"
        );
    }
}
