//! Mission views, written as they are computed.
//!
//! What a view is made of is rendered where it becomes known: the signal's JSON once for the signal, the overlay's JSON and budget once
//! for the overlay ([`UserText`]), the levels and the rate once for a signal and a currency ([`ViewFrame`]), and the text of a size with what
//! it may lose and gain once in a batch ([`BatchFrame`]). [`write_view`] is the plain way, which makes all of it each time.

use std::sync::Arc;

use super::room::{Padded, Room};
use super::write_number;
use crate::domain::{Account, Amounts, Budget, Currency, Decimal, Mission, Size, Status, Terms, UnixMillis, UserTier};

/// From the beginning to the signal.
const OPENING: &[u8] = b"{\"signal\":";
/// From the signal to the user.
const USER: &[u8] = b",\"user\":";
/// From the user to the status.
const STATUS: &[u8; 22] = b",\"mission\":{\"status\":\"";
/// From the status to the seconds.
const SECONDS: &[u8; 22] = b"\",\"seconds_remaining\":";
/// From the seconds to whether it may be traded.
const TRADABLE: &[u8; 12] = b",\"tradable\":";
/// What is said where nothing speaks against trading.
const NO_REASONS: &[u8; 17] = b"true,\"reasons\":[]";

/// What of a view follows from the overlay alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserText<'a> {
    /// What [`overlay_json`](super::overlay_json) made of the overlay.
    pub json: &'a [u8],
    /// What [`write_budget`] made of its budget.
    pub budget: &'a [u8],
}

/// What a mission is computed from, beside the terms of its signal: see [`Terms::mission`].
#[derive(Clone, Copy, Debug)]
pub struct Uncomputed<'a> {
    /// The user's numbers.
    pub account: Account,
    /// What the tier table says of the user's tier.
    pub tier: UserTier<'a>,
    /// Where the mission stands.
    pub status: Status,
    /// As of when.
    pub now: UnixMillis,
}

/// Appends one mission view.
///
/// - `signal`, `overlay`: what [`signal_json`](super::signal_json) and [`overlay_json`](super::overlay_json) made of the two records.
/// - `currency`: the overlay's account currency.
///
/// Numbers that can not be known are `null`; `minimum_balance` is there only where it says something.
pub fn write_view(out: &mut Vec<u8>, signal: &[u8], overlay: &[u8], mission: &Mission, currency: &Currency) {
    let budget = Budget { risk_percent: mission.risk_percent, risk_budget: mission.risk_budget };
    let (mut levels, mut text, mut closing) = (Vec::new(), Vec::new(), Vec::new());
    write_levels(&mut levels, mission);
    write_budget(&mut text, budget);
    write_closing(&mut closing, mission, currency);
    write_opening(out, signal);
    write_pieces(out, UserText { json: overlay, budget: &text }, mission, &levels, &closing);
}

/// Appends what of a mission follows from the account alone.
pub fn write_budget(out: &mut Vec<u8>, budget: Budget) {
    write_number(out, b",\"risk_percent\":", budget.risk_percent);
    write_number(out, b",\"risk_budget\":", budget.risk_budget);
}

/// What a signal comes to in one currency, in numbers and as text.
#[derive(Debug)]
pub struct ViewFrame {
    terms: Terms,
    /// After the reasons, up to the budget.
    levels: Box<[u8]>,
    /// After the amounts, to the end.
    closing: Box<[u8]>,
}

impl ViewFrame {
    /// Prepares views for accounts in the currency that `terms` are for.
    #[must_use]
    pub fn new(terms: Terms, currency: &Currency) -> Self {
        // What is the same for all users is the same for one without any data.
        let common = terms.mission(Account::default(), UserTier::Unnamed, Status::Active, UnixMillis::MIN);
        let (mut levels, mut closing) = (Vec::new(), Vec::new());
        write_levels(&mut levels, &common);
        write_closing(&mut closing, &common, currency);
        Self { terms, levels: levels.into(), closing: closing.into() }
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Computes and appends one user's view as of a moment, byte for byte as [`write_view`] does.
    ///
    /// - `signal`: what [`signal_json`](super::signal_json) made of the signal.
    pub fn write(&self, out: &mut Vec<u8>, signal: &[u8], user: UserText<'_>, mission: Uncomputed<'_>) {
        write_opening(out, signal);
        let Some((size, amounts)) = self.tradable(mission) else { return self.write_unusual(out, user, mission) };
        out.extend_from_slice(user.json);
        let mut room = Room::default();
        put_standing_tradable(&mut room, self.terms.seconds_remaining(mission.now));
        out.extend_from_slice(room.text());
        out.extend_from_slice(&self.levels);
        out.extend_from_slice(user.budget);
        room.clear();
        put_raw(&mut room, Some(size.lots_raw));
        put_amounts(&mut room, Some(size.lots), Some(amounts.risk), amounts.reward);
        out.extend_from_slice(room.text());
        out.extend_from_slice(&self.closing);
    }

    #[inline]
    fn tradable_size(&self, mission: Uncomputed<'_>) -> Option<Size> {
        if mission.status != Status::Active {
            return None;
        }
        self.terms.tradable_size(mission.account, mission.tier, mission.now)
    }

    fn tradable(&self, mission: Uncomputed<'_>) -> Option<(Size, Amounts)> {
        let size = self.tradable_size(mission)?;
        Some((size, self.terms.amounts(size.lots)?))
    }

    /// A view from the user on, of whatever mission.
    #[inline(never)]
    fn write_unusual(&self, out: &mut Vec<u8>, user: UserText<'_>, mission: Uncomputed<'_>) {
        let Uncomputed { account, tier, status, now } = mission;
        write_pieces(out, user, &self.terms.mission(account, tier, status, now), &self.levels, &self.closing);
    }
}

/// Longest text of a size that is kept: its names, and amounts of four digits and eight decimals.
const SIZE_TEXT_MOST: usize = 79;
/// Sizes of fewer steps are kept: up to ten lots of the usual step.
const STEPS: usize = 1_024;
/// Most sizes that are kept: 40 KB a batch and currency.
const SIZES_MAX: usize = 512;
/// Longest text of the account's currency and its rate that is copied whole.
const CLOSING_MOST: usize = 80;

/// What all views of a batch have in common whose accounts hold one currency.
#[derive(Debug)]
pub struct BatchFrame {
    shared: Arc<ViewFrame>,
    /// From the beginning to the user.
    opening: Vec<u8>,
    /// From there to the budget, for an active mission that may be traded.
    tradable: Vec<u8>,
    /// `None` if it is unusually long.
    closing: Option<Padded<CLOSING_MOST>>,
    sizes: Sizes,
    room: Room,
}

impl BatchFrame {
    /// Prepares the views of all users as of one moment; `signal` as for [`ViewFrame::write`].
    #[must_use]
    pub fn new(shared: Arc<ViewFrame>, signal: &[u8], now: UnixMillis) -> Self {
        let mut opening = Vec::with_capacity(OPENING.len() + signal.len() + USER.len());
        write_opening(&mut opening, signal);
        let mut room = Room::default();
        put_standing_tradable(&mut room, shared.terms.seconds_remaining(now));
        let tradable = [room.text(), &shared.levels].concat();
        let closing = Padded::new(&shared.closing);
        Self { shared, opening, tradable, closing, sizes: Sizes::default(), room }
    }

    /// Computes and appends one user's view as of the batch's moment, byte for byte as [`write_view`] does.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, user: UserText<'_>, mission: Uncomputed<'_>) {
        out.extend_from_slice(&self.opening);
        if let Some(size) = self.shared.tradable_size(mission)
            && let Some(closing) = &self.closing
            && put_size(&mut self.room, &mut self.sizes, &self.shared.terms, size)
        {
            self.room.put_text(closing);
            out.extend_from_slice(user.json);
            out.extend_from_slice(&self.tradable);
            out.extend_from_slice(user.budget);
            out.extend_from_slice(self.room.text());
        } else {
            self.shared.write_unusual(out, user, mission);
        }
    }
}

/// The texts of sizes that have occurred in a batch: users are many, and lot steps few.
#[derive(Debug)]
struct Sizes {
    /// For each number of steps, where its text is among `texts`, plus one; 0 where there is none.
    places: Box<[u16]>,
    texts: Vec<Padded<SIZE_TEXT_MOST>>,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { places: vec![0; STEPS].into(), texts: Vec::new() }
    }
}

impl Sizes {
    #[inline]
    fn get(&self, steps: u64) -> Option<&Padded<SIZE_TEXT_MOST>> {
        let place = *self.places.get(usize::try_from(steps).ok()?)?;
        self.texts.get(usize::from(place).checked_sub(1)?)
    }

    #[inline]
    fn keep(&mut self, steps: u64, text: Option<Padded<SIZE_TEXT_MOST>>) {
        let place = usize::try_from(steps).ok().and_then(|steps| self.places.get_mut(steps));
        if let (Some(place), Some(text)) = (place, text)
            && self.texts.len() < SIZES_MAX
        {
            self.texts.push(text);
            *place = u16::try_from(self.texts.len()).unwrap_or(0);
        }
    }
}

/// Puts a size that is to be traded, from the raw one to the reward; `false` if a number does not fit.
#[inline]
fn put_size(room: &mut Room, sizes: &mut Sizes, terms: &Terms, size: Size) -> bool {
    room.clear();
    put_raw(room, Some(size.lots_raw));
    if let Some(text) = sizes.get(size.steps) {
        room.put_text(text);
        return true;
    }
    put_new_size(room, sizes, terms, size)
}

#[inline(never)]
fn put_new_size(room: &mut Room, sizes: &mut Sizes, terms: &Terms, size: Size) -> bool {
    let Some(amounts) = terms.amounts(size.lots) else { return false };
    let start = room.text().len();
    put_amounts(room, Some(size.lots), Some(amounts.risk), amounts.reward);
    sizes.keep(size.steps, room.since(start));
    true
}

fn write_opening(out: &mut Vec<u8>, signal: &[u8]) {
    out.extend_from_slice(OPENING);
    out.extend_from_slice(signal);
    out.extend_from_slice(USER);
}

/// From the user's JSON to the end.
fn write_pieces(out: &mut Vec<u8>, user: UserText<'_>, mission: &Mission, levels: &[u8], closing: &[u8]) {
    out.extend_from_slice(user.json);
    let mut room = Room::default();
    put_standing(&mut room, mission);
    out.extend_from_slice(room.text());
    out.extend_from_slice(levels);
    out.extend_from_slice(user.budget);
    room.clear();
    put_raw(&mut room, mission.lots_raw);
    put_amounts(&mut room, mission.lots, mission.risk_amount, mission.reward_amount);
    if mission.minimum_balance.is_some() {
        room.put(b",\"minimum_balance\":");
        room.put_number(mission.minimum_balance);
    }
    out.extend_from_slice(room.text());
    out.extend_from_slice(closing);
}

/// Where a mission stands: up to the levels.
fn put_standing(room: &mut Room, mission: &Mission) {
    room.put(STATUS);
    room.put_str(mission.status.as_str());
    room.put(SECONDS);
    room.put_integer(mission.seconds_remaining);
    room.put(TRADABLE);
    if mission.is_tradable() {
        room.put(NO_REASONS);
        return;
    }
    room.put(b"false,\"reasons\":[");
    for (index, reason) in mission.reasons.iter().enumerate() {
        if index > 0 {
            room.put(b",");
        }
        room.put(b"\"");
        room.put_str(reason.as_str());
        room.put(b"\"");
    }
    room.put(b"]");
}

/// The same for an active mission that may be traded.
fn put_standing_tradable(room: &mut Room, seconds_remaining: u64) {
    room.put(STATUS);
    room.put_str(Status::Active.as_str());
    room.put(SECONDS);
    room.put_integer(seconds_remaining);
    room.put(TRADABLE);
    room.put(NO_REASONS);
}

/// The size that would lose just the budget.
#[inline]
fn put_raw(room: &mut Room, lots_raw: Option<Decimal>) {
    room.put(b",\"lots_raw\":");
    room.put_number(lots_raw);
}

/// A size and what it stands for.
fn put_amounts(room: &mut Room, lots: Option<Decimal>, risk: Option<Decimal>, reward: Option<Decimal>) {
    room.put(b",\"lots\":");
    room.put_number(lots);
    room.put(b",\"risk_amount\":");
    room.put_number(risk);
    room.put(b",\"reward_amount\":");
    room.put_number(reward);
}

/// What follows from the signal alone.
fn write_levels(out: &mut Vec<u8>, mission: &Mission) {
    write_number(out, b",\"stop_pips\":", mission.stop_pips);
    write_number(out, b",\"target_pips\":", mission.target_pips);
    write_number(out, b",\"risk_reward\":", mission.risk_reward);
}

/// What follows from the account's currency.
fn write_closing(out: &mut Vec<u8>, mission: &Mission, currency: &Currency) {
    out.extend_from_slice(b",\"account_currency\":\"");
    // Letters and digits only: nothing to escape.
    out.extend_from_slice(currency.as_str().as_bytes());
    out.push(b'"');
    write_number(out, b",\"conversion_rate\":", mission.conversion_rate);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests;
