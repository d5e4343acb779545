//! Exact fractions that many numbers are multiplied by.

use ethnum::U256;

/// An exact fraction in lowest terms.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    numerator: U256,
    denominator: U256,
}

impl Ratio {
    /// Makes the fraction of two products; `None` if a divisor is zero. Products of four 64-bit factors always fit.
    pub(super) fn new(mut numerators: [u64; 4], mut denominators: [u64; 4]) -> Option<Self> {
        for numerator in &mut numerators {
            for denominator in &mut denominators {
                let divisor = greatest_common_divisor(*numerator, *denominator);
                *numerator = numerator.checked_div(divisor)?;
                *denominator = denominator.checked_div(divisor)?;
            }
        }
        let product = |factors: [u64; 4]| factors.into_iter().map(U256::from).product();
        let (numerator, denominator) = (product(numerators), product(denominators));
        (denominator != U256::ZERO).then_some(Self { numerator, denominator })
    }

    /// Returns `value` times the fraction, rounded down; `None` if it does not fit 64 bits.
    pub(super) fn floor_of(&self, value: u128) -> Option<u64> {
        // Nearly always 128 bits are enough. The machine divides those many times faster than 256.
        if let (Ok(numerator), Ok(denominator)) = (u128::try_from(self.numerator), u128::try_from(self.denominator))
            && let Some(product) = value.checked_mul(numerator)
        {
            return u64::try_from(product.checked_div(denominator)?).ok();
        }
        self.floor_of_wide(value)
    }

    #[cold]
    fn floor_of_wide(&self, value: u128) -> Option<u64> {
        let product = U256::from(value).checked_mul(self.numerator)?;
        u64::try_from(product.checked_div(self.denominator)?).ok()
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
