//! Tokens: made, revoked, and recognised when a request brings one.
//!
//! A token is `ovl_<id>_<secret>`. It is found by its id, and the SHA-256 of the whole is compared in constant time;
//! the secret's 256 random bits make a slow hash needless.
//!
//! Memory knows to the minute when a token was last used; the file learns of it once an hour, by a write that no
//! request waits for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Service, ServiceError, current};
use crate::domain::{Token, TokenDraft, UnixMillis};
use crate::store::Operation;

const PREFIX: &str = "ovl_";
/// How exactly memory knows when a token was last used, in milliseconds.
const USE_MS: i64 = 60_000;
/// How exactly the file knows it.
const STORED_USE_MS: i64 = 3_600_000;
/// The latest use of a token that was never used.
const NEVER: i64 = i64::MIN;

/// A token in memory.
#[derive(Debug)]
pub struct HeldToken {
    /// As it is stored.
    pub token: Token,
    /// When it was last used, in Unix milliseconds; [`NEVER`] before the first time.
    used_at_ms: AtomicI64,
}

impl HeldToken {
    /// Holds a token as the file has it.
    #[must_use]
    pub fn new(token: Token) -> Self {
        let used_at_ms = AtomicI64::new(token.last_used_at.map_or(NEVER, UnixMillis::millis));
        Self { token, used_at_ms }
    }

    /// Puts a token in the place of the one that has its id, whose latest use it takes over.
    pub(super) fn put(tokens: &mut HashMap<String, Arc<Self>>, id: &str, token: Token) {
        let used_at_ms = tokens.get(id).map_or(NEVER, |held| held.used_at_ms.load(Ordering::Relaxed));
        let held = Self::new(token);
        held.used_at_ms.fetch_max(used_at_ms, Ordering::Relaxed);
        tokens.insert(id.to_owned(), Arc::new(held));
    }

    /// The token with its latest use.
    fn to_token(&self) -> Token {
        let used_at_ms = self.used_at_ms.load(Ordering::Relaxed);
        Token { last_used_at: (used_at_ms != NEVER).then(|| UnixMillis::new(used_at_ms)), ..self.token.clone() }
    }

    /// Notes a use. Returns whether the file is to learn of it.
    fn is_use_to_be_stored(&self, now: UnixMillis) -> bool {
        let (used, now) = (self.used_at_ms.load(Ordering::Relaxed), now.millis());
        if now.saturating_sub(used) < USE_MS {
            return false;
        }
        let noted = self.used_at_ms.compare_exchange(used, now, Ordering::Relaxed, Ordering::Relaxed);
        // Of requests at the same time one notes it.
        let stored = self.token.last_used_at.map_or(NEVER, UnixMillis::millis);
        noted.is_ok() && now.saturating_sub(stored) >= STORED_USE_MS
    }
}

/// What comes of the text that a client presents as a token.
#[derive(Clone, Debug)]
pub enum TokenCheck {
    /// It is a token, and allows something.
    Valid(Arc<HeldToken>),
    /// It was a token until this moment.
    Expired(Arc<HeldToken>, UnixMillis),
    /// It is none, or one that was revoked; with the token whose id it names, if there is or was one.
    Unknown(Option<Arc<HeldToken>>),
}

impl Service {
    /// Makes a token and returns its text, which is not kept.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Invalid`] if it would expire before it is made; [`ServiceError::Randomness`] if the system has
    /// no random numbers; else as [`Service::write`].
    pub async fn create_token(&self, draft: TokenDraft) -> Result<(String, Token), ServiceError> {
        let (text, token) = mint(draft, self.now())?;
        self.write(Operation::PutToken(token.clone())).await?;
        Ok((text, token))
    }

    /// Revokes the token with this id. Access stays closed, also when this was the last one.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if there is none; else as [`Service::write`].
    pub async fn revoke_token(&self, id: String) -> Result<(), ServiceError> {
        self.write(Operation::RevokeToken(id)).await?;
        Ok(())
    }

    /// Deletes all tokens, which opens access to every program of this machine; returns how many there were.
    ///
    /// # Errors
    ///
    /// As [`Service::write`]. Access is closed as long as one is left.
    pub async fn open_access(&self) -> Result<usize, ServiceError> {
        let tokens = current(&self.shared.memory.tokens);
        for id in tokens.keys() {
            match self.write(Operation::DeleteToken(id.clone())).await {
                // Another request deletes them too.
                Ok(_) | Err(ServiceError::Absent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tokens.len())
    }

    /// All tokens in the order in which they were made, revoked and expired ones too.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        let tokens = current(&self.shared.memory.tokens);
        let mut tokens: Vec<_> = tokens.values().map(|held| held.to_token()).collect();
        tokens.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        tokens
    }

    /// Whether no token is needed: none was made, or [`Service::open_access`] was called after.
    #[must_use]
    pub fn is_access_open(&self) -> bool {
        current(&self.shared.memory.tokens).is_empty()
    }

    /// Finds the token whose whole text this is, and notes that it was used.
    #[must_use]
    pub fn check_token(&self, text: &str) -> TokenCheck {
        let tokens = current(&self.shared.memory.tokens);
        let Some(held) = id_of(text).and_then(|id| tokens.get(id)) else { return TokenCheck::Unknown(None) };
        let sha256: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let is_right = bool::from(sha256.ct_eq(&held.token.sha256));
        if !is_right || held.token.is_revoked() {
            return TokenCheck::Unknown(Some(Arc::clone(held)));
        }
        let now = self.now();
        if let Some(expires_at) = held.token.expires_at.filter(|_| held.token.is_expired(now)) {
            return TokenCheck::Expired(Arc::clone(held), expires_at);
        }
        if held.is_use_to_be_stored(now) {
            // Nobody waits for it: a write that fails is tried again a minute later.
            drop(self.submit(Operation::NoteTokenUse { id: held.token.id.clone(), at: now }));
        }
        TokenCheck::Valid(Arc::clone(held))
    }

    /// A token that was valid, as it is now; `None` if it is not valid any more.
    #[must_use]
    pub fn check_held_token(&self, held: &HeldToken) -> Option<Arc<HeldToken>> {
        let tokens = current(&self.shared.memory.tokens);
        let token = tokens.get(&held.token.id).filter(|now| now.token.sha256 == held.token.sha256)?;
        let is_valid = !token.token.is_revoked() && !token.token.is_expired(self.now());
        is_valid.then(|| Arc::clone(token))
    }
}

/// The order of a list of tokens.
fn order(token: &Token) -> (UnixMillis, &str) {
    (token.created_at, &token.id)
}

/// The public part of a token's text.
fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once('_').map(|(id, _)| id)
}

/// Makes a token: the text to hand out, and what is kept of it.
fn mint(draft: TokenDraft, now: UnixMillis) -> Result<(String, Token), ServiceError> {
    let TokenDraft { scopes, name, expires } = draft;
    let expires_at = expires.map(|expires| expires.resolve(now)).transpose()?;
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id = hex(&id);
    let text = format!("{PREFIX}{id}_{}", hex(&secret));
    let sha256 = Sha256::digest(text.as_bytes()).into();
    let token = Token { id, sha256, scopes, name, created_at: now, expires_at, last_used_at: None };
    Ok((text, token))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    fn read() -> TokenDraft {
        TokenDraft { scopes: vec![Scope::Read], name: "bot".to_owned(), expires: None }
    }

    #[test]
    fn a_token_is_kept_only_as_a_hash() {
        let now = UnixMillis::new(0);
        let (text, token) = mint(read(), now).unwrap();
        assert_eq!(text.len(), 4 + 8 + 1 + 64);
        assert_eq!(id_of(&text), Some(&*token.id));
        assert_eq!(token.sha256, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
        let (other, _) = mint(read(), now).unwrap();
        assert_ne!(text, other);
    }

    #[test]
    fn a_use_is_noted_once_a_minute_and_stored_once_an_hour() {
        let at = |minutes: i64| UnixMillis::new(minutes * USE_MS);
        let (_, token) = mint(read(), at(0)).unwrap();
        let mut tokens = HashMap::new();
        let mut stored = Vec::new();
        HeldToken::put(&mut tokens, "k", token);
        for minute in 1..130 {
            for _ in 0..3 {
                let held = Arc::clone(&tokens["k"]);
                if held.is_use_to_be_stored(at(minute)) {
                    stored.push(minute);
                    HeldToken::put(&mut tokens, "k", Token { last_used_at: Some(at(minute)), ..held.token.clone() });
                }
            }
            assert_eq!(tokens["k"].to_token().last_used_at, Some(at(minute)));
        }
        assert_eq!(stored, [1, 61, 121]);
        let (_, revoked) = mint(read(), at(0)).unwrap();
        HeldToken::put(&mut tokens, "k", revoked);
        assert_eq!(tokens["k"].to_token().last_used_at, Some(at(129)), "what memory knows stays");
    }
}
