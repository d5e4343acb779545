//! The roster: all overlays in memory, ready to be joined with any signal.
//!
//! A view wants a user's JSON and the few numbers that a mission is computed from; a batch of views wants those of all users in a
//! row. The roster holds just that, about 260 bytes a user, in chunks in the order of users. A version of it never changes: whoever
//! writes a batch holds one and is not disturbed. The next version shares the chunks in which nothing changed.
//!
//! How versions follow each other, so that no reader meets an old one, is the business of [`overlays`](super::overlays).

use std::slice;
use std::sync::Arc;

use arc_swap::ArcSwap;
use smallvec::SmallVec;

use crate::domain::{
    Account, Budget, Currency, Decimal, Head, Overlay, Tier, TierName, Tiers, UserId, UserTier, head_of,
};
use crate::render::{self, UserText};
use crate::store::{Snapshot, StoreError};

/// Users of a chunk when it is made; one that grows to twice as many is split. Small enough that a change copies little, and that a user
/// is found by looking at all tags of a chunk.
const CHUNK_ROWS: usize = 128;
/// What the text of most rows has room in.
const ROW_TEXT_USUAL: usize = 320;
/// How each overlay's JSON begins; the user's id follows, of bytes that need no escape.
const JSON_START: &[u8] = b"{\"user_id\":\"";

/// One version of the roster.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    chunks: Vec<Arc<Chunk>>,
    /// The beginning of each chunk's first id, side by side: finding the chunk of one among a million users touches little memory.
    heads: Vec<Head>,
    rows: usize,
}

/// What tells most ids of a chunk apart.
type Tag = u16;

/// The row of an overlay by itself is inside its chunk.
type Rows = SmallVec<[Row; 1]>;
/// As [`Rows`].
type Tags = SmallVec<[Tag; 1]>;

/// Users next to each other in the order of ids.
#[derive(Debug)]
struct Chunk {
    first: UserId,
    rows: Rows,
    /// A hash of each user's id.
    tags: Tags,
    /// The JSON of each overlay and the text of its budget, one after the other.
    text: Vec<u8>,
}

/// One user: where the text ends, and what a mission is computed from, packed.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The number of the change that wrote the overlay.
    seq: u64,
    /// Units; below zero: none.
    balance: i64,
    /// Units; below zero: none.
    risk_percent: i64,
    /// `u32::MAX`: none.
    trades_remaining: u32,
    text_end: u32,
    currency: u32,
    user_bytes: u8,
    budget_bytes: u8,
    tier: TierSlot,
}

/// A row's tier: [`NO_TIER`], [`UNKNOWN_TIER`], or how manyth in the table plus [`FIRST_TIER`].
type TierSlot = u8;
const NO_TIER: TierSlot = 0;
const UNKNOWN_TIER: TierSlot = 1;
const FIRST_TIER: TierSlot = 2;

/// One user of a version, as a batch reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Member<'a> {
    /// The number of the change that wrote the overlay.
    pub(super) seq: u64,
    /// The overlay, and what follows from it alone, as JSON.
    pub(super) text: UserText<'a>,
    /// The numbers.
    pub(super) account: Account,
    /// The account's currency, by its place in [`Names::currency`].
    pub(super) currency: usize,
    user_bytes: usize,
    tier: TierSlot,
}

/// One user's overlay, by itself or as a part of some version.
#[derive(Clone, Debug)]
pub(super) struct Held {
    chunk: Arc<Chunk>,
    row: usize,
}

/// Where a reader of a version stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    chunk: usize,
    row: usize,
}

impl Position {
    /// Moves past one member of a chunk.
    #[inline]
    pub(super) fn step(&mut self) {
        self.row += 1;
    }

    /// Moves past all of a chunk.
    pub(super) fn leave_chunk(&mut self) {
        *self = Self { chunk: self.chunk + 1, row: 0 };
    }
}

impl<'a> Member<'a> {
    /// The user's id.
    pub(super) fn user(&self) -> &'a [u8] {
        self.text.json.get(JSON_START.len()..JSON_START.len() + self.user_bytes).unwrap_or_default()
    }

    /// What the tier table says of the user.
    pub(super) fn tier<'n>(&self, names: &'n Names) -> UserTier<'n> {
        names.tier_in(self.tier)
    }

    /// Whether the user's tier has this name of its own.
    pub(super) fn has_tier(&self, name: &TierName, names: &Names) -> bool {
        match self.tier {
            NO_TIER => false,
            UNKNOWN_TIER => {
                // A name that the table does not know stands only in the JSON, right after the id.
                let rest = self.text.json.get(JSON_START.len() + self.user_bytes..).unwrap_or_default();
                rest.strip_prefix(b"\",\"tier\":\"")
                    .and_then(|rest| rest.strip_prefix(name.as_str().as_bytes()))
                    .is_some_and(|rest| rest.starts_with(b"\""))
            }
            known => names.known_tier(known).is_some_and(|(own_name, _)| own_name == name),
        }
    }
}

/// The names that rows point to: tiers, and the currencies that have occurred.
#[derive(Debug)]
pub(super) struct Names {
    tiers: Tiers,
    /// The tier table in an order.
    tier_slots: Vec<(TierName, Tier)>,
    /// Only ever added to, so that a place means the same in every version.
    currencies: ArcSwap<Vec<Currency>>,
}

impl Names {
    /// Tiers beyond those that a slot can name count as unknown, which sizes nothing.
    pub(super) fn new(tiers: &Tiers) -> Self {
        let most = usize::from(TierSlot::MAX - FIRST_TIER);
        let tier_slots = tiers.iter().take(most).map(|(name, tier)| (name.clone(), tier.clone())).collect();
        Self { tiers: tiers.clone(), tier_slots, currencies: ArcSwap::default() }
    }

    /// The currency at a place.
    pub(super) fn currency(&self, at: usize) -> Option<Currency> {
        self.currencies.load().get(at).cloned()
    }

    /// The place of a currency.
    pub(super) fn currency_slot(&self, currency: &Currency) -> usize {
        let place_in = |known: &[Currency]| known.iter().position(|own| own == currency);
        if let Some(at) = place_in(&self.currencies.load()) {
            return at;
        }
        let mut place = 0;
        self.currencies.rcu(|known| {
            place = place_in(known).unwrap_or(known.len());
            let is_new = place == known.len();
            known.iter().chain(is_new.then_some(currency)).cloned().collect::<Vec<_>>()
        });
        place
    }

    /// What the tier table says of a name.
    pub(super) fn tier(&self, name: Option<&TierName>) -> UserTier<'_> {
        self.tiers.of_user(name)
    }

    /// What the tier table says of a row's tier.
    #[inline]
    fn tier_in(&self, slot: TierSlot) -> UserTier<'_> {
        match slot {
            NO_TIER => UserTier::Unnamed,
            UNKNOWN_TIER => UserTier::Unknown,
            known => self.known_tier(known).map_or(UserTier::Unknown, |(_, tier)| UserTier::Known(tier)),
        }
    }

    /// The own name of a tier that may be called by an alias.
    pub(super) fn own_name<'a>(&'a self, name: &'a TierName) -> &'a TierName {
        self.tiers.get(name).map_or(name, |(own_name, _)| own_name)
    }

    fn known_tier(&self, slot: TierSlot) -> Option<&(TierName, Tier)> {
        self.tier_slots.get(usize::from(slot.checked_sub(FIRST_TIER)?))
    }

    fn tier_slot(&self, name: Option<&TierName>) -> TierSlot {
        let Some(name) = name else { return NO_TIER };
        let Some((own_name, _)) = self.tiers.get(name) else { return UNKNOWN_TIER };
        let at = self.tier_slots.iter().position(|(known, _)| known == own_name);
        at.and_then(|at| TierSlot::try_from(at).ok()).map_or(UNKNOWN_TIER, |at| at + FIRST_TIER)
    }
}

impl Held {
    /// One overlay by itself.
    pub(super) fn new(overlay: &Overlay, seq: u64, names: &Names) -> Self {
        let mut builder = ChunkBuilder::with_capacity(1, ROW_TEXT_USUAL);
        builder.push(overlay, seq, names);
        Self { chunk: Arc::new(builder.chunk(overlay.user_id.clone())), row: 0 }
    }

    /// What is held.
    #[inline]
    pub(super) fn member(&self) -> Member<'_> {
        // The row was there when this was made, and a chunk never changes.
        self.chunk.member(self.row).unwrap_or_default()
    }
}

impl Roster {
    /// How many users.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let row_bytes = size_of::<Row>() + size_of::<Tag>();
        let chunks = self.chunks.iter().map(|chunk| chunk.text.capacity() + chunk.rows.capacity() * row_bytes);
        chunks.sum::<usize>() + self.chunks.capacity() * size_of::<(Chunk, Head)>()
    }

    /// Finds a user's overlay.
    pub(super) fn find(&self, user: &str) -> Option<Held> {
        let chunk = self.chunks.get(self.chunk_of(user)?)?;
        Some(Held { chunk: Arc::clone(chunk), row: chunk.find(user)? })
    }

    /// The chunk that a user is in, if anywhere.
    fn chunk_of(&self, user: &str) -> Option<usize> {
        let head = head_of(user.as_bytes());
        let end = self.heads.partition_point(|own| *own <= head);
        // Ids that are alike up to there are told apart by the whole of them.
        let start = self.heads.get(..end)?.partition_point(|own| *own < head);
        let alike = self.chunks.get(start..end)?.partition_point(|chunk| chunk.first.as_str() <= user);
        (start + alike).checked_sub(1)
    }

    /// Stands right after a user, or at the beginning.
    pub(super) fn position_after(&self, user: Option<&UserId>) -> Position {
        let Some(user) = user else { return Position::default() };
        let chunk = self.chunk_of(user.as_str()).unwrap_or(0);
        let row = self.chunks.get(chunk).map_or(0, |chunk| {
            (0..chunk.rows.len())
                .take_while(|at| chunk.member(*at).is_some_and(|member| member.user() <= user.as_str().as_bytes()))
                .count()
        });
        Position { chunk, row }
    }

    /// The members from a position on, up to the end of a chunk; `None` if there are no more. The position is moved to where they begin;
    /// to move it past those that are taken is left to the reader.
    pub(super) fn members_at(&self, position: &mut Position) -> Option<Members<'_>> {
        loop {
            let chunk = self.chunks.get(position.chunk)?;
            if position.row < chunk.rows.len() {
                return chunk.members_from(position.row);
            }
            position.leave_chunk();
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
        self.members_at(&mut position).is_none()
    }

    /// Reads all overlays of a snapshot; `None` if `is_over` said so on the way.
    pub(super) fn build(
        snapshot: &Snapshot,
        names: &Names,
        is_over: impl Fn() -> bool,
    ) -> Result<Option<Self>, StoreError> {
        let mut roster = Self::default();
        let mut builder = ChunkBuilder::default();
        for row in snapshot.overlays(None)? {
            let stored = row?;
            builder.push(&stored.overlay, stored.seq, names);
            if builder.rows.len() == CHUNK_ROWS {
                roster.finish(std::mem::take(&mut builder));
                if is_over() {
                    return Ok(None);
                }
            }
        }
        roster.finish(builder);
        Ok(Some(roster))
    }

    /// The next version, with some overlays put (`Some`) or deleted; `edits` are in the order of users.
    ///
    /// - `pause`: what to do after each chunk in which something changed.
    pub(super) fn with(&self, edits: Vec<(UserId, Option<Held>)>, pause: &dyn Fn()) -> Self {
        let mut next = Self {
            chunks: Vec::with_capacity(self.chunks.len() + 1),
            heads: Vec::with_capacity(self.chunks.len() + 1),
            rows: 0,
        };
        let mut edits = edits.into_iter().peekable();
        for (at, chunk) in self.chunks.iter().enumerate() {
            let end = self.chunks.get(at + 1).map(|chunk| &chunk.first);
            let mut of_chunk = Vec::new();
            while let Some(edit) = edits.next_if(|(user, _)| end.is_none_or(|end| user < end)) {
                of_chunk.push(edit);
            }
            if of_chunk.is_empty() {
                next.push_chunk(Arc::clone(chunk));
            } else {
                next.edit(chunk, of_chunk);
                pause();
            }
        }
        // Only if there were no chunks at all.
        let mut builder = ChunkBuilder::default();
        for (_, held) in edits {
            builder.put(held.as_ref());
            if builder.rows.len() == CHUNK_ROWS {
                next.finish(std::mem::take(&mut builder));
            }
        }
        next.finish(builder);
        next
    }

    /// Adds a chunk with some of its users changed, added or gone.
    fn edit(&mut self, old: &Chunk, edits: Vec<(UserId, Option<Held>)>) {
        let rows_max = if old.rows.len() + edits.len() > 2 * CHUNK_ROWS { CHUNK_ROWS } else { usize::MAX };
        // Most edits replace a row by one that is hardly longer.
        let mut builder = ChunkBuilder::with_capacity(old.rows.len() + 1, old.text.len() + ROW_TEXT_USUAL);
        let mut edits = edits.into_iter().peekable();
        for at in 0..old.rows.len() {
            let Some(member) = old.member(at) else { continue };
            while let Some((_, held)) = edits.next_if(|(user, _)| user.as_str().as_bytes() < member.user()) {
                builder.put(held.as_ref());
            }
            match edits.next_if(|(user, _)| user.as_str().as_bytes() == member.user()) {
                Some((_, held)) => builder.put(held.as_ref()),
                None => builder.copy(old, at),
            }
            if builder.rows.len() >= rows_max {
                self.finish(std::mem::take(&mut builder));
            }
        }
        for (_, held) in edits {
            builder.put(held.as_ref());
            if builder.rows.len() >= rows_max {
                self.finish(std::mem::take(&mut builder));
            }
        }
        self.finish(builder);
    }

    fn finish(&mut self, builder: ChunkBuilder) {
        if let Some(first) = builder.first_user() {
            self.push_chunk(Arc::new(builder.chunk(first)));
        }
    }

    fn push_chunk(&mut self, chunk: Arc<Chunk>) {
        self.rows += chunk.rows.len();
        self.heads.push(head_of(chunk.first.as_str().as_bytes()));
        self.chunks.push(chunk);
    }
}

/// Spreads ids over tags by their length, first and last bytes. Ids that are alike in these cost a comparison each, nothing more.
fn tag_of(user: &str) -> Tag {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let bytes = user.as_bytes();
    let word = |eight: Option<&[u8; 8]>| u64::from_le_bytes(*eight.unwrap_or(&[0; 8]));
    let ends = match (bytes.first_chunk(), bytes.last_chunk()) {
        (None, _) => bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        (first, last) => word(first) ^ word(last).rotate_left(29),
    };
    let [.., a, b] = (ends ^ bytes.len() as u64).wrapping_mul(ODD).to_le_bytes();
    Tag::from_le_bytes([a, b])
}

/// A chunk under construction.
#[derive(Debug, Default)]
struct ChunkBuilder {
    rows: Rows,
    tags: Tags,
    text: Vec<u8>,
}

impl ChunkBuilder {
    fn with_capacity(rows: usize, text: usize) -> Self {
        Self { rows: Rows::with_capacity(rows), tags: Tags::with_capacity(rows), text: Vec::with_capacity(text) }
    }

    /// Adds an overlay, behind all others.
    fn push(&mut self, overlay: &Overlay, seq: u64, names: &Names) {
        let account = overlay.account();
        render::write_overlay(&mut self.text, overlay);
        let budget_start = self.text.len();
        let tier = names.tier_slot(overlay.tier.as_ref());
        render::write_budget(&mut self.text, Budget::of(account, names.tier_in(tier)));
        self.tags.push(tag_of(overlay.user_id.as_str()));
        self.rows.push(Row {
            seq,
            balance: account.balance.map_or(-1, Decimal::units),
            risk_percent: account.risk_percent.map_or(-1, Decimal::units),
            trades_remaining: account.trades_remaining.unwrap_or(u32::MAX),
            text_end: self.text_end(),
            currency: u32::try_from(names.currency_slot(&overlay.account_currency)).unwrap_or(u32::MAX),
            // Ids have at most 128 bytes, and two numbers with their names less.
            user_bytes: u8::try_from(overlay.user_id.as_str().len()).unwrap_or(u8::MAX),
            budget_bytes: u8::try_from(self.text.len() - budget_start).unwrap_or(u8::MAX),
            tier,
        });
    }

    /// Adds what an edit puts; a deletion puts nothing.
    fn put(&mut self, held: Option<&Held>) {
        if let Some(held) = held {
            self.copy(&held.chunk, held.row);
        }
    }

    /// Adds a row of another chunk.
    fn copy(&mut self, from: &Chunk, at: usize) {
        if let (Some(member), Some(row), Some(tag)) = (from.member(at), from.rows.get(at), from.tags.get(at)) {
            self.text.extend_from_slice(member.text.json);
            self.text.extend_from_slice(member.text.budget);
            self.tags.push(*tag);
            self.rows.push(Row { text_end: self.text_end(), ..*row });
        }
    }

    /// A chunk of the largest records is some megabytes.
    fn text_end(&self) -> u32 {
        u32::try_from(self.text.len()).unwrap_or(u32::MAX)
    }

    fn first_user(&self) -> Option<UserId> {
        let user_bytes = usize::from(self.rows.first()?.user_bytes);
        // Taken from an id, so it is one.
        let user = self.text.get(JSON_START.len()..JSON_START.len() + user_bytes)?;
        std::str::from_utf8(user).ok().and_then(|user| UserId::parse(user).ok())
    }

    fn chunk(mut self, first: UserId) -> Chunk {
        self.rows.shrink_to_fit();
        self.tags.shrink_to_fit();
        self.text.shrink_to_fit();
        Chunk { first, rows: self.rows, tags: self.tags, text: self.text }
    }
}

impl Chunk {
    /// Where a user's row is.
    fn find(&self, user: &str) -> Option<usize> {
        /// Tags that are compared at once.
        const BLOCK: usize = 32;
        let tag = tag_of(user);
        let (blocks, rest) = self.tags.as_chunks::<BLOCK>();
        let in_block = |start: usize, block: &[Tag]| {
            let alike = block.iter().zip(start..).filter(|(own, _)| **own == tag);
            alike.map(|(_, at)| at).find(|at| self.member(*at).is_some_and(|member| member.user() == user.as_bytes()))
        };
        for (number, block) in blocks.iter().enumerate() {
            // Without a way out in the middle, so that it is done in few steps.
            if block.iter().fold(0, |alike, own| alike | Tag::from(*own == tag)) > 0
                && let Some(at) = in_block(number * BLOCK, block)
            {
                return Some(at);
            }
        }
        in_block(blocks.len() * BLOCK, rest)
    }

    #[inline]
    fn member(&self, at: usize) -> Option<Member<'_>> {
        self.members_from(at)?.next()
    }

    #[inline]
    fn members_from(&self, at: usize) -> Option<Members<'_>> {
        let start = match at.checked_sub(1) {
            Some(before) => self.rows.get(before)?.text_end as usize,
            None => 0,
        };
        Some(Members { rows: self.rows.get(at..)?.iter(), text: &self.text, start })
    }
}

/// The members of a chunk, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    rows: slice::Iter<'a, Row>,
    text: &'a [u8],
    start: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        let row = self.rows.next()?;
        let end = row.text_end as usize;
        let text = self.text.get(self.start..end)?;
        self.start = end;
        let (json, budget) = text.split_at_checked(text.len().checked_sub(row.budget_bytes.into())?)?;
        let decimal = |units: i64| (units >= 0).then(|| Decimal::from_units(units));
        Some(Member {
            seq: row.seq,
            text: UserText { json, budget },
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Object, OverlayDraft, UnixMillis};

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

    fn overlay(user: &UserId, balance: u64) -> Overlay {
        let json = format!(
            r#"{{"account_balance":{balance},"account_currency":"{}"}}"#,
            ["USD", "EUR", "JPY"][usize::try_from(balance % 3).unwrap()]
        );
        let draft = OverlayDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(user)).unwrap();
        draft.resolve(UnixMillis::MIN)
    }

    /// Compares everything that can be asked of a version with a plain map of balances and the `seq` that wrote them.
    fn check(roster: &Roster, names: &Names, plain: &BTreeMap<UserId, (u64, u64)>) {
        let expected: Vec<_> =
            plain.iter().map(|(user, (seq, balance))| (*seq, render::overlay_json(&overlay(user, *balance)))).collect();
        let mut position = Position::default();
        let mut read = Vec::new();
        while let Some(members) = roster.members_at(&mut position) {
            for member in members {
                position.step();
                read.push((member.seq, member.text.json.to_vec()));
            }
        }
        assert!(roster.is_end(position));
        assert_eq!(read, expected);
        assert_eq!(roster.rows(), plain.len());
        for (at, (user, (seq, balance))) in plain.iter().enumerate() {
            let held = roster.find(user.as_str()).unwrap();
            let member = held.member();
            assert_eq!((member.user(), member.seq), (user.as_str().as_bytes(), *seq));
            assert_eq!(member.account, overlay(user, *balance).account());
            assert_eq!(names.currency(member.currency), Some(overlay(user, *balance).account_currency));
            let mut after = roster.position_after(Some(user));
            assert_eq!(roster.user_before(after).as_ref(), Some(user));
            let next = roster.members_at(&mut after).and_then(|mut members| members.next());
            assert_eq!(next.map(|member| member.seq), expected.get(at + 1).map(|(seq, _)| *seq));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn versions_follow_each_other_as_a_plain_map_does(
            versions in prop::collection::vec(prop::collection::vec((0..900_u16, any::<bool>()), 0..700), 1..6),
        ) {
            let names = Names::new(&Tiers::built_in().unwrap());
            let (mut roster, mut plain, mut seq) = (Roster::default(), BTreeMap::new(), 0);
            for edits in versions {
                let mut changes = BTreeMap::new();
                for (number, puts) in edits {
                    seq += 1;
                    let user = user(number);
                    let put = puts.then(|| Held::new(&overlay(&user, seq), seq, &names));
                    if puts { plain.insert(user.clone(), (seq, seq)) } else { plain.remove(&user) };
                    changes.insert(user, put);
                }
                let before = roster.clone();
                roster = roster.with(changes.into_iter().collect(), &|| ());
                check(&roster, &names, &plain);
                prop_assert_eq!(before.rows(), before.chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>());
                for number in (0..900).filter(|number| !plain.contains_key(&user(*number))) {
                    prop_assert!(roster.find(user(number).as_str()).is_none());
                }
            }
            prop_assert!(roster.find("").is_none() && roster.find("~").is_none());
        }
    }
}
