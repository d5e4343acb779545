//! The missions of all users on one signal: pages, lines and lists of users.

mod summary;

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::blocking::{blocking, give_way};
use super::super::lists::{Asked, Basis, ListTag, PAGE_BYTES_MAX, Page};
use super::super::roster::{Position, Roster, Row};
use super::super::{Service, ServiceError};
use super::MissionRows;
use crate::cache::CachedSignal;
use crate::domain::{OutcomeStatus, Rates, SignalId, TierName, UnixMillis, UserId};
use crate::render::ViewTemplate;
pub use summary::MissionCounts;

/// Views that are made in one go: some ten microseconds.
const ROWS_AT_ONCE: usize = 64;
/// Most users that a page, or a piece of lines, passes over as it leaves them out: they are in memory, and whether a
/// mission may be traded takes a tenth of a microsecond.
pub(in crate::service) const USERS_PASSED_MAX: usize = 10_000;

impl Service {
    /// Prepares the missions of all users on one signal, as of now.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if the signal is not there; [`ServiceError::Store`].
    pub async fn batch(&self, signal: &SignalId, tier: Option<TierName>) -> Result<Batch, ServiceError> {
        let signal = self.signal(signal).await?;
        // Before the roster is read, as confirmations change it in place.
        let confirmations = self.shared.memory.overlays.confirmations();
        let roster = self.shared.memory.overlays.roster(&self.shared.store).await?;
        // By its own name, so that an alias finds the users that have the name, and the name those that have an alias.
        let tier = tier.map(|tier| roster.rules().own_name(&tier).clone());
        Ok(Batch {
            service: self.clone(),
            signal,
            tier,
            rows: MissionRows::default(),
            rates: self.rates(),
            now: self.now(),
            roster,
            confirmations,
            position: Position::default(),
            outcomes_passed: 0,
            templates: Vec::new(),
        })
    }
}

/// The missions of all users on one signal, written piece by piece so that any number of users needs little memory.
#[derive(Debug)]
pub struct Batch {
    service: Service,
    signal: Arc<CachedSignal>,
    tier: Option<TierName>,
    rows: MissionRows,
    rates: Arc<Rates>,
    now: UnixMillis,
    roster: Arc<Roster>,
    /// [`Overlays::confirmations`](super::overlays::Overlays::confirmations) from before the roster was taken.
    confirmations: u64,
    position: Position,
    /// How many of the signal's outcomes are of users before the position.
    outcomes_passed: usize,
    /// One for each currency that occurred, by its place in the roster.
    templates: Vec<Option<Arc<ViewTemplate>>>,
}

/// How views of a batch are separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A comma before each view but the first of what it is appended to.
    Comma,
    /// A newline after each view.
    Newline,
}

impl Batch {
    /// Has other rows than whole views of all missions.
    #[must_use]
    pub fn with_rows(self, rows: MissionRows) -> Self {
        Self { rows, ..self }
    }

    /// The tag of the answer to a question about this signal: known before a mission is computed.
    ///
    /// It stands for the answer if [`Batch::is_one_state`] is still true once that is made.
    #[must_use]
    pub fn tag(&self, asked: &Asked) -> ListTag {
        let (now, max_ages) = (self.now, self.service.shared.settings.max_ages);
        let mut basis = Basis::new(&self.service, self.roster.rules(), asked);
        basis.change(self.roster.seq());
        // The signal was read before the roster, and the writer brings it up to date first: it may be of another state.
        basis.change(self.signal.stored.seq);
        for outcome in self.signal.outcomes() {
            basis.change(outcome.seq);
        }
        basis.rates(&self.rates, |confirmed_at| max_ages.rate.is_some_and(|max| max.is_stale(confirmed_at, now)));
        basis.number(self.confirmations);
        basis.moment(max_ages.balance.and_then(|max| self.roster.next_stale_change(max, now)));
        basis.number(self.damaged_overlays() as u64);
        let signal = &self.signal.stored.signal;
        basis.number((now < signal.active_from()).into());
        basis.number(signal.is_expired(now).into());
        basis.tag()
    }

    /// Whether no balance was confirmed since the batch was prepared. Of missions that were computed meanwhile some may
    /// be from before such a confirmation and some from after it.
    #[must_use]
    pub fn is_one_state(&self) -> bool {
        self.service.shared.memory.overlays.confirmations() == self.confirmations
    }

    /// Continues after a user instead of at the start.
    pub fn skip_to_after(&mut self, user: &UserId) {
        self.position = self.roster.position_after(user);
        let outcomes = self.signal.outcomes();
        self.outcomes_passed = outcomes.partition_point(|stored| stored.outcome.user_id <= *user);
    }

    /// Appends the next views, until there are `rows_max`, `out` has `bytes_max`, or many users were left out;
    /// returns how many. Each call passes at least one user, so that repeated calls reach the end.
    pub fn write_some(&mut self, rows_max: usize, bytes_max: usize, separator: Separator, out: &mut Vec<u8>) -> usize {
        self.write_rows((rows_max, bytes_max), separator, out, || {})
    }

    /// The next views as a page, which takes about a millisecond: other threads have their turn in between.
    pub fn page(&mut self, rows_max: usize) -> Page {
        let mut page = Page::default();
        page.count = self.write_rows((rows_max, PAGE_BYTES_MAX), Separator::Comma, &mut page.rows, give_way);
        page.next_cursor = self.next_cursor().map(|user| user.to_string());
        page
    }

    /// As [`Batch::write_some`]; calls `pause` after each [`ROWS_AT_ONCE`] users.
    fn write_rows(
        &mut self,
        (rows_max, bytes_max): (usize, usize),
        separator: Separator,
        out: &mut Vec<u8>,
        pause: impl Fn(),
    ) -> usize {
        let roster = Arc::clone(&self.roster);
        let (mut count, mut passed) = (0, 0);
        while let Some(row) = roster.next(&mut self.position) {
            let outcome = self.next_outcome(row.user());
            let is_written = self.write_row(&row, outcome, separator, out);
            (count, passed) = (count + usize::from(is_written), passed + usize::from(!is_written));
            if count >= rows_max || out.len() >= bytes_max || passed >= USERS_PASSED_MAX {
                break;
            }
            if (count + passed) % ROWS_AT_ONCE == 0 {
                pause();
            }
        }
        self.service.metrics().views.inc_by(count as u64);
        count
    }

    /// Whether the last user has been passed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.roster.is_end(self.position)
    }

    /// The last user passed, after which to continue; `None` at the end.
    #[must_use]
    pub fn next_cursor(&self) -> Option<UserId> {
        if self.is_done() { None } else { self.roster.user_before(self.position) }
    }

    /// The batch again, the views of the users in a list as a page, and those who have no overlay; made on a
    /// blocking thread, as a long list would keep other requests waiting.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Worker`] if the thread failed.
    pub async fn page_of_users(
        mut self,
        users: Vec<UserId>,
        bytes_max: usize,
        separator: Separator,
    ) -> Result<(Self, Page, Vec<UserId>), ServiceError> {
        blocking(move || {
            let mut page = Page::default();
            let (count, absent) = self.write_users(&users, bytes_max, separator, &mut page.rows);
            page.count = count;
            Ok((self, page, absent))
        })
        .await
    }

    /// Appends the views of the users in a list, with turns for other threads; returns how many, and the users that have no overlay. Ends early once
    /// `out` has `bytes_max`. A user whose overlay can not be decoded is in neither.
    pub fn write_users(
        &mut self,
        users: &[UserId],
        bytes_max: usize,
        separator: Separator,
        out: &mut Vec<u8>,
    ) -> (usize, Vec<UserId>) {
        let mut count = 0;
        let mut absent = Vec::new();
        for (at, user) in users.iter().enumerate() {
            if out.len() >= bytes_max {
                break;
            }
            if at % ROWS_AT_ONCE == 0 {
                give_way();
            }
            if let Some(overlay) = self.roster.find(user.as_str()) {
                let outcome = self.signal.outcome(user.as_str()).map(|stored| stored.outcome.status);
                count += usize::from(self.write_row(&overlay.row(), outcome, separator, out));
            } else if !self.roster.damaged().contains(user.as_str()) {
                absent.push(user.clone());
            }
        }
        self.service.metrics().views.inc_by(count as u64);
        (count, absent)
    }

    /// Appends one user's row, unless the list leaves it out; returns whether it did.
    fn write_row(
        &mut self,
        row: &Row<'_>,
        outcome: Option<OutcomeStatus>,
        separator: Separator,
        out: &mut Vec<u8>,
    ) -> bool {
        self.prepare(row.currency);
        let rules = self.roster.rules();
        let Some(Some(template)) = self.templates.get(row.currency) else { return false };
        if self.tier.as_ref().is_some_and(|tier| !row.has_tier(tier, rules)) {
            return false;
        }
        let mission = template.terms().mission(row.account, row.tier(rules), outcome, self.now);
        if self.rows.is_tradable_only && !mission.is_tradable() {
            return false;
        }
        if separator == Separator::Comma && !out.is_empty() {
            out.push(b',');
        }
        let signal = (self.signal.stored.signal.id.as_str().as_bytes(), &*self.signal.json);
        self.rows.write(template, signal, row, &mission, out);
        if separator == Separator::Newline {
            out.push(b'\n');
        }
        true
    }

    /// Returns the outcome of a user who comes after all users asked about before. Outcomes are in the order of users,
    /// so one comparison with the next outcome is enough for most.
    fn next_outcome(&mut self, user: &[u8]) -> Option<OutcomeStatus> {
        loop {
            let stored = self.signal.outcomes().get(self.outcomes_passed)?;
            match stored.outcome.user_id.as_str().as_bytes().cmp(user) {
                Ordering::Less => self.outcomes_passed += 1,
                Ordering::Equal => return Some(stored.outcome.status),
                Ordering::Greater => return None,
            }
        }
    }

    /// Makes the template of a currency, unless it is there.
    #[inline]
    fn prepare(&mut self, currency: usize) {
        if self.templates.get(currency).is_none_or(Option::is_none) {
            self.add_template(currency);
        }
    }

    #[cold]
    fn add_template(&mut self, currency: usize) {
        let template = self.service.template(&self.signal, currency, &self.rates, self.roster.rules());
        if self.templates.len() <= currency {
            self.templates.resize(currency + 1, None);
        }
        if let Some(place) = self.templates.get_mut(currency) {
            *place = Some(template);
        }
    }
}
