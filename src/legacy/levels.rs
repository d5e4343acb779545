//! Where an old signal gets in and out: prices, or pip distances under the names of prices.
//!
//! The old writers put a price or a number of pips into `stop_loss`, under the same name and in the same shape, and took
//! 0.0001 for a pip of every symbol. What a number is, is decided by the instrument and the entry: a stop must lie on the
//! losing side, a target on the winning side, both near the entry. Where that decides nothing, the file is refused with
//! the reason; no reading is preferred silently.

use super::reason::{Note, Refusal};
use super::tree::{Quantity, Unit};
use crate::domain::{Decimal, Direction, Instrument, Levels, Round, Symbol};

/// The numbers that one object of a file gives for its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) entry: Option<Quantity>,
    pub(super) stop: Option<Quantity>,
    pub(super) target: Option<Quantity>,
    pub(super) stop_pips: Option<Decimal>,
    pub(super) target_pips: Option<Decimal>,
}

/// What the numbers were found to mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) levels: Levels,
    /// What had to be put right; at most one thing is wrong with a real file's levels.
    pub(super) note: Option<Note>,
}

/// Prices that are taken for a symbol's own in the year of the old files, 2025. An entry outside is a placeholder.
///
/// Chosen by hand, not taken from a price history: wide around that year's prices, but narrow enough to leave out the 1.09
/// and 1.0 that the old writers put where they had no price. Files of other years may need other bounds: in 2011 1.09 was
/// a price of AUDUSD, and USDCAD stood below 1.095 for years.
const TRADED: [(&str, &str, &str); 12] = [
    ("EURUSD", "0.9", "1.6"),
    ("GBPUSD", "1.02", "1.8"),
    ("AUDUSD", "0.5", "1.08"),
    ("NZDUSD", "0.45", "0.95"),
    ("USDCAD", "1.095", "1.6"),
    ("USDCHF", "0.7", "1.06"),
    ("USDJPY", "70", "200"),
    ("EURJPY", "85", "220"),
    ("GBPJPY", "110", "250"),
    ("EURGBP", "0.65", "1.05"),
    ("XAUUSD", "900", "9000"),
    ("XAGUSD", "8", "120"),
];

/// Decides what the stated numbers mean.
///
/// # Errors
///
/// [`Refusal`] where a number is missing, or where it can not be decided.
pub(super) fn decide(
    stated: Stated,
    direction: Direction,
    symbol: &Symbol,
    instrument: Option<&Instrument>,
) -> Result<Found, Refusal> {
    let positive = |number: &Quantity| number.value.is_positive();
    let entry = stated.entry.filter(positive).map(|entry| entry.value);
    let pip_distances = || {
        let stop = stated.stop_pips.filter(|pips| pips.is_positive())?;
        Some((stop, stated.target_pips.filter(|pips| pips.is_positive())))
    };
    let is_placeholder = entry.is_some_and(|entry| is_placeholder(symbol, instrument, entry));
    // Distances stay right when the entry is made up; the entry then only misleads, so that it is left out.
    let honest_entry = entry.filter(|_| !is_placeholder);
    let entry_note = is_placeholder.then_some(Note::PlaceholderEntry);

    let Some(stop) = stated.stop.filter(positive) else {
        let Some((stop, target)) = pip_distances() else {
            return Err(if stated.target.is_some() || entry.is_some() { Refusal::NoStop } else { Refusal::NoLevels });
        };
        return Ok(Found { levels: Levels::Pips { entry: honest_entry, stop, target }, note: entry_note });
    };
    let target = stated.target.filter(positive);
    if stop.unit == Unit::Pips {
        let target = target.filter(|target| target.unit == Unit::Pips).map(|target| target.value);
        return Ok(Found {
            levels: Levels::Pips { entry: honest_entry, stop: stop.value, target },
            note: entry_note.or(Some(Note::StopInPips)),
        });
    }
    let (stop, target) = (stop.value, target.map(|target| target.value));
    let Some(entry) = entry else {
        // Without an entry a number can only be a distance if it is said to be one.
        return match pip_distances() {
            Some((stop, target)) => Ok(Found { levels: Levels::Pips { entry: None, stop, target }, note: None }),
            None => Err(Refusal::NoEntry),
        };
    };

    match reading(direction, entry, stop, target, instrument) {
        Reading::Price if is_placeholder => match pip_distances() {
            Some((stop, target)) => {
                Ok(Found { levels: Levels::Pips { entry: None, stop, target }, note: Some(Note::PlaceholderEntry) })
            }
            None => Err(Refusal::PlaceholderEntry),
        },
        Reading::Price => {
            if let Some(levels) = shrunk(&stated, entry, stop, target, instrument) {
                return Ok(Found { levels, note: Some(Note::PipOfAnotherSymbol) });
            }
            let levels = Levels::prices(direction, entry, stop, target).map_err(|_| Refusal::StopWrongSide)?;
            if let (Some(instrument), Some(distance)) = (instrument, entry.distance(stop))
                && distance < instrument.pip
            {
                return Err(Refusal::StopBelowOnePip);
            }
            Ok(Found { levels, note: None })
        }
        Reading::Pips => Ok(Found {
            levels: Levels::Pips { entry: honest_entry, stop, target },
            note: entry_note.or(Some(Note::StopInPips)),
        }),
        Reading::Both => Err(Refusal::AmbiguousLevels),
        Reading::Neither if is_placeholder => Err(Refusal::PlaceholderEntry),
        Reading::Neither => Err(Refusal::StopWrongSide),
    }
}

/// Whether an entry can not be a price of the symbol.
pub(super) fn is_placeholder(symbol: &Symbol, instrument: Option<&Instrument>, entry: Decimal) -> bool {
    if let Some((_, low, high)) = TRADED.iter().find(|(known, ..)| *known == symbol.as_str()) {
        let bound = |text: &str| Decimal::parse(text).unwrap_or_default();
        return entry < bound(low) || entry > bound(high);
    }
    // No yen pair trades below ten yen; a round one is what the old writer put where it had no price.
    let in_yen = instrument.is_some_and(|instrument| instrument.quote.as_str() == "JPY");
    entry == Decimal::ONE || (in_yen && Decimal::from_int(10).is_some_and(|ten| entry < ten))
}

/// What a stop and target may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Price,
    Pips,
    Both,
    Neither,
}

fn reading(
    direction: Direction,
    entry: Decimal,
    stop: Decimal,
    target: Option<Decimal>,
    instrument: Option<&Instrument>,
) -> Reading {
    /// A stop within a twentieth of the entry is a price: as pips it would be none that anybody trades.
    const NEAR: i64 = 20;
    /// A price beyond half the entry is no stop.
    const FAR: i64 = 2;
    /// More than a fifth of the entry is no distance in pips.
    const PIPS_WITHIN: i64 = 5;
    /// A number within a third of the entry looks like a price, also on the wrong side: then it is no number of pips.
    const PRICE_LIKE: i64 = 3;

    let within = |distance: Option<Decimal>, part: i64| {
        let bound = Decimal::from_int(part).and_then(|part| entry.checked_div(part, Round::Down));
        distance.zip(bound).is_some_and(|(distance, bound)| distance <= bound)
    };
    let sides_fit = Levels::prices(direction, entry, stop, target).is_ok();
    let stop_distance = entry.distance(stop);
    if sides_fit && within(stop_distance, NEAR) {
        return Reading::Price;
    }
    let is_far_price = sides_fit && within(stop_distance, FAR);
    let as_pips = |number: Decimal| instrument.and_then(|known| number.checked_mul(known.pip, Round::Up));
    let are_pips = stop >= Decimal::ONE
        && target.is_none_or(|target| target >= Decimal::ONE)
        && within(as_pips(stop), PIPS_WITHIN)
        && target.is_none_or(|target| within(as_pips(target), PIPS_WITHIN));
    let looks_like_price = within(stop_distance, PRICE_LIKE);
    match (is_far_price, are_pips) {
        (false, true) if looks_like_price => Reading::Neither,
        (true, true) => Reading::Both,
        (true, false) => Reading::Price,
        (false, true) => Reading::Pips,
        (false, false) => Reading::Neither,
    }
}

/// Finds the distances of a stop that was set with a pip of 0.0001 on a symbol whose pip is larger.
///
/// The proof is one of two: the file states the pips too, and they are the distance by 0.0001; or the stop has more
/// decimals than the symbol is quoted in, so that it can not be a price, and lies a whole number of such pips away.
fn shrunk(
    stated: &Stated,
    entry: Decimal,
    stop: Decimal,
    target: Option<Decimal>,
    instrument: Option<&Instrument>,
) -> Option<Levels> {
    /// What the old writers took for a pip, in units of a [`Decimal`].
    const OLD_PIP: Decimal = Decimal::from_units(10_000);
    let instrument = instrument.filter(|known| known.pip > OLD_PIP)?;
    let distance = entry.distance(stop).filter(|distance| *distance < instrument.pip)?;
    let old_pips = |distance: Decimal| distance.checked_div(OLD_PIP, Round::HalfEven);
    let stop_pips = old_pips(distance)?;
    let target_pips = target.and_then(|target| entry.distance(target)).and_then(old_pips);
    let is_stated = stated.stop_pips.is_some_and(|pips| pips == stop_pips);
    let tick = (0..instrument.digits)
        .try_fold(Decimal::ONE, |tick, _| Decimal::from_int(10).and_then(|ten| tick.checked_div(ten, Round::Down)))?;
    let is_whole = |pips: Decimal| pips >= Decimal::ONE && pips.floor_to(Decimal::ONE) == pips;
    let is_no_price = stop.floor_to(tick) != stop && is_whole(stop_pips) && target_pips.is_none_or(is_whole);
    (is_stated || is_no_price).then_some(Levels::Pips { entry: Some(entry), stop: stop_pips, target: target_pips })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Instruments;

    /// `entry stop target stop_pips`, blanks between them, `-` for none.
    #[track_caller]
    fn check(symbol: &str, direction: &str, numbers: &str, expected: &str) {
        let mut parts = numbers.split(' ').map(|text| Decimal::parse(text).ok());
        let mut next = || parts.next().flatten();
        let quantity = |value| Quantity { value, unit: Unit::None, shown: false };
        let stated = Stated {
            entry: next().map(quantity),
            stop: next().map(quantity),
            target: next().map(quantity),
            stop_pips: next(),
            target_pips: None,
        };
        let table = Instruments::built_in().unwrap();
        let symbol = Symbol::parse(symbol).unwrap();
        let direction = Direction::parse(direction).unwrap();
        let show = |number: Option<Decimal>| number.map_or("-".to_owned(), |number| number.to_string());
        let shown = match decide(stated, direction, &symbol, table.get(&symbol)) {
            Ok(Found { levels, note }) => {
                let note = note.map_or(String::new(), |note| format!(" {}", note.as_str()));
                match levels {
                    Levels::Prices { entry, stop, target } => format!("prices {entry} {stop} {}{note}", show(target)),
                    Levels::Pips { entry, stop, target } => {
                        format!("pips {} {stop} {}{note}", show(entry), show(target))
                    }
                }
            }
            Err(refusal) => refusal.code().to_owned(),
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
        check("NOSUCH", "BUY", "100 200 -", "stop_wrong_side");
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
