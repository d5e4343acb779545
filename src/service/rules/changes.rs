//! What new tables change, for the operator's log: every entry by name, up to a limit that the text says.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::service::shortlist::shortlist;

/// What was changed by new tables. Its text is a line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleChanges {
    /// Instruments by symbol.
    pub instruments: TableChanges,
    /// Whether the list of suffixes of symbols is another one.
    pub are_suffixes_changed: bool,
    /// Tiers by name.
    pub tiers: TableChanges,
}

/// The entries of a table that were changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableChanges {
    /// Only in the new table.
    pub added: Vec<String>,
    /// In both, and different.
    pub changed: Vec<String>,
    /// Only in the old table.
    pub removed: Vec<String>,
}

impl TableChanges {
    pub(super) fn between<'a, N: Ord + Display + 'a, E: PartialEq + 'a>(
        old: impl Iterator<Item = (&'a N, &'a E)>,
        new: impl Iterator<Item = (&'a N, &'a E)>,
    ) -> Self {
        let mut old: BTreeMap<_, _> = old.collect();
        let mut changes = Self::default();
        for (name, entry) in new {
            match old.remove(name) {
                None => changes.added.push(name.to_string()),
                Some(before) if before != entry => changes.changed.push(name.to_string()),
                Some(_) => {}
            }
        }
        changes.removed = old.into_keys().map(ToString::to_string).collect();
        changes
    }
}

impl RuleChanges {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { instruments, are_suffixes_changed, tiers } = self;
        !are_suffixes_changed && *instruments == TableChanges::default() && *tiers == TableChanges::default()
    }
}

impl Display for RuleChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instruments, are_suffixes_changed, tiers } = self;
        let mut parts = Vec::new();
        for (kind, table) in [("instruments", instruments), ("tiers", tiers)] {
            let lists = [("added", &table.added), ("changed", &table.changed), ("removed", &table.removed)];
            for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
                parts.push(format!("{kind} {what}: {}", shortlist(names)));
            }
        }
        if *are_suffixes_changed {
            parts.push("the list of suffixes is another one".to_owned());
        }
        f.write_str(if parts.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{Instruments, Tiers};
    use crate::service::MAX_AGES;
    use crate::service::rules::Rules;

    fn rules(instruments: &str, tiers: &str) -> Rules {
        let (mut by_symbol, mut by_name) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
        by_symbol.override_with(instruments).unwrap();
        by_name.override_with(tiers).unwrap();
        Rules::new(by_symbol, by_name, MAX_AGES)
    }

    fn instrument(symbol: &str) -> String {
        let numbers = "quote='USD'\ncontract_size=1\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9\n";
        format!("[{symbol}]\n{numbers}")
    }

    #[test]
    fn changes_name_what_was_added_changed_and_removed_and_say_what_they_leave_out() {
        let built_in = rules("", "");
        let added: Vec<_> = (0..13).map(|number| instrument(&format!("NEW{number:02}"))).collect();
        let new = rules(
            &format!("suffixes = ['.m']\n{}", added.concat()),
            "[FANG]\nrisk_percent=1\nmin_confidence=0\nmax_lots=2\ntrades_per_day=3\n",
        );
        let names = "NEW00, NEW01, NEW02, NEW03, NEW04, NEW05, NEW06, NEW07, NEW08, NEW09 and 3 more";
        let (suffixes, fang) = ("the list of suffixes is another one", "tiers changed: FANG");
        assert_eq!(built_in.changes_to(&new).to_string(), format!("instruments added: {names}; {fang}; {suffixes}"));
        assert_eq!(new.changes_to(&built_in).to_string(), format!("instruments removed: {names}; {fang}; {suffixes}"));
        assert!(!new.changes_to(&built_in).is_empty());
        let same = built_in.changes_to(&rules("", ""));
        assert_eq!((same.is_empty(), same.to_string().as_str()), (true, "nothing changed"));
    }
}
