//! The check of what may be done in a session.
//!
//! **Invariant:** whatever way an operation comes, [`authorize`] alone decides whether it may begin. What it is about to publish,
//! or to end, is checked by `medusa-site`, in `scope`.

use std::sync::Arc;

use medusa_proto::author::Scope;

use crate::identity::{Identity, MAX_REASON, Rights, Role};
use crate::protocol::{Op, VERSION};

/// The reason why something may not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It takes another role.
    #[error("{what} needs the role \"{needed}\", and yours is \"{role}\"")]
    Role {
        /// The operation that was asked for.
        what: &'static str,
        /// The least role that may do it.
        needed: Role,
        /// The one asked with.
        role: Role,
    },
    /// It concerns more than what may be changed.
    #[error("{what} concerns the whole server, and your rights end at {scope}")]
    Scope {
        /// The operation that was asked for.
        what: &'static str,
        /// All that may be changed.
        scope: Arc<Scope>,
    },
    /// It is nothing that somebody could approve, as has to be done.
    #[error(
        "{what} is not for you, as others have to approve what you change: `begin()` it, change it, `preview()` it, and \
         `commit()` what somebody else has approved"
    )]
    Unapproved {
        /// The operation that was asked for.
        what: &'static str,
    },
    /// It was not said what the session is for.
    #[error(
        "say first what this session is for, in 1 to {MAX_REASON} bytes: `MEDUSA_REASON=\"...\" ssh -o \
         SendEnv=MEDUSA_REASON ...`, or in lines of JSON {{\"version\":{VERSION},\"op\":\"hello\",\"reason\":\"...\"}}"
    )]
    Reason,
    /// The time of the rights is over.
    #[error("your rights have ended: ask whoever gave them to you for a later `expiry-time`")]
    Ended,
}

/// Whether this one may have that done. What it then changes is looked at when it is published: see [`Scope`].
///
/// # Errors
///
/// It may not.
pub fn authorize(identity: &Identity, op: &Op) -> Result<(), Refusal> {
    let Rights { role, scope, approval, .. } = &identity.rights;
    let (what, needed) = (op.name(), op.needs());
    if *role < needed {
        return Err(Refusal::Role { what, needed, role: *role });
    }
    if let Some(scope) = scope.as_ref().filter(|_| op.concerns_all()) {
        return Err(Refusal::Scope { what, scope: Arc::clone(scope) });
    }
    let can_be_approved = !op.concerns_all() && !op.ends_requests();
    if *approval && (!can_be_approved || matches!(op, Op::Approve { .. } | Op::Rollback { .. })) {
        return Err(Refusal::Unapproved { what });
    }
    if identity.wants_reason() {
        return Err(Refusal::Reason);
    }
    if identity.rights.have_ended() { Err(Refusal::Ended) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    use crate::identity::FrontEnd;
    use crate::protocol::Killed;
    use crate::runs::RunId;

    fn identity(rights: Rights) -> Identity {
        Identity::new("x", "x", rights, FrontEnd::Socket)
    }

    #[test]
    fn who_may_change_a_part_does_nothing_to_the_whole() {
        let scope = Arc::new(Scope { mounts: vec!["/api/".into()], ..Scope::default() });
        let limited = identity(Rights { scope: Some(scope), ..Role::Operate.into() });
        for whole in
            [Op::Stop, Op::Reopen, Op::Reload { confirm: None }, Op::Kill(Killed::Session { session: 1 })]
        {
            let refused = authorize(&limited, &whole).expect_err(whole.name()).to_string();
            let why = "concerns the whole server, and your rights end at the mounts /api/";
            assert_eq!(refused, format!("{} {why}", whole.name()));
        }
        let drain = Op::Drain { generation: 1, seconds: None };
        let kill = Op::Kill(Killed::Run { run: RunId(1) });
        let confirm = Op::Confirm { generation: None };
        for part in [Op::Status, Op::Rollback { generation: 1, reason: None }, confirm, drain, kill] {
            assert_eq!(authorize(&limited, &part), Ok(()), "{}", part.name());
        }
    }

    #[test]
    fn who_needs_approval_does_nothing_that_cannot_have_it_and_gives_none() {
        let limited = identity(Rights { approval: true, ..Role::Program.into() });
        let change = String::from("123456789abc");
        for refused in [
            Op::Stop,
            Op::Approve { change: change.clone() },
            Op::Rollback { generation: 1, reason: None },
            Op::Drain { generation: 1, seconds: None },
        ] {
            let name = refused.name();
            assert_eq!(authorize(&limited, &refused), Err(Refusal::Unapproved { what: name }), "{name}");
        }
        let preview = Op::Preview { change: Some(change.clone()) };
        for may in [Op::Cancel { generation: None }, Op::Confirm { generation: None }, preview] {
            assert_eq!(authorize(&limited, &may), Ok(()), "{}", may.name());
        }
        let operator = identity(Role::Operate.into());
        assert!(authorize(&operator, &Op::Approve { change }).is_err(), "it may not have made it either");
    }

    #[test]
    fn a_session_says_once_what_it_is_for() {
        let asked = identity(Rights { reason: true, ..Role::Program.into() });
        assert_eq!(authorize(&asked, &Op::Ping), Err(Refusal::Reason));
        for none in ["", " \n", &"x".repeat(MAX_REASON + 1)] {
            assert!(asked.explain(none).is_err(), "{none}");
        }
        assert_eq!(authorize(&asked, &Op::Ping), Err(Refusal::Reason));
        assert_eq!((asked.explain(" the disk\n"), asked.reason()), (Ok(()), Some("the disk")));
        assert_eq!(authorize(&asked, &Op::Ping), Ok(()));
        assert!(asked.explain("another").is_err());
    }

    #[test]
    fn nothing_may_be_done_when_the_time_is_over() {
        let until = |until| identity(Rights { until: Some(until), ..Role::Program.into() });
        let minute = Duration::from_mins(1);
        assert_eq!(authorize(&until(SystemTime::now() + minute), &Op::Status), Ok(()));
        assert_eq!(authorize(&until(SystemTime::now() - minute), &Op::Status), Err(Refusal::Ended));
    }

    #[test]
    fn a_role_may_do_what_those_before_it_may() {
        let may = |role: Role, op: &Op| {
            authorize(&identity(role.into()), op).map_err(|refusal| refusal.to_string())
        };
        let eval = Op::Eval { source: "return 1".into() };
        let ops = [
            (Op::Status, Role::View),
            (Op::Ps, Role::View),
            (Op::Kill(Killed::Session { session: 1 }), Role::Operate),
            (Op::Kill(Killed::Run { run: RunId(1) }), Role::Operate),
            (eval, Role::Program),
        ];
        for (op, needed) in &ops {
            for role in [Role::View, Role::Operate, Role::Program] {
                assert_eq!(may(role, op).is_ok(), role >= *needed, "{role} {op:?}");
                assert_eq!(Role::named(role.name()), Some(role));
            }
        }
        let message = may(Role::View, &Op::Reload { confirm: None }).expect_err("it may only look");
        assert_eq!(message, "reload needs the role \"operate\", and yours is \"view\"");
    }
}
