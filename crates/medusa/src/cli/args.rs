//! Commands, options, and their help.
//!
//! The first line of each comment is what `-h` shows; the rest is for `--help`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use medusa_monitor::Op;
use medusa_monitor::audit::Head;
use medusa_monitor::protocol::TracedBy;
use medusa_monitor::{Killed, NoRunId};
use medusa_net::ListenAddr;

use crate::logging::parse_level;

/// More workers than any machine has cores for are a slip of the finger.
const MAX_WORKERS: usize = 1024;

const SESSION: &str = "\
A typical session:
  medusa init mysite                        write a commented sample site
  medusa check mysite                       see what its script makes, without starting anything
  medusa serve mysite                       start it; Ctrl-C stops it
and in another terminal:
  medusa eval 'greeting = \"Ahoy\"' mysite    change the running server by one statement
  medusa attach mysite                      or by as many as you like, at a prompt
  medusa reload mysite                      after an edit: run the script anew, drop no connection
  medusa status mysite                      what is running, and how it fares
  medusa stop mysite                        let it finish what it is at, and end

Where the configuration lives:
  There is none but the script, `site.luau`. What it can say: `medusa types`, or docs/reference.
  A running server keeps its control socket in its state directory, `.medusa` beside the script.";

/// An internet server driven by a script, changed while it runs.
///
/// Medusa runs a script in Luau, `site.luau`, that says what to serve: files, functions, other scripts. Whatever the script
/// can do at the start, a statement can do to the running server, without a dropped connection; and a change that fails
/// changes nothing.
///
/// Without a command, `serve` is meant.
#[derive(Debug, Parser)]
#[command(name = "medusa", version, after_long_help = SESSION)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a server (also without the word `serve`)
    ///
    /// Runs in the foreground. Ready is a line on standard error with the URL, and READY=1 for a service manager.
    ///
    /// SIGTERM or SIGINT (Ctrl-C) stops it: listeners close, requests under way finish, logs are written; a second one does
    /// not wait for requests. SIGHUP reloads the script. SIGUSR1 opens log files anew, after logrotate has moved them.
    #[command(after_long_help = "\
Examples:
  medusa                                    the site at hand: site.luau, or site/site.luau
  medusa serve .                            the files of this directory, as they are
  medusa serve mysite --listen :80          on port 80 of every address, whatever the script says
  medusa serve ~/Downloads --listen 127.0.0.1:0    any directory, on a free port")]
    Serve(ServeArgs),

    /// Say what a script would make, or what is wrong with it
    ///
    /// Does all that `serve` does before it opens anything for others to see: runs the script, loads its handlers, looks
    /// for mounts and addresses that clash. Prints the site as a tree and exits with 0, or the error with file, line and excerpt and
    /// exits with 1. What the script prints goes to standard error.
    #[command(after_long_help = "\
Examples:
  medusa check mysite && medusa reload mysite
  medusa check --json mysite | jq '.children[].listen'
  medusa check --json mysite | jq -r .error.message")]
    Check {
        /// Script or directory; see `medusa serve --help`
        #[arg(value_parser = named("a file or a directory"))]
        path: Option<PathBuf>,
        /// As JSON, an error, too
        #[arg(long)]
        json: bool,
    },

    /// Write a commented sample site into a directory
    ///
    /// The directory is made if it does not exist. If one of the files exists already, nothing is written.
    Init {
        /// Where to write it
        #[arg(value_parser = named("a directory"))]
        dir: PathBuf,
    },

    /// Run one statement in a running server
    ///
    /// The statement is one change: it takes effect on every worker at once, or if it fails, not at all. It sees the names
    /// that the script defines without `local`. What it prints and its value go to standard output.
    #[command(after_long_help = "\
Examples:
  medusa eval 'greeting'                    the value of a name of the script
  medusa eval 'hi = web:mount(\"/hi\", function(req) return \"hi\" end)'
  medusa eval 'hi:remove()'
  medusa eval - mysite < patch.luau         several lines, as one change
  medusa eval -- '-1 + 2'                   one that begins with a dash")]
    Eval {
        /// The statement, in Luau; `-` or none: standard input
        statement: Option<String>,
        /// What it is for, for the audit log [default: `$MEDUSA_REASON`]
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        place: Place,
    },

    /// Work in a running server, statement by statement
    ///
    /// A prompt: each statement is one change, as with `eval`. A statement that is not complete asks for another line. Ctrl-C ends
    /// what runs, Ctrl-D leaves, Ctrl-R searches what was typed before; a line that begins with a space is not remembered.
    ///
    /// Where standard input is no terminal, its statements are run one after the other, each when it is complete, until one fails:
    /// then the exit code is 1.
    #[command(after_long_help = "\
Examples:
  medusa attach mysite
  medusa attach mysite < changes.luau       several changes, one after the other
The history is $XDG_STATE_HOME/medusa/history, or ~/.local/state/medusa/history.")]
    Attach {
        /// What the session is for, for the audit log [default: `$MEDUSA_REASON`]
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        place: Place,
    },

    /// Run the script of a running server anew
    ///
    /// In a fresh interpreter. The new site takes over at one instant, and no connection is closed by that; what is the same
    /// in both goes on untouched. If anything fails, the old site goes on. What was changed by `eval` is gone afterwards
    /// unless it was saved (`medusa save`).
    Reload {
        /// Go back to the old site by itself unless that is confirmed (`medusa confirm`) within so many seconds
        #[arg(long, value_name = "SECONDS")]
        confirm: Option<f64>,
        #[command(flatten)]
        place: Place,
    },

    /// List the last changes of a running server, the latest first
    Generations {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },

    /// Compare two generations of a running server
    #[command(after_long_help = "\
Examples:
  medusa diff 8                             what is different now from generation 8
  medusa diff 8 --to 9 mysite               from generation 8 to generation 9: `diff(8, 9)` of a prompt")]
    Diff {
        /// The number of the first
        from: u64,
        /// The number of the second [default: the running one]
        #[arg(long, value_name = "GENERATION")]
        to: Option<u64>,
        #[command(flatten)]
        place: Place,
    },

    /// Say how a request would be routed, without serving it
    Explain {
        /// Its method
        method: String,
        /// Its URL: `/path`, or `http://host/path`
        url: String,
        #[command(flatten)]
        place: Place,
    },

    /// Show the next requests of a running server, with every handler they pass
    ///
    /// Each in a line when it is over: its mount, every handler it passed with the time that took itself, its status, bytes and
    /// time, and what went wrong. Ctrl-C ends it.
    #[command(after_long_help = "\
Examples:
  medusa trace mysite
  medusa trace --path /api/ --status 5xx -n 100 --seconds 600
  medusa eval 'trace(function(record) return record.duration > 1 end)'")]
    Trace {
        #[command(flatten)]
        of: TraceArgs,
        #[command(flatten)]
        place: Place,
    },

    /// List the handlers of all mounts, and what is under way on each
    Handlers {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },

    /// Have what goes on for long on the handlers of a generation end
    ///
    /// Sessions of web sockets and event streams are told to, so that clients connect again; other streams and requests go on to
    /// their end.
    Drain {
        /// The generation that has published them (see `handlers`, `generations`)
        generation: u64,
        /// Cut off what is left, other streams included, after so long; 0 does it at once
        #[arg(long)]
        seconds: Option<f64>,
        #[command(flatten)]
        place: Place,
    },

    /// Go back to a generation of a running server, as a new generation
    Rollback {
        /// Its number
        generation: u64,
        /// The reason, for the history
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        place: Place,
    },

    /// Confirm the change that is on trial
    Confirm {
        /// Only if it is this generation
        #[arg(long)]
        generation: Option<u64>,
        #[command(flatten)]
        place: Place,
    },

    /// Take the change that is on trial back at once
    Cancel {
        /// Only if it is this generation
        #[arg(long)]
        generation: Option<u64>,
        #[command(flatten)]
        place: Place,
    },

    /// Show what a session has begun, as it is to be published
    Preview {
        /// What names it, or the first 12 digits of that
        change: String,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },

    /// Let a session publish what it has begun and may not publish without
    ///
    /// Once, exactly that, within 10 minutes. Look at it first (`medusa preview`).
    Approve {
        /// What names it, or the first 12 digits of that
        change: String,
        #[command(flatten)]
        place: Place,
    },

    /// Write what statements have changed to a file beside the script, which runs after it from now on
    ///
    /// The file is `live/NNNN-reason.luau`. It can be changed, moved into the script, or deleted.
    Save {
        /// The reason, for the file's name and its first line
        reason: String,
        #[command(flatten)]
        place: Place,
    },

    /// Say how what runs differs from what is written
    Drift {
        #[command(flatten)]
        place: Place,
    },

    /// Say what is running, and how it fares
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },

    /// List what of scripts is running: statements, timers, requests, streams
    ///
    /// What has used the most CPU time comes first, at most 100. What ends within a millisecond is never seen.
    #[command(after_long_help = "\
Examples:
  medusa ps mysite
  medusa kill r17 mysite                    end one of them")]
    Ps {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },

    /// End one thing that is running, or a session
    ///
    /// The function or statement fails; its request is answered 503, its WebSocket closed. The server goes on, and so does a
    /// timer, with its next run.
    Kill {
        /// Its number in `medusa ps`, like `r17`; of a session, like `3`
        #[arg(value_name = "ID", value_parser = parse_killed)]
        what: Killed,
        #[command(flatten)]
        place: Place,
    },

    /// Show a running server in numbers, once a second
    ///
    /// Requests and 5xx in a second; how long half and 99 of 100 of the requests took at most, streams not
    /// included; open connections; records that wait in logs, and that were lost; the memory of scripts; what is on trial; the
    /// busiest mounts. On a terminal it is drawn again in place, elsewhere it is a line for each second. Ctrl-C ends it.
    #[command(after_long_help = "\
Examples:
  medusa top mysite
  medusa top -n 60 mysite > minute.txt      a minute, in lines")]
    Top {
        /// Stop after so many seconds
        #[arg(short, value_parser = clap::value_parser!(u64).range(1..))]
        n: Option<u64>,
        #[command(flatten)]
        place: Place,
    },

    /// Open the log files of a running server anew
    ///
    /// For logrotate, after it has moved them. SIGUSR1 does the same.
    Reopen {
        #[command(flatten)]
        place: Place,
    },

    /// Stop a running server, and wait until it has ended
    ///
    /// It closes its listeners, lets requests under way finish for at most 30 seconds, and writes its logs.
    Stop {
        #[command(flatten)]
        place: Place,
    },

    /// Say what was done in a server's sessions, and whether the record of it is whole
    ///
    /// A server records every session in its state directory: who, each statement before it is run, and what became of it.
    /// These commands read that log, also while no server runs.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },

    /// Give a user of a file a password, or remove the user
    ///
    /// For `medusa.auth.htpasswd`, or `medusa.auth.htdigest`. The password is asked for at the terminal, or is one line of standard
    /// input; the file gets a hash of it (Argon2id; for Digest, SHA-256 and MD5). Other lines stay as they are. The file is made if there is none, for its owner alone; a server that
    /// runs as another user must be allowed to read it.
    #[command(after_long_help = "\
Examples:
  medusa passwd users.htpasswd ada          asks for it twice
  medusa passwd users.htpasswd ada < secret
  medusa passwd --remove users.htpasswd ada
  medusa passwd --token users.htpasswd ci   prints a new token, for `Authorization: Bearer TOKEN`
  medusa passwd --digest 'The club' users.htdigest ada")]
    Passwd {
        /// The file, of lines `name:hash`, or `name:realm:hash` for Digest
        #[arg(value_parser = named("a file"))]
        file: PathBuf,
        /// The user
        user: String,
        /// Remove the user
        #[arg(long)]
        remove: bool,
        /// Make a token for a program, in place of a password; it is printed this once
        #[arg(long, conflicts_with_all = ["remove", "digest"])]
        token: bool,
        /// The user is one of this realm, in a file for Digest
        #[arg(long, value_name = "REALM")]
        digest: Option<String>,
    },

    /// Print the type definitions of the script API, for editors
    #[command(after_long_help = "\
Example:
  medusa types > medusa.d.luau              and name that file in the settings of luau-lsp")]
    Types,

    /// Print completions for a shell
    #[command(after_long_help = "\
Example:
  medusa completions bash > ~/.local/share/bash-completion/completions/medusa")]
    Completions {
        /// Which
        shell: Shell,
    },

    /// Write the pages of the script API's reference
    #[command(hide = true)]
    Reference {
        /// Where to write them
        #[arg(value_parser = named("a directory"))]
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print the records
    #[command(after_long_help = "\
Examples:
  medusa audit show mysite --since 12h
  medusa audit show --json mysite | jq -r 'select(.kind == \"statement\").text'")]
    Show {
        /// As JSON, one record per line, as it is in the log
        #[arg(long)]
        json: bool,
        /// Only those from then on: 2026-11-30T09:12 (UTC), 90m, 12h, 7d
        #[arg(long, value_name = "TIME", value_parser = parse_since)]
        since: Option<String>,
        /// Only those of sessions with this number, which begin with 1 at each start
        #[arg(long, value_name = "N")]
        session: Option<u64>,
        #[command(flatten)]
        place: Place,
    },

    /// Say whether all records are there and as they were written
    ///
    /// Prints the head, record and MAC: kept elsewhere, that is an anchor. Exits with 1 and names the first bad record if a
    /// record was changed, removed, moved or cut off.
    #[command(after_long_help = "\
Examples:
  medusa audit verify mysite
  medusa audit verify mysite --key /safe/audit.key --anchor 812=6d1e...")]
    Verify {
        /// The key [default: audit.key beside the log]
        #[arg(long, value_name = "FILE", value_parser = named("a file"))]
        key: Option<PathBuf>,
        /// A head that was told earlier, which the log must have (repeatable)
        #[arg(long, value_name = "SEQ=MAC")]
        anchor: Vec<Head>,
        #[command(flatten)]
        place: Place,
    },

    /// Do once more, in another server, what changed the site
    ///
    /// The statements that succeeded, and `commit`, `confirm`, `cancel` and `rollback`, in the order in which they ended; it stops at the
    /// first that fails. What only looks is left out, and so are reloads and what concerned files, sessions and requests of the
    /// server that the log is of; at the end it says how much that was.
    #[command(after_long_help = "\
Example:
  medusa audit replay mysite --into test/.medusa --yes")]
    Replay {
        /// The state directory of the other server
        #[arg(long, value_name = "STATE", value_parser = named("a directory"))]
        into: PathBuf,
        /// Run them, rather than list them
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Only what a mount of this pattern would get: `/api/`, `/users/{id}`, `example.com/`
    #[arg(long = "path", value_name = "PATTERN")]
    pattern: Option<String>,
    /// Only those of this method
    #[arg(long)]
    method: Option<String>,
    /// Only those answered so: 500, 5xx
    #[arg(long)]
    status: Option<String>,
    /// Only those from this address, or network
    #[arg(long)]
    ip: Option<String>,
    /// Only those to the server of this name
    #[arg(long)]
    server: Option<String>,
    /// The number of requests
    #[arg(short, default_value_t = 10)]
    n: u64,
    /// The seconds after which it ends in any case
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

impl TraceArgs {
    /// What is asked for.
    pub(super) fn op(self) -> Op {
        let Self { pattern, method, status, ip, server, n, seconds } = self;
        let of = TracedBy { path: pattern, method, status, ip, server };
        Op::Trace { of, n: Some(n), seconds: Some(seconds) }
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) place: Place,

    /// Listen here, and not where the script says (repeatable)
    ///
    /// `127.0.0.1:8080`, `[::1]:8080`, `:8080` for every address, `unix:/run/site.sock`. Port 0 is any free port; the line
    /// that says ready tells which.
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub(super) listen: Vec<ListenAddr>,

    /// How many threads serve requests [default: one per core]
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    pub(super) workers: Option<NonZeroUsize>,

    /// How much to log on standard error
    ///
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a list that sets parts of the program apart, such as
    /// `warn,medusa_net=debug`. The access log is the script's to say.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = checked_level)]
    pub(super) log_level: String,
}

/// The server that is meant.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Script or directory [default: site.luau or site/site.luau]
    ///
    /// A script (`*.luau`), a directory that holds a `site.luau`, or any other directory, which is served as it is. Without
    /// it: `site.luau`, or else `site/site.luau`.
    #[arg(value_parser = named("a file or a directory"))]
    pub(super) path: Option<PathBuf>,

    /// State directory [default: .medusa beside the script]
    ///
    /// Where a running server keeps its control socket, for its own user and root alone. One server at a time can have it.
    /// Under systemd the default is its `StateDirectory=`.
    #[arg(long, value_name = "DIR", value_parser = named("a directory"))]
    pub(super) state: Option<PathBuf>,
}

/// A path, of what is meant to be there. clap's own parser takes an empty one for none.
fn named(what: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(move |path| {
        if path.is_empty() { Err(format!("it is empty; name {what}")) } else { Ok(PathBuf::from(path)) }
    })
}

fn parse_since(text: &str) -> Result<String, String> {
    crate::audit::parse_since(text, SystemTime::now())
}

/// A socket's path is relative to where this is typed, unlike one in a script.
fn parse_listen(text: &str) -> Result<ListenAddr, String> {
    match text.parse().map_err(|error: medusa_net::AddressError| error.to_string())? {
        ListenAddr::Unix(path) => {
            let absolute =
                std::path::absolute(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(ListenAddr::Unix(absolute))
        }
        tcp @ ListenAddr::Tcp(_) => Ok(tcp),
    }
}

fn parse_killed(text: &str) -> Result<Killed, String> {
    if let Ok(session) = text.parse() {
        return Ok(Killed::Session { session });
    }
    let run =
        text.parse().map_err(|error: NoRunId| format!("{error}, nor that of a session, which is like 3"))?;
    Ok(Killed::Run { run })
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= MAX_WORKERS);
    count.ok_or_else(|| format!("give a number from 1 to {MAX_WORKERS}"))
}

fn checked_level(text: &str) -> Result<String, String> {
    parse_level(text).map(|_valid| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_serve_is_meant() {
        let cli = parse("medusa mysite --listen :80 --listen 127.0.0.1:0 --workers 3").expect("understood");
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.place.path, Some("mysite".into()));
        assert_eq!((cli.serve.listen.len(), cli.serve.workers.map(NonZeroUsize::get)), (2, Some(3)));
        assert_eq!(cli.serve.log_level, "info");
        assert!(parse("medusa").expect("understood").serve.place.path.is_none());
    }

    #[test]
    fn a_command_has_its_own_arguments() {
        match parse("medusa eval 1+1 mysite --state s").expect("understood").command {
            Some(Command::Eval { statement, place, .. }) => {
                assert_eq!(statement.as_deref(), Some("1+1"));
                assert_eq!((place.path, place.state), (Some("mysite".into()), Some("s".into())));
            }
            other => panic!("{other:?}"),
        }
        match parse("medusa eval -").expect("understood").command {
            Some(Command::Eval { statement, .. }) => assert_eq!(statement.as_deref(), Some("-")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_with_a_reason() {
        for (line, reason) in [
            ("medusa --workers 0", "from 1 to 1024"),
            ("medusa --workers 5000", "from 1 to 1024"),
            ("medusa --listen 8080", "only a port"),
            ("medusa --log-level medusa_net=loud", "`debug`"),
            ("medusa --log-level loud", "`debug`"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_flag_and_what_may_be_there() {
        for (words, expected) in [
            (&["--log-level", ""][..], &["--log-level", "\"\" is no level", "`debug`"][..]),
            (&["--log-level", "LOUD"], &["--log-level", "\"LOUD\" is no level", "`debug`"]),
            (
                &["--log-level", "info,debug"],
                &["--log-level", "\"debug\" is a second level", "`warn,medusa_net=debug`"],
            ),
            (
                &["--log-level", "a=warn,info,a=debug"],
                &["--log-level", "\"a=debug\" is a second level of \"a\"", "`warn,medusa_net=debug`"],
            ),
            (&["--log-level", "a b=debug"], &["--log-level", "\"a b\" is no part of a program", "`debug`"]),
            (&["--log-level", "info", "--log-level", "warn"], &["--log-level", "multiple times"]),
            (&["--workers", ""], &["--workers", "from 1 to 1024"]),
            (&["--workers", "1", "--workers", "2"], &["--workers", "multiple times"]),
            (&["--listen", ""], &["--listen", "127.0.0.1:8080"]),
            (&["--state", ""], &["--state", "it is empty; name a directory"]),
            (&["--state", "a", "--state", "b"], &["--state", "multiple times"]),
            (&[""], &["PATH", "it is empty; name a file or a directory"]),
            (&["check", ""], &["PATH", "it is empty; name a file or a directory"]),
            (&["reload", ""], &["PATH", "it is empty; name a file or a directory"]),
            (&["init", ""], &["DIR", "it is empty; name a directory"]),
            (&["completions", ""], &["SHELL", "bash"]),
            (&["completions", "sh"], &["SHELL", "'sh'", "bash"]),
        ] {
            let error = Cli::try_parse_from([&["medusa"], words].concat()).expect_err("it is wrong");
            let error = error.to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_unix_socket_is_made_where_it_is_typed() {
        let here = std::env::current_dir().expect("there is one");
        assert_eq!(parse_listen("unix:x.sock"), Ok(ListenAddr::Unix(here.join("x.sock"))));
    }

    #[test]
    fn short_help_has_one_line_per_flag() {
        for command in Cli::command().get_subcommands_mut() {
            for line in command.render_help().to_string().lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
        }
    }
}
