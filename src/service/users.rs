//! The list of users: their overlays, page by page, from memory.

use super::lists::{Asked, Basis, Listed, Page};
use super::missions::USERS_PASSED_MAX;
use super::{Service, ServiceError};
use crate::domain::{TierName, UserId};

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only those whose ids begin with this.
    pub prefix: String,
    /// Only those of this tier.
    pub tier: Option<TierName>,
}

impl Service {
    /// Returns a page of overlays in the order of users, after the user of the cursor. A user whose overlay can not be
    /// decoded is left out.
    ///
    /// A page may be short, or empty, and have a cursor: it ends early at [`PAGE_BYTES_MAX`](super::PAGE_BYTES_MAX),
    /// and where few have the tier.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub async fn users(
        &self,
        filter: UserFilter,
        cursor: Option<UserId>,
        rows_max: usize,
        asked: Asked,
    ) -> Result<Listed, ServiceError> {
        let UserFilter { prefix, tier } = filter;
        let roster = self.shared.memory.overlays.roster(&self.shared.store).await?;
        let rules = roster.rules();
        // By its own name, as in a list of missions.
        let tier = tier.map(|tier| rules.own_name(&tier).clone());
        let mut basis = Basis::new(self, rules, &asked);
        basis.change(roster.seq());
        let tag = basis.tag();
        asked.list(tag, || {
            let mut position = match cursor.filter(|after| *after.as_str() >= *prefix) {
                Some(after) => roster.position_after(&after),
                None => roster.position_at(&prefix),
            };
            let (mut page, mut passed) = (Page::default(), 0);
            loop {
                let here = position;
                let row = roster.next(&mut position).filter(|row| row.user().starts_with(prefix.as_bytes()));
                let Some(row) = row else { return Ok(page) };
                if page.is_full(rows_max) || passed == USERS_PASSED_MAX {
                    page.next_cursor = roster.user_before(here).map(|user| user.to_string());
                    return Ok(page);
                }
                if tier.as_ref().is_none_or(|tier| row.has_tier(tier, rules)) {
                    page.separate_row();
                    page.rows.extend_from_slice(row.json);
                } else {
                    passed += 1;
                }
            }
        })
    }
}
