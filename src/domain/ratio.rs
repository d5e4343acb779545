//! Exact fractions that many numbers are multiplied by.

use std::cmp::Ordering;

use ethnum::U256;

/// An exact fraction in lowest terms.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    numerator: U256,
    denominator: U256,
    /// Where both fit 64 bits, the case of nearly every signal: a division without dividing.
    narrow: Option<(u64, Divisor)>,
}

impl Ratio {
    /// Makes the fraction of two products; `None` if a divisor is zero, or a product in lowest terms takes more than 256
    /// bits, as that of four factors never does.
    pub(super) fn new<const N: usize, const D: usize>(
        mut numerators: [u64; N],
        mut denominators: [u64; D],
    ) -> Option<Self> {
        for numerator in &mut numerators {
            for denominator in &mut denominators {
                let divisor = greatest_common_divisor(*numerator, *denominator);
                *numerator = numerator.checked_div(divisor)?;
                *denominator = denominator.checked_div(divisor)?;
            }
        }
        let product = |factors: &[u64]| {
            factors.iter().try_fold(U256::ONE, |product, factor| product.checked_mul(U256::from(*factor)))
        };
        let (numerator, denominator) = (product(&numerators)?, product(&denominators)?);
        if denominator == U256::ZERO {
            return None;
        }
        let narrow = u64::try_from(numerator).ok().zip(u64::try_from(denominator).ok().and_then(Divisor::new));
        Some(Self { numerator, denominator, narrow })
    }

    /// Returns `value` times the fraction, cut to an integer; `None` if it does not fit 64 bits.
    #[inline]
    pub(super) fn floor_of(&self, value: u128) -> Option<u64> {
        if let Some((numerator, divisor)) = &self.narrow
            && let Some(product) = value.checked_mul(u128::from(*numerator))
        {
            return divisor.divide(product);
        }
        self.floor_of_wide(value)
    }

    #[cold]
    fn floor_of_wide(&self, value: u128) -> Option<u64> {
        let product = U256::from(value).checked_mul(self.numerator)?;
        u64::try_from(product.checked_div(self.denominator)?).ok()
    }

    /// Returns `value` times the fraction, rounded to the nearest integer, or to the even one of two that are as near;
    /// `None` if it does not fit 64 bits.
    pub(super) fn nearest_to(&self, value: u64) -> Option<u64> {
        let product = U256::from(value).checked_mul(self.numerator)?;
        let (floor, rest) = (product.checked_div(self.denominator)?, product.checked_rem(self.denominator)?);
        let floor = u64::try_from(floor).ok()?;
        let is_up = match rest.cmp(&(self.denominator - rest)) {
            Ordering::Less => false,
            Ordering::Equal => floor % 2 == 1,
            Ordering::Greater => true,
        };
        floor.checked_add(is_up.into())
    }

    /// Returns the least number that, times `factor` and the fraction, is at least `value`; `None` if it does not fit
    /// 64 bits, or no number would do.
    pub(super) fn least_for(&self, value: u64, factor: u64) -> Option<u64> {
        let dividend = self.denominator.checked_mul(U256::from(value))?;
        let divisor = self.numerator.checked_mul(U256::from(factor))?;
        let (floor, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        u64::try_from(floor).ok()?.checked_add(u64::from(rest != U256::ZERO))
    }
}

/// A divisor of 64 bits with its reciprocal, by which 128 bits are divided with two multiplications.
///
/// Source: N. Möller, T. Granlund, "Improved division by invariant integers", IEEE Transactions on Computers 60 (2011),
/// algorithm 4.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisor {
    /// The divisor, shifted until its top bit is set.
    shifted: u64,
    shift: u32,
    /// ⌊(2¹²⁸ − 1) / `shifted`⌋ − 2⁶⁴
    reciprocal: u64,
}

impl Divisor {
    /// Prepares a divisor; `None` for zero.
    pub(super) const fn new(divisor: u64) -> Option<Self> {
        if divisor == 0 {
            return None;
        }
        let shift = divisor.leading_zeros();
        let shifted = divisor << shift;
        // Below 2⁶⁵ and at least 2⁶⁴, so that cutting it off subtracts 2⁶⁴.
        let (_, reciprocal) = halves(u128::MAX / (shifted as u128));
        Some(Self { shifted, shift, reciprocal })
    }

    /// Returns the quotient, cut to an integer; `None` if it does not fit 64 bits.
    #[inline]
    pub(super) const fn divide(&self, dividend: u128) -> Option<u64> {
        let (high, _) = halves(dividend);
        if high >= self.shifted >> self.shift {
            return None;
        }
        // Nothing is shifted out, as the upper half is below the divisor.
        let dividend = dividend << self.shift;
        let (high, low) = halves(dividend);
        let (quotient, fraction) = halves((self.reciprocal as u128 * high as u128).wrapping_add(dividend));
        let mut quotient = quotient.wrapping_add(1);
        let mut rest = low.wrapping_sub(quotient.wrapping_mul(self.shifted));
        if rest > fraction {
            quotient = quotient.wrapping_sub(1);
            rest = rest.wrapping_add(self.shifted);
        }
        if rest >= self.shifted {
            quotient = quotient.wrapping_add(1);
        }
        Some(quotient)
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each half is 64 bits")]
const fn halves(value: u128) -> (u64, u64) {
    ((value >> 64) as u64, value as u64)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of all sizes, and those next to powers of two.
    fn any_size() -> impl Strategy<Value = u64> {
        (0_u32..64, any::<u64>(), -2_i64..=2).prop_map(|(shift, value, near)| match near {
            -2 => value >> shift,
            near => (1_u64 << shift).wrapping_add_signed(near),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_prepared_divisor_divides_as_the_machine_does(high in any_size(), low in any_size(), divisor in any_size()) {
            let dividend = u128::from(high) << 64 | u128::from(low);
            let plain = dividend.checked_div(u128::from(divisor)).and_then(|quotient| u64::try_from(quotient).ok());
            prop_assert_eq!(Divisor::new(divisor).and_then(|divisor| divisor.divide(dividend)), plain);
            // Where the upper half is just below the divisor is where a quotient is largest.
            let high = divisor.saturating_sub(1);
            let dividend = u128::from(high) << 64 | u128::from(low);
            let plain = dividend.checked_div(u128::from(divisor)).and_then(|quotient| u64::try_from(quotient).ok());
            prop_assert_eq!(Divisor::new(divisor).and_then(|divisor| divisor.divide(dividend)), plain);
        }

        #[test]
        fn the_short_way_and_the_long_way_give_the_same(
            numerators in [any_size(), any_size(), any_size(), any_size()],
            denominators in [any_size(), any_size(), any_size(), any_size()],
            value in any_size(),
            other in any_size(),
        ) {
            let Some(ratio) = Ratio::new(numerators, denominators) else {
                prop_assert!(denominators.contains(&0));
                return Ok(());
            };
            let value = u128::from(value) * u128::from(other);
            prop_assert_eq!(ratio.floor_of(value), ratio.floor_of_wide(value));
        }
    }
}
