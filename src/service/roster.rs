//! The roster: all overlays in memory, ready to be joined with any signal.
//!
//! A view needs a user's JSON and the few numbers that a mission is computed from; a batch of views needs those of all
//! users in a row. The roster holds exactly that, packed into chunks in the order of users. A chunk never changes: a
//! write replaces it. So versions of the roster share the chunks in which nothing changed, and a batch reads one
//! version while the writer makes the next ones. Only the times of confirmations change in place, in all versions at
//! once.
//!
//! [`overlays`](super::overlays) keeps it as new as the last acknowledged write.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::ServiceError;
use super::rules::{NO_TIER, Rules, TierSlot, UNKNOWN_TIER};
use crate::domain::{
    Account, Budget, Currency, Decimal, MaxAge, Object, Overlay, OverlayDraft, RiskBasis, TierName, UnixMillis, UserId,
    UserTier,
};
use crate::render;
use crate::store::{Snapshot, StoreError};

/// Text of a new chunk, in bytes; a chunk that grows to twice as much is split. Small, as each write copies a chunk.
const CHUNK_BYTES: usize = 16 * 1024;
/// The beginning of each overlay's JSON; the user's id follows, of bytes that need no escape.
const JSON_START: &[u8] = b"{\"user_id\":\"";

/// One version of the roster.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    /// Under which all rows are rendered.
    rules: Arc<Rules>,
    /// Each with its first user.
    chunks: Vec<(UserId, Arc<Chunk>)>,
    users: usize,
    bytes: usize,
    /// The last change, of whatever record, that it shows.
    seq: u64,
    /// Users whose rows in the file can not be decoded.
    damaged: BTreeSet<String>,
}

/// Users next to each other in the order of ids, at least one.
#[derive(Debug)]
struct Chunk {
    /// Under which the rows are rendered.
    rules: Arc<Rules>,
    rows: Box<[PackedRow]>,
    /// For each overlay its JSON and the text of its budget.
    text: Box<[u8]>,
}

/// One user: the place of the JSON, and the numbers that a mission is computed from.
#[derive(Debug)]
struct PackedRow {
    /// The number of the change that wrote the overlay.
    seq: u64,
    /// Units; [`NONE`]: none.
    balance: i64,
    /// Units; [`NONE`]: none.
    equity: i64,
    /// Units; [`NONE`]: none.
    free_margin: i64,
    /// Units; below zero: none.
    leverage: i64,
    /// Units; below zero: none.
    risk_percent: i64,
    /// When the balance was last confirmed, as the file has it, in Unix milliseconds.
    confirmation_stored_at: i64,
    /// When it was last confirmed: later than the file says if the same was pushed since.
    confirmed_at: AtomicI64,
    /// `u32::MAX`: none.
    trades_remaining: u32,
    /// Where the text begins; it ends where that of the next row begins.
    text_start: u32,
    currency: u32,
    user_bytes: u8,
    budget_bytes: u8,
    tier: TierSlot,
    risk_basis: RiskBasis,
}

impl Clone for PackedRow {
    fn clone(&self) -> Self {
        Self { confirmed_at: AtomicI64::new(self.confirmed_at.load(Ordering::Acquire)), ..*self }
    }
}

/// An amount that is not known: input is never as low.
const NONE: i64 = i64::MIN;

/// One user of a chunk, unpacked for a reader.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row<'a> {
    /// The number of the change that wrote the overlay.
    pub(super) seq: u64,
    /// The overlay as [`render::overlay_json`] renders it.
    pub(super) json: &'a [u8],
    /// The text of [`render::write_budget`] for the overlay.
    pub(super) budget: &'a [u8],
    /// The numbers.
    pub(super) account: Account,
    /// The account's currency, by its place in [`Currencies::get`].
    pub(super) currency: usize,
    /// When the balance was last confirmed, as the file has it.
    pub(super) confirmation_stored_at: UnixMillis,
    user_bytes: usize,
    tier: TierSlot,
}

/// One user's overlay, rendered: its JSON, and the numbers that a mission is computed from. A handle that is cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct RenderedOverlay {
    chunk: Arc<Chunk>,
    at: usize,
}

/// The amount of which a user's risk is taken, in a currency: what a confirmation is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    amount: Option<Decimal>,
    of: RiskBasis,
    currency: usize,
}

impl Basis {
    /// That of an overlay.
    pub(super) fn of(overlay: &Overlay, currencies: &Currencies) -> Self {
        let account = overlay.account();
        let currency = currencies.place_of(&overlay.account_currency);
        Self { amount: account.basis(), of: account.risk_basis, currency }
    }
}

/// The place of a reader in a version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    chunk: usize,
    row: usize,
}

impl<'a> Row<'a> {
    /// The amount of which the user's risk is taken.
    pub(super) fn basis(&self) -> Basis {
        Basis { amount: self.account.basis(), of: self.account.risk_basis, currency: self.currency }
    }

    /// When which amount was last confirmed.
    pub(super) fn confirmation(&self) -> (Basis, UnixMillis) {
        (self.basis(), self.account.balance_confirmed_at)
    }

    /// The user's id.
    pub(super) fn user(&self) -> &'a [u8] {
        self.json.get(JSON_START.len()..JSON_START.len() + self.user_bytes).unwrap_or_default()
    }

    /// What the tier table says of the user; `rules` are those of the roster or the overlay that has the row.
    #[inline]
    pub(super) fn tier<'r>(&self, rules: &'r Rules) -> UserTier<'r> {
        rules.tier_in(self.tier)
    }

    /// Whether the user's tier has this own name; `rules` as in [`Row::tier`].
    pub(super) fn has_tier(&self, name: &TierName, rules: &Rules) -> bool {
        match self.tier {
            NO_TIER => false,
            UNKNOWN_TIER => {
                // A name that the table does not know stands only in the JSON, right after the id.
                let rest = self.json.get(JSON_START.len() + self.user_bytes..).unwrap_or_default();
                rest.strip_prefix(b"\",\"tier\":\"")
                    .and_then(|rest| rest.strip_prefix(name.as_str().as_bytes()))
                    .is_some_and(|rest| rest.starts_with(b"\""))
            }
            known => rules.known_tier(known).is_some_and(|(own_name, _)| own_name == name),
        }
    }
}

impl RenderedOverlay {
    /// Renders an overlay by itself.
    pub(super) fn new(overlay: &Overlay, seq: u64, rules: &Arc<Rules>, currencies: &Currencies) -> Self {
        let mut builder = ChunkBuilder::new(rules);
        builder.push(overlay, seq, currencies);
        Self { chunk: Arc::new(builder.chunk()), at: 0 }
    }

    /// The rules under which it is rendered.
    pub(super) fn rules(&self) -> &Rules {
        &self.chunk.rules
    }

    #[inline]
    pub(super) fn row(&self) -> Row<'_> {
        // The row was there when this was made, and a chunk never changes.
        self.chunk.row(self.at).unwrap_or_default()
    }

    /// Sets when the balance was last confirmed, from when it was and what is known of it now; if it is this balance.
    pub(super) fn confirm(&self, basis: Basis, latest: impl Fn(UnixMillis) -> UnixMillis) {
        if let Some(row) = self.chunk.rows.get(self.at).filter(|_| self.row().basis() == basis) {
            let latest = |known| Some(latest(UnixMillis::new(known)).millis());
            // It can not fail, as there is always a value.
            let _ = row.confirmed_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, latest);
        }
    }

    /// A copy by itself, whose confirmation stays as it is.
    pub(super) fn detached(&self) -> Self {
        let mut builder = ChunkBuilder::new(&self.chunk.rules);
        builder.copy(&self.chunk, self.at..self.at + 1);
        Self { chunk: Arc::new(builder.chunk()), at: 0 }
    }

    /// The bytes that it takes in a chunk.
    pub(super) fn bytes(&self) -> usize {
        let Row { json, budget, .. } = self.row();
        size_of::<PackedRow>() + json.len() + budget.len()
    }

    /// When the balance is confirmed after a patch that changes nothing; `None` if the patch changes something.
    pub(super) fn confirmed_by(&self, patch: &Object, now: UnixMillis) -> Result<Option<UnixMillis>, ServiceError> {
        let account = self.row().account;
        if let Some(is_unchanged) = account.is_unchanged_by(patch) {
            return Ok(is_unchanged.then(|| account.confirmed_by(patch, now)));
        }
        let overlay = self.overlay()?;
        let patched = overlay.patched(patch.clone(), now)?;
        Ok(patched.same_but_time(&overlay).then_some(patched.balance_confirmed_at))
    }

    /// The number of the change that wrote it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.row().seq
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &str {
        // An id is always text.
        std::str::from_utf8(self.row().user()).unwrap_or_default()
    }

    /// The overlay as [`render::overlay_json`] renders it.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        self.row().json
    }

    /// The record.
    ///
    /// # Errors
    ///
    /// None in a tested build: the JSON was made of a record.
    pub fn overlay(&self) -> Result<Overlay, ServiceError> {
        let draft = OverlayDraft::from_record(Object::parse(self.json())?, None)?;
        let balance_confirmed_at = self.row().account.balance_confirmed_at;
        Ok(Overlay { balance_confirmed_at, ..draft.resolve(UnixMillis::MAX) })
    }
}

/// The currencies of accounts that have occurred. Only ever added to, so that a place means the same in every version
/// of the roster.
#[derive(Debug, Default)]
pub(super) struct Currencies(RwLock<Vec<Currency>>);

impl Currencies {
    /// The currency at a place.
    pub(super) fn get(&self, at: usize) -> Option<Currency> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(at).cloned()
    }

    /// The place of a currency, which it gets the first time.
    fn place_of(&self, currency: &Currency) -> usize {
        let place_in = |known: &[Currency]| known.iter().position(|own| own == currency);
        if let Some(at) = place_in(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return at;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it meanwhile.
        place_in(&known).unwrap_or_else(|| {
            known.push(currency.clone());
            known.len() - 1
        })
    }
}

impl Roster {
    /// One without users.
    fn new(rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), chunks: Vec::new(), users: 0, bytes: 0, seq: 0, damaged: BTreeSet::new() }
    }

    /// The rules under which all rows are rendered.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The number of a change: it shows all of overlays up to that one, and none after it.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Notes that it shows all changes up to this one.
    pub(super) fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// How many users.
    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// The memory that it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All users whose balance was confirmed at another time than the file has.
    pub(super) fn unstored_confirmations(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows().filter(|row| row.account.balance_confirmed_at != row.confirmation_stored_at)
    }

    /// How many balances a test of the time of confirmation finds.
    pub(super) fn count_balances(&self, is_found: impl Fn(UnixMillis) -> bool) -> usize {
        let is_found = |row: &Row<'_>| row.account.basis().is_some() && is_found(row.account.balance_confirmed_at);
        self.rows().filter(is_found).count()
    }

    /// The first moment after `now` at which time alone makes a balance stale, or no longer stale.
    pub(super) fn next_stale_change(&self, max_age: MaxAge, now: UnixMillis) -> Option<UnixMillis> {
        self.rows().filter_map(|row| max_age.next_change(row.account.balance_confirmed_at, now)).min()
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.chunks.iter().flat_map(|(_, chunk)| (0..chunk.rows.len()).filter_map(|at| chunk.row(at)))
    }

    /// Users whose rows in the file can not be decoded.
    pub(super) fn damaged(&self) -> &BTreeSet<String> {
        &self.damaged
    }

    /// Finds a user's overlay.
    pub(super) fn find(&self, user: &str) -> Option<RenderedOverlay> {
        let (_, chunk) = self.chunks.get(self.chunk_of(user))?;
        let at = chunk.find(user.as_bytes()).ok()?;
        Some(RenderedOverlay { chunk: Arc::clone(chunk), at })
    }

    /// The chunk that a user is in, or would be put into.
    fn chunk_of(&self, user: &str) -> usize {
        self.chunks.partition_point(|(first, _)| first.as_str() <= user).saturating_sub(1)
    }

    /// The place right after a user, or where the user would be.
    pub(super) fn position_after(&self, user: &UserId) -> Position {
        match self.place_of(user.as_str()) {
            Ok(Position { chunk, row }) => Position { chunk, row: row + 1 },
            Err(place) => place,
        }
    }

    /// The place of the first user whose id is `start` or comes after it.
    pub(super) fn position_at(&self, start: &str) -> Position {
        self.place_of(start).unwrap_or_else(|place| place)
    }

    /// The place of a user, or the one where the user would be.
    fn place_of(&self, user: &str) -> Result<Position, Position> {
        let chunk = self.chunk_of(user);
        let row = self.chunks.get(chunk).map_or(Err(0), |(_, chunk)| chunk.find(user.as_bytes()));
        row.map(|row| Position { chunk, row }).map_err(|row| Position { chunk, row })
    }

    /// Returns the row at a position, if there are more, and moves past it.
    #[inline]
    pub(super) fn next(&self, position: &mut Position) -> Option<Row<'_>> {
        loop {
            let (_, chunk) = self.chunks.get(position.chunk)?;
            if let Some(row) = chunk.row(position.row) {
                position.row += 1;
                return Some(row);
            }
            *position = Position { chunk: position.chunk + 1, row: 0 };
        }
    }

    /// The user right before a position that [`Roster::next`] has moved.
    pub(super) fn user_before(&self, position: Position) -> Option<UserId> {
        let (_, chunk) = self.chunks.get(position.chunk)?;
        let row = chunk.row(position.row.checked_sub(1)?)?;
        std::str::from_utf8(row.user()).ok().and_then(|user| UserId::parse(user).ok())
    }

    /// Whether there is nothing more at a position.
    pub(super) fn is_end(&self, mut position: Position) -> bool {
        self.next(&mut position).is_none()
    }

    /// Reads all overlays of a snapshot; `None` if it was cancelled. A row that does not decode is left out.
    pub(super) fn build(
        snapshot: &Snapshot,
        rules: &Arc<Rules>,
        currencies: &Currencies,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<Option<Self>, StoreError> {
        let mut roster = Self::new(rules);
        let mut builder = ChunkBuilder::new(rules);
        for row in snapshot.overlays(None)? {
            match row {
                Ok(stored) => builder.push(&stored.overlay, stored.seq, currencies),
                Err(StoreError::CorruptRow { key, .. }) => drop(roster.damaged.insert(key)),
                Err(error) => return Err(error),
            }
            if builder.text.len() >= CHUNK_BYTES {
                // A clone has no spare capacity. The builder has much; shrinking it would fragment memory.
                roster.extend(builder.clone());
                builder.clear();
                if is_cancelled() {
                    return Ok(None);
                }
            }
        }
        roster.extend(builder);
        Ok(Some(roster))
    }

    /// Adds users behind all others.
    fn extend(&mut self, builder: ChunkBuilder) {
        let end = self.chunks.len();
        self.replace(end..end, builder);
    }

    /// Puts a user's overlay, rendered under the same rules, in the place of the one there, if any, or deletes that.
    pub(super) fn put(&mut self, user: &UserId, overlay: Option<&RenderedOverlay>) {
        self.damaged.remove(user.as_str());
        let at = self.chunk_of(user.as_str());
        let mut builder = ChunkBuilder::new(&self.rules);
        let old = self.chunks.get(at).map(|(_, chunk)| Arc::clone(chunk));
        let (before, after) = match old.as_ref().map(|old| old.find(user.as_str().as_bytes())) {
            Some(Ok(row)) => (row, row + 1),
            Some(Err(row)) => (row, row),
            None => (0, 0),
        };
        if let Some(old) = &old {
            builder.reserve(old, overlay);
            builder.copy(old, 0..before);
        }
        if let Some(overlay) = overlay {
            builder.copy(&overlay.chunk, overlay.at..overlay.at + 1);
        }
        if let Some(old) = &old {
            builder.copy(old, after..old.rows.len());
        }
        let replaced = at..at + usize::from(old.is_some());
        self.replace(replaced, builder);
    }

    /// Puts the rows of a builder, in one chunk or two, in the place of some chunks.
    fn replace(&mut self, old: Range<usize>, builder: ChunkBuilder) {
        let new = builder.split();
        for chunk in &new {
            self.users += chunk.rows.len();
            self.bytes += chunk.bytes();
        }
        let new = new.into_iter().filter_map(|chunk| Some((chunk.first_user()?, Arc::new(chunk))));
        for (_, chunk) in self.chunks.splice(old, new) {
            self.users -= chunk.rows.len();
            self.bytes -= chunk.bytes();
        }
    }
}

/// A chunk under construction.
#[derive(Clone, Debug)]
struct ChunkBuilder {
    rules: Arc<Rules>,
    rows: Vec<PackedRow>,
    text: Vec<u8>,
}

impl ChunkBuilder {
    fn new(rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), rows: Vec::new(), text: Vec::new() }
    }

    /// Reserves memory for a chunk's rows and one more.
    fn reserve(&mut self, chunk: &Chunk, more: Option<&RenderedOverlay>) {
        self.rows.reserve_exact(chunk.rows.len() + 1);
        self.text.reserve_exact(chunk.text.len() + more.map_or(0, RenderedOverlay::bytes));
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.text.clear();
    }

    /// Adds an overlay, behind all others.
    fn push(&mut self, overlay: &Overlay, seq: u64, currencies: &Currencies) {
        let account = overlay.account();
        let tier = self.rules.tier_slot(overlay.tier.as_ref());
        let text_start = self.text_end();
        render::write_overlay(&mut self.text, overlay);
        let budget_start = self.text.len();
        render::write_budget(&mut self.text, Budget::of(account, self.rules.tier_in(tier)));
        self.rows.push(PackedRow {
            seq,
            balance: account.balance.map_or(NONE, Decimal::units),
            equity: account.equity.map_or(NONE, Decimal::units),
            free_margin: account.free_margin.map_or(NONE, Decimal::units),
            leverage: account.leverage.map_or(-1, Decimal::units),
            risk_percent: account.risk_percent.map_or(-1, Decimal::units),
            confirmation_stored_at: account.balance_confirmed_at.millis(),
            confirmed_at: AtomicI64::new(account.balance_confirmed_at.millis()),
            trades_remaining: account.trades_remaining.unwrap_or(u32::MAX),
            text_start,
            currency: u32::try_from(currencies.place_of(&overlay.account_currency)).unwrap_or(u32::MAX),
            // Ids have at most 128 bytes, and two numbers with their names fewer.
            user_bytes: u8::try_from(overlay.user_id.as_str().len()).unwrap_or(u8::MAX),
            budget_bytes: u8::try_from(self.text.len() - budget_start).unwrap_or(u8::MAX),
            tier,
            risk_basis: account.risk_basis,
        });
    }

    /// Adds rows of a chunk.
    fn copy(&mut self, from: &Chunk, rows: Range<usize>) {
        let text = from.text.get(from.text_start(rows.start)..from.text_start(rows.end)).unwrap_or_default();
        let rows = from.rows.get(rows).unwrap_or_default();
        let Some(first) = rows.first() else { return };
        let end = self.text_end();
        let moved =
            rows.iter().map(|row| PackedRow { text_start: end + (row.text_start - first.text_start), ..row.clone() });
        self.rows.extend(moved);
        self.text.extend_from_slice(text);
    }

    /// A chunk has at most some dozen times the largest record.
    fn text_end(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }

    fn chunk(self) -> Chunk {
        Chunk { rules: self.rules, rows: self.rows.into_boxed_slice(), text: self.text.into_boxed_slice() }
    }

    /// Returns no chunk if there are no rows, and two if they are too large for one.
    fn split(self) -> Vec<Chunk> {
        let whole = self.chunk();
        let rows = whole.rows.len();
        if rows < 2 || whole.text.len() <= 2 * CHUNK_BYTES {
            return if rows == 0 { Vec::new() } else { vec![whole] };
        }
        let half =
            whole.rows.partition_point(|row| (row.text_start as usize) < whole.text.len() / 2).clamp(1, rows - 1);
        let part = |rows| {
            let mut builder = Self::new(&whole.rules);
            builder.copy(&whole, rows);
            builder.chunk()
        };
        vec![part(0..half), part(half..rows)]
    }
}

impl Chunk {
    /// Finds a user's row, or the place where it would be.
    fn find(&self, user: &[u8]) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| self.user(row).cmp(user))
    }

    fn first_user(&self) -> Option<UserId> {
        // Taken from an id, so it is one.
        std::str::from_utf8(self.row(0)?.user()).ok().and_then(|user| UserId::parse(user).ok())
    }

    /// The memory that it takes, in bytes.
    fn bytes(&self) -> usize {
        /// The chunk itself, its counters, and its entry in the roster.
        const OWN_BYTES: usize = size_of::<Chunk>() + 2 * size_of::<usize>() + size_of::<(UserId, Arc<Chunk>)>();
        OWN_BYTES + size_of_val(&*self.rows) + self.text.len()
    }

    /// Where a row's text begins; behind the last row, where all text ends.
    #[inline]
    fn text_start(&self, at: usize) -> usize {
        self.rows.get(at).map_or(self.text.len(), |row| row.text_start as usize)
    }

    fn user(&self, row: &PackedRow) -> &[u8] {
        let start = row.text_start as usize + JSON_START.len();
        self.text.get(start..start + usize::from(row.user_bytes)).unwrap_or_default()
    }

    #[inline]
    fn row(&self, at: usize) -> Option<Row<'_>> {
        let row = self.rows.get(at)?;
        let text = self.text.get(row.text_start as usize..self.text_start(at + 1))?;
        let (json, budget) = text.split_at_checked(text.len().checked_sub(row.budget_bytes.into())?)?;
        let decimal = |units: i64| (units >= 0).then(|| Decimal::from_units(units));
        let amount = |units: i64| (units != NONE).then(|| Decimal::from_units(units));
        Some(Row {
            seq: row.seq,
            json,
            budget,
            account: Account {
                balance: amount(row.balance),
                equity: amount(row.equity),
                free_margin: amount(row.free_margin),
                leverage: decimal(row.leverage),
                risk_basis: row.risk_basis,
                risk_percent: decimal(row.risk_percent),
                trades_remaining: (row.trades_remaining != u32::MAX).then_some(row.trades_remaining),
                balance_confirmed_at: UnixMillis::new(row.confirmed_at.load(Ordering::Acquire)),
            },
            confirmation_stored_at: UnixMillis::new(row.confirmation_stored_at),
            currency: row.currency as usize,
            user_bytes: usize::from(row.user_bytes),
            tier: row.tier,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Instruments, MaxAges, Tiers};

    /// Users whose ids are of all lengths; many begin alike, and some end alike too.
    fn user(number: u16) -> UserId {
        let id = match number % 4 {
            0 => format!("{number}"),
            1 => format!("telegram:user:000000000000{number:05}"),
            2 => format!("telegram:user:000000000000{number:05}:the-same-end"),
            _ => format!("-{}", "9".repeat(1 + usize::from(number % 120))),
        };
        UserId::parse(&id).unwrap()
    }

    /// More than an overlay of these tests takes.
    const LARGEST: usize = 41_000;

    /// A few are larger than two chunks.
    fn overlay(user: &UserId, balance: u64) -> Overlay {
        let padding = if balance.is_multiple_of(97) { 40_000 } else { 0 };
        let json = format!(
            r#"{{"account_balance":{balance},"account_currency":"{}","padding":"{}"}}"#,
            ["USD", "EUR", "JPY"][usize::try_from(balance % 3).unwrap()],
            "x".repeat(padding)
        );
        let draft = OverlayDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(user)).unwrap();
        draft.resolve(UnixMillis::MIN)
    }

    /// Compares everything that can be asked of a version with a plain map of balances and the `seq` that wrote them.
    fn check(roster: &Roster, currencies: &Currencies, plain: &BTreeMap<UserId, (u64, u64)>) {
        let overlays: Vec<_> =
            plain.iter().map(|(user, (seq, balance))| (*seq, user, overlay(user, *balance))).collect();
        let mut position = Position::default();
        for (seq, user, overlay) in &overlays {
            let row = roster.next(&mut position).unwrap();
            assert_eq!((row.seq, row.user()), (*seq, user.as_str().as_bytes()));
            assert_eq!(row.json, render::overlay_json(overlay));
        }
        assert!(roster.is_end(position));
        assert_eq!(roster.users(), plain.len());
        let bytes = roster.chunks.iter().map(|(_, chunk)| chunk.bytes()).sum::<usize>();
        assert_eq!(roster.bytes(), bytes);
        for (_, chunk) in &roster.chunks {
            assert!(chunk.text.len() <= 2 * CHUNK_BYTES + LARGEST, "{} rows", chunk.rows.len());
        }
        for (at, (seq, user, overlay)) in overlays.iter().enumerate() {
            let found = roster.find(user.as_str()).unwrap();
            assert_eq!((found.user(), found.seq()), (user.as_str(), *seq));
            assert_eq!(found.row().account, overlay.account());
            assert_eq!(currencies.get(found.row().currency).as_ref(), Some(&overlay.account_currency));
            let mut after = roster.position_after(user);
            assert_eq!(roster.user_before(after).as_ref(), Some(*user));
            let next = roster.next(&mut after);
            assert_eq!(next.map(|row| row.seq), overlays.get(at + 1).map(|(seq, ..)| *seq));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn versions_follow_each_other_as_a_plain_map_does(
            versions in prop::collection::vec(prop::collection::vec((0..900_u16, any::<bool>()), 0..700), 1..6),
        ) {
            let rules = Arc::new(Rules::new(
                Instruments::built_in().unwrap(),
                Tiers::built_in().unwrap(),
                MaxAges::default(),
            ));
            let currencies = Currencies::default();
            let (mut roster, mut plain, mut seq) = (Roster::new(&rules), BTreeMap::new(), 0);
            for edits in versions {
                let (before, plain_before) = (roster.clone(), plain.clone());
                for (number, puts) in edits {
                    seq += 1;
                    let user = user(number);
                    let put = puts.then(|| RenderedOverlay::new(&overlay(&user, seq), seq, &rules, &currencies));
                    if puts { plain.insert(user.clone(), (seq, seq)) } else { plain.remove(&user) };
                    roster.put(&user, put.as_ref());
                }
                check(&roster, &currencies, &plain);
                check(&before, &currencies, &plain_before);
                for number in (0..900).filter(|number| !plain.contains_key(&user(*number))) {
                    prop_assert!(roster.find(user(number).as_str()).is_none());
                }
            }
            prop_assert!(roster.find("").is_none() && roster.find("~").is_none());
        }
    }
}
