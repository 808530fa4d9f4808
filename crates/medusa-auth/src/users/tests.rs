//! Passwords, right and wrong, of users in tables and in files that change; each test is another client.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::examples::{SECRET, SECRET_5, TOKEN};
use crate::hashing::HASHED;

/// A client of which nothing is known yet.
fn client(number: u8) -> Scope {
    Scope { host: [number; 16], network: [number; 16] }
}

fn right(user: &str) -> Verdict {
    Verdict::Right(user.into())
}

#[tokio::test]
async fn a_password_is_its_users() {
    let users = Users::of_table([("ada", SECRET), ("bob", SECRET_5)]).expect("users");
    let verify = async |user: &str, password: &str| users.verify(client(1), user, password.into()).await;
    for _ in 0..2 {
        assert_eq!(verify("ada", "secret").await, right("ada"));
        assert_eq!(verify("bob", "secret").await, right("bob"));
        assert_eq!(verify("bob", "Secret").await, Verdict::Wrong);
        assert_eq!(verify("eve", "secret").await, Verdict::Wrong);
        assert_eq!(verify("", "").await, Verdict::Wrong);
    }
    // Each was hashed once.
    assert_eq!(users.checks.known_right(), 2);
    assert_eq!(hashing::failures(client(1)), 3);
    let shown = format!("{users:?} {}", users.status());
    assert!(shown.contains("ada") && !shown.contains("$2y$") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_token_is_its_users() {
    let users = Users::of_table([("ci", TOKEN), ("ada", SECRET)]).expect("users");
    assert!(users.have_tokens());
    assert_eq!(users.verify_token(b"secret").await, right("ci"));
    assert_eq!(users.verify_token(b"guess").await, Verdict::Wrong);
    // Git and WebDAV clients send it as a password.
    assert_eq!(users.verify(client(8), "ci", "secret".into()).await, right("ci"));
    assert_eq!(users.verify(client(8), "ada", "secret".into()).await, right("ada"));
    // Any other for that name is hashed, as for one that nobody has.
    assert_eq!(users.verify(client(8), "ci", "guess".into()).await, Verdict::Wrong);
    assert_eq!(hashing::failures(client(8)), 1);
    assert!(users.status().to_string().contains("wrong_tokens     1"), "{}", users.status());
}

#[tokio::test]
async fn the_same_table_is_the_same_users() {
    let [one, same] = [1, 2].map(|_| Users::of_table([("ada", SECRET), ("bob", SECRET)]).expect("users"));
    let turned = Users::of_table([("bob", SECRET), ("ada", SECRET)]).expect("users");
    let other = Users::of_table([("ada", SECRET), ("bob", SECRET_5)]).expect("users");
    assert!(Arc::ptr_eq(&one, &same) && Arc::ptr_eq(&one, &turned) && !Arc::ptr_eq(&one, &other));
    assert!(Users::of_table([("ada", "x")]).expect_err("no hash").to_string().starts_with("ada: "));
}

#[tokio::test]
async fn who_guesses_is_not_looked_at_and_hinders_nobody_else() {
    let users = Users::of_table([("ada", SECRET)]).expect("users");
    let verify =
        async |from: u8, password: String| users.verify(client(from), "ada", password.as_str().into()).await;
    assert_eq!(verify(2, "secret".into()).await, right("ada"));
    for guess in 0..HASHED {
        assert_eq!(verify(2, format!("guess {guess}")).await, Verdict::Wrong);
    }
    for guess in HASHED..LOOKED_UP {
        // What is known to be wrong is still told so, and costs nothing.
        assert_eq!(verify(2, "guess 0".into()).await, Verdict::Wrong);
        assert_eq!(verify(2, "secret".into()).await, right("ada"));
        let Verdict::TooMany(wait) = verify(2, format!("guess {guess}")).await else { panic!("{guess}") };
        assert!(wait <= EACH, "{wait:?}");
    }
    // From elsewhere she is let in, and of somebody who is not known nothing is counted.
    assert_eq!(verify(3, "secret".into()).await, right("ada"));
    for guess in 0..2 * HASHED {
        let verdict = users.verify(Scope::default(), "ada", format!("{guess}").as_str().into()).await;
        assert_eq!(verdict, Verdict::Wrong);
    }
}

#[tokio::test]
async fn what_is_asked_at_once_is_hashed_once() {
    let users = Users::of_table([("bob", SECRET_5)]).expect("users");
    let verify = || users.verify(client(4), "bob", "secret".into());
    let (one, two, three) = tokio::join!(verify(), verify(), verify());
    assert_eq!([one, two, three], [1, 2, 3].map(|_| right("bob")));
    let wrong = || users.verify(client(4), "bob", "wrong".into());
    let (one, two) = tokio::join!(wrong(), wrong());
    assert_eq!([one, two], [Verdict::Wrong, Verdict::Wrong]);
    assert_eq!(hashing::failures(client(4)), 1);
    assert!(users.under_way.lock().is_empty());
}

#[tokio::test]
async fn a_check_goes_on_when_who_asked_first_has_gone() {
    // It takes long enough for the first to be gone before.
    let dear = SECRET.replace("$04$", "$10$");
    let users = Users::of_table([("carol", &*dear)]).expect("users");
    let first = users.verify(client(5), "carol", "x".into());
    let second = users.verify(client(5), "carol", "x".into());
    tokio::select! {
        biased;
        _ = first => panic!("it takes a while"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(second.await, Verdict::Wrong);
    assert!(users.under_way.lock().is_empty());
}

/// What comes of a check that is given up when it has begun.
async fn given_up(check: impl Future<Output = Verdict>) {
    tokio::select! {
        biased;
        _ = check => {}
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn an_office_behind_one_address_logs_in_at_once() {
    let names: Vec<_> = (0..50).map(|number| format!("user{number}")).collect();
    let users = Users::of_table(names.iter().map(|name| (&**name, SECRET))).expect("users");
    let mut office = tokio::task::JoinSet::new();
    for name in names {
        let users = Arc::clone(&users);
        office.spawn(async move { users.verify(client(20), &name, "secret".into()).await });
    }
    let verdicts = office.join_all().await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Right(_))), "{verdicts:?}");
}

#[tokio::test]
async fn what_is_given_up_counts_only_if_it_was_wrong() {
    let users = Users::of_table([("bob", SECRET_5)]).expect("users");
    for _ in 0..2 * HASHED {
        given_up(users.verify(client(21), "bob", "secret".into())).await;
    }
    assert_eq!(users.verify(client(21), "bob", "secret".into()).await, right("bob"));
    // Who never waits until it is hashed is known the next time.
    let known = users.checks.known_right();
    while users.checks.known_right() == known {
        let check = users.verify(client(25), "bob", "secret".into());
        let _given_up = timeout(Duration::from_millis(1), check).await;
    }
    assert_eq!((known, hashing::failures(client(21)) + hashing::failures(client(25))), (1, 0));
}

#[tokio::test]
async fn guesses_sent_at_once_are_no_more() {
    let users = Users::of_table([("ada", SECRET)]).expect("users");
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..2 * HASHED {
        let users = Arc::clone(&users);
        guesses.spawn(async move {
            users.verify(client(22), "ada", format!("guess {guess}").as_str().into()).await
        });
    }
    let verdicts = guesses.join_all().await;
    let wrong = verdicts.iter().filter(|verdict| **verdict == Verdict::Wrong).count();
    assert_eq!(wrong, HASHED as usize, "{verdicts:?}");
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::TooMany(_))).count(), wrong);
}

#[tokio::test]
async fn a_user_that_is_known_is_let_in_whoever_else_is_there() {
    let users = Users::of_table([("ada", SECRET)]).expect("users");
    let verify = async |user: &str, password: &str| users.verify(client(23), user, password.into()).await;
    assert_eq!(verify("ada", "secret").await, right("ada"));
    for guess in 0..LOOKED_UP {
        let verdict = verify("eve", &format!("{guess}")).await;
        assert_eq!(matches!(verdict, Verdict::TooMany(_)), guess >= HASHED, "{guess}");
        assert_eq!(verify("ada", "secret").await, right("ada"), "{guess}");
    }
}

#[tokio::test]
async fn a_name_that_is_guessed_where_it_is_known_is_let_in_slowly() {
    let users = Users::of_table([("ada", SECRET)]).expect("users");
    let guessed = async |from: u8| {
        assert_eq!(users.verify(client(from), "ada", "secret".into()).await, right("ada"));
        for guess in 0..HASHED {
            let guess = format!("{guess}");
            assert_eq!(users.verify(client(from), "ada", guess.as_str().into()).await, Verdict::Wrong);
        }
        for _ in 0..LOOKED_UP {
            add_guess(client(from), "ada");
        }
        Instant::now()
    };
    let begun = guessed(26).await;
    assert_eq!(users.verify(client(26), "ada", "secret".into()).await, right("ada"));
    assert!(begun.elapsed() >= SLOW);
    // No more than a few wait for that.
    guessed(27).await;
    let mut at_once = tokio::task::JoinSet::new();
    for guess in 0..64 {
        let (users, guess) = (Arc::clone(&users), format!("at once {guess}"));
        at_once.spawn(async move { users.verify(client(27), "ada", guess.as_str().into()).await });
    }
    let verdicts = at_once.join_all().await;
    let busy = verdicts.iter().filter(|verdict| **verdict == Verdict::Busy(SLOW)).count();
    assert!((1..=32).contains(&busy) && !verdicts.contains(&right("ada")), "{verdicts:?}");
}

#[tokio::test]
async fn who_has_the_same_line_as_before_is_still_known() {
    let folder = Folder::of(&format!("ada:{SECRET}\nbob:{SECRET}\n"));
    let verify =
        async |user: &str, password: &str| folder.users.verify(client(24), user, password.into()).await;
    assert_eq!(verify("ada", "secret").await, right("ada"));
    assert_eq!(verify("bob", "secret").await, right("bob"));
    folder.replace(&format!("ada:{SECRET}\nbob:{SECRET_5}\neve:{SECRET}\n"));
    folder.due();
    // As somebody else at that address guesses, nothing new is hashed.
    for guess in 0..HASHED {
        assert_eq!(verify("x", &format!("{guess}")).await, Verdict::Wrong);
    }
    assert_eq!(verify("ada", "secret").await, right("ada"));
    assert!(matches!(verify("bob", "secret").await, Verdict::TooMany(_)), "another hash");
}

struct Folder {
    folder: tempfile::TempDir,
    users: Arc<Users>,
}

impl Folder {
    fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        fs::write(&path, text).expect("written");
        Self { users: Users::of_file(&path).expect("users"), folder }
    }

    /// Puts another file in the place of the old one.
    fn replace(&self, text: &str) {
        let [new, path] = ["new", "users"].map(|name| self.folder.path().join(name));
        fs::write(&new, text).expect("written");
        fs::rename(&new, &path).expect("renamed");
    }

    /// As if a second had passed.
    fn due(&self) {
        let file = self.users.file().expect("a file");
        *file.looked.lock() = Instant::now().checked_sub(LOOK).expect("the machine runs for longer");
    }

    async fn verify(&self, user: &str) -> Verdict {
        self.users.verify(client(6), user, "secret".into()).await
    }

    fn trouble(&self) -> Option<String> {
        self.users.file().and_then(|file| file.trouble.lock().clone())
    }
}

#[tokio::test]
async fn a_file_is_looked_at_anew() {
    let folder = Folder::of(&format!(
        "ada:{SECRET}
"
    ));
    assert_eq!(folder.verify("ada").await, right("ada"));
    folder.replace(&format!(
        "bob:{SECRET}
"
    ));
    assert_eq!(folder.verify("bob").await, Verdict::Wrong);
    folder.due();
    assert_eq!(folder.verify("bob").await, right("bob"));
    assert_eq!(folder.verify("ada").await, Verdict::Wrong);
    // In place, within the same tick of the clock, with the same size.
    fs::write(
        folder.folder.path().join("users"),
        format!(
            "eve:{SECRET}
"
        ),
    )
    .expect("written");
    folder.due();
    assert_eq!(folder.verify("eve").await, right("eve"));
    let before = folder.users.table.load_full();
    folder.due();
    assert_eq!(folder.verify("eve").await, right("eve"));
    assert!(Arc::ptr_eq(&before, &folder.users.table.load_full()), "the same is kept");
}

#[tokio::test]
async fn a_file_that_is_broken_keeps_what_was() {
    let folder = Folder::of(&format!(
        "ada:{SECRET}
"
    ));
    let path = folder.folder.path().join("users");
    let large = format!(
        "# {}
",
        "x".repeat(5 << 20)
    );
    for (text, why) in [
        (
            "ada:x
",
            "users:1: a password that is not hashed",
        ),
        (&large, "more than 4 MiB"),
    ] {
        folder.replace(text);
        folder.due();
        assert_eq!(folder.verify("ada").await, right("ada"));
        let trouble = folder.trouble().expect("trouble");
        assert!(trouble.contains(why), "{trouble}");
        assert!(folder.users.status().to_string().contains("trouble"));
        assert!(Users::of_file(&path).is_err(), "a script that asks for it is told");
    }
    fs::remove_file(&path).expect("removed");
    folder.due();
    assert_eq!(folder.verify("ada").await, right("ada"));
    assert!(folder.trouble().expect("trouble").contains("cannot read"));
    folder.replace(&format!(
        "ada:{SECRET}
"
    ));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("changed");
    folder.due();
    assert_eq!(folder.verify("ada").await, right("ada"));
    assert_eq!(folder.trouble(), None);
    let same = Users::of_file(&path).expect("users");
    assert!(Arc::ptr_eq(&same, &folder.users));
}

#[test]
fn a_file_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |path: &Path| with_causes(&Users::of_file(path).expect_err("no users"));
    assert!(told(&folder.path().join("none")).contains("No such file"));
    assert!(told(folder.path()).contains("it is not a regular file"));
    let pipe = folder.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("made");
    assert!(told(&pipe).contains("it is not a regular file"));
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    // Long enough to be told from the noise: 16 ms each.
    let dear = SECRET.replace("$04$", "$08$");
    let users = Users::of_table([("ada", &*dear), ("bob", &*dear)]).expect("users");
    let mut took = [Duration::MAX; 2];
    for round in 0..4 {
        for (took, user) in took.iter_mut().zip(["ada", "nobody"]) {
            let begun = Instant::now();
            let password = format!("{round}");
            assert_eq!(users.verify(client(7), user, password.as_str().into()).await, Verdict::Wrong);
            *took = (*took).min(begun.elapsed());
        }
    }
    let [known, unknown] = took.map(|took| took.as_secs_f64());
    assert!(unknown > known / 2.0 && unknown < known * 2.0, "{known} {unknown}");
}
