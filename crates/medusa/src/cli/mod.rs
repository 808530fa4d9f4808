//! The command line: what was typed, done.
//!
//! **Invariant:** nothing else reads the environment or decides an exit code. 0 is success, 1 is that what was asked for
//! could not be done, 2 is that the command line was not understood.

mod args;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use medusa_auth::passwd::Owner;
use medusa_monitor::Op;
use medusa_proto::with_causes;
use medusa_script::RustHandlers;

use crate::attach::Person;
use crate::audit::{self, Wanted};
use crate::logging::Logging;
use crate::passwd::Way;
use crate::remote::Remote;
use crate::serve::{Options, serve};
use crate::target::Target;
use crate::{attach, check, generate, init, passwd, replay, term, top};
use args::{AuditCommand, Cli, Command, Place, ServeArgs};

/// The levels that `check` logs: what the script prints, and what is wrong.
const CHECK_LEVEL: &str = "warn,medusa_script=info";

/// Runs the program `medusa` with the given command line, whose first word is how the program was called.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(words, RustHandlers::default())
}

/// The same for a program that brings `handlers` along, which scripts have by `medusa.handler.rust`.
pub fn run_with(words: impl IntoIterator<Item = OsString>, handlers: RustHandlers) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if environment("NO_COLOR").is_some() {
        term::no_colour();
    }
    let command = called_as(words.first());
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            term::note_written(error.print());
            return match term::written() {
                Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
                Err(_) if error.use_stderr() => ExitCode::from(2),
                Err(message) => failed(message),
            };
        }
    };
    match dispatch(cli, command, handlers).and_then(|()| term::written()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(message),
    }
}

fn failed(message: String) -> ExitCode {
    term::error(message);
    ExitCode::FAILURE
}

fn dispatch(cli: Cli, command: String, handlers: RustHandlers) -> Result<(), String> {
    match cli.command {
        None => start(cli.serve, command, handlers),
        Some(Command::Serve(args)) => start(args, command, handlers),
        Some(Command::Check { path, json }) => {
            let target = find_script(path.as_deref(), &command)?;
            let _logging = Logging::start(CHECK_LEVEL)?;
            check::check(&target, handlers, json)
        }
        Some(Command::Init { dir }) => write_sample(&dir, &command),
        Some(Command::Eval { statement, reason, place }) => {
            remote(place, command)?.because(reason).eval(statement)
        }
        Some(Command::Attach { reason, place }) => {
            attach::attach(&remote(place, command)?.because(reason), person())
        }
        Some(Command::Reload { confirm, place }) => remote(place, command)?.reload(confirm),
        Some(Command::Generations { json, place }) => remote(place, command)?.generations(json),
        Some(Command::Diff { from, to, place }) => {
            let path = place.path.as_deref().filter(|path| to.is_none() && !path.exists());
            if let Some(number) = path.and_then(Path::to_str).and_then(|path| path.parse::<u64>().ok()) {
                return Err(format!(
                    "there is no file or directory {number}; generations {from} and {number} are compared by `diff {from} --to {number}`"
                ));
            }
            remote(place, command)?.answer(&Op::Diff { from, to })
        }
        Some(Command::Explain { method, url, place }) => {
            remote(place, command)?.answer(&Op::Explain { method, url })
        }
        Some(Command::Trace { of, place }) => remote(place, command)?.answer(&of.op()),
        Some(Command::Handlers { json, place }) => remote(place, command)?.handlers(json),
        Some(Command::Drain { generation, seconds, place }) => {
            remote(place, command)?.answer(&Op::Drain { generation, seconds })
        }
        Some(Command::Rollback { generation, reason, place }) => {
            remote(place, command)?.answer(&Op::Rollback { generation, reason })
        }
        Some(Command::Confirm { generation, place }) => {
            remote(place, command)?.answer(&Op::Confirm { generation })
        }
        Some(Command::Cancel { generation, place }) => {
            remote(place, command)?.answer(&Op::Cancel { generation })
        }
        Some(Command::Preview { change, json, place }) => remote(place, command)?.preview(change, json),
        Some(Command::Approve { change, place }) => remote(place, command)?.answer(&Op::Approve { change }),
        Some(Command::Save { reason, place }) => remote(place, command)?.answer(&Op::Save { reason }),
        Some(Command::Drift { place }) => remote(place, command)?.answer(&Op::Drift),
        Some(Command::Status { json, place }) => remote(place, command)?.status(json),
        Some(Command::Ps { json, place }) => remote(place, command)?.ps(json),
        Some(Command::Kill { what, place }) => remote(place, command)?.kill(what),
        Some(Command::Top { n, place }) => top::top(&remote(place, command)?, n, &person().term),
        Some(Command::Reopen { place }) => remote(place, command)?.reopen(),
        Some(Command::Stop { place }) => remote(place, command)?.stop(),
        Some(Command::Audit { command: audit }) => audited(audit, command),
        Some(Command::Passwd { file, user, remove, token, digest }) => {
            passwd::passwd(&file, Owner { user: &user, realm: digest.as_deref() }, Way::of(remove, token))
        }
        Some(Command::Types) => {
            generate::types();
            Ok(())
        }
        Some(Command::Completions { shell }) => {
            generate::completions(shell, Cli::command());
            Ok(())
        }
        Some(Command::Reference { dir }) => generate::pages(&dir).map_err(|error| with_causes(&error)),
    }
}

fn audited(audit: AuditCommand, command: String) -> Result<(), String> {
    let state = |place| remote(place, command).map(|remote| remote.state);
    match audit {
        AuditCommand::Show { json, since, session, place } => {
            audit::show(&state(place)?, &Wanted { since, session }, json)
        }
        AuditCommand::Verify { key, anchor, place } => audit::verify(&state(place)?, key.as_deref(), &anchor),
        AuditCommand::Replay { into, yes, place } => replay::replay(&state(place)?, &into, yes),
    }
}

fn start(args: ServeArgs, command: String, handlers: RustHandlers) -> Result<(), String> {
    let target = find_script(args.place.path.as_deref(), &command)?;
    let options = Options {
        listen: args.listen,
        workers: args.workers,
        state: state(args.place.state),
        command: Some(command),
        handlers,
        ..Options::new(target)
    };
    let logging = Logging::start(&args.log_level)?;
    if let Some(trouble) = medusa_log::zone_trouble(environment("TZ").as_deref()) {
        tracing::warn!("{trouble}");
    }
    let stopped = serve(options);
    drop(logging); // so that what follows is the last line
    let stopped = stopped.map_err(|error| with_causes(&error))?;
    let connections = if stopped.finished == 1 { "connection" } else { "connections" };
    term::note(format_args!(
        "stopped: {} {connections} finished, {} cut off",
        stopped.finished, stopped.aborted
    ));
    Ok(())
}

fn write_sample(directory: &Path, command: &str) -> Result<(), String> {
    for file in init::init(directory).map_err(|error| with_causes(&error))? {
        term::answer(format_args!("wrote {}", file.display()));
    }
    term::note(format_args!("start it with: {command} serve {}", directory.display()));
    Ok(())
}

fn remote(place: Place, command: String) -> Result<Remote, String> {
    let reason = environment("MEDUSA_REASON").and_then(|reason| reason.into_string().ok());
    match (state(place.state), place.path) {
        (Some(state), None) => Ok(Remote { target: None, state, command, reason }),
        (state, path) => {
            let target = find(path.as_deref())?;
            let state = state.unwrap_or_else(|| target.default_state());
            Ok(Remote { target: Some(target), state, command, reason })
        }
    }
}

fn find(path: Option<&Path>) -> Result<Target, String> {
    Target::find(path, &here()?).map_err(|error| with_causes(&error))
}

fn find_script(path: Option<&Path>, command: &str) -> Result<Target, String> {
    Target::find_script(path, &here()?, command).map_err(|error| with_causes(&error))
}

fn here() -> Result<PathBuf, String> {
    std::env::current_dir().map_err(|error| format!("the current directory cannot be told: {error}"))
}

/// The state directory that was named, here or by systemd (`StateDirectory=`), which may give several.
fn state(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| first_path(environment("STATE_DIRECTORY")?))
}

fn first_path(paths: OsString) -> Option<PathBuf> {
    std::env::split_paths(&paths).next().filter(|path| !path.as_os_str().is_empty())
}

/// Who sits at the terminal, as the environment tells.
fn person() -> Person {
    let absolute = |name, below: &str| {
        let path = PathBuf::from(environment(name)?).join(below);
        path.is_absolute().then_some(path)
    };
    Person {
        term: environment("TERM").and_then(|term| term.into_string().ok()).unwrap_or_default(),
        state: absolute("XDG_STATE_HOME", "").or_else(|| absolute("HOME", ".local/state")),
    }
}

/// The way to call this program again: by the path it was called by, or by its name.
fn called_as(word: Option<&OsString>) -> String {
    let word = word.and_then(|word| word.to_str()).filter(|word| word.contains('/'));
    word.unwrap_or("medusa").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_again_as_it_was_called() {
        assert_eq!(called_as(Some(&"target/release/medusa".into())), "target/release/medusa");
        assert_eq!(called_as(Some(&"medusa".into())), "medusa");
        assert_eq!(called_as(None), "medusa");
    }

    #[test]
    fn of_systemds_state_directories_the_first_is_ours() {
        assert_eq!(first_path("/var/lib/a:/var/lib/b".into()), Some("/var/lib/a".into()));
        assert_eq!(first_path("/var/lib/a".into()), Some("/var/lib/a".into()));
        assert_eq!(first_path("".into()), None);
    }
}
