//! What is published only when somebody else has seen it: proposals of drafts, and approvals of those.
//!
//! A *proposal* is a draft at one moment, under a name that nothing else has: the hash of a random number, the generation that it
//! was begun on, the statements that have made it, and what they change. What is approved is a proposal.
//!
//! **Invariants:** under an approval those very parts are published that were proposed, and no others, whatever they are called.
//! A draft has its last proposal and goes with it, so that there are no more of them than drafts, and an approval is used once.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::{digest, rand};
use medusa_monitor::ChangeInfo;
use medusa_monitor::protocol::SHOWN_OF_CHANGE;
use medusa_proto::author::{Approval, Author};
use medusa_proto::hex;
use parking_lot::Mutex;

use crate::diff::{Differences, differences};
use crate::draft::Draft;
use crate::live::{Change, Live};
use crate::scope::{self, OutOfScope};

/// The time within which what is approved has to be published. Who approves it has what is running in mind.
pub const APPROVED_FOR: Duration = Duration::from_mins(10);

/// The reason why something is not approved, or cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// It was not begun.
    #[error(
        "what you change has to be approved by somebody else: `begin()` it, change it in statements of their own, `preview()` \
         it, and `commit()` when that is approved"
    )]
    NotBegun,
    /// It is not what could be seen.
    #[error(
        "this statement has changed the site itself, which nobody could see before: `commit()` comes first in its statement"
    )]
    Unseen,
    /// Nobody has approved it, or that is too long ago.
    #[error(
        "change {0} is not approved, or not within the last {min} minutes: somebody else is to look at it \
         (`preview(\"{0}\")`) and to approve it (`approve(\"{0}\")`, `medusa approve {0}`); then `commit()` again",
        min = APPROVED_FOR.as_secs() / 60
    )]
    Missing(String),
    /// It is somebody else's to decide.
    #[error(
        "generation {0} is on trial by somebody else, and what you change has to be approved: only the trial of what you have \
         committed is yours to end"
    )]
    OtherTrial(u64),
    /// There is nothing to be previewed.
    #[error("nothing was begun: `begin()` does that")]
    Nothing,
    /// There are too many statements in it.
    #[error("too many statements have been run since `begin()` for anybody to look at")]
    TooMany,
    /// It is another change that was asked for.
    #[error("what was begun is change {now} by now, and not {asked}: nothing was published")]
    Other {
        /// The one that was asked for.
        asked: String,
        /// What there is.
        now: String,
    },
    /// There is none that is named so.
    #[error(
        "there is no change {0:?}: it was published or given up, or another statement has come to it, and then it is another; \
         `preview()` tells the name, of which the first {SHOWN_OF_CHANGE} digits will do"
    )]
    Unknown(String),
    /// It is the approver's own.
    #[error("change {change} was begun by your own login ({login}): somebody else has to approve it")]
    Own {
        /// The change.
        change: String,
        /// The login.
        login: Arc<str>,
    },
    /// The site is another by now.
    #[error(
        "change {change} was begun on generation {base}, and {now} is there now: it is to be begun again, on that"
    )]
    Stale {
        /// The change.
        change: String,
        /// The generation it was begun on.
        base: u64,
        /// The running one.
        now: u64,
    },
    /// It changes what is not the approver's.
    #[error(transparent)]
    Scope(#[from] OutOfScope),
    /// The system has no random numbers.
    #[error("there are no random numbers to name the change by")]
    NoNumber,
}

/// A draft as it was proposed.
#[derive(Debug)]
pub struct Proposal {
    change: String,
    author: Author,
    draft: Draft,
    statements: Vec<Arc<str>>,
    changes: Differences,
    /// Who has approved it, and until when that holds.
    approval: Mutex<Option<(Arc<str>, Instant)>>,
}

impl Proposal {
    fn new(draft: &Draft, author: &Author, statements: Vec<Arc<str>>) -> Result<Self, ApprovalError> {
        let changes = differences(&draft.base().parts, &draft.clone().settle());
        let mut random = [0; 16];
        rand::fill(&mut random).map_err(|_unspecified| ApprovalError::NoNumber)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        add(&random);
        add(&draft.base().generation.to_be_bytes());
        add(&statements.len().to_be_bytes());
        for statement in &statements {
            add(statement.as_bytes());
        }
        for difference in &*changes.told {
            add(difference.to_string().as_bytes());
        }
        add(&changes.more.to_be_bytes());
        let change = hex::lower(hash.finish().as_ref());
        let (author, draft) = (author.clone(), draft.clone());
        Ok(Self { change, author, draft, statements, changes, approval: Mutex::default() })
    }

    /// Its name, as it is shown.
    pub fn short(&self) -> &str {
        self.change.get(..SHOWN_OF_CHANGE).unwrap_or(&self.change)
    }

    /// Whether it is called so.
    fn is_named(&self, name: &str) -> bool {
        name.len() >= SHOWN_OF_CHANGE && self.change.starts_with(&name.to_ascii_lowercase())
    }

    /// Who has approved it of late.
    fn approved_by(&self) -> Option<Arc<str>> {
        let approval = self.approval.lock();
        approval.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(by, _)| Arc::clone(by))
    }

    /// It, to be shown.
    pub fn info(&self) -> ChangeInfo {
        ChangeInfo {
            change: self.change.clone(),
            author: self.author.to_string(),
            base: self.draft.base().generation,
            statements: self.statements.iter().map(ToString::to_string).collect(),
            changes: self.changes.told.iter().map(ToString::to_string).collect(),
            more: self.changes.more,
            approved_by: self.approved_by().as_deref().map(str::to_owned),
        }
    }
}

impl Change {
    /// Whether it may be published as it is, the change that is named `asked`, if one is: for what is begun and committed.
    /// `statements` are those that have made it.
    ///
    /// # Errors
    ///
    /// See [`ApprovalError`].
    pub fn check_approval(
        &mut self,
        live: &Live,
        statements: Vec<Arc<str>>,
        asked: Option<&str>,
    ) -> Result<(), ApprovalError> {
        let proposal = live.propose(self, statements)?;
        if let Some(asked) = asked.filter(|asked| !proposal.is_named(asked)) {
            return Err(ApprovalError::Other { asked: asked.to_owned(), now: proposal.short().to_owned() });
        }
        self.approved().map(drop)
    }

    /// It is not what it was proposed as any more.
    pub fn withdraw(&mut self) {
        self.proposal = None;
    }

    /// The author of what is published, with who has approved that.
    pub(crate) fn approved(&self) -> Result<Author, ApprovalError> {
        let proposal = self.proposal.as_ref().filter(|proposal| proposal.draft.is_same(&self.draft));
        match (proposal.and_then(|proposal| proposal.approved_by()), &self.author.approval) {
            (Some(by), _) => Ok(Author { approval: Approval::By(by), ..self.author.clone() }),
            (None, Approval::Needed) if !self.reverts => Err(match proposal {
                Some(proposal) => ApprovalError::Missing(proposal.short().to_owned()),
                None => ApprovalError::NotBegun,
            }),
            (None, _) => Ok(self.author.clone()),
        }
    }
}

/// The proposals of the drafts that there are.
#[derive(Debug, Default)]
pub(crate) struct Proposals(Mutex<Vec<Weak<Proposal>>>);

impl Proposals {
    fn add(&self, proposal: &Arc<Proposal>) {
        let mut all = self.0.lock();
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(proposal));
    }

    fn named(&self, name: &str) -> Result<Arc<Proposal>, ApprovalError> {
        let all = self.0.lock();
        let mut named = all.iter().filter_map(Weak::upgrade).filter(|proposal| proposal.is_named(name));
        match (named.next(), named.next()) {
            (Some(proposal), None) => Ok(proposal),
            _ => Err(ApprovalError::Unknown(name.to_owned())),
        }
    }
}

impl Live {
    /// What a change is at this moment, which these statements have made: what it was proposed as, if it is that yet.
    ///
    /// # Errors
    ///
    /// It cannot be named.
    pub fn propose(
        &self,
        change: &mut Change,
        statements: Vec<Arc<str>>,
    ) -> Result<Arc<Proposal>, ApprovalError> {
        if let Some(known) = &change.proposal
            && known.draft.is_same(&change.draft)
            && known.statements == statements
        {
            return Ok(Arc::clone(known));
        }
        let proposal = Arc::new(Proposal::new(&change.draft, &change.author, statements)?);
        self.proposals.add(&proposal);
        change.proposal = Some(Arc::clone(&proposal));
        if change.author.approval == Approval::Needed {
            let short = proposal.short();
            let told = format!("{}: change {short} waits for approval: preview(\"{short}\")", change.author);
            self.sessions().news().say(&told, &change.author);
        }
        Ok(proposal)
    }

    /// What is proposed under a name, or the first digits of one.
    ///
    /// # Errors
    ///
    /// Nothing is.
    pub fn proposal(&self, name: &str) -> Result<Arc<Proposal>, ApprovalError> {
        self.proposals.named(name)
    }

    /// Has what is proposed under a name be published, once and soon; says so.
    ///
    /// # Errors
    ///
    /// See [`ApprovalError`].
    pub fn approve(&self, name: &str, author: &Author) -> Result<String, ApprovalError> {
        let proposal = self.proposal(name)?;
        let Proposal { change, author: whose, draft, .. } = &*proposal;
        let (base, now) = (draft.base(), self.site().generation);
        if let Some(login) = author.login.clone().filter(|login| whose.login.as_ref() == Some(login)) {
            return Err(ApprovalError::Own { change: proposal.short().to_owned(), login });
        }
        if base.generation != now {
            let change = proposal.short().to_owned();
            return Err(ApprovalError::Stale { change, base: base.generation, now });
        }
        scope::check(author, true, &base.parts, &draft.clone().settle())?;
        let by = author.who.clone().unwrap_or_else(|| Arc::clone(&author.what));
        *proposal.approval.lock() = Some((by, Instant::now() + APPROVED_FOR));
        let told = format!(
            "change {} is approved, to be committed within {} minutes",
            proposal.short(),
            APPROVED_FOR.as_secs() / 60
        );
        self.sessions().news().say(&format!("{author}: {told}"), author);
        Ok(format!("{told} ({whose}; {change})"))
    }
}

#[cfg(test)]
mod tests {
    use medusa_proto::author::Via;

    use super::*;

    fn author(name: &str, approval: Approval) -> Author {
        Author::new(Via::Control, "eval").by(name).logged_in(name, approval)
    }

    #[tokio::test]
    async fn an_approval_is_of_one_change_and_for_a_while() {
        let live = Live::rehearsal();
        let other = author("other", Approval::Free);
        let mut change = live.begin_apart(author("one", Approval::Needed));
        let statements = || vec![Arc::from("begin()")];
        let check = |change: &mut Change| change.check_approval(&live, statements(), None);
        let name = live.propose(&mut change, statements()).expect("a proposal").short().to_owned();
        assert_eq!(check(&mut change), Err(ApprovalError::Missing(name.clone())));
        assert!(matches!(live.approve(&name[1..], &other), Err(ApprovalError::Unknown(_))));
        let own = author("one", Approval::Free);
        assert!(matches!(live.approve(&name, &own), Err(ApprovalError::Own { .. })));
        live.approve(&name.to_ascii_uppercase(), &other).expect("it is there");
        assert_eq!(check(&mut change), Ok(()));
        assert_eq!(change.approved().map(|author| author.approval), Ok(Approval::By("other".into())));

        let proposal = live.proposal(&name).expect("it is there");
        *proposal.approval.lock() = Some(("other".into(), Instant::now()));
        assert_eq!(check(&mut change), Err(ApprovalError::Missing(name.clone())), "that was too long ago");
        live.approve(&name, &other).expect("once more");
        assert_eq!(check(&mut change), Ok(()));
        // The same parts in the same words, and one statement more.
        let more = vec![Arc::from("begin()"), Arc::from("return 1")];
        assert!(matches!(change.check_approval(&live, more, None), Err(ApprovalError::Missing(_))));
        // What was begun anew is another, even if all of it is the same.
        let mut again = live.begin_apart(author("one", Approval::Needed));
        assert_ne!(live.propose(&mut again, statements()).expect("a proposal").short(), name);
        drop((change, proposal));
        assert!(matches!(live.proposal(&name), Err(ApprovalError::Unknown(_))));
        assert!(live.begin_apart(author("one", Approval::Needed)).approved().is_err(), "nobody has seen it");
        assert!(live.begin_apart(other).approved().is_ok());
    }
}
