//! The first words of a running server: where it is, and what to do with it.

use medusa_net::ListenAddr;
use medusa_script::{Address, Loaded};

use super::Options;
use crate::init::is_sample;
use crate::target::Target;
use crate::term;

/// Says that the site is live, with one line per address, and where somebody seems to be new here, what to do next.
pub(super) fn ready(options: &Options, loaded: &Loaded, workers: usize) {
    for [before, address, after] in lines(loaded, workers, std::process::id()) {
        term::note_bold(&before, &address, &after);
    }
    let sample = options.target.is_script() && is_sample(&options.target.path());
    if let Some(command) = &options.command
        && (sample || term::stderr_is_terminal())
    {
        for line in hints(command, &options.target, loaded, sample) {
            term::note(line);
        }
    }
}

/// The lines to say, the address in their middle.
fn lines(loaded: &Loaded, workers: usize, pid: u32) -> Vec<[String; 3]> {
    let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    let details = format!("(generation {}, {workers}, pid {pid})", loaded.generation);
    if loaded.addresses.is_empty() {
        return vec![[
            format!("ready, but the script listens nowhere {details}"),
            String::new(),
            String::new(),
        ]];
    }
    loaded
        .addresses
        .iter()
        .map(|address| ["ready at ".to_owned(), url(address), format!(" {details}")])
        .collect()
}

/// The URL to type into a browser or, for a unix socket, its path.
fn url(address: &Address) -> String {
    let scheme = if address.encrypted { "https" } else { "http" };
    match &address.addr {
        ListenAddr::Tcp(address) => format!("{scheme}://{address}/"),
        ListenAddr::Unix(path) => path.display().to_string(),
    }
}

fn hints(command: &str, target: &Target, loaded: &Loaded, sample: bool) -> Vec<String> {
    let path = target.path();
    let path = path.display();
    let mut hints = Vec::new();
    if sample {
        if let Some(address) = loaded.addresses.first() {
            hints.push(format!("open {} in a browser, and {path} in an editor", url(address)));
        }
        let statement = r#"web:mount("/hi", function() return "hi" end)"#;
        hints.push(format!("change it while it runs: {command} eval '{statement}' {path}"));
    } else if target.is_script() {
        hints.push(format!("after a change to {path}: {command} reload {path}"));
    } else {
        hints.push(format!("serving the files of {path}; `{command} init DIR` writes a site with a script"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(addresses: &[&str]) -> Loaded {
        let address = |text: &&str| {
            let plain = text.strip_prefix("tls ");
            let addr = plain.unwrap_or(text).parse().expect("an address");
            Address { addr, encrypted: plain.is_some() }
        };
        Loaded { generation: 1, report: String::new(), addresses: addresses.iter().map(address).collect() }
    }

    #[test]
    fn each_address_has_a_line() {
        let lines = lines(&loaded(&["127.0.0.1:8080", "tls [::]:443", "unix:/run/x.sock"]), 2, 7);
        let lines: Vec<String> = lines.iter().map(|line| line.concat()).collect();
        assert_eq!(
            lines,
            [
                "ready at http://127.0.0.1:8080/ (generation 1, 2 workers, pid 7)",
                "ready at https://[::]:443/ (generation 1, 2 workers, pid 7)",
                "ready at /run/x.sock (generation 1, 2 workers, pid 7)",
            ]
        );
    }

    #[test]
    fn a_site_that_listens_nowhere_says_so() {
        assert_eq!(
            lines(&loaded(&[]), 1, 7).concat().concat(),
            "ready, but the script listens nowhere (generation 1, 1 worker, pid 7)"
        );
    }
}
