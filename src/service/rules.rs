//! The rules by which answers are computed from records: the tables of instruments and tiers, the settings, and the
//! program's own. Their hash is part of the tags of views and lists, which would otherwise outlive a change of them.
//!
//! The tables may be replaced while the server runs. Each overlay in memory is rendered under one version of the rules
//! and holds it; a view takes its rules from its overlay. So no view mixes two versions, and its tag names the version
//! that it was computed by. A table is never changed in place.

mod changes;

pub use changes::{RuleChanges, TableChanges};
use sha2::{Digest as _, Sha256};

use crate::domain::{Instruments, Market, MaxAges, Rates, Tier, TierName, Tiers, UserTier};

/// The program's own rules: how missions are computed, and records and missions written as JSON. A change that gives
/// the same records another body raises it; a test holds bodies against it.
const COMPUTATION: u32 = 1;

/// A user's tier in one version of the rules: [`NO_TIER`], [`UNKNOWN_TIER`], or its place in the table plus
/// [`FIRST_TIER`].
pub(super) type TierSlot = u8;
pub(super) const NO_TIER: TierSlot = 0;
pub(super) const UNKNOWN_TIER: TierSlot = 1;
const FIRST_TIER: TierSlot = 2;

/// One version of the rules.
#[derive(Debug)]
pub(super) struct Rules {
    instruments: Instruments,
    tiers: Tiers,
    max_ages: MaxAges,
    /// The tier table in an order.
    tier_slots: Vec<(TierName, Tier)>,
    hash: u32,
}

impl Rules {
    /// Tiers beyond those that a slot can name count as unknown, which sizes nothing.
    pub(super) fn new(instruments: Instruments, tiers: Tiers, max_ages: MaxAges) -> Self {
        let most = usize::from(TierSlot::MAX - FIRST_TIER);
        let tier_slots = tiers.iter().take(most).map(|(name, tier)| (name.clone(), tier.clone())).collect();
        let text = format!("{COMPUTATION} {instruments:?} {tiers:?} {max_ages:?}");
        let [first, second, third, fourth, ..] = <[u8; 32]>::from(Sha256::digest(text));
        let hash = u32::from_be_bytes([first, second, third, fourth]);
        Self { instruments, tiers, max_ages, tier_slots, hash }
    }

    /// A hash of everything but records and the time that a body rests on: the same in every run with equal rules.
    pub(super) fn hash(&self) -> u32 {
        self.hash
    }

    /// The table of instruments.
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// What a mission is computed from, beside its signal and its overlay.
    pub(super) fn market<'a>(&'a self, rates: &'a Rates) -> Market<'a> {
        Market { instruments: &self.instruments, tiers: &self.tiers, rates, max_ages: self.max_ages }
    }

    /// The own name of a tier that may be called by an alias.
    pub(super) fn own_name<'a>(&'a self, name: &'a TierName) -> &'a TierName {
        self.tiers.get(name).map_or(name, |(own_name, _)| own_name)
    }

    /// What the tier table says of a slot.
    #[inline]
    pub(super) fn tier_in(&self, slot: TierSlot) -> UserTier<'_> {
        match slot {
            NO_TIER => UserTier::Unnamed,
            UNKNOWN_TIER => UserTier::Unknown,
            known => self.known_tier(known).map_or(UserTier::Unknown, |(_, tier)| UserTier::Known(tier)),
        }
    }

    /// The tier of a slot, with its own name; `None` if the slot is of none that the table has.
    pub(super) fn known_tier(&self, slot: TierSlot) -> Option<&(TierName, Tier)> {
        self.tier_slots.get(usize::from(slot.checked_sub(FIRST_TIER)?))
    }

    /// The slot of a tier that an overlay names, or does not.
    pub(super) fn tier_slot(&self, name: Option<&TierName>) -> TierSlot {
        let Some(name) = name else { return NO_TIER };
        let Some((own_name, _)) = self.tiers.get(name) else { return UNKNOWN_TIER };
        let at = self.tier_slots.iter().position(|(known, _)| known == own_name);
        at.and_then(|at| TierSlot::try_from(at).ok()).map_or(UNKNOWN_TIER, |at| at + FIRST_TIER)
    }

    /// These rules with other tables.
    pub(super) fn with_tables(&self, instruments: Instruments, tiers: Tiers) -> Self {
        Self::new(instruments, tiers, self.max_ages)
    }

    /// What differs in the rules that come after these.
    pub(super) fn changes_to(&self, new: &Self) -> RuleChanges {
        RuleChanges {
            instruments: TableChanges::between(self.instruments.iter(), new.instruments.iter()),
            are_suffixes_changed: self.instruments.suffixes() != new.instruments.suffixes(),
            tiers: TableChanges::between(self.tiers.iter(), new.tiers.iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::domain::{MaxAge, UnixMillis};
    use crate::service::{Clock, MAX_AGES, Service, Settings, export_lines};
    use crate::store::Precedence;

    const SAMPLES: [&str; 4] = [
        include_str!("../../data/samples/signals.ndjson"),
        include_str!("../../data/samples/overlays.ndjson"),
        include_str!("../../data/samples/rates.ndjson"),
        include_str!("../../data/samples/outcomes.ndjson"),
    ];

    /// Every record of the samples, and every view of them.
    fn bodies() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixMillis::parse("2026-11-23T14:00:00Z").unwrap().millis();
        let clock = Clock::Fixed(Arc::new(AtomicI64::new(now)));
        let settings = Settings { clock, ..Settings::built_in().unwrap() };
        let service = Service::open(&folder.path().join("overlaid.redb"), settings).unwrap();
        for lines in SAMPLES {
            let mut reader = service.line_reader(Precedence::Replace);
            for line in lines.lines() {
                if let Some(operation) = reader.line(line.as_bytes(), service.now()).unwrap() {
                    service.submit(operation).unwrap().done_blocking().unwrap();
                }
            }
        }
        let snapshot = service.snapshot().unwrap();
        let mut bodies = export_lines(&snapshot).unwrap().map(Result::unwrap).collect::<Vec<_>>().concat();
        for signal in snapshot.signals().unwrap() {
            let signal = service.read_signal(&signal.unwrap().signal.id).unwrap().unwrap();
            for overlay in snapshot.overlays(None).unwrap() {
                let overlay = service.read_overlay(&overlay.unwrap().overlay.user_id).unwrap().unwrap();
                service.with_view(&signal, &overlay, |view| view.write_to(&service, &mut bodies));
            }
        }
        service.stop();
        bodies
    }

    #[test]
    fn the_same_records_have_the_same_bodies_until_the_number_of_the_computation_is_raised() {
        let bodies = bodies();
        assert!(bodies.len() > 100_000, "{}", bodies.len());
        let [first, second, ..] = <[u8; 32]>::from(Sha256::digest(bodies));
        let found = (COMPUTATION, [first, second]);
        assert_eq!(found, (1, [152, 149]), "bodies have changed: raise COMPUTATION, and put the new hash here");
    }

    #[test]
    fn whatever_changes_a_body_changes_the_hash() {
        let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
        let (mut instrument, mut suffixes, mut tier) = (instruments.clone(), instruments.clone(), tiers.clone());
        let numbers = "contract_size=1\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9";
        instrument.override_with(&format!("[EURUSD]\nquote='USD'\n{numbers}")).unwrap();
        suffixes.override_with("suffixes = ['.m']").unwrap();
        tier.override_with("[FANG]\nrisk_percent='1.5'\nmin_confidence=0\nmax_lots=2\ntrades_per_day=3").unwrap();
        let old_balances = MaxAges { balance: Some(MaxAge::from_millis(1)), ..MAX_AGES };
        let mut hashes: Vec<_> = [
            (&instruments, &tiers, MAX_AGES),
            (&instrument, &tiers, MAX_AGES),
            (&suffixes, &tiers, MAX_AGES),
            (&instruments, &tier, MAX_AGES),
            (&instruments, &tiers, old_balances),
            // As the first.
            (&instruments, &tiers, MAX_AGES),
        ]
        .map(|(instruments, tiers, max_ages)| Rules::new(instruments.clone(), tiers.clone(), max_ages).hash())
        .into();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 5);
    }
}
