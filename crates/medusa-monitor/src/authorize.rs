//! The check of what may be done in a session.
//!
//! **Invariant:** whatever way an operation comes, [`authorize`] alone decides whether it may be done.

use crate::identity::{Identity, Role};
use crate::protocol::Op;

/// The reason why something may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} needs the role \"{needed}\", and yours is \"{role}\"")]
pub struct Refusal {
    /// The operation that was asked for.
    pub what: &'static str,
    /// The least role that may do it.
    pub needed: Role,
    /// The one asked with.
    pub role: Role,
}

/// Whether this one may have that done.
///
/// # Errors
///
/// It may not.
pub fn authorize(identity: &Identity, op: &Op) -> Result<(), Refusal> {
    let (needed, role) = (op.needs(), identity.role);
    if role >= needed { Ok(()) } else { Err(Refusal { what: op.name(), needed, role }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::FrontEnd;

    #[test]
    fn a_role_may_do_what_those_before_it_may() {
        let may = |role: Role, op: &Op| {
            let identity = Identity { who: "x".into(), role, front_end: FrontEnd::Socket };
            authorize(&identity, op).map_err(|refusal| refusal.to_string())
        };
        let eval = Op::Eval { source: "return 1".into() };
        let ops = [(Op::Status, Role::View), (Op::Kill { session: 1 }, Role::Operate), (eval, Role::Program)];
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
