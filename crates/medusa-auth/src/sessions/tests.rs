//! Sessions that begin, go on, and end, by themselves or before their time.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::examples::{SECRET, SECRET_5, TOKEN};

const NOW: u64 = 1_800_000_000_000_000;
const HOUR: u64 = 3_600_000_000;
const LIFETIME: Lifetime = Lifetime { idle: Duration::from_hours(1), whole: Duration::from_hours(24) };

fn sessions(key: u8) -> Arc<LoginSessions> {
    LoginSessions::new(&keys(&[key]), None, None).expect("nothing was ended")
}

fn keys(keys: &[u8]) -> SigningKeys {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| [*key; 32]).collect();
    SigningKeys::parse(&bytes).expect("keys")
}

fn users(entries: &[(&str, &str)]) -> Arc<Users> {
    Users::of_table(entries.iter().copied()).expect("users")
}

/// Whose session a text is.
async fn whose(sessions: &LoginSessions, users: &Arc<Users>, text: &str, now: u64) -> Option<String> {
    let session = sessions.check(users, text.as_bytes(), LIFETIME, now).await;
    session.map(|session| session.user.to_string())
}

#[tokio::test]
async fn a_session_is_its_users_until_it_is_over() {
    let (sessions, users) = (sessions(1), users(&[("ada", SECRET), ("zo\u{eb}", SECRET_5)]));
    for user in ["ada", "zo\u{eb}"] {
        let session = sessions.begin(&users, user, NOW).await.expect("a user");
        let text = sessions.text(&session);
        assert_eq!(whose(&sessions, &users, &text, NOW).await.as_deref(), Some(user));
        assert_eq!(whose(&sessions, &users, &text, NOW + HOUR - 1).await.as_deref(), Some(user));
        assert_eq!(whose(&sessions, &users, &text, NOW + HOUR).await, None, "it was not renewed");
        assert_eq!(whose(&sessions, &users, &text, NOW - SET_BACK - 1).await, None, "it has not begun");
        assert_eq!(session.seconds_left(LIFETIME, NOW), 3600);
    }
    assert_eq!(sessions.begin(&users, "eve", NOW).await, None);
    assert!(!format!("{sessions:?}").contains("$2y$"));
}

#[tokio::test]
async fn it_is_renewed_with_requests_and_not_for_ever() {
    let (sessions, users) = (sessions(1), users(&[("ada", SECRET)]));
    let mut session = sessions.begin(&users, "ada", NOW).await.expect("a user");
    assert_eq!(session.renewed(LIFETIME, NOW + HOUR / 4 - 1), None);
    let mut now = NOW;
    while now < NOW + 24 * HOUR - HOUR / 2 {
        now += HOUR / 2;
        session = session.renewed(LIFETIME, now).expect("it is time");
        let text = sessions.text(&session);
        session = sessions.check(&users, text.as_bytes(), LIFETIME, now).await.expect("a session");
    }
    assert_eq!(session.seconds_left(LIFETIME, now), 1800, "a day is over, not an hour");
    let text = sessions.text(&session);
    assert_eq!(whose(&sessions, &users, &text, NOW + 24 * HOUR).await, None);
}

#[tokio::test]
async fn nobody_else_makes_one() {
    let (one, other, users) = (sessions(1), sessions(2), users(&[("ada", SECRET), ("bob", SECRET)]));
    let session = one.begin(&users, "ada", NOW).await.expect("a user");
    let text = one.text(&session);
    assert_eq!(whose(&other, &users, &text, NOW).await, None, "another key");
    for at in 0..text.len() {
        let mut forged = text.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(one.check(&users, &forged, LIFETIME, NOW).await, None, "character {at}");
        assert_eq!(one.check(&users, &text.as_bytes()[..at], LIFETIME, NOW).await, None, "cut at {at}");
    }
    let bob = one.text(&LoginSession { user: "bob".into(), ..session.clone() });
    assert_eq!(whose(&one, &users, &bob, NOW).await.as_deref(), Some("bob"), "it is signed for bob");
    for wrong in ["", "A", "====", &format!("{text}A"), &format!("{text}="), &"A".repeat(5000), "\u{fc}"] {
        assert_eq!(whose(&one, &users, wrong, NOW).await, None, "{wrong}");
    }
}

#[tokio::test]
async fn it_ends_with_the_password_and_with_the_user() {
    let (sessions, before) = (sessions(1), users(&[("ada", SECRET), ("ci", TOKEN)]));
    let session = sessions.begin(&before, "ada", NOW).await.expect("a user");
    let text = sessions.text(&session);
    for (entries, goes_on) in [
        (&[("ada", SECRET)][..], true),
        (&[("ada", SECRET_5)], false),
        (&[("bob", SECRET)], false),
        (&[("ada", SECRET), ("bob", SECRET_5)], true),
    ] {
        assert_eq!(whose(&sessions, &users(entries), &text, NOW).await.is_some(), goes_on, "{entries:?}");
    }
}

#[tokio::test]
async fn it_is_ended_alone_or_with_all_others() {
    let (sessions, users) = (sessions(1), users(&[("ada", SECRET), ("bob", SECRET)]));
    let begin = async |user: &str| {
        let session = sessions.begin(&users, user, NOW).await.expect("a user");
        (sessions.text(&session), session)
    };
    let (first, session) = begin("ada").await;
    sessions.end(&session, NOW).await;
    let ((second, _), (third, _), (bobs, _)) = (begin("ada").await, begin("ada").await, begin("bob").await);
    let who = async |text: &str| whose(&sessions, &users, text, NOW).await.is_some();
    assert_eq!([who(&first).await, who(&second).await, who(&bobs).await], [false, true, true]);
    sessions.end_all(Some("ada"), NOW + 1).await;
    assert_eq!([who(&second).await, who(&third).await, who(&bobs).await], [false, false, true]);
    assert!(who(&begin("ada").await.0).await, "it began later");
    sessions.end_all(None, NOW + 2).await;
    assert!(!who(&bobs).await);
}

#[tokio::test]
async fn what_was_ended_is_kept() {
    let (kept, fails) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicBool::new(false)));
    let save = {
        let (kept, fails) = (Arc::clone(&kept), Arc::clone(&fails));
        move |text: &[u8]| {
            if fails.load(SeqCst) {
                return Err(io::Error::other("the disk is full"));
            }
            *kept.lock() = String::from_utf8(text.to_vec()).expect("text");
            Ok(())
        }
    };
    let (keys, users) = (keys(&[1]), users(&[("ada", SECRET)]));
    let sessions = LoginSessions::new(&keys, None, Some(Box::new(save))).expect("nothing was ended");
    let session = sessions.begin(&users, "ada", NOW).await.expect("a user");
    let text = sessions.text(&session);
    fails.store(true, SeqCst);
    sessions.end(&session, NOW).await;
    assert_eq!((sessions.trouble().as_deref(), kept.lock().as_str()), (Some("the disk is full"), ""));
    assert_eq!(whose(&sessions, &users, &text, NOW).await, None, "it is ended all the same");
    fails.store(false, SeqCst);
    sessions.end_all(Some("bob"), NOW).await;
    assert_eq!(sessions.trouble(), None);
    let again = LoginSessions::new(&keys, Some(&kept.lock()), None).expect("it is understood");
    assert_eq!(whose(&again, &users, &text, NOW).await, None);
    let error = LoginSessions::new(&keys, Some("nonsense"), None).expect_err("it is not");
    assert_eq!(error.to_string(), "line 1 is not understood");
}

#[tokio::test]
async fn another_key_takes_over() {
    let (sessions, users) = (sessions(1), users(&[("ada", SECRET)]));
    let text = sessions.text(&sessions.begin(&users, "ada", NOW).await.expect("a user"));
    sessions.set_keys(&keys(&[2, 1]));
    let session = sessions.check(&users, text.as_bytes(), LIFETIME, NOW).await.expect("the old key is known");
    let renewed = session.renewed(LIFETIME, NOW).expect("at once, by the new key");
    let renewed = sessions.text(&renewed);
    sessions.set_keys(&keys(&[2]));
    assert_eq!(whose(&sessions, &users, &text, NOW).await, None);
    assert_eq!(whose(&sessions, &users, &renewed, NOW).await.as_deref(), Some("ada"));
}
