//! `token`: make, list and revoke access tokens.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::Subcommand;

use super::{Answer, block_on, open, open_or_create};
use crate::config::Config;
use crate::domain::{Scope, TokenDraft};
use crate::service::ServiceError;

/// Make, list and revoke access tokens.
///
/// As long as no token was made, the server answers every program on this machine and refuses to listen anywhere else.
/// From the first one on every request needs one, also when all are revoked.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it; it is shown this once, and stored only as a hash.
    Create {
        /// What it allows: read, read:<user>, write, metrics, admin (all of these, and backups); may be given several
        /// times.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// For whom or what it is.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List the tokens, without their secrets.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
    /// Delete all tokens: every program on this machine may then read and write everything.
    None,
}

/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 128;

impl TokenCommand {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<Answer> {
        let mut out = io::stdout().lock();
        match self {
            Self::Create { scopes, label } => {
                anyhow::ensure!(label.len() <= LABEL_BYTES_MAX, "the label is longer than {LABEL_BYTES_MAX} bytes");
                let service = open_or_create(config)?;
                let draft = TokenDraft { scopes, name: label, expires: None };
                let (secret, _) = block_on(service.create_token(draft))?.context("cannot make the token")?;
                service.stop();
                writeln!(out, "{secret}")?;
            }
            Self::List { json } => {
                let service = open(config)?;
                for token in service.tokens() {
                    let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
                    let shown = if token.is_revoked() { "revoked".to_owned() } else { scopes.join(",") };
                    if json {
                        let row = serde_json::json!({
                            "id": token.id, "scopes": scopes, "label": token.name,
                            "created_at": token.created_at.to_string(), "revoked": token.is_revoked(),
                        });
                        writeln!(out, "{row}")?;
                    } else {
                        writeln!(out, "{:<12} {shown:<24} {} {}", token.id, token.created_at, token.name)?;
                    }
                }
            }
            Self::Revoke { id } => {
                let service = open(config)?;
                let revoked = block_on(service.revoke_token(id))?;
                service.stop();
                if let Err(ServiceError::Absent(what)) = revoked {
                    writeln!(io::stderr(), "overlaid: no {what}")?;
                    return Ok(Answer::No);
                }
                revoked.context("cannot revoke the token")?;
            }
            Self::None => {
                let service = open(config)?;
                let deleted = block_on(service.open_access())?.context("cannot delete the tokens")?;
                service.stop();
                writeln!(out, "{deleted} tokens deleted; every program on this machine may read and write everything")?;
            }
        }
        Ok(Answer::Done)
    }
}
