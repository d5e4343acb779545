//! Tokens: made, revoked, and recognised when a request brings one.
//!
//! A token is `ovl_<id>_<secret>`. It is found by its id, and the SHA-256 of the whole is compared in constant time;
//! the secret's 256 random bits make a slow hash needless.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Service, ServiceError, current};
use crate::domain::{Scope, Token, UnixMillis};
use crate::store::Operation;

const PREFIX: &str = "ovl_";

impl Service {
    /// Makes a token and returns its text, which is not kept.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Randomness`] if the system has no random numbers; else as [`Service::write`].
    pub async fn create_token(&self, scopes: Vec<Scope>, label: String) -> Result<String, ServiceError> {
        let (text, token) = mint(scopes, label, self.now())?;
        self.write(Operation::PutToken(token)).await?;
        Ok(text)
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
        let tokens = self.tokens();
        for id in tokens.keys() {
            self.write(Operation::DeleteToken(id.clone())).await?;
        }
        Ok(tokens.len())
    }

    /// All tokens by their ids, revoked ones too.
    #[must_use]
    pub fn tokens(&self) -> Arc<HashMap<String, Arc<Token>>> {
        current(&self.shared.memory.tokens)
    }

    /// Whether no token is needed: none was made, or [`Service::open_access`] was called after.
    #[must_use]
    pub fn is_access_open(&self) -> bool {
        self.tokens().is_empty()
    }

    /// The token whose whole text this is; `None` if there is none, or it is revoked.
    #[must_use]
    pub fn token(&self, text: &str) -> Option<Arc<Token>> {
        let token = Arc::clone(self.tokens().get(id_of(text)?)?);
        let sha256: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        (bool::from(sha256.ct_eq(&token.sha256)) && !token.is_revoked()).then_some(token)
    }

    /// The id that this text begins with, if there is or was such a token. The text need not be right.
    #[must_use]
    pub fn token_id(&self, text: &str) -> Option<String> {
        self.tokens().get(id_of(text)?).map(|token| token.id.clone())
    }
}

/// The public part of a token's text.
fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once('_').map(|(id, _)| id)
}

/// Makes a token: the text to hand out, and what is kept of it.
fn mint(scopes: Vec<Scope>, label: String, now: UnixMillis) -> Result<(String, Token), ServiceError> {
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id = hex(&id);
    let text = format!("{PREFIX}{id}_{}", hex(&secret));
    let sha256 = Sha256::digest(text.as_bytes()).into();
    Ok((text, Token { id, sha256, scopes, label, created_at: now }))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_only_as_a_hash() {
        let now = UnixMillis::new(0);
        let (text, token) = mint(vec![Scope::Read], "bot".to_owned(), now).unwrap();
        assert_eq!(text.len(), 4 + 8 + 1 + 64);
        assert_eq!(id_of(&text), Some(&*token.id));
        assert_eq!(token.sha256, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
        let (other, _) = mint(vec![], String::new(), now).unwrap();
        assert_ne!(text, other);
    }
}
