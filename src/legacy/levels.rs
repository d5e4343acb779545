//! Where an old signal gets in and out: prices, or pip distances under the names of prices.
//!
//! The old writers put a price or a number of pips into `stop_loss`, under the same name and in the same shape, and
//! took 0.0001 for a pip of every symbol. What a number is, is decided by the instrument and the entry: a stop must lie
//! on the losing side, a target on the winning side, both near the entry. Where that decides nothing, the file is
//! refused with the reason; no reading is preferred silently.
//!
//! What decides is how the numbers lie to each other, since that holds in any year and for any symbol. Only whether an
//! entry is a price of the symbol at all needs prices from outside: [`TRADED`] has wide ones.

use super::reason::{Note, Refusal};
use super::scalar::{Quantity, Unit};
use crate::domain::{Decimal, Direction, Instrument, Levels, Round, Symbol};

/// The numbers that one object of a file gives for its levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) entry: Option<Quantity>,
    pub(super) stop: Option<Quantity>,
    pub(super) target: Option<Quantity>,
    pub(super) stop_pips: Option<Decimal>,
    pub(super) target_pips: Option<Decimal>,
    pub(super) risk_reward: Option<Decimal>,
}

/// What the numbers were found to mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) levels: Levels,
    /// What had to be put right; at most one thing is wrong with a real file's levels.
    pub(super) note: Option<Note>,
}

/// Prices that a symbol has had since 2020, or may come to. An entry outside is a placeholder.
///
/// Wide around the history of each, with room above for the years to come. The old writers put 1.09 and 1.0 where they
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

    match proved(&stated, reading(direction, entry, stop, target, instrument), entry, stop, target, instrument) {
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
        // A stop that is a price of the symbol is no distance: the entry is wrong.
        Reading::Pips if is_placeholder && is_price_of(symbol, stop) => Err(Refusal::PlaceholderEntry),
        Reading::Pips => Ok(Found {
            levels: Levels::Pips { entry: honest_entry, stop, target },
            note: entry_note.or(Some(Note::StopInPips)),
        }),
        Reading::Both => Err(Refusal::AmbiguousLevels),
        Reading::Neither if is_placeholder => Err(Refusal::PlaceholderEntry),
        Reading::Unknown => Err(Refusal::UnknownInstrument),
        Reading::Neither => Err(Refusal::StopWrongSide),
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
enum Reading {
    Price,
    Pips,
    Both,
    Neither,
    /// No price, and nothing tells whether it is a sensible number of pips.
    Unknown,
}

/// A distance within a part of the entry.
fn within(entry: Decimal, distance: Option<Decimal>, part: i64) -> bool {
    let bound = Decimal::from_int(part).and_then(|part| entry.checked_div(part, Round::Down));
    distance.zip(bound).is_some_and(|(distance, bound)| distance <= bound)
}

fn reading(
    direction: Direction,
    entry: Decimal,
    stop: Decimal,
    target: Option<Decimal>,
    instrument: Option<&Instrument>,
) -> Reading {
    /// A stop within a twentieth of the entry is a price: no trader sets so many pips. So is a number of pips that
    /// comes to more than that, where prices make sense.
    const NEAR: i64 = 20;
    /// A price beyond half the entry is no stop, and one of half the entry or twice as much no target.
    const FAR: i64 = 2;
    /// More than a fifth of the entry is no distance in pips.
    const PIPS_WITHIN: i64 = 5;
    /// A number within a third of the entry looks like a price, also on the wrong side: then it is no number of pips.
    const PRICE_LIKE: i64 = 3;

    let is_target_far = target.is_some_and(|target| within(entry.max(target), Some(entry.min(target)), FAR));
    let sides_fit = !is_target_far && Levels::prices(direction, entry, stop, target).is_ok();
    let stop_distance = entry.distance(stop);
    let is_near_stop = within(entry, stop_distance, NEAR) && Levels::prices(direction, entry, stop, None).is_ok();
    if sides_fit && is_near_stop {
        return Reading::Price;
    }
    let is_far_price = sides_fit && within(entry, stop_distance, FAR);
    let is_near_target = target.is_some_and(|target| {
        let is_beyond = if direction == Direction::Buy { target > entry } else { target < entry };
        is_beyond && within(entry, entry.distance(target), NEAR)
    });
    let looks_like_price = within(entry, stop_distance, PRICE_LIKE)
        && target.is_none_or(|target| within(entry, entry.distance(target), PRICE_LIKE));
    let Some(instrument) = instrument else {
        return if is_far_price {
            Reading::Both
        } else if looks_like_price {
            Reading::Neither
        } else {
            Reading::Unknown
        };
    };
    let are_pips = |part: i64| {
        let fits = |number: Decimal| within(entry, number.checked_mul(instrument.pip, Round::Up), part);
        stop >= Decimal::ONE && target.is_none_or(|target| target >= Decimal::ONE && fits(target)) && fits(stop)
    };
    match (is_far_price, are_pips(PIPS_WITHIN)) {
        // A price and a number of pips are no pair.
        (false, true) if looks_like_price || is_near_stop => Reading::Neither,
        (false, true) if is_near_target => Reading::Both,
        (true, true) if are_pips(NEAR) => Reading::Both,
        (true, _) => Reading::Price,
        (false, true) => Reading::Pips,
        (false, false) => Reading::Neither,
    }
}

/// Decides between two readings that both make sense, by what else the file says: the pips, or the ratio of the
/// distances.
fn proved(
    stated: &Stated,
    reading: Reading,
    entry: Decimal,
    stop: Decimal,
    target: Option<Decimal>,
    instrument: Option<&Instrument>,
) -> Reading {
    /// Ratios are written with one or two decimals: what differs by less than a twentieth is the same.
    const SAME_WITHIN: i64 = 20;
    if reading != Reading::Both {
        return reading;
    }
    let pick = |is_price: bool, are_pips: bool| match (is_price, are_pips) {
        (true, false) => Some(Reading::Price),
        (false, true) => Some(Reading::Pips),
        _ => None,
    };
    let distance = entry.distance(stop);
    let by_pips = stated.stop_pips.filter(|pips| pips.is_positive()).and_then(|pips| {
        let as_price = instrument.and_then(|known| pips.checked_mul(known.pip, Round::HalfEven));
        let is_price =
            as_price.zip(distance).is_some_and(|(pips, stop)| within(stop, stop.distance(pips), SAME_WITHIN));
        pick(is_price, pips == stop)
    });
    let by_ratio = || {
        let ratio = stated.risk_reward.filter(|ratio| ratio.is_positive())?;
        let target = target?;
        let is_ratio = |reward: Option<Decimal>, risk: Option<Decimal>| {
            let found = reward?.checked_div(risk?, Round::HalfEven)?;
            Some(within(ratio, ratio.distance(found), SAME_WITHIN))
        };
        let is_price = is_ratio(entry.distance(target), distance) == Some(true);
        pick(is_price, is_ratio(Some(target), Some(stop)) == Some(true))
    };
    by_pips.or_else(by_ratio).unwrap_or(Reading::Both)
}

/// Finds the distances of a stop that was set with a pip of 0.0001, where the symbol's pip is larger.
///
/// The proof is one of two: the file states the pips too, and they are the distance by 0.0001; or the stop has more
/// decimals than the symbol is quoted in, so that it can not be a price, and lies a whole number of those pips away.
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

    /// `entry stop target stop_pips risk_reward`, blanks between them, `-` for none.
    #[track_caller]
    fn check(symbol: &str, direction: &str, numbers: &str, expected: &str) {
        let mut parts = numbers.split(' ').map(|text| Decimal::parse(text).ok());
        let mut next = || parts.next().flatten();
        let quantity = |value| Quantity { value, unit: Unit::None, is_for_people: false };
        let stated = Stated {
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
            Err(refusal) => refusal.as_str().to_owned(),
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
