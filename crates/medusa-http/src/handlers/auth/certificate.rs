//! What of a client's certificate is the name of a user.

use std::borrow::Cow;
use std::time::SystemTime;

use medusa_auth::CertificateName;
use medusa_net::tls::ClientCert;
use medusa_proto::hex;

use crate::request::Head;

/// The name in the certificate that a request came with; none without one, where it has none of that kind or several, or where its life has
/// ended since the connection began.
pub(super) fn name(head: &Head, of: CertificateName) -> Option<Cow<'_, str>> {
    let certificate = head.tls.as_ref()?.client.as_ref()?;
    if certificate.not_after < SystemTime::now() {
        return None;
    }
    Some(match of {
        CertificateName::CommonName => certificate.common_name.as_deref()?.into(),
        CertificateName::Email => alternative(certificate, "email:")?.into(),
        CertificateName::Dns => alternative(certificate, "DNS:")?.into(),
        CertificateName::Uri => alternative(certificate, "URI:")?.into(),
        CertificateName::Subject => certificate.subject.as_str().into(),
        CertificateName::Fingerprint => hex::lower(&certificate.fingerprint).into(),
    })
}

/// The one alternative name of a kind.
fn alternative<'a>(certificate: &'a ClientCert, kind: &str) -> Option<&'a str> {
    let mut all = certificate.sans.iter().filter_map(|name| name.strip_prefix(kind));
    let first = all.next()?;
    if all.next().is_some() { None } else { Some(first) }
}
