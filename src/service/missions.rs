//! Reading missions and signals: one view, a page of a user's, a page or all of a signal's.

use std::fmt;
use std::sync::Arc;

use super::{Service, ServiceError, blocking};
use crate::cache::{CachedOverlay, CachedSignal};
use crate::domain::{Currency, Rates, SignalId, Status, Symbol, Terms, TierName, UnixMillis, UserId};
use crate::render;
use crate::store::{Snapshot, StoreError, StoredSignal};

/// Most rows of a page, and most users that a request may list.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// Most signals that a page looks at: a filter that matches few of many years must still answer soon.
const SIGNALS_SCANNED_MAX: usize = 10_000;
/// Most overlays that one step of a batch looks at, likewise.
const OVERLAYS_SCANNED_MAX: usize = 50_000;

/// One mission view, with all that its entity tag is made of known before a size is computed.
#[derive(Debug)]
pub struct MissionView {
    signal: Arc<CachedSignal>,
    overlay: Arc<CachedOverlay>,
    terms: Terms,
    tag: ViewTag,
    now: UnixMillis,
}

/// What a view rests on: as long as this is the same the view is, its seconds aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewTag {
    /// Sets runs of the server apart: the tables of rules may have changed in between.
    pub run: u32,
    /// The `seq` of the signal.
    pub signal_seq: u64,
    /// The `seq` of the overlay.
    pub overlay_seq: u64,
    /// The `seq` of the rate that converts; 0 without one.
    pub rate_seq: u64,
    /// The `seq` of the outcome; 0 without one.
    pub outcome_seq: u64,
    /// Whether the signal is expired. With the outcome this gives the status.
    pub is_expired: bool,
}

impl MissionView {
    /// What it rests on.
    #[must_use]
    pub fn tag(&self) -> ViewTag {
        self.tag
    }

    /// Appends the view as JSON.
    pub fn write_to(&self, service: &Service, out: &mut Vec<u8>) {
        let overlay = &self.overlay.stored.overlay;
        let mission = self.terms.mission(overlay, service.tier_of(overlay), self.status(), self.now);
        render::write_view(out, &self.signal.json, &self.overlay.json, &mission, &overlay.account_currency);
    }

    fn status(&self) -> Status {
        let outcome = self.signal.outcome(&self.overlay.stored.overlay.user_id);
        Status::of(&self.signal.stored.signal, outcome.map(|stored| stored.outcome.status), self.now)
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

/// Which signals to list.
#[derive(Clone, Debug, Default)]
pub struct SignalFilter {
    /// `Some(true)`: not expired; `Some(false)`: expired; `None`: both.
    pub active: Option<bool>,
    /// Only this symbol.
    pub symbol: Option<Symbol>,
}

/// A page of signals or views.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows as JSON, with commas between.
    pub rows: Vec<u8>,
    /// How many.
    pub count: usize,
    /// Where the next page begins; `None` at the end.
    pub next_cursor: Option<String>,
}

impl Page {
    fn begin_row(&mut self) {
        if self.count > 0 {
            self.rows.push(b',');
        }
        self.count += 1;
    }
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

/// Signals with where to go on after each.
type SignalRows<'a> = Box<dyn Iterator<Item = Result<(SignalCursor, StoredSignal), StoreError>> + 'a>;

impl Service {
    /// Returns one user's mission on one signal, as of now.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if the signal or the overlay is not there; [`ServiceError::Store`].
    pub async fn mission(&self, signal: &SignalId, user: &UserId) -> Result<MissionView, ServiceError> {
        let signal = self.signal(signal).await?;
        let overlay = self.overlay(user).await?;
        Ok(self.view(signal, overlay, &self.rates(), self.now()))
    }

    fn view(
        &self,
        signal: Arc<CachedSignal>,
        overlay: Arc<CachedOverlay>,
        rates: &Rates,
        now: UnixMillis,
    ) -> MissionView {
        let terms = Terms::new(&signal.stored.signal, &overlay.stored.overlay.account_currency, self.market(rates));
        let tag = ViewTag {
            run: self.run(),
            signal_seq: signal.stored.seq,
            overlay_seq: overlay.stored.seq,
            rate_seq: terms.rate_seq(),
            outcome_seq: signal.outcome(&overlay.stored.overlay.user_id).map_or(0, |outcome| outcome.seq),
            is_expired: signal.stored.signal.is_expired(now),
        };
        MissionView { signal, overlay, terms, tag, now }
    }

    /// Returns a page of one user's missions: active ones soonest to expire first, all others newest first.
    ///
    /// A page has one row at least, if there is one.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if the overlay is not there; [`ServiceError::Store`].
    pub async fn missions_of_user(
        &self,
        user: &UserId,
        filter: StatusFilter,
        cursor: Option<SignalCursor>,
        rows_max: usize,
    ) -> Result<Page, ServiceError> {
        let overlay = self.overlay(user).await?;
        let service = self.clone();
        blocking(move || {
            let snapshot = service.snapshot()?;
            let (now, rates) = (service.now(), service.rates());
            let active = (filter == StatusFilter::Only(Status::Active)).then_some(true);
            let mut page = Page::default();
            for row in signal_rows(&snapshot, active, cursor, now)?.take(SIGNALS_SCANNED_MAX) {
                let (cursor, stored) = row?;
                if page.count >= rows_max.max(1) {
                    return Ok(page);
                }
                page.next_cursor = Some(cursor.to_string());
                let outcome = snapshot.outcome(stored.number, &overlay.stored.overlay.user_id)?;
                let signal = Arc::new(CachedSignal::new(stored, outcome.into_iter().map(Arc::new).collect()));
                let view = service.view(signal, Arc::clone(&overlay), &rates, now);
                if filter == StatusFilter::All || filter == StatusFilter::Only(view.status()) {
                    page.begin_row();
                    view.write_to(&service, &mut page.rows);
                }
            }
            end_unless_cut(&snapshot, active, now, page)
        })
        .await
    }

    /// Returns a page of signals: active ones soonest to expire first, all others newest first.
    ///
    /// A page has one row at least, if there is one.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub async fn signals(
        &self,
        filter: SignalFilter,
        cursor: Option<SignalCursor>,
        rows_max: usize,
    ) -> Result<Page, ServiceError> {
        let service = self.clone();
        blocking(move || {
            let snapshot = service.snapshot()?;
            let now = service.now();
            let mut page = Page::default();
            for row in signal_rows(&snapshot, filter.active, cursor, now)?.take(SIGNALS_SCANNED_MAX) {
                let (cursor, stored) = row?;
                if page.count >= rows_max.max(1) {
                    return Ok(page);
                }
                page.next_cursor = Some(cursor.to_string());
                let is_active = !stored.signal.is_expired(now);
                let is_wanted = filter.active.is_none_or(|active| active == is_active)
                    && filter.symbol.as_ref().is_none_or(|symbol| *symbol == stored.signal.symbol);
                if is_wanted {
                    page.begin_row();
                    page.rows.extend_from_slice(&render::signal_json(&stored.signal));
                }
            }
            end_unless_cut(&snapshot, filter.active, now, page)
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
        // By its own name, so that an alias finds those who have the name, and the other way round.
        let tiers = &self.shared.settings.tiers;
        let tier = tier.map(|tier| tiers.get(&tier).map_or(tier.clone(), |(own_name, _)| own_name.clone()));
        Ok(Batch { service: self.clone(), signal, tier, rates: self.rates(), now: self.now(), terms: Vec::new() })
    }
}

/// The signals of a list in its order.
fn signal_rows(
    snapshot: &Snapshot,
    active: Option<bool>,
    cursor: Option<SignalCursor>,
    now: UnixMillis,
) -> Result<SignalRows<'_>, StoreError> {
    if active == Some(true) {
        let after = match cursor {
            Some(SignalCursor::Expiry(expiry, number)) => Some((expiry, number)),
            Some(SignalCursor::Number(_)) | None => None,
        };
        let rows = snapshot.signals_active(now, after)?;
        return Ok(Box::new(
            rows.map(|row| row.map(|stored| (SignalCursor::Expiry(stored.signal.expires_at, stored.number), stored))),
        ));
    }
    let before = match cursor {
        Some(SignalCursor::Number(number)) => Some(number),
        Some(SignalCursor::Expiry(..)) | None => None,
    };
    let rows = snapshot.signals_newest_first(before)?;
    Ok(Box::new(rows.map(|row| row.map(|stored| (SignalCursor::Number(stored.number), stored)))))
}

/// Takes the cursor off a page behind which there is nothing more.
fn end_unless_cut(
    snapshot: &Snapshot,
    active: Option<bool>,
    now: UnixMillis,
    mut page: Page,
) -> Result<Page, ServiceError> {
    if let Some(cursor) = page.next_cursor.as_deref().and_then(SignalCursor::parse)
        && signal_rows(snapshot, active, Some(cursor), now)?.next().is_none()
    {
        page.next_cursor = None;
    }
    Ok(page)
}

/// The missions of all users on one signal, written piece by piece, so that any number of users fits in little memory.
#[derive(Debug)]
pub struct Batch {
    service: Service,
    signal: Arc<CachedSignal>,
    tier: Option<TierName>,
    rates: Arc<Rates>,
    now: UnixMillis,
    /// Worked out once for each currency that occurs.
    terms: Vec<(Currency, Terms)>,
}

/// How views of a batch are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A comma between two views.
    Comma,
    /// A newline after each view.
    Newline,
}

impl Batch {
    /// Appends the views of the users after `after`, until there are `rows_max` or `bytes_max` is passed; returns how
    /// many, and the user after whom to go on. One user is looked at in any case, so that each step gets further.
    /// For a thread that may block.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn write_some(
        &mut self,
        after: Option<&UserId>,
        rows_max: usize,
        bytes_max: usize,
        separator: Separator,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<UserId>), ServiceError> {
        let snapshot = self.service.snapshot()?;
        let mut count = 0;
        let mut last = None;
        for (scanned, row) in snapshot.overlays(after)?.enumerate() {
            let is_full = count >= rows_max || out.len() >= bytes_max || scanned >= OVERLAYS_SCANNED_MAX;
            if is_full && last.is_some() {
                return Ok((count, last));
            }
            let overlay = CachedOverlay::new(Arc::new(row?));
            if self.is_wanted(&overlay) {
                self.write(&overlay, count == 0, separator, out);
                count += 1;
            }
            last = Some(overlay.stored.overlay.user_id.clone());
        }
        Ok((count, None))
    }

    /// Appends the views of the users in a list; returns how many, and those who have no overlay. For a thread that may block.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn write_users(
        &mut self,
        users: &[UserId],
        separator: Separator,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Vec<UserId>), ServiceError> {
        let mut count = 0;
        let mut absent = Vec::new();
        for user in users {
            match self.service.read_overlay(user)? {
                Some(overlay) if self.is_wanted(&overlay) => {
                    self.write(&overlay, count == 0, separator, out);
                    count += 1;
                }
                Some(_) => {}
                None => absent.push(user.clone()),
            }
        }
        Ok((count, absent))
    }

    fn is_wanted(&self, overlay: &CachedOverlay) -> bool {
        let Some(wanted) = &self.tier else { return true };
        let tiers = &self.service.shared.settings.tiers;
        let own_name = |name: &TierName| tiers.get(name).map_or(name.clone(), |(own_name, _)| own_name.clone());
        overlay.stored.overlay.tier.as_ref().is_some_and(|tier| own_name(tier) == *wanted)
    }

    fn write(&mut self, overlay: &CachedOverlay, is_first: bool, separator: Separator, out: &mut Vec<u8>) {
        if separator == Separator::Comma && !is_first {
            out.push(b',');
        }
        let user = &overlay.stored.overlay;
        let outcome = self.signal.outcome(&user.user_id).map(|stored| stored.outcome.status);
        let status = Status::of(&self.signal.stored.signal, outcome, self.now);
        let known = self.terms.iter().position(|(currency, _)| *currency == user.account_currency);
        let at = known.unwrap_or_else(|| {
            let market = self.service.market(&self.rates);
            let terms = Terms::new(&self.signal.stored.signal, &user.account_currency, market);
            self.terms.push((user.account_currency.clone(), terms));
            self.terms.len() - 1
        });
        if let Some((currency, terms)) = self.terms.get(at) {
            let mission = terms.mission(user, self.service.tier_of(user), status, self.now);
            render::write_view(out, &self.signal.json, &overlay.json, &mission, currency);
        }
        if separator == Separator::Newline {
            out.push(b'\n');
        }
    }
}
