//! The users of one version of a file or table.

use std::collections::HashMap;
use std::sync::Arc;

use crate::digest::{DigestAlgorithm, DigestUser};
use crate::hash::{Ha1, PasswordHash, Scheme, TokenDigest, is_token, token_digest};
use crate::htpasswd::{Stored, StoredHash};

/// What an unknown user's password is compared with where there are no users: a hash like those that are made here.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$4sJTUNsFN7vG2RP0QJe4dPxlWb4BdpGbYMeK5k2xyGM";

#[derive(Debug)]
pub(crate) struct UserTable {
    users: Stored,
    /// Who has which token.
    tokens: HashMap<TokenDigest, Arc<str>>,
    /// A hash that takes as long to check as most of them.
    usual: StoredHash,
    /// Who has which hash of name and realm, of users of Digest.
    hashed_names: HashMap<String, Arc<str>>,
    /// The algorithms by which all users of Digest have a hash.
    algorithms: Vec<DigestAlgorithm>,
}

impl UserTable {
    pub(crate) fn new(users: Stored) -> Self {
        let mut algorithms = DigestAlgorithm::ALL.to_vec();
        let mut hashed_names = HashMap::new();
        let ha1s: Vec<_> = users.iter().filter_map(|(user, hash)| Some((user, Ha1::stored(hash)?))).collect();
        for (user, ha1) in ha1s {
            algorithms.retain(|algorithm| ha1.hash(*algorithm).is_some());
            for algorithm in DigestAlgorithm::ALL {
                hashed_names.insert(algorithm.hash(&[ha1.owner().as_bytes()]), Arc::clone(user));
            }
        }
        let usual = usual(&users).unwrap_or_else(|| NOBODY.into());
        Self { usual, tokens: tokens(&users), users, hashed_names, algorithms }
    }

    /// The hash that a user's password is compared with, and that user's name. If there is no such user, or none with a
    /// password, it is another's hash, so that it takes as long.
    pub(crate) fn hash(&self, user: &str) -> (&StoredHash, Option<&Arc<str>>) {
        let known = self.users.get_key_value(user).filter(|(_, hash)| !is_token(hash));
        known.map_or((&self.usual, None), |(user, hash)| (hash, Some(user)))
    }

    /// The hash of a user's name, realm and password by an algorithm, that user's name, and what is stored. If there is no such user, the
    /// hash is none, and no answer is made with it.
    pub(crate) fn ha1(
        &self,
        user: &DigestUser,
        algorithm: DigestAlgorithm,
    ) -> (String, Option<(&Arc<str>, &StoredHash)>) {
        let name = match user {
            DigestUser::Name(name) => Some(&**name),
            DigestUser::Hash(hash) => self.hashed_names.get(hash).map(|name| &**name),
        };
        let known = name.and_then(|name| self.users.get_key_value(name));
        let ha1 = known.and_then(|(_, stored)| Ha1::stored(stored)?.hash(algorithm));
        match (ha1, known) {
            (Some(ha1), Some(known)) => (ha1, Some(known)),
            _ => (algorithm.hash(&[user.text().as_bytes()]), None),
        }
    }

    /// The algorithms by which all users of Digest have a hash, the better one first.
    pub(crate) fn algorithms(&self) -> &[DigestAlgorithm] {
        &self.algorithms
    }

    /// Whose token it is. Whoever does not have it cannot find out anything by trying: what is compared is its digest.
    pub(crate) fn whose_token(&self, token: &[u8]) -> Option<&Arc<str>> {
        self.tokens.get(&token_digest(token))
    }

    /// Whether anybody has one.
    pub(crate) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    pub(crate) fn users(&self) -> &Stored {
        &self.users
    }
}

/// The tokens there are, with their users.
fn tokens(users: &Stored) -> HashMap<TokenDigest, Arc<str>> {
    let token = |hash: &StoredHash| PasswordHash::parse(hash).ok()?.token();
    users.iter().filter_map(|(user, hash)| Some((token(hash)?, Arc::clone(user)))).collect()
}

/// The hash of somebody whose password takes as long to check as most people's do.
fn usual(users: &Stored) -> Option<StoredHash> {
    let efforts = users.values().filter_map(|hash| Some((PasswordHash::stored(hash).ok()?.effort(), hash)));
    // A token takes no time, and is looked up before.
    let mut efforts: Vec<_> = efforts.filter(|(effort, _)| effort.scheme != Scheme::Token).collect();
    efforts.sort_by_key(|(effort, _)| *effort);
    // Of two that are as common, always the dearer one.
    let most = efforts.chunk_by(|(one, _), (other, _)| one == other).max_by_key(|same| same.len())?;
    most.first().map(|(_, hash)| (*hash).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{HASHES, SECRET, SECRET_5, TOKEN};

    fn stored(entries: &[(&str, &str)]) -> Stored {
        entries.iter().map(|(user, hash)| ((*user).into(), (*hash).into())).collect()
    }

    #[test]
    fn an_unknown_user_is_compared_with_what_most_have() {
        let table =
            UserTable::new(stored(&[("a", HASHES[20].0), ("b", SECRET), ("c", SECRET_5), ("d", SECRET_5)]));
        let (hash, known) = table.hash("nobody");
        assert_eq!((&**hash, known), (SECRET_5, None));
        let (hash, known) = table.hash("b");
        assert_eq!((&**hash, known.map(|user| &**user)), (SECRET, Some("b")));
        let programs = UserTable::new(stored(&[("a", TOKEN), ("b", SECRET)]));
        for user in ["nobody", "a"] {
            let (hash, known) = programs.hash(user);
            assert_eq!((&**hash, known), (SECRET, None), "{user}");
        }
        let nobody = UserTable::new(stored(&[("a", TOKEN)]));
        let hash = PasswordHash::parse(nobody.hash("x").0).expect("a hash");
        let new = crate::passwd::new_hash("x").expect("random bytes");
        assert_eq!(hash.effort(), PasswordHash::parse(&new).expect("a hash").effort());
    }

    #[test]
    fn a_token_is_its_users() {
        let table = UserTable::new(stored(&[("ci", TOKEN), ("ada", SECRET)]));
        assert_eq!(table.whose_token(b"secret").map(|user| &**user), Some("ci"));
        assert_eq!(table.whose_token(b"Secret"), None);
        assert!(table.has_tokens() && !UserTable::new(stored(&[("ada", SECRET)])).has_tokens());
    }
}
