//! Where an old signal gets in and out: prices, or pip distances under the names of prices.
//!
//! The old writers put a price or a number of pips into `stop_loss`, under the same name and in the same shape, and
//! took 0.0001 for a pip of every symbol. The instrument and the entry decide: a price for a stop is on the losing
//! side, one for a target on the winning side, both near the entry. If they do not decide, the file is refused with the
//! reason; no reading is preferred silently.
//!
//! The rules compare the numbers with each other, which works in any year and for any symbol. Only the question whether
//! an entry is a price of the symbol at all needs prices from outside: [`TRADED`] has wide ranges.

use super::reason::{Note, Refusal};
use super::scalar::{Quantity, Unit};
use crate::domain::{Decimal, Direction, Instrument, Levels, Round, Symbol};

/// The numbers that one object of a file gives for its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StatedLevels {
    pub(super) entry: Option<Quantity>,
    pub(super) stop: Option<Quantity>,
    pub(super) target: Option<Quantity>,
    pub(super) stop_pips: Option<Decimal>,
    pub(super) target_pips: Option<Decimal>,
    pub(super) risk_reward: Option<Decimal>,
}

/// What the old writers took for a pip of every symbol, in units of a [`Decimal`].
pub(super) const OLD_PIP: Decimal = Decimal::from_units(10_000);

/// Prices that a symbol has had since 2020, or may come to. An entry outside is a placeholder.
///
/// Wide around the history of each, wider above for the years to come. The old writers put 1.09 and 1.0 where they
/// had no price; the ranges leave these out. A symbol that is not listed has its pip as a measure.
const TRADED: [(&str, &str, &str); 16] = [
    ("EURUSD", "0.8", "1.7"),
    ("GBPUSD", "1.01", "2"),
    ("AUDUSD", "0.4", "1.08"),
    ("NZDUSD", "0.35", "0.99"),
    ("USDCAD", "1.1", "1.9"),
    ("USDCHF", "0.5", "1.06"),
    ("USDJPY", "70", "300"),
    ("EURJPY", "80", "350"),
    ("GBPJPY", "100", "400"),
    ("EURGBP", "0.6", "1.05"),
    ("XAUUSD", "1000", "20000"),
    ("XAGUSD", "8", "400"),
    ("LTCUSD", "10", "2000"),
    ("SOLUSD", "1.2", "5000"),
    ("LINKUSD", "1.2", "1000"),
    ("AVAXUSD", "2", "2000"),
];

/// Decides what the stated numbers mean; the note says what had to be put right: at most one thing is wrong with a real
/// file's levels.
///
/// # Errors
///
/// [`Refusal`] where a number is missing, or where it can not be decided.
pub(super) fn decide_levels(
    stated: StatedLevels,
    direction: Direction,
    symbol: &Symbol,
    instrument: Option<&Instrument>,
) -> Result<(Levels, Option<Note>), Refusal> {
    let positive = |number: &Quantity| number.value.is_positive();
    let entry = stated.entry.filter(positive).map(|entry| entry.value);
    let is_placeholder = entry.is_some_and(|entry| is_placeholder(symbol, instrument, entry));
    // Distances stay right when the entry is made up, but the entry would mislead: it is left out.
    let (honest_entry, entry_note) = if is_placeholder { (None, Some(Note::PlaceholderEntry)) } else { (entry, None) };
    let pips = |stop: Decimal, target: Option<Decimal>, note: Option<Note>| {
        Ok((Levels::Pips { entry: honest_entry, stop, target }, entry_note.or(note)))
    };
    let stated_pips_or = |refusal: Refusal| match stated.stop_pips.filter(|pips| pips.is_positive()) {
        Some(stop) => pips(stop, stated.target_pips.filter(|pips| pips.is_positive()), None),
        None => Err(refusal),
    };

    let Some(stop) = stated.stop.filter(positive) else {
        let has_other = stated.target.is_some() || entry.is_some();
        return stated_pips_or(if has_other { Refusal::NoStop } else { Refusal::NoLevels });
    };
    let target = stated.target.filter(positive);
    if stop.unit == Unit::Pips {
        let target = target.filter(|target| target.unit == Unit::Pips).map(|target| target.value);
        return pips(stop.value, target, Some(Note::StopInPips));
    }
    // Without an entry a number can only be a distance if it is said to be one.
    let Some(entry) = entry else { return stated_pips_or(Refusal::NoEntry) };
    let numbers = Numbers { direction, entry, stop: stop.value, target: target.map(|target| target.value), instrument };
    match numbers.proved_kind(&stated) {
        LevelKind::Prices if is_placeholder => stated_pips_or(Refusal::PlaceholderEntry),
        LevelKind::Prices => numbers.prices(&stated),
        // A stop that is a price of the symbol is no distance: the entry is wrong.
        LevelKind::Pips if is_placeholder && is_price_of(symbol, numbers.stop) => Err(Refusal::PlaceholderEntry),
        LevelKind::Pips => pips(numbers.stop, numbers.target, Some(Note::StopInPips)),
        LevelKind::Both => Err(Refusal::AmbiguousLevels),
        LevelKind::Neither if is_placeholder => Err(Refusal::PlaceholderEntry),
        LevelKind::Neither => Err(Refusal::StopWrongSide),
        LevelKind::Unknown => Err(Refusal::UnknownInstrument),
    }
}

/// Whether an entry can not be a price of the symbol.
fn is_placeholder(symbol: &Symbol, instrument: Option<&Instrument>, entry: Decimal) -> bool {
    /// A price is worth at least this many pips, a yen pair's ten times as many.
    const PIPS_MIN: i64 = 100;
    if let Some((_, low, high)) = TRADED.iter().find(|(known, ..)| *known == symbol.as_str()) {
        let [low, high] = [low, high].map(|text| Decimal::parse(text).unwrap_or_default());
        return entry < low || entry > high;
    }
    let in_yen = instrument.is_some_and(|instrument| instrument.quote.as_str() == "JPY");
    let pips_min = Decimal::from_int(if in_yen { 10 * PIPS_MIN } else { PIPS_MIN });
    let least = instrument.zip(pips_min).and_then(|(known, pips)| known.pip.checked_mul(pips, Round::Up));
    // A round one is what the old writers put where they had no price.
    entry == Decimal::ONE || least.is_some_and(|least| entry < least)
}

/// Whether a number is a price that a listed symbol has had.
fn is_price_of(symbol: &Symbol, number: Decimal) -> bool {
    TRADED.iter().any(|(known, ..)| *known == symbol.as_str()) && !is_placeholder(symbol, None, number)
}

/// What a stop and target may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LevelKind {
    Prices,
    Pips,
    Both,
    Neither,
    /// No price, and nothing tells whether it is a sensible number of pips.
    Unknown,
}

/// Whether a distance is within a part of a number.
fn is_within(whole: Decimal, distance: Option<Decimal>, part: i64) -> bool {
    let bound = Decimal::from_int(part).and_then(|part| whole.checked_div(part, Round::Down));
    distance.zip(bound).is_some_and(|(distance, bound)| distance <= bound)
}

/// An entry, and the numbers in the fields of the stop and the target: prices, or numbers of pips.
struct Numbers<'i> {
    direction: Direction,
    entry: Decimal,
    stop: Decimal,
    target: Option<Decimal>,
    instrument: Option<&'i Instrument>,
}

impl Numbers<'_> {
    /// What the numbers may be, by their sides of the entry and their distances from it.
    fn kind(&self) -> LevelKind {
        /// A stop within a twentieth of the entry is a price: no trader sets so many pips. So is a number of pips that
        /// comes to more than that, where prices make sense.
        const NEAR: i64 = 20;
        /// A price beyond half the entry is no stop, and one of half the entry or twice as much no target.
        const FAR: i64 = 2;
        /// More than a fifth of the entry is no distance in pips.
        const PIPS_WITHIN: i64 = 5;
        /// A number within a third of the entry looks like a price, also on the wrong side: then it is no number of
        /// pips.
        const PRICE_LIKE: i64 = 3;

        let Self { direction, entry, stop, target, instrument } = *self;
        let is_target_far = target.is_some_and(|target| is_within(entry.max(target), Some(entry.min(target)), FAR));
        let sides_fit = !is_target_far && Levels::prices(direction, entry, stop, target).is_ok();
        let is_stop_within = |part: i64| is_within(entry, entry.distance(stop), part);
        let is_target_within = |target: Decimal, part: i64| is_within(entry, entry.distance(target), part);
        let is_near_stop = is_stop_within(NEAR) && Levels::prices(direction, entry, stop, None).is_ok();
        if sides_fit && is_near_stop {
            return LevelKind::Prices;
        }
        let is_far_price = sides_fit && is_stop_within(FAR);
        let is_near_target = target.is_some_and(|target| {
            let is_beyond = if direction == Direction::Buy { target > entry } else { target < entry };
            is_beyond && is_target_within(target, NEAR)
        });
        let looks_like_price =
            is_stop_within(PRICE_LIKE) && target.is_none_or(|target| is_target_within(target, PRICE_LIKE));
        let Some(instrument) = instrument else {
            return match (is_far_price, looks_like_price) {
                (true, _) => LevelKind::Both,
                (false, true) => LevelKind::Neither,
                (false, false) => LevelKind::Unknown,
            };
        };
        let are_pips = |part: i64| {
            let fits = |number: Decimal| is_within(entry, number.checked_mul(instrument.pip, Round::Up), part);
            stop >= Decimal::ONE && target.is_none_or(|target| target >= Decimal::ONE && fits(target)) && fits(stop)
        };
        match (is_far_price, are_pips(PIPS_WITHIN)) {
            // A price and a number of pips are no pair.
            (false, true) if looks_like_price || is_near_stop => LevelKind::Neither,
            (false, true) if is_near_target => LevelKind::Both,
            (true, true) if are_pips(NEAR) => LevelKind::Both,
            (true, _) => LevelKind::Prices,
            (false, true) => LevelKind::Pips,
            (false, false) => LevelKind::Neither,
        }
    }

    /// Decides between two meanings that both make sense, by what else the file says: the pips, or the ratio of the
    /// distances.
    fn proved_kind(&self, stated: &StatedLevels) -> LevelKind {
        /// Ratios are written with one or two decimals: what differs by less than a twentieth is the same.
        const SAME_WITHIN: i64 = 20;
        let kind = self.kind();
        if kind != LevelKind::Both {
            return kind;
        }
        let pick = |are_prices: bool, are_pips: bool| match (are_prices, are_pips) {
            (true, false) => Some(LevelKind::Prices),
            (false, true) => Some(LevelKind::Pips),
            _ => None,
        };
        let distance = self.entry.distance(self.stop);
        let by_pips = stated.stop_pips.filter(|pips| pips.is_positive()).and_then(|pips| {
            let as_price = self.instrument.and_then(|known| pips.checked_mul(known.pip, Round::HalfEven));
            let is_price =
                as_price.zip(distance).is_some_and(|(pips, stop)| is_within(stop, stop.distance(pips), SAME_WITHIN));
            pick(is_price, pips == self.stop)
        });
        let by_ratio = || {
            let ratio = stated.risk_reward.filter(|ratio| ratio.is_positive())?;
            let target = self.target?;
            let is_ratio = |reward: Option<Decimal>, risk: Option<Decimal>| {
                let found = reward.zip(risk).and_then(|(reward, risk)| reward.checked_div(risk, Round::HalfEven));
                found.is_some_and(|found| is_within(ratio, ratio.distance(found), SAME_WITHIN))
            };
            pick(is_ratio(self.entry.distance(target), distance), is_ratio(Some(target), Some(self.stop)))
        };
        by_pips.or_else(by_ratio).unwrap_or(LevelKind::Both)
    }

    /// Takes the numbers as prices.
    fn prices(&self, stated: &StatedLevels) -> Result<(Levels, Option<Note>), Refusal> {
        let Self { direction, entry, stop, target, instrument } = *self;
        if let Some(levels) = self.in_old_pips(stated) {
            return Ok((levels, Some(Note::PipOfAnotherSymbol)));
        }
        let levels = Levels::prices(direction, entry, stop, target).map_err(|_| Refusal::StopWrongSide)?;
        let distance = entry.distance(stop);
        if instrument.zip(distance).is_some_and(|(instrument, distance)| distance < instrument.pip) {
            return Err(Refusal::StopBelowOnePip);
        }
        Ok((levels, None))
    }

    /// The distances of a stop that was set with a pip of 0.0001, where the symbol's pip is larger.
    ///
    /// The proof is one of two: the file states the pips too, and they are the distance by 0.0001; or the stop has more
    /// decimals than the symbol is quoted in, so that it can not be a price, and lies a whole number of those pips
    /// away.
    fn in_old_pips(&self, stated: &StatedLevels) -> Option<Levels> {
        let Self { entry, stop, target, .. } = *self;
        let instrument = self.instrument.filter(|known| known.pip > OLD_PIP)?;
        let distance = entry.distance(stop).filter(|distance| *distance < instrument.pip)?;
        let old_pips = |distance: Decimal| distance.checked_div(OLD_PIP, Round::HalfEven);
        let stop_pips = old_pips(distance)?;
        let target_pips = target.and_then(|target| entry.distance(target)).and_then(old_pips);
        let is_stated = stated.stop_pips.is_some_and(|pips| pips == stop_pips);
        let ten = Decimal::from_int(10)?;
        let tick = (0..instrument.digits).try_fold(Decimal::ONE, |tick, _| tick.checked_div(ten, Round::Down))?;
        let is_whole = |pips: Decimal| pips >= Decimal::ONE && pips.floor_to(Decimal::ONE) == pips;
        let is_no_price = stop.floor_to(tick) != stop && is_whole(stop_pips) && target_pips.is_none_or(is_whole);
        (is_stated || is_no_price).then_some(Levels::Pips { entry: Some(entry), stop: stop_pips, target: target_pips })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Instruments;

    /// `entry stop target stop_pips risk_reward`, blanks between them, `-` for none.
    #[track_caller]
    fn check(symbol: &str, direction: &str, numbers: &str, expected: &str) {
        let mut parts = numbers.split(' ').map(|text| Decimal::parse(text).ok());
        let mut next = || parts.next().flatten();
        let quantity = |value| Quantity { value, unit: Unit::None, is_display_string: false };
        let stated = StatedLevels {
            entry: next().map(quantity),
            stop: next().map(quantity),
            target: next().map(quantity),
            stop_pips: next(),
            target_pips: None,
            risk_reward: next(),
        };
        let table = Instruments::built_in().unwrap();
        let symbol = Symbol::parse(symbol).unwrap();
        let direction = Direction::parse(direction).unwrap();
        let show = |number: Option<Decimal>| number.map_or("-".to_owned(), |number| number.to_string());
        let shown = match decide_levels(stated, direction, &symbol, table.get(&symbol)) {
            Ok((levels, note)) => {
                let note = note.map_or(String::new(), |note| format!(" {note}"));
                match levels {
                    Levels::Prices { entry, stop, target } => format!("prices {entry} {stop} {}{note}", show(target)),
                    Levels::Pips { entry, stop, target } => {
                        format!("pips {} {stop} {}{note}", show(entry), show(target))
                    }
                }
            }
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(shown, expected, "{symbol} {numbers}");
    }

    #[test]
    fn prices_and_pips_are_told_apart_by_side_and_distance() {
        check("EURUSD", "BUY", "1.085 1.083 1.089", "prices 1.085 1.083 1.089");
        check("EURUSD", "BUY", "1.09 10 20", "pips 1.09 10 20 stop_in_pips");
        check("EURUSD", "SELL", "1.09 10 20", "pips 1.09 10 20 stop_in_pips");
        check("EURUSD", "SELL", "1.09 10 -", "pips 1.09 10 - stop_in_pips");
        check("EURJPY", "BUY", "172.325 10 20", "pips 172.325 10 20 stop_in_pips");
        check("EURJPY", "SELL", "172.325 10 20", "pips 172.325 10 20 stop_in_pips");
        check("XAUUSD", "BUY", "3400 3395 3410", "prices 3400 3395 3410");
        check("XAUUSD", "BUY", "3400 50 -", "pips 3400 50 - stop_in_pips");
        check("US30", "BUY", "39000 100 200", "pips 39000 100 200 stop_in_pips");
        check("XAGUSD", "BUY", "15 10 20", "ambiguous_levels");
        check("EURUSD", "BUY", "1.085 1.087 1.083", "stop_wrong_side");
        check("NOSUCH", "BUY", "100 99 -", "prices 100 99 -");
        check("NOSUCH", "BUY", "100 200 -", "unknown_instrument");
        check("NOSUCH", "SELL", "100 40 -", "unknown_instrument");
        check("NOSUCH", "BUY", "100 120 90", "stop_wrong_side");
    }

    #[test]
    fn a_price_and_a_number_of_pips_are_no_pair() {
        check("EURUSD", "BUY", "1.085 1.083 40", "stop_wrong_side");
        check("EURUSD", "SELL", "1.085 1.087 20", "stop_wrong_side");
        check("EURUSD", "BUY", "1.085 20 1.089", "ambiguous_levels");
        check("EURUSD", "SELL", "1.085 20 1.081", "ambiguous_levels");
        check("XAUUSD", "BUY", "3400 3395 50", "stop_wrong_side");
        check("XAUUSD", "SELL", "3400 3405 50", "stop_wrong_side");
        check("USDJPY", "BUY", "150.2 100 150", "pips 150.2 100 150 stop_in_pips");
        check("USDJPY", "BUY", "150 100 151 - 1.51", "pips 150 100 151 stop_in_pips");
        check("NOSUCH", "BUY", "100 99 1000", "unknown_instrument");
    }

    #[test]
    fn relations_hold_in_any_year_and_for_any_symbol() {
        check("XAUUSD", "BUY", "1050 1045 1060", "prices 1050 1045 1060");
        check("XAUUSD", "SELL", "4500 4520 4450", "prices 4500 4520 4450");
        check("XAUUSD", "SELL", "4500 200 400", "pips 4500 200 400 stop_in_pips");
        check("BTCUSD", "BUY", "3500 3300 4000", "prices 3500 3300 4000");
        check("BTCUSD", "BUY", "250000 240000 275000", "prices 250000 240000 275000");
        check("BTCUSD", "BUY", "60000 500 1000", "pips 60000 500 1000 stop_in_pips");
        check("ETHUSD", "BUY", "2000 1800 2400", "prices 2000 1800 2400");
        check("XRPUSD", "SELL", "0.52 0.55 0.45", "prices 0.52 0.55 0.45");
        check("USDJPY", "BUY", "76 75.5 77", "prices 76 75.5 77");
        check("GBPJPY", "SELL", "219.8 220.4 218.6", "prices 219.8 220.4 218.6");
        check("CADJPY", "BUY", "108.4 25 50", "pips 108.4 25 50 stop_in_pips");
        check("US30", "SELL", "42000 42150 41700", "prices 42000 42150 41700");
        check("NAS100", "BUY", "1.09 10 20", "placeholder_entry");
        check("LINKUSD", "BUY", "17.97 16.5 20.5", "prices 17.97 16.5 20.5");
        check("AVAXUSD", "SELL", "25.05 26.1 23.05", "prices 25.05 26.1 23.05");
        check("SOLUSD", "BUY", "1.09 1.08 1.1", "placeholder_entry");
        check("ZZZYYY", "BUY", "0.031 0.03 0.034", "prices 0.031 0.03 0.034");
    }

    #[test]
    fn what_may_be_both_is_decided_by_pips_or_ratio_or_not_at_all() {
        check("USDJPY", "BUY", "150 120 180", "ambiguous_levels");
        check("USDJPY", "BUY", "150 120 180 - 1.5", "pips 150 120 180 stop_in_pips");
        check("USDJPY", "BUY", "150 120 180 - 1", "prices 150 120 180");
        check("USDJPY", "BUY", "150 120 180 - 2", "ambiguous_levels");
        check("USDJPY", "BUY", "150 120 180 120", "pips 150 120 180 stop_in_pips");
        check("USDJPY", "BUY", "150 120 180 3000", "prices 150 120 180");
        check("NOSUCH", "BUY", "100 60 180", "ambiguous_levels");
        check("NOSUCH", "BUY", "100 60 180 - 2", "prices 100 60 180");
    }

    #[test]
    fn a_pip_of_another_symbol_is_put_right_only_with_proof() {
        check("EURJPY", "BUY", "172.618 172.6169 172.6196 11", "pips 172.618 11 16 pip_of_another_symbol");
        check("EURJPY", "BUY", "172.895 172.8939 172.8966", "pips 172.895 11 16 pip_of_another_symbol");
        check("XAUUSD", "BUY", "3400.045 3400.044 3400.0465 10", "pips 3400.045 10 15 pip_of_another_symbol");
        check("EURJPY", "BUY", "172.895 172.894 172.897", "stop_below_one_pip");
        check("EURUSD", "BUY", "1.09 1.08995 1.091", "stop_below_one_pip");
    }

    #[test]
    fn a_placeholder_entry_leaves_distances_and_spoils_prices() {
        check("USDJPY", "BUY", "1.09 10 20", "pips - 10 20 placeholder_entry");
        check("USDCHF", "BUY", "1.09 - - 12", "pips - 12 - placeholder_entry");
        check("USDJPY", "BUY", "1.08859 1.0875 1.091", "placeholder_entry");
        check("GBPUSD", "SELL", "1 1.275 1.265", "placeholder_entry");
    }

    #[test]
    fn what_is_missing_is_named() {
        check("EURUSD", "BUY", "- - -", "no_levels");
        check("EURUSD", "BUY", "1.09 - -", "no_stop");
        check("EURUSD", "BUY", "- 1.08 1.1", "no_entry");
        check("EURUSD", "BUY", "- 1.08 1.1 10", "pips - 10 -");
        check("EURUSD", "BUY", "1.09 0 0", "no_stop");
    }
}
