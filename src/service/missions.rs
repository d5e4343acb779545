//! Reading missions and signals: one view, a page of a user's, a page or all of a signal's.

mod summary;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::blocking::blocking;
use super::lists::{Asked, Basis, ListTag, Listed, Page};
use super::roster::{Position, RenderedOverlay, Roster, Row};
use super::rules::Rules;
use super::{Service, ServiceError};
use crate::cache::CachedSignal;
use crate::domain::{
    self, Currency, Mission, OutcomeStatus, Rates, SignalId, Status, Step, Symbol, Terms, TierName, UnixMillis, UserId,
};
use crate::render::{self, ViewTemplate};
use crate::store::{Snapshot, StoreError, StoredOutcome, StoredSignal};
pub use summary::MissionCounts;

/// Most rows of a page, and most users that a request may list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Most signals that a page passes over as its filter does not want them: half a millisecond. A page that has passed so
/// many ends, and its cursor goes on from there.
const SIGNALS_PASSED_MAX: usize = 300;
/// Users of a list whose views are made in one go: some ten microseconds.
const USERS_AT_ONCE: usize = 64;
/// Most users that a page, or a piece of lines, passes over as it leaves them out: they are in memory, and whether a
/// mission may be traded takes a tenth of a microsecond.
pub(super) const USERS_PASSED_MAX: usize = 10_000;

/// One mission view that is not computed yet: its entity tag is known before, so that a client that holds it costs
/// nothing.
#[derive(Debug)]
pub struct MissionView<'a> {
    signal: &'a StoredSignal,
    signal_json: &'a [u8],
    overlay: &'a RenderedOverlay,
    row: Row<'a>,
    template: &'a ViewTemplate,
    outcome: Option<OutcomeStatus>,
    tag: ViewTag,
    now: UnixMillis,
}

/// What a view is computed from: while it is the same, so is the view, except for its seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewTag {
    /// The hash of the rules: [`Service::rules`].
    pub rules: u32,
    /// The run that wrote the newest of the records. In each file with that run, older changes have the same numbers.
    pub run: u32,
    /// The `seq` of the signal.
    pub signal_seq: u64,
    /// The `seq` of the overlay.
    pub overlay_seq: u64,
    /// The `seq` of each rate that converts; 0 without one.
    pub rate_seqs: [u64; 2],
    /// The `seq` of the outcome; 0 without one.
    pub outcome_seq: u64,
    /// When the balance, or the equity, was last confirmed.
    pub balance_confirmed_at: UnixMillis,
    /// When the rates that convert were last confirmed, if any do.
    pub rates_confirmed_at: Option<UnixMillis>,
    /// Whether the balance is too old, and whether a rate that converts is.
    pub are_stale: [bool; 2],
    /// Whether the signal is not active yet, as its creation lies ahead.
    pub is_early: bool,
    /// Whether the signal is expired. With the signal and the outcome this gives the status.
    pub is_expired: bool,
}

impl<'a> MissionView<'a> {
    fn new(
        (service, now): (&Service, UnixMillis),
        (signal, signal_json): (&'a StoredSignal, &'a [u8]),
        outcome: Option<&StoredOutcome>,
        overlay: &'a RenderedOverlay,
        template: &'a ViewTemplate,
    ) -> Self {
        let row = overlay.row();
        let happened = outcome.map(|stored| stored.outcome.status);
        let terms = template.terms();
        let (rate_seqs, outcome_seq) = (terms.rate_seqs(), outcome.map_or(0, |outcome| outcome.seq));
        let [rate_seq, other_rate_seq] = rate_seqs;
        let newest = signal.seq.max(row.seq).max(rate_seq).max(other_rate_seq).max(outcome_seq);
        let tag = ViewTag {
            rules: overlay.rules().hash(),
            run: service.cursor_of(newest).run,
            signal_seq: signal.seq,
            overlay_seq: row.seq,
            rate_seqs,
            outcome_seq,
            balance_confirmed_at: row.account.balance_confirmed_at,
            rates_confirmed_at: terms.rates_confirmed_at(),
            are_stale: [terms.is_balance_stale(&row.account, now), terms.is_rate_stale(now)],
            is_early: now < signal.signal.active_from(),
            is_expired: signal.signal.is_expired(now),
        };
        Self { signal, signal_json, overlay, row, template, outcome: happened, tag, now }
    }

    /// The versions that it is computed from.
    #[must_use]
    pub fn tag(&self) -> ViewTag {
        self.tag
    }

    /// Computes the mission.
    #[must_use]
    pub fn mission(&self) -> Mission {
        self.template.terms().mission(self.row.account, self.row.tier(self.overlay.rules()), self.outcome, self.now)
    }

    /// About how long its JSON is, in bytes.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        /// The computed part with the longest numbers, several reasons and a target.
        const MISSION_BYTES: usize = 640;
        self.signal_json.len() + self.row.json.len() + MISSION_BYTES
    }

    /// Appends the view as JSON.
    pub fn write_to(&self, service: &Service, out: &mut Vec<u8>) {
        service.metrics().views.inc();
        self.template.write(out, self.signal_json, self.row.json, self.row.budget, &self.mission());
    }

    /// Appends a row of a list, unless the list leaves this mission out; returns whether it did.
    fn write_row(&self, service: &Service, rows: MissionRows, page: &mut Page) -> bool {
        let mission = self.mission();
        if rows.is_tradable_only && !mission.is_tradable() {
            return false;
        }
        service.metrics().views.inc();
        page.separate_row();
        let signal = (self.signal.signal.id.as_str().as_bytes(), self.signal_json);
        rows.write(self.template, signal, &self.row, &mission, &mut page.rows);
        true
    }

    /// The currency of the amounts.
    #[must_use]
    pub fn currency(&self) -> &'a Currency {
        self.template.terms().account_currency()
    }

    /// The steps by which it is computed, for a person.
    ///
    /// # Errors
    ///
    /// As [`RenderedOverlay::overlay`].
    pub fn explain(&self, service: &Service) -> Result<Vec<Step>, ServiceError> {
        let rates = service.rates();
        let market = self.overlay.rules().market(&rates);
        Ok(domain::explain(&self.signal.signal, &self.overlay.overlay()?, &self.mission(), market))
    }
}

/// Which of a user's missions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Those in one status.
    Only(Status),
    /// All.
    All,
}

/// What a list of missions has rows of, and what a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissionRows {
    /// Only missions that may be traded.
    pub is_tradable_only: bool,
    /// A row is `{"user_id":…,"signal_id":…,"mission":…}` and not the whole view.
    pub is_compact: bool,
}

impl MissionRows {
    fn write(
        self,
        template: &ViewTemplate,
        (signal, signal_json): (&[u8], &[u8]),
        row: &Row<'_>,
        mission: &Mission,
        out: &mut Vec<u8>,
    ) {
        if self.is_compact {
            template.write_compact(out, [row.user(), signal, row.budget], mission);
        } else {
            template.write(out, signal_json, row.json, row.budget, mission);
        }
    }
}

/// Which signals to list.
#[derive(Clone, Debug, Default)]
pub struct SignalFilter {
    /// Only those in this status: active, expired, cancelled or closed.
    pub status: Option<Status>,
    /// Only this symbol.
    pub symbol: Option<Symbol>,
}

/// Where a page of signals ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalCursor {
    /// In the order of expiry, after this expiry and number.
    Expiry(UnixMillis, u64),
    /// From new to old, before this number.
    Number(u64),
}

impl SignalCursor {
    /// Reads what a page gave as `next_cursor`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            Some((expiry, number)) => Some(Self::Expiry(UnixMillis::new(expiry.parse().ok()?), number.parse().ok()?)),
            None => Some(Self::Number(text.parse().ok()?)),
        }
    }
}

impl fmt::Display for SignalCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expiry(expiry, number) => write!(f, "{}.{number}", expiry.millis()),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// Signals, each with the cursor that continues after it.
type SignalRows<'a> = Box<dyn Iterator<Item = Result<(SignalCursor, StoredSignal), StoreError>> + 'a>;

impl Service {
    /// Gives one user's mission on one signal, as of now.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if the signal or the overlay is not there; [`ServiceError::Store`].
    pub async fn with_mission<T>(
        &self,
        signal: &SignalId,
        user: &UserId,
        use_it: impl FnOnce(&MissionView<'_>) -> T,
    ) -> Result<T, ServiceError> {
        let signal = self.signal(signal).await?;
        let overlay = self.overlay(user).await?;
        Ok(self.with_view(&signal, &overlay, use_it))
    }

    /// Joins a signal and an overlay, as of now.
    pub fn with_view<T>(
        &self,
        signal: &CachedSignal,
        overlay: &RenderedOverlay,
        use_it: impl FnOnce(&MissionView<'_>) -> T,
    ) -> T {
        // Most signals have no outcomes yet.
        let outcome = if signal.outcomes().is_empty() { None } else { signal.outcome(overlay.user()) };
        let template = self.template(signal, overlay.row().currency, &self.rates(), overlay.rules());
        let (moment, signal) = ((self, self.now()), (&signal.stored, &*signal.json));
        use_it(&MissionView::new(moment, signal, outcome.map(Arc::as_ref), overlay, &template))
    }

    /// Returns the template of a signal's views in a currency, by its place in [`Currencies::get`].
    ///
    /// [`Currencies::get`]: super::roster::Currencies::get
    fn template(&self, signal: &CachedSignal, currency: usize, rates: &Rates, rules: &Rules) -> Arc<ViewTemplate> {
        let make = || self.make_template(&signal.stored, currency, rates, rules);
        signal.template(currency, (rates.version(), rules.hash()), make)
    }

    fn make_template(&self, signal: &StoredSignal, currency: usize, rates: &Rates, rules: &Rules) -> ViewTemplate {
        let currency = self.shared.memory.overlays.currencies.get(currency).unwrap_or_else(Currency::usd);
        ViewTemplate::new(Terms::new(&signal.signal, &currency, rules.market(rates)))
    }

    /// Returns a page of one user's missions: active ones soonest to expire first, all others newest first.
    ///
    /// A page may be short, or empty, and have a cursor: it ends early at
    /// [`PAGE_BYTES_MAX`](super::PAGE_BYTES_MAX), and where the filter matches few.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if the overlay is not there; [`ServiceError::Store`].
    pub async fn missions_of_user(
        &self,
        user: &UserId,
        filter: StatusFilter,
        cursor: Option<SignalCursor>,
        (rows, rows_max): (MissionRows, usize),
        asked: Asked,
    ) -> Result<Listed, ServiceError> {
        let overlay = self.overlay(user).await?.detached();
        let (service, user) = (self.clone(), user.clone());
        blocking(move || {
            let snapshot = service.snapshot()?;
            let (now, rates, currency) = (service.now(), service.rates(), overlay.row().currency);
            let tag = service.tag_of_missions(&asked, &snapshot, &overlay, &rates, now)?;
            let order = if filter == StatusFilter::Only(Status::Active) { Order::Expiry } else { Order::Age };
            asked.list(tag, || {
                fill_page(signal_rows(&snapshot, order, cursor, now)?, rows_max, |stored, page| {
                    let outcome = snapshot.outcome(stored.number, &user)?;
                    let status = Status::of(&stored.signal, outcome.as_ref().map(|stored| stored.outcome.status), now);
                    if filter != StatusFilter::All && filter != StatusFilter::Only(status) {
                        return Ok(false);
                    }
                    let json = render::signal_json(&stored.signal);
                    let template = service.make_template(stored, currency, &rates, overlay.rules());
                    let moment = (&service, now);
                    let view = MissionView::new(moment, (stored, &json), outcome.as_ref(), &overlay, &template);
                    Ok(view.write_row(&service, rows, page))
                })
            })
        })
        .await
    }

    /// The tag of a list of missions of the user of an overlay.
    fn tag_of_missions(
        &self,
        asked: &Asked,
        snapshot: &Snapshot,
        overlay: &RenderedOverlay,
        rates: &Rates,
        now: UnixMillis,
    ) -> Result<ListTag, ServiceError> {
        let (row, max_ages) = (overlay.row(), self.shared.settings.max_ages);
        let confirmed_at = row.account.balance_confirmed_at;
        let user = UserId::parse(overlay.user())?;
        let mut basis = Basis::new(self, overlay.rules(), asked);
        basis.change(snapshot.signals_seq()?);
        basis.change(snapshot.outcomes_seq(&user)?);
        basis.change(row.seq);
        basis.moment(Some(confirmed_at));
        basis.number(max_ages.balance.is_some_and(|max| max.is_stale(confirmed_at, now)).into());
        basis.rates(rates, |confirmed_at| max_ages.rate.is_some_and(|max| max.is_stale(confirmed_at, now)));
        basis.moment(snapshot.next_moment(now)?);
        Ok(basis.tag())
    }

    /// Returns a page of signals: active ones soonest to expire first, all others newest first.
    ///
    /// A page may be short, or empty, and have a cursor: it ends early at
    /// [`PAGE_BYTES_MAX`](super::PAGE_BYTES_MAX), and where the filter matches few.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub async fn signals(
        &self,
        filter: SignalFilter,
        cursor: Option<SignalCursor>,
        rows_max: usize,
        asked: Asked,
    ) -> Result<Listed, ServiceError> {
        let service = self.clone();
        blocking(move || {
            let snapshot = service.snapshot()?;
            let now = service.now();
            let mut basis = Basis::new(&service, &service.current_rules(), &asked);
            basis.change(snapshot.signals_seq()?);
            // A signal as published says nothing of the time.
            basis.moment(if filter.status.is_some() { snapshot.next_moment(now)? } else { None });
            let tag = basis.tag();
            let order = if filter.status == Some(Status::Active) { Order::Expiry } else { Order::Age };
            asked.list(tag, || {
                fill_page(signal_rows(&snapshot, order, cursor, now)?, rows_max, |stored, page| {
                    let status = Status::of(&stored.signal, None, now);
                    let is_wanted = filter.status.is_none_or(|wanted| wanted == status)
                        && filter.symbol.as_ref().is_none_or(|symbol| *symbol == stored.signal.symbol);
                    if is_wanted {
                        page.separate_row();
                        page.rows.extend_from_slice(&render::signal_json(&stored.signal));
                    }
                    Ok(is_wanted)
                })
            })
        })
        .await
    }

    /// Returns a page of what happened for a user, newest signal first; an empty one if nothing did.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub async fn outcomes_of_user(
        &self,
        user: UserId,
        cursor: Option<SignalCursor>,
        rows_max: usize,
        asked: Asked,
    ) -> Result<Listed, ServiceError> {
        let service = self.clone();
        blocking(move || {
            let snapshot = service.snapshot()?;
            let mut basis = Basis::new(&service, &service.current_rules(), &asked);
            basis.change(snapshot.signals_seq()?);
            basis.change(snapshot.outcomes_seq(&user)?);
            let tag = basis.tag();
            asked.list(tag, || {
                let mut page = Page::default();
                for row in snapshot.outcomes_of(&user, number_of(cursor))? {
                    let (number, stored) = row?;
                    if page.is_full(rows_max) {
                        return Ok(page);
                    }
                    page.next_cursor = Some(SignalCursor::Number(number).to_string());
                    page.separate_row();
                    page.rows.extend_from_slice(&render::outcome_json(&stored.outcome));
                }
                page.next_cursor = None;
                Ok(page)
            })
        })
        .await
    }

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

/// The order of a list of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Those that are not expired, soonest to expire first.
    Expiry,
    /// All, newest first.
    Age,
}

/// The signals of a list in its order.
fn signal_rows(
    snapshot: &Snapshot,
    order: Order,
    cursor: Option<SignalCursor>,
    now: UnixMillis,
) -> Result<SignalRows<'_>, StoreError> {
    if order == Order::Expiry {
        let after = match cursor {
            Some(SignalCursor::Expiry(expiry, number)) => Some((expiry, number)),
            Some(SignalCursor::Number(_)) | None => None,
        };
        let rows = snapshot.signals_active(now, after)?;
        return Ok(Box::new(
            rows.map(|row| row.map(|stored| (SignalCursor::Expiry(stored.signal.expires_at, stored.number), stored))),
        ));
    }
    let rows = snapshot.signals_newest_first(number_of(cursor))?;
    Ok(Box::new(rows.map(|row| row.map(|stored| (SignalCursor::Number(stored.number), stored)))))
}

/// The number below which a list from new to old goes on.
fn number_of(cursor: Option<SignalCursor>) -> Option<u64> {
    match cursor {
        Some(SignalCursor::Number(number)) => Some(number),
        Some(SignalCursor::Expiry(..)) | None => None,
    }
}

/// Makes a page of signals. `put` puts a signal on the page if it is wanted, and says whether it is.
fn fill_page(
    rows: SignalRows<'_>,
    rows_max: usize,
    mut put: impl FnMut(&StoredSignal, &mut Page) -> Result<bool, StoreError>,
) -> Result<Page, ServiceError> {
    let mut page = Page::default();
    let (mut passed, mut last) = (0, None);
    for row in rows {
        let (cursor, stored) = row?;
        if page.is_full(rows_max) || passed == SIGNALS_PASSED_MAX {
            page.next_cursor = last.map(|last: SignalCursor| last.to_string());
            return Ok(page);
        }
        last = Some(cursor);
        passed += usize::from(!put(&stored, &mut page)?);
    }
    Ok(page)
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
        let roster = Arc::clone(&self.roster);
        let (mut count, mut passed) = (0, 0);
        while let Some(row) = roster.next(&mut self.position) {
            let outcome = self.next_outcome(row.user());
            let is_written = self.write_row(&row, outcome, separator, out);
            (count, passed) = (count + usize::from(is_written), passed + usize::from(!is_written));
            if count >= rows_max || out.len() >= bytes_max || passed >= USERS_PASSED_MAX {
                break;
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
            let (mut page, mut absent) = (Page::default(), Vec::new());
            for users in users.chunks(USERS_AT_ONCE) {
                let (count, without) = self.write_users(users, bytes_max, separator, &mut page.rows);
                page.count += count;
                absent.extend(without);
                // A thread that answers views may wait for this processor.
                std::thread::yield_now();
            }
            Ok((self, page, absent))
        })
        .await
    }

    /// Appends the views of the users in a list; returns how many, and the users that have no overlay. Ends early once
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
        for user in users {
            if out.len() >= bytes_max {
                break;
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
