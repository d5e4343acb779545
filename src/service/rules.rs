//! The rules by which an answer is computed from records, as one number: a part of the tags of views and lists, which
//! would otherwise outlive a change of the tables or of the program.

use sha2::{Digest as _, Sha256};

use super::Settings;

/// The program's own rules: how missions are computed, and records and missions written as JSON. A change that gives
/// the same records another body raises it; a test holds bodies against it.
pub(super) const COMPUTATION: u32 = 1;

/// Returns a hash of everything but records and the time that a body rests on.
pub(super) fn hash(settings: &Settings) -> u32 {
    let Settings { instruments, tiers, max_ages, .. } = settings;
    let rules = format!("{COMPUTATION} {instruments:?} {tiers:?} {max_ages:?}");
    let [first, second, third, fourth, ..] = <[u8; 32]>::from(Sha256::digest(rules));
    u32::from_be_bytes([first, second, third, fourth])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use super::*;
    use crate::domain::{MaxAge, UnixMillis};
    use crate::service::{Clock, Service, export_lines};
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
        let settings = || Settings::built_in().unwrap();
        let built_in = hash(&settings());
        assert_eq!(hash(&Settings { clock: Clock::Fixed(Arc::default()), ..settings() }), built_in);
        let mut others = [settings(), settings(), settings(), settings()];
        let numbers = "contract_size=1\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9";
        others[0].instruments.override_with(&format!("[EURUSD]\nquote='USD'\n{numbers}")).unwrap();
        others[1].instruments.override_with("suffixes = ['.m']").unwrap();
        let tier = "[FANG]\nrisk_percent='1.5'\nmin_confidence=0\nmax_lots=2\ntrades_per_day=3";
        others[2].tiers.override_with(tier).unwrap();
        others[3].max_ages.balance = Some(MaxAge::from_millis(1));
        let mut hashes = others.map(|settings| hash(&settings)).to_vec();
        hashes.push(built_in);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 5);
    }
}
