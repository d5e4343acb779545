//! How many users may trade a signal, and what speaks against it for the others.
//!
//! The counts are taken when a client asks: a user costs about a tenth of a microsecond, and a stored count would have
//! to follow every balance, rate and second.

use std::sync::Arc;

use super::{Batch, USERS_PASSED_MAX};
use crate::domain::Reason;

/// The users of a signal, counted by what their missions come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissionCounts {
    /// Users that may trade.
    pub tradable: u64,
    /// Users that may not: for each of them there is a reason at least.
    pub not_tradable: u64,
    /// By the place of the reason in [`Reason::ALL`]. A user with several reasons counts under each.
    by_reason: [u64; Reason::ALL.len()],
}

impl MissionCounts {
    /// The reasons that occur, in the order of [`Reason::ALL`], with the number of users of each.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.by_reason).filter(|(_, users)| *users > 0)
    }
}

impl Batch {
    /// Counts the next users, at most `USERS_PASSED_MAX`. Each call passes at least one user, so that repeated calls
    /// reach the end.
    pub fn count_some(&mut self, counts: &mut MissionCounts) {
        let roster = Arc::clone(&self.roster);
        for _ in 0..USERS_PASSED_MAX {
            let Some(row) = roster.next(&mut self.position) else { return };
            let outcome = self.next_outcome(row.user());
            self.prepare(row.currency);
            let Some(Some(template)) = self.templates.get(row.currency) else { continue };
            let tier = row.tier(self.roster.rules());
            let reasons = template.terms().mission(row.account, tier, outcome, self.now).reasons;
            let sum = if reasons.is_empty() { &mut counts.tradable } else { &mut counts.not_tradable };
            *sum += 1;
            for (reason, users) in Reason::ALL.iter().zip(&mut counts.by_reason) {
                *users += u64::from(reasons.contains(*reason));
            }
        }
    }

    /// How many overlays can not be decoded: they are in no list and in no count.
    #[must_use]
    pub fn damaged_overlays(&self) -> usize {
        self.roster.damaged().len()
    }
}
