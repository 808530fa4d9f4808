//! Users whom somebody else knows: a function of the script is asked, which may look into a database or ask another server.
//!
//! **Invariants:** who is not told to be right is not let in, whatever goes wrong. What was told is remembered for a short time, for its
//! client; the same is asked once at a time. No more are asked about at a time than there are [`PLACES`], and of a network no more
//! than [`OWN_PLACES`], so that guesses, which all count, are few.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::status::Status;
use parking_lot::Mutex;

use super::{Source, Users, Verdict, add_guess, slow_down};
use crate::hashing::{self, Scope};
use crate::htpasswd::{Stored, check_name};
use crate::remembered::{Remembered, Seal, seal};
use crate::secret::Secret;

/// The most that are asked about at a time, in the process, and from one network.
const PLACES: usize = 64;
const OWN_PLACES: usize = 16;

/// When to come again where there is no place.
const WAIT: Duration = Duration::from_secs(1);

/// The most that is remembered: of those that were right, and of those that were wrong.
const MAX_RIGHT: usize = 4096;
const MAX_WRONG: usize = 1024;

/// Those that are asked about, of each network.
static ASKING: Mutex<Option<HashMap<[u8; 16], usize>>> = Mutex::new(None);

/// What users have, of which somebody else knows whether it is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Secrets {
    /// A name and a password.
    Passwords,
    /// A token.
    Tokens,
}

#[derive(Debug)]
pub(super) struct Asked {
    secrets: Secrets,
    right: Mutex<Remembered<Arc<str>>>,
    wrong: Mutex<Remembered<()>>,
}

impl Asked {
    pub(super) fn status(&self) -> Status {
        let kind = match self.secrets {
            Secrets::Passwords => "auth.users",
            Secrets::Tokens => "auth.tokens",
        };
        Status::new(kind, "").gauge("remembered", self.right.lock().len())
    }

    fn remembered(&self, seal: &Seal, now: Instant) -> Option<Verdict> {
        if let Some(name) = self.right.lock().get(seal, now) {
            return Some(Verdict::Right(name));
        }
        self.wrong.lock().get(seal, now).map(|()| Verdict::Wrong)
    }

    fn remember(&self, seal: Seal, verdict: &Verdict, now: Instant) {
        match verdict {
            Verdict::Right(name) => self.right.lock().add(seal, Arc::clone(name), now),
            Verdict::Wrong => self.wrong.lock().add(seal, (), now),
            Verdict::Stale | Verdict::TooMany(_) | Verdict::Busy(_) => {}
        }
    }
}

impl Users {
    /// Users of whom somebody else is asked, each time by [`verify_asking`](Self::verify_asking); what was told is remembered that long.
    /// With a `key` they are the same as those that were made with it and are still there.
    pub fn asked(secrets: Secrets, remember: Duration, key: Option<&str>) -> Arc<Self> {
        let make = || {
            let right = Mutex::new(Remembered::lasting(MAX_RIGHT, remember));
            let wrong = Mutex::new(Remembered::lasting(MAX_WRONG, remember));
            Arc::new(Self::new(Stored::new(), Source::Asked(Asked { secrets, right, wrong })))
        };
        match key {
            Some(key) => super::made(format!("asked\0{secrets:?}\0{remember:?}\0{key}"), make),
            None => make(),
        }
    }

    /// What they have, if somebody else is asked whether it is right.
    pub fn asked_secrets(&self) -> Option<Secrets> {
        if let Source::Asked(asked) = &self.source { Some(asked.secrets) } else { None }
    }

    /// Finds out whether a secret is that of a user, by `ask`, which tells the name of whose it is; the user is "" where nobody is named.
    ///
    /// # Errors
    ///
    /// Whoever was asked could not tell; then nothing is known, and nothing counted. A name that nobody can have is nobody's, whether
    /// it was told or came with a password, of which nobody is asked then.
    pub async fn verify_asking<E>(
        &self,
        client: Scope,
        user: &str,
        secret: &Secret,
        ask: impl Future<Output = Result<Option<String>, E>>,
    ) -> Result<Verdict, E> {
        let Source::Asked(asked) = &self.source else { return Ok(Verdict::Wrong) };
        let verdict = self.check_asking(asked, client, user, secret, ask).await?;
        self.count(&verdict);
        Ok(verdict)
    }

    async fn check_asking<E>(
        &self,
        asked: &Asked,
        client: Scope,
        user: &str,
        secret: &Secret,
        ask: impl Future<Output = Result<Option<String>, E>>,
    ) -> Result<Verdict, E> {
        let Some(seal) = seal(&[b"asked", &client.host, user.as_bytes(), secret.bytes()]) else {
            return Ok(Verdict::Busy(WAIT));
        };
        if let Err(wait) = slow_down(client, user).await {
            return Ok(Verdict::Busy(wait));
        }
        let lead = loop {
            if let Some(verdict) = asked.remembered(&seal, Instant::now()) {
                return Ok(verdict);
            }
            let mut other = match self.lead(seal) {
                Ok(lead) => break lead,
                Err(other) => other,
            };
            // Whoever asked the same first may have failed: then it is asked anew.
            if let Ok(told) = other.wait_for(Option::is_some).await
                && let Some(verdict) = &*told
            {
                return Ok(verdict.clone());
            }
        };
        if let Some(wait) = hashing::too_many(client) {
            add_guess(client, user);
            lead.tell(Verdict::TooMany(wait));
            return Ok(Verdict::TooMany(wait));
        }
        let Some(_place) = Place::of(client) else { return Ok(Verdict::Busy(WAIT)) };
        // Of a name that nobody can have, a function might still say that it is right as it is.
        let is_nobody = asked.secrets == Secrets::Passwords && check_name(user).is_err();
        let name = if is_nobody { None } else { ask.await?.filter(|name| check_name(name).is_ok()) };
        let verdict = name.map_or(Verdict::Wrong, |name| Verdict::Right(name.into()));
        let now = Instant::now();
        if verdict == Verdict::Wrong {
            hashing::add_wrong(client, now);
        }
        asked.remember(seal, &verdict, now);
        lead.tell(verdict.clone());
        Ok(verdict)
    }
}

/// One that is asked about.
struct Place([u8; 16]);

impl Place {
    fn of(client: Scope) -> Option<Self> {
        let mut asking = ASKING.lock();
        let asking = asking.get_or_insert_default();
        if asking.values().sum::<usize>() >= PLACES {
            return None;
        }
        let own = asking.entry(client.network).or_default();
        if client.is_known() && *own >= OWN_PLACES {
            return None;
        }
        *own += 1;
        Some(Self(client.network))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(asking) = &mut *ASKING.lock()
            && let Some(own) = asking.get_mut(&self.0)
        {
            *own -= 1;
            if *own == 0 {
                asking.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use tokio::join;

    use super::*;
    use crate::hashing::HASHED;

    /// A client of which nothing is known yet, whatever other tests have.
    fn client(number: u8) -> Scope {
        Scope { host: [number; 16], network: [number; 16] }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    type Told = Result<Option<String>, &'static str>;

    #[tokio::test]
    async fn what_was_told_is_remembered_for_its_client() {
        let users = Users::asked(Secrets::Passwords, MINUTE, None);
        let asked = Cell::new(0);
        let verify = async |at: u8, user: &str, told: Told| {
            let ask = async {
                asked.set(asked.get() + 1);
                told
            };
            users.verify_asking(client(at), user, &"hidden".into(), ask).await
        };
        let ada = || Ok(Some("Ada".to_owned()));
        assert_eq!(verify(210, "ada", ada()).await, Ok(Verdict::Right("Ada".into())));
        assert_eq!(verify(210, "ada", Ok(None)).await, Ok(Verdict::Right("Ada".into())));
        assert_eq!(asked.get(), 1);
        assert_eq!(verify(211, "ada", Ok(None)).await, Ok(Verdict::Wrong), "another client");
        assert_eq!(verify(211, "ada", ada()).await, Ok(Verdict::Wrong));
        assert_eq!(asked.get(), 2);
        assert_eq!(verify(211, "bob", Err("it is broken")).await, Err("it is broken"));
        assert_eq!(
            verify(211, "bob", ada()).await,
            Ok(Verdict::Right("Ada".into())),
            "it was not remembered"
        );
        for nobody in ["", "a:b", "a\nb"] {
            assert_eq!(verify(212, nobody, Ok(Some(nobody.into()))).await, Ok(Verdict::Wrong), "{nobody:?}");
        }
        assert_eq!(verify(212, "ada", Ok(Some(" ada".into()))).await, Ok(Verdict::Wrong));
        let anew = Users::asked(Secrets::Passwords, Duration::ZERO, None);
        for told in [Some("Ada".to_owned()), None] {
            let expected = told.clone().map_or(Verdict::Wrong, |_| Verdict::Right("Ada".into()));
            let asked = anew.verify_asking(client(213), "ada", &"x".into(), ready(Ok::<_, ()>(told))).await;
            assert_eq!(asked, Ok(expected), "nothing is remembered");
        }
        let shown = format!("{users:?} {}", users.status());
        assert!(!shown.contains("hidden") && shown.contains("remembered"), "{shown}");
    }

    #[tokio::test]
    async fn of_a_name_that_nobody_can_have_nobody_is_asked() {
        let users = Users::asked(Secrets::Passwords, MINUTE, None);
        let long = "a".repeat(256);
        let verify = async |user: &str, secret: &str, told: Told| {
            users.verify_asking(client(217), user, &secret.into(), ready(told)).await
        };
        for user in ["", " sp", "sp ", "a:b", "a\nb", &*long] {
            assert_eq!(verify(user, "x", Err("asked")).await, Ok(Verdict::Wrong), "{user:?}");
        }
        for guess in 6..HASHED {
            assert_eq!(verify("", &format!("{guess}"), Err("asked")).await, Ok(Verdict::Wrong), "{guess}");
        }
        let more = verify("ada", "x", Ok(Some("ada".into()))).await;
        assert!(matches!(more, Ok(Verdict::TooMany(_))), "they count: {more:?}");
    }

    #[tokio::test]
    async fn guesses_count_and_the_same_is_asked_once_at_a_time() {
        let users = Users::asked(Secrets::Tokens, MINUTE, None);
        let asked = Cell::new(0);
        let slowly = || async {
            asked.set(asked.get() + 1);
            tokio::task::yield_now().await;
            Ok::<_, ()>(Some("ci".to_owned()))
        };
        let token = "token".into();
        let [one, other] = [(); 2].map(|()| users.verify_asking(client(214), "", &token, slowly()));
        assert_eq!(join!(one, other), (Ok(Verdict::Right("ci".into())), Ok(Verdict::Right("ci".into()))));
        assert_eq!(asked.get(), 1);
        for guess in 0..HASHED {
            let guess = format!("{guess}").as_str().into();
            let told = users.verify_asking(client(214), "", &guess, ready(Ok::<_, ()>(None))).await;
            assert_eq!(told, Ok(Verdict::Wrong));
        }
        let more =
            users.verify_asking(client(214), "", &"more".into(), ready(Ok::<_, ()>(Some("ci".into())))).await;
        assert!(matches!(more, Ok(Verdict::TooMany(_))), "{more:?}");
        // What is known to be right goes on.
        let known = users.verify_asking(client(214), "", &token, ready(Err("not asked"))).await;
        assert_eq!(known, Ok(Verdict::Right("ci".into())));
    }

    #[tokio::test]
    async fn one_network_does_not_take_all_places() {
        let users = Users::asked(Secrets::Passwords, MINUTE, None);
        let secrets: Vec<Secret> = (0..=OWN_PLACES).map(|at| format!("{at}").as_str().into()).collect();
        let mut waiting: Vec<_> = secrets
            .iter()
            .map(|secret| Box::pin(users.verify_asking(client(215), "ada", secret, pending::<Told>())))
            .collect();
        let last = waiting.pop().expect("there is one more than places");
        for asked in &mut waiting {
            assert!(futures_poll(asked).is_none());
        }
        assert_eq!(last.await, Ok(Verdict::Busy(WAIT)));
        let other = users.verify_asking(client(216), "ada", &"x".into(), ready(Ok::<_, ()>(None))).await;
        assert_eq!(other, Ok(Verdict::Wrong));
        drop(waiting);
        let again = users.verify_asking(client(215), "ada", &"x".into(), ready(Ok::<_, ()>(None))).await;
        assert_eq!(again, Ok(Verdict::Wrong), "they are free again");
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
