//! `bench logins`: what 10,000 wrong logins a second cost everyone else.
//!
//! Invariant: what is compared is the wrong ones beside as many right ones, by the same clients at the same pace: what those and their
//! requests take of the machine is in both.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, Site};

use super::load::{Load, WARM_UP, Wrk};
use super::medusa::Medusa;
use super::report::{Figure, Line, Measured, P99, Report, Row, Sample, latencies, spread};
use super::side::{Side, Wire};
use super::{Options, medusa, report};
use crate::error::Result;
use crate::threads::{beside, together};

/// The site. Whoever asks says by `X-Forwarded-For` where from.
const SITE: &str = r#"-- The site of `cargo xtask bench logins`.
web = medusa.http.server { listen = "127.0.0.1:0", trusted_proxies = { "127.0.0.1" } }
users = medusa.auth.htpasswd("users.htpasswd")
members = medusa.auth.htdigest("users.htdigest", { realm = "club" })
web:mount("/", medusa.handler.auth(users, medusa.handler.script("ok.luau")))
web:mount("/digest", medusa.handler.auth(members, medusa.handler.script("ok.luau")))
"#;
const OK: &str = "return function() return \"ok\" end\n";

/// ada, whose password is `password`, by Argon2id.
const USERS: &str =
    "ada:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n";
const DIGEST_USERS: &str = "ada:club:0123456789abcdef0123456789abcdef\n";
const RIGHT: &str = "Basic YWRhOnBhc3N3b3Jk";

/// The good user, who is not in a hurry: cores are left to the others.
const LOAD: Load =
    Load::Wrk(Wrk { connections: 8, header: Some("Authorization: Basic YWRhOnBhc3N3b3Jk"), ..Wrk::USUAL });

/// The others: threads, the connections of each, and how many logins all of them send in a turn.
const THREADS: usize = 2;
const CONNECTIONS: usize = 128;
const TURN: Duration = Duration::from_millis(10);
const EACH_TURN: u64 = 100;

/// The most that p99 may be, divided by that beside right ones, and the most that the memory may be in the end.
const MOST: f64 = 1.2;
const MOST_MEMORY: f64 = 1.1;

const RATE: Figure = Figure::median("requests/s", "", 0);
const LOGINS: Figure = Figure::median("logins/s", "", 0);

/// Who logs in beside the good user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    Nobody,
    /// Always the same, from one address.
    Right,
    /// Another password each time, from another address.
    Passwords,
    /// Names that nobody has.
    Names,
    /// Answers of Digest that nobody has asked for.
    Answers,
    /// What is no login.
    Malformed,
}

impl Flood {
    const ALL: [Self; 6] =
        [Self::Nobody, Self::Right, Self::Passwords, Self::Names, Self::Answers, Self::Malformed];

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Right => "right logins",
            Self::Passwords => "wrong passwords",
            Self::Names => "unknown users",
            Self::Answers => "wrong answers (Digest)",
            Self::Malformed => "malformed credentials",
        }
    }

    /// A request, the `number`th of all.
    fn request(self, number: u64) -> String {
        let [.., a, b, c] = number.to_be_bytes();
        let from = if self == Self::Right { "192.0.2.1".to_owned() } else { format!("10.{a}.{b}.{c}") };
        let (path, field) = match self {
            Self::Nobody | Self::Right => ("/", RIGHT.to_owned()),
            Self::Passwords => ("/", basic("ada", number)),
            Self::Names => ("/", basic("nobody", number)),
            Self::Answers => (
                "/digest",
                format!(
                    "Digest username=\"ada\", realm=\"club\", nonce=\"{number}\", uri=\"/digest\", algorithm=MD5, qop=auth, \
                     nc=00000001, cnonce=\"x\", response=\"{number:032x}\""
                ),
            ),
            Self::Malformed => ("/", format!("Basic %{number}")),
        };
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\nAuthorization: {field}\r\n\r\n")
    }

    /// Logs in beside `measure`; how often, if somebody does.
    fn during<T>(self, address: SocketAddr, measure: impl FnOnce() -> T) -> (T, Option<u64>) {
        if self == Self::Nobody {
            return (measure(), None);
        }
        let numbers = AtomicU64::new(0);
        let ask = |over: &AtomicBool| together(0..THREADS, |_| log_in(self, address, &numbers, over));
        let (answered, measured) = beside(ask, measure);
        (measured, Some(answered.into_iter().sum()))
    }
}

/// Credentials of a user, whose password is the number.
fn basic(user: &str, number: u64) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Of as many bytes as there are whole groups for.
    let text = format!("{user}:{number:0width$}", width = 12 - (user.len() + 1) % 3);
    let encoded = text.as_bytes().chunks(3).flat_map(|group| {
        let bits = group.iter().fold(0, |bits: usize, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| DIGITS.get(bits >> shift & 63).copied().map_or('=', char::from))
    });
    format!("Basic {}", encoded.collect::<String>())
}

/// Logs in at a pace until it is `over`; how many answers came.
fn log_in(who: Flood, address: SocketAddr, numbers: &AtomicU64, over: &AtomicBool) -> u64 {
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| (Client::connect(address), false)).collect();
    let (mut answered, mut begun) = (0, Instant::now());
    while !over.load(Relaxed) {
        let mut left = EACH_TURN / THREADS as u64;
        for (client, waits) in &mut clients {
            if *waits && client.is_readable_within(Duration::ZERO) {
                let status = client.response().status;
                assert!(matches!(status, 200 | 400 | 401 | 429 | 503), "{}: {status}", who.name());
                (*waits, answered) = (false, answered + 1);
            }
            if !*waits && left > 0 {
                client.send(who.request(numbers.fetch_add(1, Relaxed)));
                (*waits, left) = (true, left - 1);
            }
        }
        begun += TURN;
        thread::park_timeout(begun.saturating_duration_since(Instant::now()));
    }
    answered
}

/// Runs the bench and prints its table.
pub(super) fn run(options: &Options<'_>) -> Result<Vec<Line>> {
    let site = Site::script(SITE)
        .file("ok.luau", OK)
        .file("users.htpasswd", USERS)
        .file("users.htdigest", DIGEST_USERS);
    let side = Medusa::build()?.start(site, Wire::Plain);
    // All that is remembered has been, once.
    for who in Flood::ALL {
        who.during(side.address, || side.press(&LOAD, WARM_UP, "/")).0?;
    }
    let warm = side.mebibytes();
    let server = &side;
    let measured = Flood::ALL.map(|who| Measured {
        row: Row::new(who.name(), medusa::NAME, ""),
        sample: Box::new(move |seconds| sample(server, who, seconds)),
    });
    let rows = report::measure(measured.into(), options)?;
    let memory = memory(warm, side.mebibytes());
    side.stop();
    let lines = lines(&rows).into_iter().chain([memory]).collect();
    Report { notes: vec![options.spoken(&LOAD)], rows, lines }.finish(options)
}

fn sample(side: &Side, who: Flood, seconds: u32) -> Result<Sample> {
    let (counted, answered) = who.during(side.address, || side.press(&LOAD, seconds, "/"));
    let counted = counted?;
    let [p50, p99] = latencies(&counted);
    let mut sample = vec![(RATE, counted.per_second), p50, p99];
    sample.extend(answered.map(|answered| (LOGINS, answered as f64 / f64::from(seconds.max(1)))));
    Ok(sample)
}

/// The p99 of the good user beside each kind of wrong ones, beside that with right ones.
fn lines(rows: &[Row]) -> Vec<Line> {
    let find = |who: Flood| rows.iter().find(|row| row.what == who.name());
    let right = find(Flood::Right).map_or(f64::NAN, |row| row.value(&P99));
    let wrong = Flood::ALL.into_iter().filter(|who| !matches!(who, Flood::Nobody | Flood::Right));
    let line = |row: &Row| {
        let ratio = row.value(&P99) / right;
        Line {
            what: format!("p99 of a good user beside: {} ({:.0}/s)", row.what, row.value(&LOGINS)),
            ours: format!("{} ms", spread(row.values(P99.name))),
            theirs: format!("right logins {right:.2} ms"),
            ratio: format!("{ratio:.2}"),
            target: Some((format!("at most {MOST:.1}"), ratio <= MOST)),
        }
    };
    wrong.filter_map(find).map(line).collect()
}

/// What the server holds in the end beside what it held after the first of all.
fn memory(warm: f64, end: f64) -> Line {
    Line {
        what: "memory after all wrong logins".to_owned(),
        ours: format!("{end:.1} MiB"),
        theirs: format!("after the warm-up {warm:.1} MiB"),
        ratio: format!("{:.2}", end / warm),
        target: Some((format!("at most {MOST_MEMORY:.1}"), end / warm <= MOST_MEMORY)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_login_is_another() {
        assert_eq!(basic("ada", 1), "Basic YWRhOjAwMDAwMDAwMDAx");
        assert_eq!(basic("nobody", 23), "Basic bm9ib2R5OjAwMDAwMDAwMDIz");
        let fields = |who: Flood| {
            let field = |number| who.request(number).lines().nth(3).expect("credentials").to_owned();
            (0..5000).map(field).collect::<BTreeSet<_>>()
        };
        assert_eq!(fields(Flood::Right).len(), 1);
        for who in [Flood::Passwords, Flood::Names, Flood::Answers, Flood::Malformed] {
            assert_eq!(fields(who).len(), 5000, "{who:?}");
        }
    }

    #[test]
    fn wrong_ones_are_told_beside_right_ones() {
        let row = |who: Flood, p99: f64| Row {
            rounds: vec![vec![(P99, p99), (LOGINS, 10_000.0)]],
            ..Row::new(who.name(), "medusa", "")
        };
        let lines = lines(&[row(Flood::Nobody, 1.0), row(Flood::Right, 2.0), row(Flood::Names, 2.2)]);
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].ratio.as_str(), lines[0].target.as_ref().map(|target| target.1)),
            ("1.10", Some(true))
        );
        assert!(!memory(100.0, 120.0).target.expect("one").1);
    }
}
