//! Hashes that other programs have made: libxcrypt (`crypt`), `openssl passwd`, and the reference implementation of Argon2.

use crate::Scheme;

const LONG: &str = "a very much longer text to encrypt.  This one even stretches over morethan one line.";
const A72: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const A100: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B90: &str =
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// `secret`, as bcrypt with a cost of 4 has it: a check of it takes a millisecond.
pub(crate) const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// `secret`, as bcrypt with a cost of 5 has it.
pub(crate) const SECRET_5: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.pIKrLVkBX9/OvQMSygY1pWEVn72t6na";

/// SHA-256 of `secret`.
pub(crate) const TOKEN: &str = "{TOKEN}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=";

/// A hash, what it is made of, and how.
pub(crate) const HASHES: [(&str, &str, Scheme); 27] = [
    (SECRET, "secret", Scheme::Bcrypt),
    ("$2y$04$abcdefghijklmnopqrstuuyx2n0Zzopyr9QuYTMCfOJJOj526QVoC", "pässwörd", Scheme::Bcrypt),
    ("$2y$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe", A72, Scheme::Bcrypt),
    ("$2y$04$abcdefghijklmnopqrstuuUJf9qAIqFFWObw4K4AvdtuO.PaE5J/W", B90, Scheme::Bcrypt),
    (SECRET_5, "secret", Scheme::Bcrypt),
    ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.ODcEJfYFxKziEakDsjep8mcF3zSCvHq", A72, Scheme::Bcrypt),
    ("$2a$04$N9qo8uLOickgx2ZMRZoMye3eddwbvBZq9Vw2uHywyANtuDH4xsNoe", "secret", Scheme::Bcrypt),
    ("$2a$04$N9qo8uLOickgx2ZMRZoMyeVE0Gfkvlqp6DLtAlfhGw0O/hgr/H5Z6", "pässwörd", Scheme::Bcrypt),
    ("$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.", "secret", Scheme::Sha256Crypt),
    ("$5$saltstring$bWOoCRTKNT.aiY/gJjvk1HjBYuRpcYQmcc5hqf6H4T4", "pässwörd", Scheme::Sha256Crypt),
    ("$5$saltstring$GyTEZtFuSijnDwgZAdeQeFYSkAzF3f3QpZGhkJUrWWD", LONG, Scheme::Sha256Crypt),
    ("$5$saltstring$FdNfA4gXqvCeO6iZs7G/.wwwoywYZqo0l1pwmfWaBA7", "", Scheme::Sha256Crypt),
    ("$5$rounds=10000$x$g95vf3SFOy4uHrxsisoZxQDJy0ywV35sNvBV.QxBxk6", "secret", Scheme::Sha256Crypt),
    (
        "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.",
        "secret",
        Scheme::Sha512Crypt,
    ),
    (
        "$6$saltstring$JScHikn0ipeafNsMFqiv6ssVGy/bli03a6zot98EeDT9Eis0IVo.NzTwTN4F896wEgL50y3nqQ9Os/B3lkI2.0",
        A100,
        Scheme::Sha512Crypt,
    ),
    (
        "$6$rounds=1400$anotherlongsalts$PvxoJTmXveDTqoAtKdjfDTb9839NNbMeeVHeMRky7zZhRx5UG3mQfg9LT5cbklRT5ZxC6sJXmSNiHCq.mEK4y/",
        "pässwörd",
        Scheme::Sha512Crypt,
    ),
    (
        "$6$rounds=1400$anotherlongsalts$CvyNSQwf6bQerEu9N9SQOWtPnrIu1XZzaKZQpGKfoQ/SaumCMqHGCEvfGxtQ5xG2Au23d5sGapl8LQH64hLtn/",
        "",
        Scheme::Sha512Crypt,
    ),
    ("$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/", "secret", Scheme::Apr1),
    ("$apr1$x$Kzn.cSDdCrYQZfFg5UXZM.", "pässwörd", Scheme::Apr1),
    ("$apr1$abcdefgh$Gg.EmXkEpxWG6yUbQCULf/", A100, Scheme::Apr1),
    ("$apr1$x$9rl4ZhOG76BNQO.xVXFn4.", A100, Scheme::Apr1),
    ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret", Scheme::Sha1),
    ("{SHA}9Rfd8dMqES/xrVXGbRsSyzjn6Pc=", "pässwörd", Scheme::Sha1),
    ("{SHA}f5AAJXpJGNcHJlXqRoVAzcvULgw=", A100, Scheme::Sha1),
    (TOKEN, "secret", Scheme::Token),
    (
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "password",
        Scheme::Argon2id,
    ),
    (
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "password",
        Scheme::Argon2id,
    ),
];
