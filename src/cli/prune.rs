//! `prune`: remove signals that expired long ago.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{Access, Answer, Global};
use crate::client::{Content, Method, percent_encoded};
use crate::domain::{UnixMillis, parse_period};
use crate::service::Clock;

/// Remove the signals that expired before a moment, with their outcomes.
///
/// A server does so by itself with --keep-signals. The file gets no shorter; `overlaid compact` makes it as small as it
/// can be.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid prune --before 90d")]
pub(super) struct Prune {
    /// How long ago (90d, 12h), or a date or time (2026-01-31, 2026-01-31T16:00:00Z).
    #[arg(long, value_name = "WHEN", value_parser = parse_before)]
    before: Before,
}

/// A moment, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Age(Duration),
    Moment(UnixMillis),
}

fn parse_before(text: &str) -> Result<Before, String> {
    let moment = UnixMillis::parse(text).or_else(|| UnixMillis::parse(&format!("{text}T00:00:00Z")));
    match (moment, parse_period(text)) {
        (Some(moment), _) => Ok(Before::Moment(moment)),
        (None, Ok(age)) => Ok(Before::Age(age)),
        (None, Err(_)) => Err("an age is needed (90d, 12h), or a date (2026-01-31)".to_owned()),
    }
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
        let before = match self.before {
            Before::Moment(moment) => moment,
            Before::Age(age) => Clock::System.now().plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_age_a_date_or_a_time() {
        let moment = |text: &str| Ok(Before::Moment(UnixMillis::parse(text).unwrap()));
        assert_eq!(parse_before("90d"), Ok(Before::Age(Duration::from_hours(90 * 24))));
        assert_eq!(parse_before("2026-01-31"), moment("2026-01-31T00:00:00Z"));
        assert_eq!(parse_before("2026-01-31T16:00:00+01:00"), moment("2026-01-31T15:00:00Z"));
        for text in ["", "90", "d", "-1d", "0d", "yesterday", "2026-13-01"] {
            assert!(parse_before(text).is_err(), "{text}");
        }
    }
}
