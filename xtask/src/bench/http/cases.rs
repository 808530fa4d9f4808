//! What both servers are asked for, case by case.

use crate::bench::compare::{Goal, Unit};
use crate::bench::load::{Asks, Handshakes, Load, Multiplexed, Wrk};
use crate::bench::tls::Exchange;

/// One thing that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// What selects it, with others, on the command line.
    pub(super) group: &'static str,
    /// Its name in the report.
    pub(super) name: &'static str,
    /// The listener it is asked on.
    pub(super) listener: Listener,
    pub(super) path: &'static str,
    pub(super) load: Load,
    pub(super) unit: Unit,
    pub(super) goal: Goal,
    /// What must come back.
    pub(super) answer: Answer,
    /// The neighbour cannot do it.
    pub(super) alone: bool,
}

/// The listeners a server can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    Plain,
    H2c,
    Tls,
}

/// The answer that must come back, or the comparison means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 and the same body from both.
    Same,
    /// 404 from both.
    Missing,
    /// 200 in this content coding from both; the bytes may differ, and are told.
    Coded(&'static str),
    /// What the load generator counts as success: no client at hand speaks the protocol.
    Counted,
}

impl Case {
    /// The same from another number of connections.
    const fn of(self, name: &'static str, connections: u32) -> Self {
        let load = match self.load {
            Load::Wrk(wrk) => Load::Wrk(Wrk { connections, ..wrk }),
            other => other,
        };
        Self { name, load, ..self }
    }

    /// The same against another build of the program, which can do all that this one can.
    pub(super) fn against_another_build(self) -> Self {
        Self { goal: Goal::AtMost(NO_WORSE), alone: false, ..self }
    }
}

/// The multiple of another build's cost that is no worse.
const NO_WORSE: f64 = 1.03;

/// The groups, in the order of the report.
pub(super) const GROUPS: [&str; 9] =
    ["small", "script", "missing", "files", "pipeline", "tls", "h2", "h2c", "compress"];

/// A small file, and the usual load: what most cases vary.
const SMALL: Case = Case {
    group: "small",
    name: "4 KB file",
    listener: Listener::Plain,
    path: "/4k.bin",
    load: Load::Wrk(Wrk::USUAL),
    unit: Unit::Request,
    goal: Goal::AtMost(0.90),
    answer: Answer::Same,
    alone: false,
};

/// A handler, and what is not there.
const SCRIPT: Case = Case { group: "script", name: "script handler", path: "/hello/world", ..SMALL };
const MISSING: Case = Case {
    group: "missing",
    name: "404",
    path: "/no-such-file",
    load: Load::Wrk(Wrk { refused: true, ..Wrk::USUAL }),
    answer: Answer::Missing,
    ..SMALL
};

/// A large file: few connections, so that none starves, and patience for a hundred megabytes.
const LARGE: Case = Case {
    group: "files",
    name: "1 MB file",
    path: "/1m.bin",
    load: Load::Wrk(Wrk { connections: 8, patience: 30, ..Wrk::USUAL }),
    unit: Unit::Gigabyte,
    goal: Goal::AtMost(0.90),
    ..SMALL
};

const ONE_DEEP: &str = "pipeline, 1 deep";
/// A file so small that heads and system calls are all there is to it.
const PIPELINE: Case = Case {
    group: "pipeline",
    name: ONE_DEEP,
    path: "/tiny.bin",
    load: Load::Wrk(Wrk { asks: Asks::Pipelined(1), ..Wrk::USUAL }),
    goal: Goal::Open,
    ..SMALL
};

/// A full handshake, then a request for the smallest file.
const HANDSHAKE: Case = Case {
    group: "tls",
    name: "TLS handshake, full",
    listener: Listener::Tls,
    path: "/tiny.bin",
    load: Load::Handshakes(Handshakes { exchange: Exchange::X25519, resumed: false }),
    unit: Unit::Connection,
    goal: Goal::AtMost(1.00),
    ..SMALL
};

/// Ten streams on each of sixteen connections.
const H2: Case = Case {
    group: "h2",
    name: "h2 4 KB, 10 streams",
    listener: Listener::Tls,
    load: Load::H2load(Multiplexed { connections: 16, streams: 10 }),
    goal: Goal::AtMost(0.80),
    ..SMALL
};

/// Text that an answer is made of at each request, coded each time.
const GZIP: Case = Case {
    group: "compress",
    name: "gzip, 100 KB answer",
    path: "/text",
    load: Load::Wrk(Wrk { header: Some("Accept-Encoding: gzip"), ..Wrk::USUAL }),
    goal: Goal::Open,
    answer: Answer::Coded("gzip"),
    ..SMALL
};
const ZSTD: Load = Load::Wrk(Wrk { header: Some("Accept-Encoding: zstd"), ..Wrk::USUAL });

/// Every case.
pub(super) const CASES: [Case; 26] = [
    SMALL.of("4 KB file, 1 connection", 1),
    SMALL.of("4 KB file, 8 connections", 8),
    SMALL,
    SMALL.of("4 KB file, 256 connections", 256),
    SCRIPT.of("script handler, 1 connection", 1),
    SCRIPT.of("script handler, 8 connections", 8),
    SCRIPT,
    SCRIPT.of("script handler, 256 connections", 256),
    MISSING.of("404, 1 connection", 1),
    MISSING.of("404, 8 connections", 8),
    MISSING,
    MISSING.of("404, 256 connections", 256),
    LARGE,
    Case { name: "100 MB file", path: "/100m.bin", goal: Goal::AtMost(1.00), ..LARGE },
    PIPELINE,
    Case {
        name: "pipeline, 16 deep",
        load: Load::Wrk(Wrk { asks: Asks::Pipelined(16), ..Wrk::USUAL }),
        goal: Goal::Gain { over: ONE_DEEP, at_least: 4.0 },
        ..PIPELINE
    },
    Case { group: "tls", name: "TLS 4 KB file", listener: Listener::Tls, goal: Goal::AtMost(1.00), ..SMALL },
    HANDSHAKE,
    Case {
        name: "TLS handshake, resumed",
        load: Load::Handshakes(Handshakes { exchange: Exchange::X25519, resumed: true }),
        ..HANDSHAKE
    },
    Case {
        name: "TLS handshake, ML-KEM",
        load: Load::Handshakes(Handshakes { exchange: Exchange::PostQuantum, resumed: false }),
        goal: Goal::Open,
        alone: true,
        ..HANDSHAKE
    },
    H2,
    Case {
        group: "h2c",
        name: "h2c 4 KB, 10 streams",
        listener: Listener::H2c,
        answer: Answer::Counted,
        ..H2
    },
    GZIP,
    Case { name: "zstd, 100 KB answer", load: ZSTD, answer: Answer::Coded("zstd"), alone: true, ..GZIP },
    Case { name: "gzip, 100 KB file", path: "/text.txt", ..GZIP },
    Case {
        name: "zstd, 100 KB file",
        path: "/text.txt",
        load: ZSTD,
        answer: Answer::Coded("zstd"),
        alone: true,
        ..GZIP
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_chosen_and_told_apart() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(GROUPS.contains(&case.group), "{}", case.name);
            assert!(CASES[..index].iter().all(|other| other.name != case.name), "{}", case.name);
        }
        assert!(GROUPS.iter().all(|group| CASES.iter().any(|case| case.group == *group)));
    }

    #[test]
    fn a_gain_is_over_a_case_of_the_same_group() {
        for case in &CASES {
            if let Goal::Gain { over, .. } = case.goal {
                assert!(CASES.iter().any(|other| other.name == over && other.group == case.group));
            }
        }
    }
}
