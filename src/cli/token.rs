//! `token`: make, list and revoke access tokens.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::lists::{Column, List, Row, Rows};
use super::{Access, Answer, Global};
use crate::client::{Content, Method};
use crate::domain::Scope;

const ROUTE: &str = "/v1/admin/tokens";

/// Make, list and revoke access tokens.
///
/// As long as no token was made, the server answers every program on this machine and refuses to listen anywhere else.
/// From the first one on every request needs one, also when all are revoked. Commands on this machine that ask through
/// the socket beside the database need none.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it; it is shown this once, and stored only as a hash.
    #[command(after_help = "Example: overlaid token create --scope read --name bot --expires 90d")]
    Create {
        /// What it allows: read, read:<user>, write, metrics, admin (all of these, and backups); may be given several
        /// times. With hook the path to post signals to is printed, which holds the token.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// For whom or what it is.
        #[arg(long, default_value = "")]
        name: String,
        /// When it expires: a length of time (90d, 12h), or a time (2026-01-31T16:00:00Z); without it, never.
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
    },
    /// List the tokens, without their secrets.
    #[command(after_help = "Example: overlaid token list")]
    List {
        #[command(flatten)]
        rows: Rows,
    },
    /// Revoke a token.
    #[command(after_help = "Example: overlaid token revoke 4be1c7d2")]
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
    /// Delete all tokens: every program on this machine may then read and write everything.
    #[command(after_help = "Example: overlaid token none")]
    None,
}

impl TokenCommand {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Answer> {
        match self {
            Self::Create { scopes, name, expires } => {
                let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
                let draft = Content::Json(json!({"scopes": scopes, "name": name, "expires": expires}).to_string());
                let made = global.client(Access::Make)?.send(Method::POST, ROUTE, draft)?.text()?;
                if global.json {
                    writeln!(io::stdout(), "{made}")?;
                } else {
                    let made = Row::parse(&made)?;
                    let path = made.known("path");
                    writeln!(io::stdout(), "{}", path.unwrap_or_else(|| made.text("token")))?;
                }
            }
            Self::List { rows } => {
                let columns = &["ID", "SCOPES", "NAME", "MADE", "EXPIRES", "LAST USED"].map(Column::Text);
                let list = List { target: ROUTE, member: "tokens", columns };
                list.print((global, &global.client(Access::Read)?), &rows, |token| {
                    let scopes = token.texts("scopes");
                    let scopes = if scopes.is_empty() { "revoked".to_owned() } else { scopes };
                    let [id, name, made, expires, used] =
                        ["id", "name", "created_at", "expires_at", "last_used_at"].map(|name| token.text(name));
                    vec![id, scopes, name, made, expires, used]
                })?;
            }
            Self::Revoke { id } => {
                let target = format!("{ROUTE}/{}", crate::client::percent_encoded(&id));
                global.client(Access::Write)?.send(Method::DELETE, &target, Content::None)?;
                return global.print(&[("revoked", id.into())]);
            }
            Self::None => {
                let client = global.client(Access::Write)?;
                let deleted: Value = client.send(Method::DELETE, ROUTE, Content::None)?.json()?;
                let deleted = deleted.get("deleted").context("the server's answer does not say how many")?;
                if global.json {
                    return global.print(&[("deleted", deleted.clone())]);
                }
                writeln!(
                    io::stdout(),
                    "{deleted} tokens deleted; every program on this machine may read and write everything"
                )?;
            }
        }
        Ok(Answer::Done)
    }
}
