//! Exact decimals against `rust_decimal`, and against fractions where its 28 digits would not be exact.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use overlaid::domain::{Decimal, DecimalError, Round};
use proptest::prelude::*;
use rust_decimal::RoundingStrategy;

const ROUNDINGS: [(Round, RoundingStrategy); 3] = [
    (Round::Down, RoundingStrategy::ToZero),
    (Round::Up, RoundingStrategy::AwayFromZero),
    (Round::HalfEven, RoundingStrategy::MidpointNearestEven),
];

/// Numbers of all sizes, and those at which something might go wrong more often than chance would have them.
pub(super) fn any_units() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => any::<i64>(),
        4 => -1_000_000_000_000..1_000_000_000_000_i64,
        2 => (-100_000..100_000_i64).prop_map(|hundredths| hundredths * 1_000_000),
        1 => prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 100_000_000]),
    ]
}

fn oracle(units: i64) -> rust_decimal::Decimal {
    rust_decimal::Decimal::from_i128_with_scale(i128::from(units), 8)
}

/// The units of an oracle's number; `None` where a [`Decimal`] has no room for it.
fn units_of(value: rust_decimal::Decimal) -> Option<i64> {
    let mut value = value;
    value.rescale(8);
    i64::try_from(value.mantissa()).ok()
}

/// Rounds a fraction of units to whole units; `None` where a [`Decimal`] has no room for it.
fn rounded(units: &BigRational, round: Round) -> Option<i64> {
    let down = units.trunc();
    let rest = (units - &down).abs();
    let half = BigRational::new(BigInt::one(), BigInt::from(2));
    let is_odd = (down.to_integer() % 2) != BigInt::zero();
    let goes_away = match round {
        Round::Down => false,
        Round::Up => !rest.is_zero(),
        Round::HalfEven => rest > half || (rest == half && is_odd),
    };
    let away = if units.is_negative() { -BigInt::one() } else { BigInt::one() };
    let whole = if goes_away { down.to_integer() + away } else { down.to_integer() };
    i64::try_from(whole).ok()
}

fn integer(value: i64) -> BigInt {
    BigInt::from(value)
}

fn units(value: Option<Decimal>) -> Option<i64> {
    value.map(Decimal::units)
}

/// The value of a JSON number in units, by its grammar.
fn value_of_text(text: &str) -> BigRational {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: BigInt = format!("{whole}{fraction}").parse().unwrap();
    let power = exponent.parse::<i32>().unwrap() - i32::try_from(fraction.len()).unwrap() + 8;
    let ten = BigRational::from_integer(BigInt::from(10));
    BigRational::from_integer(digits) * num_traits::Pow::pow(ten, power)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn sums_and_differences_are_exact_or_none(a in any_units(), b in any_units()) {
        let (left, right) = (Decimal::from_units(a), Decimal::from_units(b));
        prop_assert_eq!(units(left.checked_add(right)), units_of(oracle(a) + oracle(b)));
        prop_assert_eq!(units(left.checked_sub(right)), units_of(oracle(a) - oracle(b)));
        prop_assert_eq!(units(left.distance(right)), units_of((oracle(a) - oracle(b)).abs()));
        prop_assert_eq!(left.cmp(&right), oracle(a).cmp(&oracle(b)));
    }

    /// 94 bits hold these products, so that the oracle has every digit of them before it rounds.
    #[test]
    fn products_round_as_the_oracles_do(a in -(1_i64 << 47)..1 << 47, b in -(1_i64 << 47)..1 << 47) {
        for (round, strategy) in ROUNDINGS {
            let product = Decimal::from_units(a).checked_mul(Decimal::from_units(b), round);
            let expected = (oracle(a) * oracle(b)).round_dp_with_strategy(8, strategy);
            prop_assert_eq!(units(product), units_of(expected), "{:?}", round);
        }
    }

    #[test]
    fn products_and_quotients_of_any_size_are_the_rounded_fraction_or_none(a in any_units(), b in any_units()) {
        let one = integer(100_000_000);
        for (round, _) in ROUNDINGS {
            let product = BigRational::new(integer(a) * integer(b), one.clone());
            let actual = Decimal::from_units(a).checked_mul(Decimal::from_units(b), round);
            prop_assert_eq!(units(actual), rounded(&product, round), "{:?}", round);

            let actual = Decimal::from_units(a).checked_div(Decimal::from_units(b), round);
            let expected =
                if b == 0 { None } else { rounded(&BigRational::new(integer(a) * &one, integer(b)), round) };
            prop_assert_eq!(units(actual), expected, "{:?}", round);
        }
    }

    #[test]
    fn steps_are_the_nearest_multiples_below_and_above(value in 0..=i64::MAX, step in any_units()) {
        let (number, by) = (Decimal::from_units(value), Decimal::from_units(step));
        let (floor, ceil) = (number.floor_to(by), number.ceil_to(by));
        if step <= 0 {
            prop_assert_eq!((floor, ceil), (Decimal::ZERO, None));
        } else {
            let multiple = integer(value) / integer(step) * integer(step);
            prop_assert_eq!(integer(floor.units()), multiple.clone());
            let above = if multiple == integer(value) { multiple } else { multiple + integer(step) };
            prop_assert_eq!(units(ceil), i64::try_from(above).ok());
        }
    }

    #[test]
    fn shown_numbers_are_the_shortest_plain_form_and_read_back(value in any_units()) {
        let number = Decimal::from_units(value);
        prop_assert_eq!(number.to_string(), oracle(value).normalize().to_string());
        prop_assert_eq!(Decimal::parse(&number.to_string()), Ok(number));
        let mut bytes = b"x".to_vec();
        number.write_to(&mut bytes);
        prop_assert_eq!(bytes, format!("x{number}").into_bytes());
    }

    #[test]
    fn every_json_number_is_read_as_its_value_rounded_half_even(
        text in "-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
    ) {
        let expected = rounded(&value_of_text(&text), Round::HalfEven).ok_or(DecimalError::OutOfRange);
        prop_assert_eq!(Decimal::parse(&text).map(Decimal::units), expected);
    }

    #[test]
    fn a_tie_goes_to_the_even_digit_like_the_oracles(whole in 0..10_000_000_u32, decimals in 0..1_000_000_000_u32) {
        let text = format!("{whole}.{decimals:09}");
        let exact = rust_decimal::Decimal::from_str_exact(&text).unwrap();
        let expected = exact.round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven);
        prop_assert_eq!(Decimal::parse(&text).map(Decimal::units).ok(), units_of(expected));
    }

    #[test]
    fn any_text_is_a_number_or_refused(text in prop_oneof!["\\PC*", "[-+0-9.eE]{0,12}"]) {
        if let Ok(number) = Decimal::parse(&text) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_number()));
            prop_assert_eq!(Some(number.units()), rounded(&value_of_text(&text), Round::HalfEven));
        }
    }
}
