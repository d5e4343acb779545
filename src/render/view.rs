//! The one writer of mission views.
//!
//! The parts that all users of a signal share whose accounts hold one currency are rendered once, by [`ViewTemplate`],
//! and the part that follows from the overlay alone once per overlay, by [`write_budget`]. All other parts are written
//! per view, by way of [`Text`]: to append two dozen short pieces to a vector one by one takes longer than to compute
//! the view.

use crate::domain::{
    Account, Budget, Decimal, Mission, MissionTarget, TEXT_BYTES_MAX, TIME_BYTES_MAX, Terms, UnixMillis, UserTier,
};

/// The terms of a signal in one currency, and the parts of its views that follow from them alone.
#[derive(Debug)]
pub struct ViewTemplate {
    terms: Terms,
    prepared: Prepared,
}

/// The parts of a view that are the same for all its users.
#[derive(Debug)]
struct Prepared {
    levels: Vec<u8>,
    /// By target: what goes before its lots.
    targets: Vec<Vec<u8>>,
    closing: Vec<u8>,
}

impl ViewTemplate {
    /// Prepares the views of accounts in the currency of `terms`.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        // These parts do not depend on the user, so they are those of a user without data.
        let mission = terms.mission(Account::default(), UserTier::Unnamed, None, UnixMillis::MIN);
        let prepared = Prepared::new(&mission, &terms);
        Self { terms, prepared }
    }

    /// The terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Appends one mission view, as [`write_view`] does; `mission` must be one of these terms.
    ///
    /// - `budget`: the text of [`write_budget`] for the overlay.
    pub fn write(&self, out: &mut Vec<u8>, signal: &[u8], overlay: &[u8], budget: &[u8], mission: &Mission) {
        write_parts(out, [signal, overlay, budget], mission, &self.terms, &self.prepared);
    }

    /// Appends the same view without the records, for a client that has them:
    /// `{"user_id":…,"signal_id":…,"mission":…}`.
    ///
    /// - `user`, `signal`: their ids, in which nothing needs to be escaped.
    pub fn write_compact(&self, out: &mut Vec<u8>, [user, signal, budget]: [&[u8]; 3], mission: &Mission) {
        out.extend_from_slice(b"{\"user_id\":\"");
        out.extend_from_slice(user);
        out.extend_from_slice(b"\",\"signal_id\":\"");
        out.extend_from_slice(signal);
        out.push(b'"');
        write_computed(out, budget, mission, &self.terms, &self.prepared);
    }
}

/// Appends one mission view.
///
/// - `signal`, `overlay`: the JSON that [`signal_json`](super::signal_json) and [`overlay_json`](super::overlay_json)
///   return.
/// - `terms`: those of the signal for the overlay's account currency.
///
/// Numbers that can not be known are `null`; `minimum_balance` and `minimum_margin` are left out if there is none.
pub fn write_view(out: &mut Vec<u8>, signal: &[u8], overlay: &[u8], mission: &Mission, terms: &Terms) {
    let mut budget = Vec::new();
    write_budget(&mut budget, Budget { risk_percent: mission.risk_percent, risk_budget: mission.risk_budget });
    write_parts(out, [signal, overlay, &budget], mission, terms, &Prepared::new(mission, terms));
}

fn write_parts(
    out: &mut Vec<u8>,
    [signal, overlay, budget]: [&[u8]; 3],
    mission: &Mission,
    terms: &Terms,
    prepared: &Prepared,
) {
    out.extend_from_slice(b"{\"signal\":");
    out.extend_from_slice(signal);
    out.extend_from_slice(b",\"user\":");
    out.extend_from_slice(overlay);
    write_computed(out, budget, mission, terms, prepared);
}

/// Appends the last member of a view, and closes the view.
fn write_computed(out: &mut Vec<u8>, budget: &[u8], mission: &Mission, terms: &Terms, prepared: &Prepared) {
    // Written twice, as the only target of most signals gets the whole size. A processor that copies what it has only
    // just written waits for it, so these are first.
    let (lots, reward) = (NumberText::of(mission.lots), NumberText::of(mission.reward_amount));
    let mut text = Text::new(out);
    text.put(b",\"mission\":{\"status\":\"");
    text.put_str(mission.status.as_str());
    text.put(b"\",\"seconds_remaining\":");
    match i64::try_from(mission.seconds_remaining).ok().and_then(Decimal::from_int) {
        Some(seconds) => text.put_number(Some(seconds)),
        // Seconds until the last possible time are more than a `Decimal` holds.
        None => text.put_str(&mission.seconds_remaining.to_string()),
    }
    text.put(b",\"tradable\":");
    if mission.is_tradable() {
        text.put(b"true,\"reasons\":[]");
    } else {
        text.put(b"false,\"reasons\":[");
        for (index, reason) in mission.reasons.iter().enumerate() {
            text.put_str(if index == 0 { "\"" } else { ",\"" });
            text.put_str(reason.as_str());
            text.put(b"\"");
        }
        text.put(b"]");
    }
    text.put_long(&[&prepared.levels, budget]);
    text.put(b",\"lots_raw\":");
    text.put_number(mission.lots_raw);
    text.put(b",\"lots\":");
    text.put_text(&lots);
    text.put(b",\"risk_amount\":");
    text.put_number(mission.risk_amount);
    text.put(b",\"reward_amount\":");
    text.put_text(&reward);
    text.put(b",\"targets\":[");
    if let [target] = prepared.targets.as_slice() {
        put_target(&mut text, target, &lots, &reward);
    } else {
        for (at, target) in prepared.targets.iter().enumerate() {
            let part = terms.part(at, mission);
            put_target(&mut text, target, &NumberText::of(part.lots), &NumberText::of(part.reward_amount));
        }
    }
    text.put(b"]");
    if mission.minimum_balance.is_some() {
        text.put(b",\"minimum_balance\":");
        text.put_number(mission.minimum_balance);
    }
    if mission.minimum_margin.is_some() {
        text.put(b",\"minimum_margin\":");
        text.put_number(mission.minimum_margin);
    }
    text.put(b",\"limited_by\":");
    match mission.limited_by {
        Some(limit) => {
            text.put(b"\"");
            text.put_str(limit.as_str());
            text.put(b"\"");
        }
        None => text.put(b"null"),
    }
    text.put(b",\"margin_required\":");
    text.put_number(mission.margin_required);
    text.put(b",\"balance_confirmed_at\":");
    text.put_time(mission.balance_confirmed_at);
    text.put_long(&[&prepared.closing]);
}

/// Appends a target, with the part of the size that it gets.
#[inline]
fn put_target(text: &mut Text<'_>, start: &[u8], lots: &NumberText, reward: &NumberText) {
    text.put_long(&[start]);
    text.put_text(lots);
    text.put(b",\"reward_amount\":");
    text.put_text(reward);
    text.put(b"}");
}

/// Appends the part that follows from the overlay alone.
pub fn write_budget(out: &mut Vec<u8>, budget: Budget) {
    let mut text = Text::new(out);
    text.put(b",\"risk_percent\":");
    text.put_number(budget.risk_percent);
    text.put(b",\"risk_budget\":");
    text.put_number(budget.risk_budget);
    text.flush();
}

impl Prepared {
    fn new(mission: &Mission, terms: &Terms) -> Self {
        let targets = terms.targets().iter().enumerate().map(|(at, target)| target_start(at, target)).collect();
        Self { levels: levels(mission), targets, closing: closing(mission, terms) }
    }
}

/// The part that follows from the signal alone.
fn levels(mission: &Mission) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Text::new(&mut out);
    text.put(b",\"stop_pips\":");
    text.put_number(mission.stop_pips);
    text.put(b",\"target_pips\":");
    text.put_number(mission.target_pips);
    text.put(b",\"risk_reward\":");
    text.put_number(mission.risk_reward);
    text.flush();
    out
}

/// What goes before the lots of a target.
fn target_start(at: usize, target: &MissionTarget) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Text::new(&mut out);
    text.put_str(if at == 0 { "{" } else { ",{" });
    text.put(b"\"price\":");
    text.put_number(target.price);
    text.put(b",\"pips\":");
    text.put_number(target.pips);
    text.put(b",\"risk_reward\":");
    text.put_number(target.risk_reward);
    text.put(b",\"share\":");
    text.put_number(Some(target.share));
    text.put(b",\"lots\":");
    text.flush();
    out
}

/// The part that follows from the account's currency, up to the end.
fn closing(mission: &Mission, terms: &Terms) -> Vec<u8> {
    let mut out = Vec::new();
    let mut text = Text::new(&mut out);
    text.put(b",\"instrument\":");
    match terms.instrument() {
        None => text.put(b"null"),
        Some(instrument) => {
            // Of characters that need no escape.
            text.put(b"\"");
            text.put_str(instrument.as_str());
            text.put(b"\"");
        }
    }
    text.put(b",\"account_currency\":\"");
    // Letters and digits only: nothing to escape.
    text.put_str(terms.account_currency().as_str());
    text.put(b"\",\"conversion_rate\":");
    text.put_number(mission.conversion_rate);
    text.put(b",\"conversion_path\":");
    match terms.conversion_path() {
        None => text.put(b"null"),
        Some(path) => {
            text.put(b"[");
            for (index, pair) in path.iter().enumerate() {
                text.put_str(if index == 0 { "\"" } else { ",\"" });
                text.put_str(pair.as_str());
                text.put(b"\"");
            }
            text.put(b"]");
        }
    }
    text.put(b",\"rates_confirmed_at\":");
    text.put_time(terms.rates_confirmed_at());
    text.put(b"}}");
    text.flush();
    out
}

/// Holds the short pieces between two long ones; a longer run of them is appended in several goes.
const TEXT_BYTES: usize = 256;

/// Appends short pieces by way of an array of fixed size.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    bytes: [u8; TEXT_BYTES],
    length: usize,
}

impl<'a> Text<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, bytes: [0; TEXT_BYTES], length: 0 }
    }

    /// Appends what is in the array: the last step of each writer, as nothing else does it.
    #[inline]
    fn flush(&mut self) {
        self.out.extend_from_slice(self.bytes.get(..self.length).unwrap_or_default());
        self.length = 0;
    }

    /// Of a constant length, so that the copy is a few instructions and not a call.
    #[inline]
    fn put<const LENGTH: usize>(&mut self, bytes: &[u8; LENGTH]) {
        if let Some(place) = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut) {
            *place = *bytes;
            self.length += LENGTH;
        } else {
            append(self.out, &self.bytes, self.length, bytes);
            self.length = 0;
        }
    }

    #[inline]
    fn put_str(&mut self, text: &str) {
        let end = self.length + text.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(text.as_bytes());
            self.length = end;
        } else {
            append(self.out, &self.bytes, self.length, text.as_bytes());
            self.length = 0;
        }
    }

    #[inline]
    fn put_number(&mut self, number: Option<Decimal>) {
        let Some(number) = number else { return self.put(b"null") };
        if let Some(place) = self.place() {
            let length = number.write_into(place);
            self.length += length;
        }
    }

    /// Appends a number that is written more than once.
    #[inline]
    fn put_text(&mut self, number: &NumberText) {
        if let Some(place) = self.place() {
            *place = number.bytes;
            self.length += number.length;
        }
    }

    /// Returns the place of the next number; there always is one.
    #[inline]
    fn place(&mut self) -> Option<&mut [u8; TEXT_BYTES_MAX]> {
        if self.bytes.len() - self.length < TEXT_BYTES_MAX {
            self.flush();
        }
        self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut)
    }

    /// Appends long pieces behind what is in the array, by one copy each.
    #[inline]
    fn put_long(&mut self, pieces: &[&[u8]]) {
        self.flush();
        for piece in pieces {
            self.out.extend_from_slice(piece);
        }
    }

    #[inline]
    fn put_time(&mut self, moment: Option<UnixMillis>) {
        let Some(moment) = moment else { return self.put(b"null") };
        self.put(b"\"");
        if self.bytes.len() - self.length < TIME_BYTES_MAX {
            self.flush();
        }
        if let Some(place) = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut) {
            self.length += moment.write_into(place);
        }
        self.put(b"\"");
    }
}

/// A number as text, or `null`.
struct NumberText {
    bytes: [u8; TEXT_BYTES_MAX],
    length: usize,
}

impl NumberText {
    #[inline]
    fn of(number: Option<Decimal>) -> Self {
        let mut bytes = [0; TEXT_BYTES_MAX];
        let length = if let Some(number) = number {
            number.write_into(&mut bytes)
        } else {
            if let Some(place) = bytes.first_chunk_mut() {
                *place = *b"null";
            }
            b"null".len()
        };
        Self { bytes, length }
    }
}

/// Appends what an array holds, and what does not fit behind it. Not a method, so that a writer's length can stay in a
/// register.
#[cold]
fn append(out: &mut Vec<u8>, held: &[u8; TEXT_BYTES], length: usize, bytes: &[u8]) {
    out.extend_from_slice(held.get(..length).unwrap_or_default());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
