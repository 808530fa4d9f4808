//! Encrypted connections, with clients that are ours (rustls) and that are not (openssl).

mod authority;
mod client_certificates;
mod handshake;
mod load;
mod openssl;
mod pair;
mod served;
mod stream;
