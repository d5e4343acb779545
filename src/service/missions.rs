//! Reading missions and signals: one view, a page of a user's, those of a signal.

mod batch;

use std::fmt;
use std::sync::Arc;

use super::blocking::blocking;
use super::lists::{Asked, Basis, ListTag, Listed, Page};
use super::roster::{RenderedOverlay, Row};
use super::rules::Rules;
use super::{Service, ServiceError};
use crate::cache::CachedSignal;
use crate::domain::{
    self, Currency, Mission, OutcomeStatus, Rates, SignalId, Status, Step, Symbol, Terms, UnixMillis, UserId,
};
use crate::render::{self, ViewTemplate};
use crate::store::{Snapshot, StoreError, StoredOutcome, StoredSignal};
pub(super) use batch::USERS_PASSED_MAX;
pub use batch::{Batch, MissionCounts, Separator};

/// Most rows of a page, and most users that a request may list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Most signals that a page passes over as its filter does not want them: half a millisecond. A page that has passed so
/// many ends, and its cursor goes on from there.
const SIGNALS_PASSED_MAX: usize = 300;

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
