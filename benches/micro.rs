//! Parts on their own, by criterion: computing and rendering a view, reading it from the file and from memory,
//! committing an update.
//!
//! `cargo bench --bench micro`. What these figures are good for is comparing a change with what was before it; claims
//! are the headline's.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use overlaid::domain::Condition;
use overlaid::domain::{
    Budget, Currency, Instruments, Market, MaxAges, Object, Overlay, OverlayDraft, RateDraft, Rates, Signal,
    SignalDraft, SignalId, Terms, Tiers, UnixMillis, UserId,
};
use overlaid::render::{self, ViewTemplate};
use overlaid::service::{Service, Settings};
use overlaid::store::{Operation, Precedence};

const SIGNAL: &str = r#"{"signal_id":"ELITE_RAPID_EURUSD_1763904604","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"pattern_type":"LIQUIDITY_SWEEP_REVERSAL","confidence":89.5,"expires_at":"2099-01-01T00:00:00Z","session":"LONDON","signal_class":"RAPID","xp_reward":122}"#;
const OVERLAY: &str = r#"{"user_id":"7005","tier":"NIBBLER","risk_percent":2,"account_balance":3200.5,"account_currency":"EUR","win_rate":58.3,"trades_remaining":5,"updated_at":"2025-11-23T11:50:31Z","broker":"Harbour FX","server":"Harbour-Demo"}"#;

fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).unwrap()
}

fn signal() -> Signal {
    SignalDraft::from_object(object(SIGNAL), None).unwrap().resolve(UnixMillis::MIN, 1).unwrap()
}

fn overlay() -> Overlay {
    OverlayDraft::from_object(object(OVERLAY), None).unwrap().resolve(UnixMillis::MAX)
}

fn rates() -> Rates {
    let mut rates = Rates::default();
    for pair in ["EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDJPY", "USDCHF", "USDCAD"] {
        let draft = RateDraft::from_object(object(&format!(r#"{{"pair":"{pair}","price":1.25}}"#)), None).unwrap();
        rates.put(draft.resolve(UnixMillis::MIN), 1);
    }
    rates
}

/// The pure part: nothing is read or kept.
fn views(c: &mut Criterion) {
    let (signal, overlay, rates) = (signal(), overlay(), rates());
    let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
    let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates, max_ages: MaxAges::default() };
    let currency: &Currency = &overlay.account_currency;
    let terms = Terms::new(&signal, currency, market);
    let mission = || {
        let tier = tiers.of_user(overlay.tier.as_ref());
        terms.mission(overlay.account(), tier, None, UnixMillis::MIN)
    };
    c.bench_function("terms of a signal", |b| b.iter(|| Terms::new(black_box(&signal), currency, market)));
    c.bench_function("mission from terms", |b| b.iter(|| black_box(mission())));
    let (signal_json, overlay_json) = (render::signal_json(&signal), render::overlay_json(&overlay));
    let mut out = Vec::with_capacity(4096);
    let computed = mission();
    c.bench_function("render a computed view", |b| {
        b.iter(|| {
            out.clear();
            render::write_view(&mut out, &signal_json, &overlay_json, black_box(&computed), &terms);
        });
    });
    let mut budget = Vec::new();
    render::write_budget(&mut budget, Budget::of(overlay.account(), tiers.of_user(overlay.tier.as_ref())));
    let template = ViewTemplate::new(terms.clone());
    c.bench_function("compute and render a view", |b| {
        b.iter(|| {
            out.clear();
            template.write(&mut out, &signal_json, &overlay_json, &budget, black_box(&mission()));
        });
    });
    c.bench_function("render an overlay", |b| b.iter(|| render::overlay_json(black_box(&overlay))));
    c.bench_function("parse an overlay", |b| {
        b.iter(|| OverlayDraft::from_object(object(black_box(OVERLAY)), None).unwrap());
    });
}

/// Through the service: from memory, from the file, and onto the disk.
fn records(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let service = Service::open(&folder.path().join("overlaid.redb"), Settings::built_in().unwrap()).unwrap();
    let put = |operation| service.submit(operation).unwrap().done_blocking().unwrap();
    put(Operation::PutSignal {
        draft: SignalDraft::from_object(object(SIGNAL), None).unwrap(),
        now: service.now(),
        lifetime_ms: 1,
        condition: Condition::None,
        precedence: Precedence::Replace,
    });
    put(Operation::PutOverlay {
        draft: OverlayDraft::from_object(object(OVERLAY), None).unwrap(),
        now: service.now(),
        condition: Condition::None,
        precedence: Precedence::Replace,
    });
    let user = UserId::parse("7005").unwrap();
    let id = SignalId::parse("ELITE_RAPID_EURUSD_1763904604").unwrap();
    c.bench_function("overlay from memory", |b| b.iter(|| service.read_overlay(&user).unwrap().unwrap()));
    c.bench_function("overlay from the file, decoded", |b| {
        b.iter(|| service.snapshot().unwrap().overlay(&user).unwrap().unwrap());
    });
    let mut out = Vec::with_capacity(4096);
    c.bench_function("view from memory", |b| {
        b.iter(|| {
            out.clear();
            let signal = service.read_signal(&id).unwrap().unwrap();
            let overlay = service.read_overlay(&user).unwrap().unwrap();
            service.with_view(&signal, &overlay, |view| view.write_to(&service, &mut out));
        });
    });
    let mut cents = 0_u32;
    c.bench_function("commit of a balance", |b| {
        b.iter_batched(
            || {
                cents += 1;
                let patch = object(&format!(r#"{{"account_balance":5000.{:02}}}"#, cents % 100));
                let (user, now) = (user.clone(), service.now());
                Operation::PatchOverlay {
                    user,
                    patch,
                    now,
                    condition: Condition::None,
                    precedence: Precedence::Replace,
                }
            },
            put,
            BatchSize::SmallInput,
        );
    });
    service.stop();
}

criterion_group!(benches, views, records);
criterion_main!(benches);
