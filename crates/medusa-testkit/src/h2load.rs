//! Many requests at a time on each connection, by `h2load`: HTTP/2, encrypted or not.

use std::process::Command;

use crate::Process;

/// A load under way, of a fixed number of requests.
#[derive(Debug)]
pub struct H2Load {
    process: Process,
    requests: u64,
}

impl H2Load {
    /// Sends `requests` requests for `url` on `connections` connections, `streams` at a time on each. An `http` URL is
    /// asked by prior knowledge. Certificates are not looked at.
    ///
    /// # Panics
    ///
    /// It is not installed (Debian: `apt-get install nghttp2-client`).
    #[track_caller]
    pub fn start(url: &str, requests: u64, connections: u32, streams: u32) -> Self {
        Self::start_with(url, requests, connections, streams, &[])
    }

    /// Does as [`start`](Self::start), with more options of h2load's.
    ///
    /// # Panics
    ///
    /// As for [`start`](Self::start).
    #[track_caller]
    pub fn start_with(url: &str, requests: u64, connections: u32, streams: u32, more: &[&str]) -> Self {
        let mut command = Command::new("h2load");
        command.args([format!("-n{requests}"), format!("-c{connections}"), format!("-m{streams}")]);
        Self { process: Process::start(command.args(more).arg(url)), requests }
    }

    /// Whether all is done.
    pub fn is_done(&self) -> bool {
        self.process.stdout().text().contains("requests: ")
    }

    /// Waits for the end, and asserts that every request had its answer, a good one.
    ///
    /// # Panics
    ///
    /// One had not.
    #[track_caller]
    pub fn expect_clean(self) {
        let report = self.process.finish().success();
        let requests = self.requests;
        let clean = format!(
            "requests: {requests} total, {requests} started, {requests} done, {requests} succeeded, 0 failed, 0 errored, \
             0 timeout"
        );
        assert!(report.contains(&clean), "`{clean}` was expected of h2load:\n{report}");
        assert!(report.contains(&format!("status codes: {requests} 2xx, ")), "{report}");
    }
}
