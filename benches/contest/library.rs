//! This store in the same process, through its public surface; and its computation over records that a peer stored.

use std::path::Path;
use std::sync::Arc;

use overlaid::domain::{
    Budget, Instruments, Market, MaxAges, Object, Overlay, OverlayDraft, Rates, Signal, SignalDraft, SignalId, Terms,
    Tiers, UnixMillis, UserId,
};
use overlaid::render::{self, ViewTemplate};
use overlaid::service::{MissionView, Separator, Service, Settings};

use crate::rig::data;

/// Size of the piece of memory that is written again and again.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;

/// A service on a database.
pub(crate) struct Library {
    pub(crate) service: Service,
    runtime: tokio::runtime::Runtime,
    signal: SignalId,
}

impl Library {
    pub(crate) fn open(folder: &Path) -> Self {
        let service = Service::open(&folder.join("overlaid.redb"), Settings::built_in().unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { service, runtime, signal: SignalId::parse(data::SIGNAL).unwrap() }
    }

    /// Writes the views of all users, piece by piece, into `piece`.
    pub(crate) fn batch(&self, piece: &mut Vec<u8>, mut done: impl FnMut(&[u8])) {
        let mut batch = self.runtime.block_on(self.service.batch(&self.signal, None)).unwrap();
        while !batch.is_done() {
            piece.clear();
            batch.write_some(usize::MAX, PIECE_BYTES, Separator::Newline, piece);
            done(piece);
        }
    }

    /// Writes one view into `out`.
    pub(crate) fn view(&self, user: &UserId, out: &mut Vec<u8>) {
        out.clear();
        let write = |view: &MissionView<'_>| view.write_to(&self.service, out);
        self.runtime.block_on(self.service.with_mission(&self.signal, user, write)).unwrap();
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.service.stop();
    }
}

/// Computes and renders what a peer has stored as JSON.
pub(crate) struct Renderer {
    instruments: Instruments,
    tiers: Tiers,
    rates: Rates,
    signal: Option<(Signal, Vec<u8>)>,
    templates: Vec<ViewTemplate>,
    budget: Vec<u8>,
}

impl Renderer {
    pub(crate) fn new() -> Self {
        let mut rates = Rates::default();
        for (pair, price) in [("EURUSD", "1.085"), ("GBPUSD", "1.34"), ("USDJPY", "148.5")] {
            let body = format!(r#"{{"pair":"{pair}","price":{price}}}"#);
            let draft =
                overlaid::domain::RateDraft::from_object(Object::parse(body.as_bytes()).unwrap(), None).unwrap();
            rates.put(draft.resolve(UnixMillis::MIN), 1);
        }
        let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
        Self { instruments, tiers, rates, signal: None, templates: Vec::new(), budget: Vec::new() }
    }

    /// Takes the signal for the views that follow.
    pub(crate) fn signal(&mut self, json: &[u8]) {
        let draft = SignalDraft::from_object(Object::parse(json).unwrap(), None).unwrap();
        self.signal = Some((draft.resolve(UnixMillis::MIN, 1).unwrap(), json.to_vec()));
        self.templates.clear();
    }

    /// Appends one view as a line.
    pub(crate) fn view(&mut self, overlay_json: &[u8], out: &mut Vec<u8>) {
        let (signal, signal_json) = self.signal.as_ref().unwrap();
        let draft = OverlayDraft::from_object(Object::parse(overlay_json).unwrap(), None).unwrap();
        let overlay: Overlay = draft.resolve(UnixMillis::MAX);
        let currency = &overlay.account_currency;
        let known = self.templates.iter().position(|known| known.terms().account_currency() == currency);
        let at = known.unwrap_or_else(|| {
            let market = Market {
                instruments: &self.instruments,
                tiers: &self.tiers,
                rates: &self.rates,
                max_ages: MaxAges::default(),
            };
            self.templates.push(ViewTemplate::new(Terms::new(signal, currency, market)));
            self.templates.len() - 1
        });
        let tier = self.tiers.of_user(overlay.tier.as_ref());
        self.budget.clear();
        render::write_budget(&mut self.budget, Budget::of(overlay.account(), tier));
        let template = &self.templates[at];
        let mission = template.terms().mission(overlay.account(), tier, None, UnixMillis::MIN);
        template.write(out, signal_json, overlay_json, &self.budget, &mission);
        out.push(b'\n');
    }
}

/// The ids of users.
pub(crate) fn users(numbers: impl Iterator<Item = usize>) -> Arc<[UserId]> {
    numbers.map(|number| UserId::parse(&data::user_id(number)).unwrap()).collect()
}
