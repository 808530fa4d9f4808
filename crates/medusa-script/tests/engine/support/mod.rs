//! A server driven by a script in a temporary directory, and a plain client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use medusa_net::{ListenAddr, Workers};
use medusa_proto::author::{Author, Via};
use medusa_script::{
    Engine, Evaluated, Loaded, Program, ProgramSource, RustHandlers, ScriptError, SessionHandle,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) struct Server {
    runtime: Runtime,
    pub(crate) engine: Engine,
    workers: Workers,
    pub(crate) dir: TempDir,
}

/// What a server of one mount starts with.
pub(crate) const WEB: &str = "web = medusa.http.server { listen = '127.0.0.1:0' }\n";

/// Somebody at the control socket.
pub(crate) fn by(who: &str) -> Author {
    Author::new(Via::Control, who)
}

impl Server {
    /// Starts a server with `site.luau` and other files; panics if the script fails.
    pub(crate) fn start(script: &str, files: &[(&str, &str)]) -> Self {
        let (server, loaded) = Self::try_start(script, files);
        loaded.unwrap_or_else(|error| panic!("{}", error.render()));
        server
    }

    pub(crate) fn try_start(script: &str, files: &[(&str, &str)]) -> (Self, Result<Loaded, ScriptError>) {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), files);
        std::fs::write(dir.path().join("site.luau"), script).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let engine = Engine::start(program(dir.path()), workers.clone()).unwrap();
        let loaded = runtime.block_on(engine.load(by("test"), None, None));
        (Self { runtime, engine, workers, dir }, loaded)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write_files(self.dir.path(), &[(name, text)]);
    }

    pub(crate) fn reload(&self) -> Result<Loaded, ScriptError> {
        self.runtime.block_on(self.engine.load(by("reload"), None, None))
    }

    pub(crate) fn eval(&self, source: &str) -> Result<Evaluated, ScriptError> {
        self.runtime.block_on(self.engine.eval(SessionHandle::default(), source.into(), by("test"), None))
    }

    /// The value of a statement that must succeed.
    pub(crate) fn value(&self, source: &str) -> String {
        self.eval(source).unwrap_or_else(|error| panic!("{source}: {error}")).value.unwrap_or_default()
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn status(&self) -> String {
        self.runtime.block_on(self.engine.status()).to_string()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        match self.engine.live().site().listeners[0].listener.local_addr() {
            ListenAddr::Tcp(addr) => *addr,
            ListenAddr::Unix(path) => panic!("{} is a unix socket", path.display()),
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a request that ends the connection, and reads the answer.
    pub(crate) fn send(&self, request: &str) -> Answer {
        self.send_bytes(request.as_bytes())
    }

    pub(crate) fn send_bytes(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        Answer::parse(&String::from_utf8(text).unwrap())
    }
}

/// A server with one handler twice: at `/inline` as a function of the main VM, at `/file` as a file. `options` are added
/// to the server's, `body` is the handler's, which has `req`.
pub(crate) fn in_both(options: &str, body: &str) -> Server {
    let script = format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0' {options} }}
        web:mount('/inline', function(req) {body} end)
        web:mount('/file', medusa.handler.script('handler.luau'))"
    );
    Server::start(&script, &[("handler.luau", &format!("return function(req) {body} end"))])
}

impl Drop for Server {
    fn drop(&mut self) {
        self.workers.stop();
    }
}

pub(crate) fn program(dir: &Path) -> Program {
    Program {
        state: None,
        root: dir.canonicalize().unwrap(),
        name: "site.luau".into(),
        source: ProgramSource::File,
        listen: Vec::new(),
        handlers: RustHandlers::default(),
    }
}

pub(crate) fn write_files(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self { status, head: head.to_ascii_lowercase(), body }
    }
}

fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
    body
}
