//! The roster: all overlays in memory, ready to be joined with any signal.
//!
//! A batch of views wants every user's JSON and the few numbers that a mission is computed from, in a row. The roster holds just
//! that, about 210 bytes a user, in chunks in the order of users. A version of it never changes: whoever writes a batch holds one
//! and is not disturbed. The next version shares the chunks in which nothing changed.
//!
//! Writers pay nothing for it. It is brought up to date when a batch asks, from the file's change log and one snapshot, so it is
//! as new as the last write that was acknowledged before the batch was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Account, Currency, Decimal, Overlay, TierName, Tiers, UserId, UserTier};
use crate::render;
use crate::store::{Changed, Snapshot, StoreError};

/// Users of a chunk when it is made; one that grows to twice as many is split. Small enough that a change copies little.
const CHUNK_ROWS: usize = 256;
/// How each overlay's JSON begins; the user's id follows, of bytes that need no escape.
const JSON_START: &[u8] = b"{\"user_id\":\"";

/// One version of the roster.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    /// The last commit that is in it.
    seq: u64,
    chunks: Vec<Arc<Chunk>>,
    /// The currencies that rows point to.
    currencies: Vec<Currency>,
    rows: usize,
}

/// Users next to each other in the order of ids.
#[derive(Debug)]
struct Chunk {
    first: UserId,
    rows: Vec<Row>,
    /// The JSON of all overlays, one after the other.
    json: Vec<u8>,
}

/// One user: where the JSON ends, and what a mission is computed from, packed.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Units; below zero: none.
    balance: i64,
    /// Units; below zero: none.
    risk_percent: i64,
    /// `u32::MAX`: none.
    trades_remaining: u32,
    json_end: u32,
    currency: u32,
    user_bytes: u8,
    tier: TierSlot,
}

/// A row's tier: [`NO_TIER`], [`UNKNOWN_TIER`], or how manyth in the table plus [`FIRST_TIER`].
type TierSlot = u8;
const NO_TIER: TierSlot = 0;
const UNKNOWN_TIER: TierSlot = 1;
const FIRST_TIER: TierSlot = 2;

/// One user of a version, as a batch reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// The overlay as JSON.
    pub(super) json: &'a [u8],
    /// The numbers.
    pub(super) account: Account,
    /// The account's currency, by its place in [`Roster::currency`].
    pub(super) currency: usize,
    user_bytes: usize,
    tier: TierSlot,
}

/// Where a reader of a version stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    chunk: usize,
    row: usize,
}

impl<'a> Member<'a> {
    /// The user's id.
    pub(super) fn user(&self) -> &'a [u8] {
        self.json.get(JSON_START.len()..JSON_START.len() + self.user_bytes).unwrap_or_default()
    }

    /// What the tier table says of the user.
    pub(super) fn tier(&self, tiers: &'a TierTable) -> UserTier<'a> {
        match self.tier {
            NO_TIER => UserTier::Unnamed,
            UNKNOWN_TIER => UserTier::Unknown,
            known => {
                let tier = tiers.0.get(usize::from(known - FIRST_TIER));
                tier.map_or(UserTier::Unknown, |(_, tier)| UserTier::Known(tier))
            }
        }
    }

    /// Whether the user's tier has this name of its own.
    pub(super) fn has_tier(&self, name: &TierName, tiers: &TierTable) -> bool {
        match self.tier {
            NO_TIER => false,
            UNKNOWN_TIER => {
                // A name that the table does not know stands only in the JSON, right after the id.
                let rest = self.json.get(JSON_START.len() + self.user_bytes..).unwrap_or_default();
                rest.strip_prefix(b"\",\"tier\":\"")
                    .and_then(|rest| rest.strip_prefix(name.as_str().as_bytes()))
                    .is_some_and(|rest| rest.starts_with(b"\""))
            }
            known => tiers.0.get(usize::from(known - FIRST_TIER)).is_some_and(|(own_name, _)| own_name == name),
        }
    }
}

/// The tier table in a form that rows can point into.
#[derive(Debug)]
pub(super) struct TierTable(Vec<(TierName, crate::domain::Tier)>);

impl TierTable {
    /// Tiers beyond those that a slot can name count as unknown, which sizes nothing.
    pub(super) fn new(tiers: &Tiers) -> Self {
        let most = usize::from(TierSlot::MAX - FIRST_TIER);
        Self(tiers.iter().take(most).map(|(name, tier)| (name.clone(), tier.clone())).collect())
    }

    fn slot(&self, tiers: &Tiers, name: Option<&TierName>) -> TierSlot {
        let Some(name) = name else { return NO_TIER };
        let Some((own_name, _)) = tiers.get(name) else { return UNKNOWN_TIER };
        let at = self.0.iter().position(|(known, _)| known == own_name);
        at.and_then(|at| TierSlot::try_from(at).ok()).map_or(UNKNOWN_TIER, |at| at + FIRST_TIER)
    }
}

impl Roster {
    /// The last commit that is in it.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// How many users.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.json.capacity() + chunk.rows.capacity() * size_of::<Row>()).sum()
    }

    /// The currency that a member points to.
    pub(super) fn currency(&self, at: usize) -> Option<&Currency> {
        self.currencies.get(at)
    }

    /// Stands right after a user, or at the beginning.
    pub(super) fn position_after(&self, user: Option<&UserId>) -> Position {
        let Some(user) = user else { return Position::default() };
        let chunk = self.chunks.partition_point(|chunk| chunk.first <= *user).saturating_sub(1);
        let row = self.chunks.get(chunk).map_or(0, |chunk| {
            (0..chunk.rows.len())
                .take_while(|at| chunk.member(*at).is_some_and(|member| member.user() <= user.as_str().as_bytes()))
                .count()
        });
        Position { chunk, row }
    }

    /// Reads the member at a position, and moves on; `None` at the end.
    pub(super) fn next(&self, position: &mut Position) -> Option<Member<'_>> {
        loop {
            let chunk = self.chunks.get(position.chunk)?;
            if let Some(member) = chunk.member(position.row) {
                position.row += 1;
                return Some(member);
            }
            *position = Position { chunk: position.chunk + 1, row: 0 };
        }
    }

    /// The user right before a position.
    pub(super) fn user_before(&self, position: Position) -> Option<UserId> {
        let chunk = self.chunks.get(position.chunk)?;
        let member = chunk.member(position.row.checked_sub(1)?)?;
        std::str::from_utf8(member.user()).ok().and_then(|user| UserId::parse(user).ok())
    }

    /// Whether there is nothing more at a position.
    pub(super) fn is_end(&self, mut position: Position) -> bool {
        self.next(&mut position).is_none()
    }

    /// Returns the version that a snapshot holds.
    pub(super) fn at(&self, snapshot: &Snapshot, tiers: &Tiers, table: &TierTable) -> Result<Self, StoreError> {
        let seq = snapshot.seq()?;
        let Some(changes) = (if self.seq == 0 { None } else { snapshot.changes_after(self.seq)? }) else {
            return Self::build(snapshot, tiers, table);
        };
        let mut newest = BTreeMap::new();
        for change in changes {
            if let Changed::Overlay(user) = change
                && !newest.contains_key(&user)
            {
                let overlay = snapshot.overlay(&user)?.map(|stored| stored.overlay);
                newest.insert(user, overlay);
            }
        }
        let mut next = Self { seq, chunks: Vec::with_capacity(self.chunks.len()), ..self.clone() };
        next.rows = 0;
        let mut edits_left = newest.into_iter().peekable();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let end = self.chunks.get(at + 1).map(|chunk| &chunk.first);
            let mut edits = Vec::new();
            while let Some(edit) = edits_left.next_if(|(user, _)| end.is_none_or(|end| user < end)) {
                edits.push(edit);
            }
            if edits.is_empty() {
                next.rows += chunk.rows.len();
                next.chunks.push(Arc::clone(chunk));
            } else {
                next.edit(chunk, edits, tiers, table);
            }
        }
        // Only if there were no chunks at all.
        let mut builder = ChunkBuilder::default();
        for (_, overlay) in edits_left {
            if let Some(overlay) = overlay {
                next.push(&mut builder, &overlay, tiers, table);
            }
        }
        next.finish(builder);
        Ok(next)
    }

    fn build(snapshot: &Snapshot, tiers: &Tiers, table: &TierTable) -> Result<Self, StoreError> {
        let mut roster = Self { seq: snapshot.seq()?, ..Self::default() };
        let mut builder = ChunkBuilder::default();
        for row in snapshot.overlays(None)? {
            roster.push(&mut builder, &row?.overlay, tiers, table);
            if builder.rows.len() == CHUNK_ROWS {
                roster.finish(std::mem::take(&mut builder));
            }
        }
        roster.finish(builder);
        Ok(roster)
    }

    /// Adds a chunk with some of its users changed, added or gone.
    fn edit(&mut self, old: &Chunk, edits: Vec<(UserId, Option<Overlay>)>, tiers: &Tiers, table: &TierTable) {
        let mut builder = ChunkBuilder::default();
        let mut edits = edits.into_iter().peekable();
        let rows_max = if old.rows.len() + edits.len() > 2 * CHUNK_ROWS { CHUNK_ROWS } else { usize::MAX };
        for at in 0..old.rows.len() {
            let (Some(member), Some(row)) = (old.member(at), old.rows.get(at)) else { continue };
            while let Some((_, overlay)) = edits.next_if(|(user, _)| user.as_str().as_bytes() < member.user()) {
                if let Some(overlay) = overlay {
                    self.push(&mut builder, &overlay, tiers, table);
                }
            }
            match edits.next_if(|(user, _)| user.as_str().as_bytes() == member.user()) {
                Some((_, Some(overlay))) => self.push(&mut builder, &overlay, tiers, table),
                Some((_, None)) => {}
                None => builder.copy(member, *row),
            }
            if builder.rows.len() >= rows_max {
                self.finish(std::mem::take(&mut builder));
            }
        }
        for (_, overlay) in edits {
            if let Some(overlay) = overlay {
                self.push(&mut builder, &overlay, tiers, table);
            }
            if builder.rows.len() >= rows_max {
                self.finish(std::mem::take(&mut builder));
            }
        }
        self.finish(builder);
    }

    fn push(&mut self, builder: &mut ChunkBuilder, overlay: &Overlay, tiers: &Tiers, table: &TierTable) {
        let known = self.currencies.iter().position(|currency| *currency == overlay.account_currency);
        let currency = known.unwrap_or_else(|| {
            self.currencies.push(overlay.account_currency.clone());
            self.currencies.len() - 1
        });
        builder.json.extend_from_slice(&render::overlay_json(overlay));
        let account = overlay.account();
        builder.rows.push(Row {
            balance: account.balance.map_or(-1, Decimal::units),
            risk_percent: account.risk_percent.map_or(-1, Decimal::units),
            trades_remaining: account.trades_remaining.unwrap_or(u32::MAX),
            // A chunk of the largest records is some tens of megabytes.
            json_end: u32::try_from(builder.json.len()).unwrap_or(u32::MAX),
            currency: u32::try_from(currency).unwrap_or(u32::MAX),
            // Ids have at most 128 bytes.
            user_bytes: u8::try_from(overlay.user_id.as_str().len()).unwrap_or(u8::MAX),
            tier: table.slot(tiers, overlay.tier.as_ref()),
        });
        if builder.first.is_none() {
            builder.first = Some(overlay.user_id.clone());
        }
    }

    fn finish(&mut self, mut builder: ChunkBuilder) {
        if let Some(first) = builder.first {
            self.rows += builder.rows.len();
            builder.rows.shrink_to_fit();
            builder.json.shrink_to_fit();
            self.chunks.push(Arc::new(Chunk { first, rows: builder.rows, json: builder.json }));
        }
    }
}

/// A chunk under construction.
#[derive(Debug, Default)]
struct ChunkBuilder {
    first: Option<UserId>,
    rows: Vec<Row>,
    json: Vec<u8>,
}

impl ChunkBuilder {
    fn copy(&mut self, member: Member<'_>, row: Row) {
        self.json.extend_from_slice(member.json);
        self.rows.push(Row { json_end: u32::try_from(self.json.len()).unwrap_or(u32::MAX), ..row });
        if self.first.is_none() {
            // Taken from an id, so it is one.
            self.first = std::str::from_utf8(member.user()).ok().and_then(|user| UserId::parse(user).ok());
        }
    }
}

impl Chunk {
    #[inline]
    fn member(&self, at: usize) -> Option<Member<'_>> {
        let row = self.rows.get(at)?;
        let start = match at.checked_sub(1) {
            Some(before) => self.rows.get(before)?.json_end as usize,
            None => 0,
        };
        let decimal = |units: i64| (units >= 0).then(|| Decimal::from_units(units));
        Some(Member {
            json: self.json.get(start..row.json_end as usize)?,
            account: Account {
                balance: decimal(row.balance),
                risk_percent: decimal(row.risk_percent),
                trades_remaining: (row.trades_remaining != u32::MAX).then_some(row.trades_remaining),
            },
            currency: row.currency as usize,
            user_bytes: usize::from(row.user_bytes),
            tier: row.tier,
        })
    }
}
