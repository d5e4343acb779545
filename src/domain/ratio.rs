//! Exact fractions that many numbers are multiplied by.

use std::cmp::Ordering;

use ethnum::U256;

/// An exact fraction in lowest terms.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    numerator: U256,
    denominator: U256,
    /// Both again where they fit 64 bits, the case of nearly every signal: divided in 128 bits.
    narrow: Option<(u64, u64)>,
}

impl Ratio {
    /// Makes the fraction of two products; `None` if a divisor is zero, or a product in lowest terms takes more than
    /// 256 bits, as that of four factors never does.
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
        let narrow = u64::try_from(numerator).ok().zip(u64::try_from(denominator).ok());
        Some(Self { numerator, denominator, narrow })
    }

    /// Returns `value` times the fraction, cut to an integer; `None` if it does not fit 64 bits.
    #[inline]
    pub(super) fn floor_of(&self, value: u128) -> Option<u64> {
        if let Some((numerator, denominator)) = self.narrow
            && let Some(product) = value.checked_mul(u128::from(numerator))
        {
            return u64::try_from(product.checked_div(u128::from(denominator))?).ok();
        }
        self.floor_of_wide(value)
    }

    #[cold]
    fn floor_of_wide(&self, value: u128) -> Option<u64> {
        let product = U256::from(value).checked_mul(self.numerator)?;
        u64::try_from(product.checked_div(self.denominator)?).ok()
    }

    /// Returns `value` times the fraction, cut to an integer, and `u64::MAX` for more than that; `None` if the product
    /// on the way does not fit 256 bits.
    pub(super) fn floor_at_most(&self, value: u128) -> Option<u64> {
        let product = U256::from(value).checked_mul(self.numerator)?;
        Some(u64::try_from(product.checked_div(self.denominator)?).unwrap_or(u64::MAX))
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
