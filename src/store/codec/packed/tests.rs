//! What packing comes to, what becomes of bytes that are no packed record, and where the dictionary came from.

use std::fmt::Write as _;
use std::process::Command;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{DecodeError, PACKED_VERSION, RECORD_BYTES_MAX, decode_signal, encode_plain_signal, encode_signal};
use super::*;
use crate::domain::{Object, Signal, SignalDraft, SignalId, UnixMillis};

/// Random numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// Symbols, with the price of the first and the decimals that prices of it have.
const SYMBOLS: &[&(&str, u64, usize)] = &[
    &("EURUSD", 108_500, 5),
    &("EURUSD", 116_200, 5),
    &("GBPUSD", 133_650, 5),
    &("USDJPY", 148_120, 3),
    &("USDCHF", 80_200, 5),
    &("USDCAD", 137_100, 5),
    &("AUDUSD", 65_180, 5),
    &("NZDUSD", 59_120, 5),
    &("EURGBP", 86_500, 5),
    &("EURJPY", 161_250, 3),
    &("GBPJPY", 198_400, 3),
    &("AUDJPY", 96_700, 3),
    &("EURAUD", 177_900, 5),
    &("GBPAUD", 205_800, 5),
    &("GBPCHF", 107_300, 5),
    &("EURCHF", 93_800, 5),
    &("CADJPY", 107_900, 3),
    &("AUDCAD", 89_400, 5),
    &("XAUUSD", 339_200, 2),
    &("XAUUSD", 401_500, 2),
    &("XAGUSD", 3_800, 2),
    &("US30", 43_880, 0),
    &("NAS100", 23_400, 0),
    &("SPX500", 64_500, 1),
    &("BTCUSD", 115_850, 0),
    &("ETHUSD", 4_120, 0),
];

const PATTERNS: &[&str] = &[
    "LIQUIDITY_SWEEP_REVERSAL",
    "ORDER_BLOCK_BOUNCE",
    "FAIR_VALUE_GAP_FILL",
    "VCB_BREAKOUT",
    "SWEEP_RECLAIM",
    "MOMENTUM_BURST",
];

const INSIGHTS: &[&str] = &[
    "Institutional accumulation detected",
    "Stops below the previous day low were taken",
    "London open sweep",
    "Supply from the European open",
    "Trend day, pullback into demand",
    "Failed reclaim of the daily open",
    "Equal highs swept before the US data",
    "Liquidity below the London low taken, spread normal",
    "Four-hour order block, first touch",
    "Range of the European morning broken",
];

/// Levels as prices around `price`, in units of the last decimal.
fn prices(dice: &mut Dice, price: u64, decimals: usize, is_buy: bool) -> String {
    let entry = price - price / 20 + dice.below(price / 10);
    let stop = 1 + price / 2_000 + dice.below(price / 400 + 2);
    let target = stop * (2 + dice.below(5)) / 2 + 1;
    let (stop, target) = if is_buy { (entry - stop, entry + target) } else { (entry + stop, entry - target) };
    let shown = |units: u64| {
        let scale = 10_u64.pow(u32::try_from(decimals).unwrap());
        if decimals == 0 { units.to_string() } else { format!("{}.{:0decimals$}", units / scale, units % scale) }
    };
    format!(r#""entry_price":{},"stop_loss":{},"take_profit":{}"#, shown(entry), shown(stop), shown(target))
}

/// What one of several kinds of publishers adds to a signal.
fn members(dice: &mut Dice, symbol: &str, class: &str, pattern: &str) -> String {
    let session = dice.pick(&["LONDON", "NEW_YORK", "NY", "OVERLAP", "ASIAN", "TOKYO"]);
    let quality = dice.pick(&["PREMIUM", "STANDARD", "ACCEPTABLE"]);
    let (tenths, score) = (dice.below(10), 60 + dice.below(39));
    let flag = |dice: &mut Dice| dice.pick(&["true", "true", "false"]);
    let mut out = format!(r#","session":"{session}""#);
    match dice.below(5) {
        0 => {
            let _ = write!(out, r#","signal_class":"{class}","quality_tier":"{quality}""#);
            if !dice.one_in(4) {
                let _ = write!(out, r#","shield_score":{}.{tenths}"#, 6 + dice.below(4));
            }
            if dice.one_in(2) {
                let _ = write!(out, r#","citadel_insights":"{}""#, dice.pick(INSIGHTS));
            }
            if !dice.one_in(3) {
                let (spread, volume, news, trend) = (flag(dice), flag(dice), flag(dice), flag(dice));
                let _ = write!(
                    out,
                    r#","filters_passed":{{"spread":{spread},"volume":{volume},"news":{news},"trend":{trend}}}"#
                );
            }
            let _ = write!(out, r#","xp_reward":{}"#, 70 + dice.below(70));
        }
        1 => {
            let (stop, target) = (10 + dice.below(30), 20 + dice.below(60));
            let insight = dice.pick(INSIGHTS);
            let _ = write!(
                out,
                r#","citadel_score":{}.{tenths},"citadel_insights":"{insight}","sl_pips":{stop}.0,"tp_pips":{target}.0,"risk_reward":2.0"#,
                5 + dice.below(5)
            );
        }
        2 => {
            let tiers = dice.pick(&[
                r#"["FANG","COMMANDER"]"#,
                r#"["NIBBLER","FANG","COMMANDER"]"#,
                r#"["PRESS_PASS","NIBBLER","FANG","COMMANDER"]"#,
            ]);
            let _ = write!(
                out,
                r#","pair":"{symbol}","pattern":"{pattern}","signal_class":"{class}","quality_score":{score}.{tenths},"quality_tier":"{quality}","risk_reward":{}.{tenths},"tier_required":"{}","tiers_allowed":{tiers},"news_impact":{}"#,
                1 + dice.below(3),
                dice.pick(&["NIBBLER", "FANG", "COMMANDER"]),
                dice.below(10)
            );
        }
        3 => {
            let _ = write!(
                out,
                r#","signal_type":"{}","citadel_score":{}.{tenths},"shield_rating":"{}","timeframe":"{}","source":"{}","uuid":"{:016x}{:016x}""#,
                dice.pick(&["RAPID_ASSAULT", "SNIPER_OPS", "PRECISION_STRIKE"]),
                dice.below(10),
                dice.pick(&["SHIELD_APPROVED", "SHIELD_ACTIVE", "VOLATILITY_ZONE", "UNVERIFIED"]),
                dice.pick(&["M1", "M5", "M15", "H1"]),
                dice.pick(&["venom", "venom_scalp_master", "elite_guard", "bitten_core"]),
                dice.roll(),
                dice.roll()
            );
        }
        _ => {
            let _ = write!(
                out,
                r#","signal_type":"{}","shield_score":{}.{tenths},"shield_class":"{}","tcs_score":{score},"risk_reward_ratio":{}.{tenths},"source":"{}","trade_uuid":"{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}""#,
                dice.pick(&["RAPID_ASSAULT", "SNIPER_OPS", "PRECISION_STRIKE"]),
                3 + dice.below(7),
                dice.pick(&["SHIELD_APPROVED", "SHIELD_ACTIVE", "VOLATILITY_ZONE", "UNVERIFIED"]),
                1 + dice.below(3),
                dice.pick(&["venom", "VENOM_v7", "apex_engine", "elite_guard"]),
                dice.below(1 << 32),
                dice.below(1 << 16),
                dice.below(1 << 12),
                dice.below(1 << 12),
                dice.below(1 << 48)
            );
        }
    }
    out
}

/// A made-up signal such as publishers send.
fn made_up(dice: &mut Dice) -> Signal {
    let (symbol, price, decimals) = *dice.pick(SYMBOLS);
    let is_buy = dice.one_in(2);
    let class = dice.pick(&["RAPID", "SNIPER", "GUARD"]);
    let pattern = dice.pick(PATTERNS);
    // From 2025 on, for ten years.
    let at_s = 1_735_689_600 + dice.below(315_360_000);
    let name = dice.pick(&["ELITE_GUARD", "ELITE_RAPID", "ELITE_SNIPER", "APEX5", "VENOM_SCALP", "VENOM_UNFILTERED"]);
    let levels = if dice.one_in(5) {
        let stop = 10 + dice.below(50);
        format!(r#""stop_pips":{stop},"target_pips":{}"#, stop * 2)
    } else {
        prices(dice, price, decimals, is_buy)
    };
    let confidence = if dice.one_in(2) { String::new() } else { format!(".{}", 1 + dice.below(9)) };
    let json = format!(
        r#"{{"symbol":"{symbol}","direction":"{}",{levels},"pattern_type":"{pattern}","confidence":{}{confidence}{}}}"#,
        if is_buy { "BUY" } else { "SELL" },
        60 + dice.below(39),
        members(dice, symbol, class, pattern)
    );
    let id = SignalId::parse(&format!("{name}_{symbol}_{at_s}")).unwrap();
    let draft = SignalDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(&id)).unwrap();
    let millis = if dice.one_in(2) { 0 } else { dice.below(1_000) };
    let now = UnixMillis::new(i64::try_from(at_s * 1_000 + millis).unwrap());
    draft.resolve(now, *dice.pick(&[&3_600_000, &300_000, &7_200_000, &14_400_000, &28_800_000])).unwrap()
}

#[test]
fn signals_are_read_as_they_were_packed_and_take_a_third() {
    let mut dice = Dice(0xFEED);
    let (mut plain_bytes, mut packed_bytes) = (0, 0);
    for seq in 1..=2_000 {
        let signal = made_up(&mut dice);
        let bytes = encode_signal(&signal, seq).unwrap();
        assert_eq!(bytes[0], PACKED_VERSION);
        assert_eq!(decode_signal(&bytes, &mut Unpacker::default()), Ok((signal.clone(), seq)));
        plain_bytes += encode_plain_signal(&signal, seq).unwrap().len();
        packed_bytes += bytes.len();
    }
    println!("{} bytes a signal, packed {}", plain_bytes / 2_000, packed_bytes / 2_000);
    assert!(packed_bytes * 3 <= plain_bytes, "{packed_bytes} of {plain_bytes}");
}

/// What packing would make longer stays as it is.
#[test]
fn what_can_not_be_packed_is_left_alone() {
    let mut dice = Dice(0xFEED);
    for len in [0, 1, 2, 3, 10, 100, RECORD_BYTES_MAX] {
        let noise: Vec<_> = (0..len).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        let mut out = vec![9];
        assert!(!pack(&noise, &mut out), "{len}");
        assert_eq!(out, [9]);
    }
}

/// A few hundred bytes can say that they are a gigabyte.
#[test]
fn a_record_that_unpacks_to_more_than_a_record_may_have_is_refused() {
    let mut context = new_packer().unwrap();
    for len in [RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 1 << 20, 1 << 28] {
        let packed = context.compress(&vec![0; len]).unwrap();
        assert!(packed.len() < 1 << 15);
        let seen = Unpacker::default().unpack(&packed).map(<[u8]>::len);
        assert_eq!(seen.is_ok(), len <= RECORD_BYTES_MAX, "{len}: {seen:?}");
        let record = [&[PACKED_VERSION], packed.as_slice()].concat();
        assert!(
            matches!(
                decode_signal(&record, &mut Unpacker::default()),
                Err(DecodeError::Layout(_) | DecodeError::Trailing(_))
            ),
            "{len}"
        );
    }
}

#[test]
fn a_packed_record_that_was_cut_or_goes_on_is_refused() {
    let bytes = encode_signal(&made_up(&mut Dice(7)), 1).unwrap();
    for len in 0..bytes.len() {
        assert!(decode_signal(&bytes[..len], &mut Unpacker::default()).is_err(), "cut to {len}");
    }
    assert!(decode_signal(&[bytes.as_slice(), &[0]].concat(), &mut Unpacker::default()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_unpack_or_are_an_error(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(len) = Unpacker::default().unpack(&bytes).map(<[u8]>::len) {
            prop_assert!(len <= RECORD_BYTES_MAX);
        }
    }
}

/// The dictionary, from its source: `cargo test --lib make_the_dictionary -- --ignored`, with the program `zstd`
/// installed; version 1.5.4 made the one that is there. It is made only if the file is empty, since what is in use can
/// not be read with another one: this is for a new dictionary under a new name.
#[test]
#[ignore = "makes data/signals-1.zdict, if that is empty"]
fn make_the_dictionary() {
    const SAMPLES: u64 = 20_000;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/signals-1.zdict");
    assert!(DICTIONARY.is_empty(), "it is there");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let mut dice = Dice(0x5EED);
    let mut names = String::new();
    for number in 0..SAMPLES {
        let plain = encode_plain_signal(&made_up(&mut dice), 1 + dice.below(1 << 22)).unwrap();
        let sample = folder.path().join(number.to_string());
        std::fs::write(&sample, &plain[1..]).unwrap();
        let _ = writeln!(names, "{}", sample.display());
    }
    // In this order, or each run would make another one.
    std::fs::write(&list, names).unwrap();
    let mut train = Command::new("zstd");
    train.args(["--train", "--maxdict=16384", "-3", "-q", "--filelist"]).arg(list).args(["-o", path]);
    assert!(train.status().unwrap().success());
}
