//! `prune`: remove signals that expired long ago.

use clap::Args;
use serde::Deserialize;

use super::{Access, Answer, Global};
use crate::client::{Content, Method, percent_encoded};
use crate::domain::PastMoment;
use crate::service::Clock;

/// Remove the signals that expired before a moment, with their outcomes.
///
/// A server does so by itself with --keep-signals. The file gets no shorter; `overlaid compact` makes it as small as it
/// can be.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid prune --before 90d")]
pub(super) struct Prune {
    /// How long ago (90d, 12h), or a date or time (2026-01-31, 2026-01-31T16:00:00Z).
    #[arg(long, value_name = "WHEN", value_parser = PastMoment::parse)]
    before: PastMoment,
}

/// What one request removed.
#[derive(Deserialize)]
struct Pruned {
    signals: u64,
    outcomes: u64,
    more: bool,
}

impl Prune {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let before = self.before.resolve(Clock::System.now());
        let client = global.client(Access::Write)?;
        let target = format!("/v1/admin/prune?before={}", percent_encoded(&before.to_string()));
        let (mut signals, mut outcomes) = (0, 0);
        loop {
            let pruned: Pruned = client.send(Method::POST, &target, Content::None)?.json()?;
            signals += pruned.signals;
            outcomes += pruned.outcomes;
            if !pruned.more {
                return global.print(&[("signals", signals.into()), ("outcomes", outcomes.into())]);
            }
        }
    }
}
