//! The encryption of connections: the same way for every listener, with nothing to choose.
//!
//! Invariant: what cannot be had safely cannot be had. There are TLS 1.2 and 1.3, ciphers with forward secrecy and
//! authenticated encryption, and no data before the handshake is over. Older versions have fallen (RFC 8996), and a knob
//! for them would be found by whoever follows an old recipe.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, ServerSessionMemoryCache};
use rustls::version::{TLS12, TLS13};

/// Sessions kept for clients of TLS 1.2 that take no tickets, which are few; at about 200 bytes each, or with the client's
/// certificates some KB. The oldest ones go first.
const SESSIONS: usize = 1024;

/// The protocols that can be agreed on, the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// All cryptography is aws-lc's, and named here instead of installed for the process: whoever embeds this may have
/// another. It prefers `X25519MLKEM768`, which keeps today's records safe from tomorrow's quantum computers.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Puts a configuration together.
pub(super) fn server(
    provider: Arc<CryptoProvider>,
    certificates: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    // A ticket holds the session encrypted, with keys that change every six hours and are good for twelve. They are this
    // listener's own: with another's, a client could resume where its certificate was never checked.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    // Early data can be recorded and sent again by anyone (RFC 8446 §8), and a handler could not tell; nor may answers go
    // out before the client has proved who it is. Both are the default, and stay so.
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::NamedGroup;

    #[test]
    fn the_key_exchange_that_lasts_comes_first() {
        let provider = provider();
        let first = provider.kx_groups.first().expect("there are some");
        assert_eq!(first.name(), NamedGroup::X25519MLKEM768);
    }
}
