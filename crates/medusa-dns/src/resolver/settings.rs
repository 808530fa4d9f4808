//! Sources of the servers and local names, which may change.

use std::net::IpAddr;
use std::sync::Arc;

use super::shared::{Search, Shared};
use crate::local::{HOSTS_BYTES, Hosts, RESOLV_CONF_BYTES, ResolvConf, WatchedFile};
use crate::options::MAX_SERVERS;
use crate::upstream::{self, QueryPolicy, Server, Servers, Stats, Transport};
use crate::{DnsError, Protocol, ServerAddr, ServerOptions, SystemOptions};

/// The options that the resolver was given.
#[derive(Debug)]
pub(super) enum Settings {
    System(SystemOptions),
    Given { servers: Vec<ServerAddr>, options: ServerOptions },
}

/// The contents of the files.
pub(super) struct Loaded {
    files: Files,
    servers: Servers,
    hosts: Hosts,
    search: Search,
}

/// The files that may change.
#[derive(Debug)]
pub(super) struct Files {
    resolv_conf: Option<(WatchedFile, ResolvConf)>,
    hosts: Option<WatchedFile>,
}

impl Settings {
    /// Given servers, if they and the options make sense.
    pub(super) fn given(servers: Vec<ServerAddr>, options: ServerOptions) -> Result<Self, DnsError> {
        match servers.len() {
            0 => return Err(DnsError::NoServer),
            1..=MAX_SERVERS => {}
            number => return Err(DnsError::TooManyServers(number)),
        }
        if let Some(name) = &options.tls_name {
            upstream::check_name(name)?;
        }
        Ok(Self::Given { servers, options })
    }

    /// Reads the files.
    pub(super) fn load(&self) -> Result<Loaded, DnsError> {
        match self {
            Self::System(options) => {
                let mut resolv_conf = WatchedFile::new(options.resolv_conf.clone(), RESOLV_CONF_BYTES);
                let conf = read_conf(&resolv_conf.read()?, &resolv_conf);
                let (file, hosts) = load_hosts(options.hosts.clone())?;
                let servers = system_servers(&conf, None);
                let search = Search::of(&conf);
                Ok(Loaded {
                    files: Files { resolv_conf: Some((resolv_conf, conf)), hosts: Some(file) },
                    servers,
                    hosts,
                    search,
                })
            }
            Self::Given { servers, options } => {
                let servers = given_servers(servers, options)?;
                let (file, hosts) = match &options.hosts {
                    Some(path) => load_hosts(path.clone()).map(|(file, hosts)| (Some(file), hosts))?,
                    None => (None, Hosts::default()),
                };
                let search = Search { domains: Vec::new(), ndots: 1 };
                Ok(Loaded { files: Files { resolv_conf: None, hosts: file }, servers, hosts, search })
            }
        }
    }
}

impl Loaded {
    /// Puts it in force. The files are returned, to be looked at from now on.
    pub(super) fn enter(self, shared: &Shared) -> Files {
        shared.servers.store(Arc::new(self.servers));
        shared.hosts.store(Arc::new(self.hosts));
        shared.search.store(Arc::new(self.search));
        self.files
    }
}

impl Files {
    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.resolv_conf.is_none() && self.hosts.is_none()
    }

    /// Reads again what has changed, and puts it in force. What cannot be read leaves everything as it was.
    pub(super) fn check(&mut self, shared: &Shared) {
        if let Some(file) = &mut self.hosts
            && let Some(text) = again(file)
        {
            shared.hosts.store(Arc::new(Hosts::parse(&text)));
            tracing::info!(file = %file.path().display(), "read the hosts file again");
        }
        if let Some((file, conf)) = &mut self.resolv_conf
            && let Some(text) = again(file)
        {
            let new = read_conf(&text, file);
            if new != *conf {
                enter_conf(&new, conf, shared);
                *conf = new;
                tracing::info!(file = %file.path().display(), servers = ?conf.servers, "read the name servers again");
            }
        }
    }
}

/// Other servers may know other names, or know them differently (a tunnel that opens, another network): what the old
/// ones said is forgotten.
fn enter_conf(new: &ResolvConf, old: &ResolvConf, shared: &Shared) {
    let servers = system_servers(new, Some(&shared.servers.load()));
    shared.servers.store(Arc::new(servers));
    shared.search.store(Arc::new(Search::of(new)));
    if new.servers != old.servers {
        shared.flush(None);
    }
}

fn again(file: &mut WatchedFile) -> Option<String> {
    match file.read_again()? {
        Ok(text) => Some(text),
        Err(error) => {
            let cause = medusa_proto::with_causes(&error);
            tracing::warn!(
                cause,
                "a file of the resolver has changed and cannot be read: what it said before stays in force"
            );
            None
        }
    }
}

fn read_conf(text: &str, file: &WatchedFile) -> ResolvConf {
    let conf = ResolvConf::parse(text);
    if !conf.skipped.is_empty() {
        tracing::warn!(file = %file.path().display(), skipped = ?conf.skipped, "not everything in it was understood");
    }
    conf
}

fn load_hosts(path: std::path::PathBuf) -> Result<(WatchedFile, Hosts), DnsError> {
    let mut file = WatchedFile::new(path, HOSTS_BYTES);
    let hosts = Hosts::parse(&file.read()?);
    Ok((file, hosts))
}

/// The servers of a `resolv.conf`. Those that were asked before go on with their counters.
fn system_servers(conf: &ResolvConf, before: Option<&Servers>) -> Servers {
    let policy = QueryPolicy { timeout: conf.timeout, attempts: conf.attempts, rotate: conf.rotate };
    let transport = Transport::plain(Protocol::Udp);
    let list = conf.servers.iter().map(|server| {
        let address = server.socket(Protocol::Udp);
        let known =
            before.and_then(|servers| servers.list().iter().find(|server| server.address() == address));
        let stats = known.map_or_else(|| Arc::new(Stats::new()), |server| Arc::clone(server.stats()));
        Server::new(address, &transport, policy.timeout, stats)
    });
    Servers::new(list.collect(), policy)
}

fn given_servers(servers: &[ServerAddr], options: &ServerOptions) -> Result<Servers, DnsError> {
    let policy = QueryPolicy { timeout: options.timeout, attempts: options.attempts, rotate: options.rotate };
    let mut transport = Transport::plain(options.protocol);
    transport.path = options.path.as_str().into();
    if matches!(options.protocol, Protocol::Tls | Protocol::Https) {
        transport.tls = upstream::trust(options.ca.as_deref())?;
    }
    let list = servers.iter().map(|server| {
        transport.tls_name = tls_name(options, server.ip);
        Server::new(server.socket(options.protocol), &transport, policy.timeout, Arc::new(Stats::new()))
    });
    Ok(Servers::new(list.collect(), policy))
}

fn tls_name(options: &ServerOptions, ip: IpAddr) -> Arc<str> {
    match &options.tls_name {
        Some(name) => name.as_str().into(),
        None => ip.to_string().into(),
    }
}
