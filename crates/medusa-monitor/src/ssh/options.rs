//! The options of a login: `role="operate",mounts="/api/",expiry-time="20261231",from="192.0.2.0/24"`.
//!
//! **Invariant:** an option that we do not heed is an error: whoever wrote it meant it to restrict the login.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use medusa_proto::author::Scope;
use medusa_proto::forwarded::TrustedProxies;

use crate::identity::{Rights, Role};

/// What a login may do, and where it may come from.
#[derive(Debug, Clone)]
pub(super) struct LoginOptions {
    pub(super) rights: Rights,
    /// Any address if none is told.
    from: Option<TrustedProxies>,
}

impl Default for LoginOptions {
    fn default() -> Self {
        Self::of(Role::Program)
    }
}

impl LoginOptions {
    /// A role, and no limits.
    pub(super) fn of(role: Role) -> Self {
        Self { rights: role.into(), from: None }
    }

    /// Whether a login may come from there, and now.
    pub(super) fn admit(&self, from: IpAddr) -> bool {
        self.from.as_ref().is_none_or(|known| known.trusts(Some(from.to_canonical())))
            && !self.rights.have_ended()
    }

    /// The options that a text begins with, separated by commas, and what follows them.
    pub(super) fn parse(text: &str) -> Result<(Self, &str), String> {
        let (mut this, mut scope, mut rest) = (Self::default(), Scope::default(), text);
        let mut seen = Vec::new();
        loop {
            let (name, value, after) = option(rest)?;
            if seen.contains(&name) {
                return Err(format!("the option \"{name}\" is there twice"));
            }
            seen.push(name);
            let all = || value.unwrap_or_default().split(',').map(|one| one.trim().to_owned()).collect();
            match (name, value) {
                ("role", Some(value)) => this.rights.role = role(value)?,
                ("from", Some(value)) => {
                    let parsed = TrustedProxies::parse(value.split(','));
                    this.from = Some(parsed.map_err(|_not_one| {
                        format!(
                            "from=\"{value}\" is not a list of addresses and networks like \"192.0.2.0/24\""
                        )
                    })?);
                }
                ("servers", Some(_)) => scope.servers = all(),
                ("mounts", Some(_)) => scope.mounts = all(),
                ("expiry-time", Some(value)) => this.rights.until = Some(time(value)?),
                ("approval", None) => this.rights.approval = true,
                ("reason", None) => this.rights.reason = true,
                (name, _) => {
                    return Err(format!(
                        "the option \"{name}\" is not one of role=\"...\", from=\"...\", servers=\"...\", mounts=\"...\", \
                         expiry-time=\"...\", approval and reason, and so nobody can log in by this line"
                    ));
                }
            }
            let Some(next) = after.strip_prefix(',') else {
                this.rights.scope = scope_of(scope, this.rights.role)?;
                if this.rights.approval && this.rights.role != Role::Program {
                    return Err(
                        "approval is of what statements change, and the role \"program\" alone runs statements".to_owned()
                    );
                }
                return Ok((this, after));
            };
            rest = next;
        }
    }
}

/// The role of this name.
pub(super) fn role(name: &str) -> Result<Role, String> {
    Role::named(name)
        .ok_or_else(|| format!("there is no role \"{name}\": use \"view\", \"operate\" or \"program\""))
}

fn scope_of(scope: Scope, role: Role) -> Result<Option<Arc<Scope>>, String> {
    if scope == Scope::default() {
        return Ok(None);
    }
    if role == Role::View {
        return Err(
            "servers and mounts limit what is changed, and the role \"view\" changes nothing".to_owned()
        );
    }
    if let Some(mount) = scope.mounts.iter().find(|mount| !mount.contains('/')) {
        return Err(format!("mounts: \"{mount}\" is not the pattern of a mount, like \"/api/\""));
    }
    if scope.servers.iter().any(String::is_empty) {
        return Err("servers: a name is empty".to_owned());
    }
    Ok(Some(Arc::new(scope)))
}

/// OpenSSH's form of a time, `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in the zone of the machine, or with a `Z`, in UTC.
fn time(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("expiry-time=\"{text}\" is not a time like \"20261231\" or \"202612312359Z\"");
    let (digits, zone) = match text.strip_suffix('Z') {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let format = match digits.len() {
        _ if !digits.bytes().all(|digit| digit.is_ascii_digit()) => return Err(wrong()),
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => return Err(wrong()),
    };
    let parsed = BrokenDownTime::parse(format, digits).map_err(|_wrong| wrong())?;
    let date = parsed.to_date().map_err(|_wrong| wrong())?;
    let at: DateTime = date.to_datetime(parsed.to_time().unwrap_or_default());
    // What is beyond all time, for those who mean never, is the end of it.
    Ok(at.to_zoned(zone).map_or(Timestamp::MAX, |at| at.timestamp()).into())
}

/// The option that `text` begins with, its value, and what follows.
fn option(text: &str) -> Result<(&str, Option<&str>, &str), String> {
    let end = text.find([',', '=', ' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(quoted) = rest.strip_prefix('=') else { return Ok((name, None, rest)) };
    let quoted =
        quoted.strip_prefix('"').ok_or_else(|| format!("the value of \"{name}\" is not in quotes"))?;
    let end = quoted.find('"').ok_or_else(|| format!("the value of \"{name}\" has no end"))?;
    Ok((name, Some(&quoted[..end]), &quoted[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_limited_to_parts_and_to_a_time() {
        let parse = |text: &str| LoginOptions::parse(text).map(|(options, _)| options);
        let options =
            parse("role=\"operate\",servers=\"web, api\",mounts=\"/x/\",expiry-time=\"20991231Z\" ")
                .expect("options");
        let scope = options.rights.scope.as_ref().expect("a scope");
        assert_eq!(
            (scope.servers.as_slice(), scope.mounts.as_slice()),
            (["web".into(), "api".into()].as_slice(), ["/x/".into()].as_slice())
        );
        assert!(options.admit([127, 0, 0, 1].into()));
        assert!(!options.rights.approval);
        let both = parse("approval,reason,from=\"::1\" ").expect("options").rights;
        assert!(both.approval && both.reason);
        let never = parse("expiry-time=\"99991231\" ").expect("options");
        assert!(never.admit([127, 0, 0, 1].into()));
        let over = parse("expiry-time=\"20200101\" ").expect("options");
        assert!(!over.admit([127, 0, 0, 1].into()));
        for (text, told) in [
            ("role=\"view\",mounts=\"/x/\" ", "changes nothing"),
            ("mounts=\"x\" ", "not the pattern of a mount"),
            ("mounts=\"\" ", "not the pattern of a mount"),
            ("servers=\"a,\" ", "a name is empty"),
            ("expiry-time=\"tomorrow\" ", "is not a time"),
            ("expiry-time=\"20261331\" ", "is not a time"),
            ("expiry-time=\"202612\" ", "is not a time"),
            ("role=\"operate\",approval ", "the role \"program\" alone"),
            ("approval=\"yes\" ", "is not one of"),
            ("role=\"view\",from=\"::1\",role=\"program\" ", "is there twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
        assert_eq!(
            time("202612312359Z"),
            Ok(SystemTime::UNIX_EPOCH + std::time::Duration::from_mins(29_979_359))
        );
    }
}
