//! Tiers: what a user's level allows.
//!
//! The table is data (`data/tiers.toml`), since the limits are the operator's policy; an operator's own file replaces
//! it entry by entry.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::overlay::LEVERAGE_MAX;
use super::{Decimal, Invalid, InvalidKind, TierName};

/// The limits of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Risk of a trade, in percent of the balance, for overlays that name none; 0 to 100.
    pub risk_percent: Decimal,
    /// Signals below this confidence are not for this tier; 0 to 100.
    pub min_confidence: Decimal,
    /// Largest size, in lots; above zero.
    pub max_lots: Decimal,
    /// Trades a day, for overlays that do not say how many are left.
    pub trades_per_day: u32,
    /// Leverage, as 100 for 1:100, for overlays that name none; 1 to 10,000.
    #[serde(default)]
    pub leverage: Option<Decimal>,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<TierName>,
}

/// What the tier table says of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserTier<'a> {
    /// The overlay names no tier: no tier's limits apply.
    Unnamed,
    /// The table has no such tier: the user's limits are not known.
    Unknown,
    /// The tier's limits.
    Known(&'a Tier),
}

impl<'a> UserTier<'a> {
    /// The limits, where they are known.
    #[must_use]
    pub const fn limits(self) -> Option<&'a Tier> {
        match self {
            Self::Known(tier) => Some(tier),
            Self::Unnamed | Self::Unknown => None,
        }
    }
}

/// All tiers by name and by alias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers {
    by_name: BTreeMap<TierName, Tier>,
    names_by_alias: BTreeMap<TierName, TierName>,
}

impl Tiers {
    /// The built-in table.
    ///
    /// # Errors
    ///
    /// None in a tested build: the table is compiled in, and a test reads it.
    pub fn built_in() -> Result<Self, Invalid> {
        let mut table = Self::default();
        table.override_with(include_str!("../../data/tiers.toml"))?;
        Ok(table)
    }

    /// Adds the entries of a TOML text; an entry replaces the one of the same name whole.
    ///
    /// # Errors
    ///
    /// [`Invalid`] that names the entry, if the text is no such table, a number makes no sense, or an
    /// alias would stand for two tiers. Nothing is replaced then.
    pub fn override_with(&mut self, text: &str) -> Result<(), Invalid> {
        let entries: BTreeMap<TierName, Tier> = toml::from_str(text).map_err(|error| Invalid::table(text, &error))?;
        let mut by_name = self.by_name.clone();
        by_name.extend(entries);
        let mut names_by_alias = BTreeMap::new();
        for (name, tier) in &by_name {
            tier.check(name)?;
            for alias in &tier.aliases {
                let other = names_by_alias.insert(alias.clone(), name.clone());
                if other.is_some() || by_name.contains_key(alias) {
                    let detail = format!("{name}: alias {alias} stands for two tiers");
                    return Err(Invalid::member(InvalidKind::DuplicateMember, "aliases", detail));
                }
            }
        }
        *self = Self { by_name, names_by_alias };
        Ok(())
    }

    /// Looks a tier up by its name or an alias; returns its own name too.
    #[must_use]
    pub fn get(&self, name: &TierName) -> Option<(&TierName, &Tier)> {
        // No alias is the name of another tier.
        self.by_name.get_key_value(name).or_else(|| self.by_name.get_key_value(self.names_by_alias.get(name)?))
    }

    /// Looks up the tier that an overlay names.
    #[must_use]
    pub fn of_user(&self, name: Option<&TierName>) -> UserTier<'_> {
        match name.map(|name| self.get(name)) {
            None => UserTier::Unnamed,
            Some(None) => UserTier::Unknown,
            Some(Some((_, tier))) => UserTier::Known(tier),
        }
    }

    /// All entries in the order of their names.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&TierName, &Tier)> {
        self.by_name.iter()
    }
}

impl Tier {
    fn check(&self, name: &TierName) -> Result<(), Invalid> {
        for (member, percent) in [("risk_percent", self.risk_percent), ("min_confidence", self.min_confidence)] {
            if percent < Decimal::ZERO || percent > Decimal::HUNDRED {
                return Err(Invalid::member(
                    InvalidKind::OutOfRange,
                    member,
                    format!("{name}: {member} must lie within 0 to 100"),
                ));
            }
        }
        let most = Decimal::from_int(i64::from(LEVERAGE_MAX)).unwrap_or_default();
        if self.leverage.is_some_and(|leverage| leverage < Decimal::ONE || leverage > most) {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                "leverage",
                format!("{name}: leverage must lie within 1 to {LEVERAGE_MAX}"),
            ));
        }
        if !self.max_lots.is_positive() {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                "max_lots",
                format!("{name}: max_lots must be above zero"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TierName {
        TierName::parse(text).unwrap()
    }

    #[test]
    fn the_built_in_table_holds_the_four_tiers_and_their_aliases() {
        let table = Tiers::built_in().unwrap();
        let risks: Vec<_> = table
            .iter()
            .map(|(name, tier)| (name.to_string(), tier.risk_percent.to_string(), tier.max_lots.to_string()))
            .collect();
        let expected =
            [("COMMANDER", "3", "20"), ("FANG", "2.5", "5"), ("NIBBLER", "2", "1"), ("PRESS_PASS", "1", "0.1")];
        assert_eq!(risks, expected.map(|(name, risk, lots)| (name.to_owned(), risk.to_owned(), lots.to_owned())));
        assert_eq!(table.get(&name("press pass")).unwrap().0.as_str(), "PRESS_PASS");
        assert_eq!(table.get(&name("apex")).unwrap().0.as_str(), "COMMANDER");
        assert!(table.get(&name("AUTHORIZED")).is_none());
    }

    #[test]
    fn an_operators_file_replaces_entry_by_entry_and_a_bad_one_nothing() {
        let mut table = Tiers::built_in().unwrap();
        table.override_with("[FANG]\nrisk_percent='1.5'\nmin_confidence=0\nmax_lots=2\ntrades_per_day=3\n").unwrap();
        assert_eq!(table.get(&name("FANG")).unwrap().1.risk_percent.to_string(), "1.5");
        assert!(table.get(&name("PREDATOR")).is_none(), "an entry is replaced whole, aliases too");
        let before = table.clone();
        for text in [
            "[X]\nrisk_percent=101\nmin_confidence=0\nmax_lots=2\ntrades_per_day=3",
            "[X]\nrisk_percent=1\nmin_confidence=0\nmax_lots=0\ntrades_per_day=3",
            "[X]\nrisk_percent=1\nmin_confidence=0\nmax_lots=1\ntrades_per_day=3\naliases=['TRIAL']",
            "[X]\nrisk_percent=1\nmin_confidence=0\nmax_lots=1\ntrades_per_day=3\naliases=['FANG']",
            "[X]\nrisk=1",
        ] {
            assert!(table.override_with(text).is_err(), "{text}");
            assert_eq!(table, before);
        }
    }
}
