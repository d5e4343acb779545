//! The layout of stored records, byte by byte, and what becomes of bytes that are none.
//!
//! The bytes below were put together by hand from the rules of bincode 1.3.3, not by running the code under test:
//! little endian, lengths of eight bytes, one byte for a small number and for whether an option is there. They are what
//! files in use hold, so none of them may ever change; a new layout gets a new version byte and its own bytes here.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::render;

const SIGNAL_PRICES: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 7", "0700000000000000"),
    ("id S1", "02000000000000005331"),
    ("symbol EURUSD", "0600000000000000455552555344"),
    ("SELL", "01"),
    ("prices", "00"),
    ("entry 1.085", "012094770600000000"),
    ("stop 1.087", "60a17a0600000000"),
    ("target 1.08", "0100f36f0600000000"),
    ("pattern_type", "010500000000000000425245414b"),
    ("confidence 82.5", "018002bdeb01000000"),
    ("created_at", "009eec139c010000"),
    ("expires_at", "808c23149c010000"),
    ("cancelled", "02"),
    ("no take_profits", "0000000000000000"),
    ("one member", "0100000000000000070000000000000073657373696f6e0600000000000000224153494122"),
];

const SIGNAL_PIPS: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 258", "0201000000000000"),
    ("id S2", "02000000000000005332"),
    ("symbol XAUUSD", "0600000000000000584155555344"),
    ("BUY", "00"),
    ("pips", "01"),
    ("no entry", "00"),
    ("stop 20", "0094357700000000"),
    ("no target", "00"),
    ("no pattern_type", "00"),
    ("no confidence", "00"),
    ("created_at", "009eec139c010000"),
    ("expires_at", "808c23149c010000"),
    ("no status", "00"),
    ("two take_profits", "0200000000000000"),
    ("30 pips", "01005ed0b200000000"),
    ("60 percent", "0100bca06501000000"),
    ("40.5 pips", "01801866f100000000"),
    ("40 percent", "0100286bee00000000"),
    ("no members", "0000000000000000"),
];

const OVERLAY: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 9", "0900000000000000"),
    ("user -1009", "05000000000000002d31303039"),
    ("tier FANG", "01040000000000000046414e47"),
    ("risk 2", "0100c2eb0b00000000"),
    ("of the equity", "0101"),
    ("balance 10850.47", "01c04bd7a1fc000000"),
    ("equity -1", "01001f0afaffffffff"),
    ("free margin 0.5", "0180f0fa0200000000"),
    ("leverage 30", "01005ed0b200000000"),
    ("currency EUR", "0300000000000000455552"),
    ("win_rate 71.5", "0180572caa01000000"),
    ("trades 8", "0108000000"),
    ("updated_at", "009eec139c010000"),
    ("balance_confirmed_at", "019eec139c010000"),
    (
        "two members",
        "02000000000000000100000000000000620400000000000000312e313001000000000000006108000000000000007b2278223a5b5d7d",
    ),
];

const OVERLAY_BARE: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 1", "0100000000000000"),
    ("user 7", "010000000000000037"),
    ("no tier", "00"),
    ("no risk", "00"),
    ("no basis", "00"),
    ("no balance", "00"),
    ("no equity", "00"),
    ("no free margin", "00"),
    ("no leverage", "00"),
    ("currency USD", "0300000000000000555344"),
    ("no win_rate", "00"),
    ("no trades", "00"),
    ("updated_at", "0000000000000000"),
    ("balance_confirmed_at", "0000000000000000"),
    ("no members", "0000000000000000"),
];

const OUTCOME: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 3", "0300000000000000"),
    ("signal S1", "02000000000000005331"),
    ("user 7", "010000000000000037"),
    ("failed", "01"),
    ("at", "009eec139c010000"),
    ("profit -12.5", "0180837eb5ffffffff"),
    ("loss", "02"),
    ("one member", "010000000000000006000000000000007469636b6574040000000000000022383122"),
];

const OUTCOME_BARE: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 3", "0300000000000000"),
    ("signal S1", "02000000000000005331"),
    ("user 7", "010000000000000037"),
    ("closed", "02"),
    ("at", "009eec139c010000"),
    ("no profit", "00"),
    ("no result", "00"),
    ("no members", "0000000000000000"),
];

const RATE: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 4", "0400000000000000"),
    ("pair USDJPY", "06000000000000005553444a5059"),
    ("price 148.5", "8004217503000000"),
    ("updated_at", "009eec139c010000"),
    ("confirmed_at", "019eec139c010000"),
];

const TOKEN: &[(&str, &str)] = &[
    ("version", "01"),
    ("seq 5", "0500000000000000"),
    ("id k1", "02000000000000006b31"),
    ("sha256", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
    ("scopes read, read:7", "02000000000000000400000000000000726561640600000000000000726561643a37"),
    ("name", "0300000000000000626f74"),
    ("created_at", "009eec139c010000"),
    ("expires_at", "01009eec139c010000"),
    ("last_used_at", "01009eec139c010000"),
];

fn bytes(fields: &[(&str, &str)]) -> Vec<u8> {
    let hex: String = fields.iter().map(|(_, hex)| *hex).collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).unwrap()
}

fn noon() -> UnixMillis {
    UnixMillis::parse("2026-01-31T12:00:00Z").unwrap()
}

fn in_an_hour() -> UnixMillis {
    UnixMillis::parse("2026-01-31T13:00:00Z").unwrap()
}

fn signal() -> Signal {
    Signal {
        id: SignalId::parse("S1").unwrap(),
        symbol: Symbol::parse("EURUSD").unwrap(),
        direction: Direction::Sell,
        levels: Levels::Prices { entry: decimal("1.085"), stop: decimal("1.087"), target: Some(decimal("1.08")) },
        take_profits: Vec::new(),
        pattern_type: Some("BREAK".to_owned()),
        confidence: Some(decimal("82.5")),
        status: Some(SignalStatus::Cancelled),
        created_at: noon(),
        expires_at: in_an_hour(),
        members: object(r#"{"session":"ASIA"}"#),
    }
}

fn signal_in_pips() -> Signal {
    Signal {
        id: SignalId::parse("S2").unwrap(),
        symbol: Symbol::parse("XAUUSD").unwrap(),
        direction: Direction::Buy,
        levels: Levels::Pips { entry: None, stop: decimal("20"), target: None },
        take_profits: vec![
            Target { level: TargetLevel::Pips(decimal("30")), share: Some(decimal("60")) },
            Target { level: TargetLevel::Pips(decimal("40.5")), share: Some(decimal("40")) },
        ],
        pattern_type: None,
        confidence: None,
        status: None,
        created_at: noon(),
        expires_at: in_an_hour(),
        members: Object::default(),
    }
}

fn overlay() -> Overlay {
    Overlay {
        user_id: UserId::parse("-1009").unwrap(),
        tier: Some(TierName::parse("FANG").unwrap()),
        risk_percent: Some(decimal("2")),
        risk_basis: Some(RiskBasis::Equity),
        account_balance: Some(decimal("10850.47")),
        account_equity: Some(decimal("-1")),
        free_margin: Some(decimal("0.5")),
        leverage: Some(decimal("30")),
        account_currency: Currency::parse("EUR").unwrap(),
        win_rate: Some(decimal("71.5")),
        trades_remaining: Some(8),
        updated_at: noon(),
        balance_confirmed_at: noon().plus_millis(1),
        members: object(r#"{"b":1.10,"a":{"x":[]}}"#),
    }
}

fn bare_overlay() -> Overlay {
    Overlay {
        user_id: UserId::parse("7").unwrap(),
        tier: None,
        risk_percent: None,
        risk_basis: None,
        account_balance: None,
        account_equity: None,
        free_margin: None,
        leverage: None,
        account_currency: Currency::usd(),
        win_rate: None,
        trades_remaining: None,
        updated_at: UnixMillis::MIN,
        balance_confirmed_at: UnixMillis::MIN,
        members: Object::default(),
    }
}

fn outcome() -> Outcome {
    Outcome {
        signal_id: SignalId::parse("S1").unwrap(),
        user_id: UserId::parse("7").unwrap(),
        status: OutcomeStatus::Failed,
        at: noon(),
        profit: Some(decimal("-12.5")),
        result: Some(TradeResult::Loss),
        members: object(r#"{"ticket":"81"}"#),
    }
}

fn bare_outcome() -> Outcome {
    Outcome { status: OutcomeStatus::Closed, profit: None, result: None, members: Object::default(), ..outcome() }
}

fn rate() -> Rate {
    Rate {
        pair: Pair::parse("USDJPY").unwrap(),
        price: decimal("148.5"),
        updated_at: noon(),
        confirmed_at: noon().plus_millis(1),
    }
}

fn token() -> Token {
    Token {
        id: "k1".to_owned(),
        sha256: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        scopes: vec![Scope::Read, Scope::ReadUser(UserId::parse("7").unwrap())],
        name: "bot".to_owned(),
        created_at: noon(),
        expires_at: Some(noon()),
        last_used_at: Some(noon()),
    }
}

/// Checks a record against its bytes, both ways, and that no part of it can be missing and nothing can follow it.
#[track_caller]
fn decode_signal(bytes: &[u8]) -> Decoded<Signal> {
    super::decode_signal(bytes, &mut Unpacker::default())
}

fn check<T: PartialEq + std::fmt::Debug>(
    golden: &[(&str, &str)],
    record: &T,
    encode: impl Fn(&T) -> Result<Vec<u8>, TooLarge>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let golden = bytes(golden);
    assert_eq!(encode(record).as_deref(), Ok(golden.as_slice()));
    assert_eq!(decode(&golden).as_ref(), Ok(record));
    for len in 0..golden.len() {
        assert!(decode(&golden[..len]).is_err(), "cut to {len} bytes");
    }
    for more in 1..20 {
        let longer = [golden.as_slice(), &vec![0; more]].concat();
        assert_eq!(decode(&longer), Err(DecodeError::Trailing(more)));
    }
    for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
        let other: Vec<u8> = std::iter::once(version).chain(golden[1..].iter().copied()).collect();
        match decode(&other).unwrap_err() {
            DecodeError::Version(found) => assert_eq!(found, version),
            // Plain bytes are no packed record.
            other => {
                assert!(version == PACKED_VERSION && matches!(other, DecodeError::Layout(_)), "{version}: {other}");
            }
        }
    }
    assert_eq!(decode(&[]), Err(DecodeError::Empty));
}

#[test]
fn a_signal_is_stored_as_these_bytes() {
    check(SIGNAL_PRICES, &(signal(), 7), |(signal, seq)| encode_plain_signal(signal, *seq), decode_signal);
    check(SIGNAL_PIPS, &(signal_in_pips(), 258), |(signal, seq)| encode_plain_signal(signal, *seq), decode_signal);
}

#[test]
fn an_overlay_is_stored_as_these_bytes() {
    check(OVERLAY, &(overlay(), 9), |(overlay, seq)| encode_overlay(overlay, *seq), decode_overlay);
    check(OVERLAY_BARE, &(bare_overlay(), 1), |(overlay, seq)| encode_overlay(overlay, *seq), decode_overlay);
}

#[test]
fn an_outcome_a_rate_and_a_token_are_stored_as_these_bytes() {
    check(OUTCOME, &(outcome(), 3), |(outcome, seq)| encode_outcome(outcome, *seq), decode_outcome);
    check(OUTCOME_BARE, &(bare_outcome(), 3), |(outcome, seq)| encode_outcome(outcome, *seq), decode_outcome);
    check(RATE, &(rate(), 4), |(rate, seq)| encode_rate(rate, *seq), decode_rate);
    check(TOKEN, &(token(), 5), |(token, seq)| encode_token(token, *seq), decode_token);
}

/// Without a limit, a length of 2⁴⁰ asks for more memory than there is, and the process ends.
#[test]
fn a_corrupt_length_is_an_error_and_not_an_allocation() {
    for shift in 0..64 {
        for len in [1_u64 << shift, u64::MAX >> shift] {
            // The version, a `seq`, and the length of a text.
            let text: Vec<u8> = std::iter::once(VERSION).chain([0; 8]).chain(len.to_le_bytes()).collect();
            assert!(matches!(decode_signal(&text), Err(DecodeError::Layout(_))), "a text of {len} bytes");
            assert!(decode_overlay(&text).is_err() && decode_outcome(&text).is_err());
            assert!(decode_rate(&text).is_err() && decode_token(&text).is_err());
        }
    }
}

#[test]
fn values_that_no_record_has_are_refused() {
    /// Decodes golden bytes in which the field called `name` holds something else.
    fn with<T>(
        golden: &[(&str, &str)],
        (name, hex): (&str, &str),
        decode: impl Fn(&[u8]) -> Decoded<T>,
    ) -> Option<DecodeError> {
        assert!(golden.iter().any(|(known, _)| *known == name));
        let fields: Vec<_> = golden.iter().map(|field| if field.0 == name { (name, hex) } else { *field }).collect();
        decode(&bytes(&fields)).err()
    }
    let one_bad_byte = "010000000000000020";
    for (name, hex) in [
        ("SELL", "02"),
        ("prices", "02"),
        ("entry 1.085", "00"),
        ("stop 1.087", "0000000000000000"),
        ("cancelled", "04"),
        ("id S1", one_bad_byte),
        ("symbol EURUSD", one_bad_byte),
    ] {
        assert!(matches!(with(SIGNAL_PRICES, (name, hex), decode_signal), Some(DecodeError::Value(_))), "{name}");
    }
    assert!(matches!(with(SIGNAL_PRICES, ("SELL", "00"), decode_signal), Some(DecodeError::Value(_))), "wrong side");
    assert!(matches!(with(SIGNAL_PRICES, ("pattern_type", "02"), decode_signal), Some(DecodeError::Layout(_))));
    for (name, hex) in [
        ("stop 20", "0000000000000000"),
        ("30 pips", "020000000000000000"),
        ("30 pips", "010000000000000000"),
        ("30 pips", "00005ed0b200000000"),
        ("60 percent", "00"),
        ("60 percent", "010000000000000000"),
        ("60 percent", "01ffffffffffffffff"),
        ("60 percent", "01ffffffffffffff7f"),
    ] {
        assert!(matches!(with(SIGNAL_PIPS, (name, hex), decode_signal), Some(DecodeError::Value(_))), "{name} {hex}");
    }
    for name in ["user -1009", "currency EUR"] {
        assert!(matches!(with(OVERLAY, (name, one_bad_byte), decode_overlay), Some(DecodeError::Value(_))), "{name}");
    }
    let not_utf8 = "0100000000000000ff";
    assert!(matches!(with(OVERLAY, ("user -1009", not_utf8), decode_overlay), Some(DecodeError::Layout(_))));
    assert!(matches!(with(OUTCOME, ("failed", "03"), decode_outcome), Some(DecodeError::Value(_))));
    assert!(matches!(with(OUTCOME, ("loss", "04"), decode_outcome), Some(DecodeError::Value(_))));
    assert!(matches!(with(RATE, ("price 148.5", "ffffffffffffffff"), decode_rate), Some(DecodeError::Value(_))));
    assert!(matches!(
        with(TOKEN, ("scopes read, read:7", "010000000000000001000000000000007a"), decode_token),
        Some(DecodeError::Value(_))
    ));
}

/// An object of `count` members.
fn members(count: usize) -> Object {
    Object::from_members((0..count).map(|at| (format!("m{at}"), "0".to_owned())).collect())
}

/// An object of one member, as long as is needed to bring `record` to `bytes_max`.
fn filling(len_without: usize, bytes_max: usize) -> Object {
    // The name, its length, the length of the value, and the quotes.
    let value = "x".repeat(bytes_max - len_without - 1 - 8 - 8 - 2);
    Object::from_members(vec![("m".to_owned(), format!("\"{value}\""))])
}

#[test]
fn a_record_as_large_as_can_be_is_read_again_and_one_byte_more_is_refused() {
    let bare = Overlay { members: Object::default(), ..overlay() };
    let bare_len = encode_overlay(&bare, 1).unwrap().len();
    let largest = Overlay { members: filling(bare_len, RECORD_BYTES_MAX), ..bare.clone() };
    let encoded = encode_overlay(&largest, 1).unwrap();
    assert_eq!(encoded.len(), RECORD_BYTES_MAX);
    assert_eq!(decode_overlay(&encoded), Ok((largest, 1)));
    let larger = Overlay { members: filling(bare_len, RECORD_BYTES_MAX + 1), ..bare };
    assert_eq!(encode_overlay(&larger, 1), Err(TooLarge));

    // The smallest elements are the worst, as each is counted by its size in memory.
    let scopes = (RECORD_BYTES_MAX - encode_token(&Token { scopes: Vec::new(), ..token() }, 1).unwrap().len()) / 12;
    let largest = Token { scopes: vec![Scope::Read; scopes], ..token() };
    let encoded = encode_token(&largest, 1).unwrap();
    assert!(encoded.len() > RECORD_BYTES_MAX - 12);
    assert_eq!(decode_token(&encoded), Ok((largest, 1)));
}

#[test]
fn more_members_than_can_be_read_back_as_one_object_are_refused() {
    let most = members(MEMBERS_MAX);
    let (signal, overlay) =
        (Signal { members: most.clone(), ..signal() }, Overlay { members: most.clone(), ..overlay() });
    let outcome = Outcome { members: most, ..outcome() };
    assert_eq!(decode_signal(&encode_signal(&signal, 1).unwrap()), Ok((signal.clone(), 1)));
    assert_eq!(decode_overlay(&encode_overlay(&overlay, 1).unwrap()), Ok((overlay.clone(), 1)));
    assert_eq!(decode_outcome(&encode_outcome(&outcome, 1).unwrap()), Ok((outcome.clone(), 1)));
    for json in [render::signal_json(&signal), render::overlay_json(&overlay), render::outcome_json(&outcome)] {
        Object::parse(&json).unwrap();
    }

    let more = members(MEMBERS_MAX + 1);
    assert_eq!(encode_signal(&Signal { members: more.clone(), ..signal }, 1), Err(TooLarge));
    assert_eq!(encode_overlay(&Overlay { members: more.clone(), ..overlay }, 1), Err(TooLarge));
    assert_eq!(encode_outcome(&Outcome { members: more, ..outcome }, 1), Err(TooLarge));
}

fn any_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:@-]{1,128}".prop_filter("not a name", |id| id != "." && id != "..")
}

fn any_signal_id() -> impl Strategy<Value = SignalId> {
    any_id().prop_map(|id| SignalId::parse(&id).unwrap())
}

fn any_user_id() -> impl Strategy<Value = UserId> {
    any_id().prop_map(|id| UserId::parse(&id).unwrap())
}

fn any_pair() -> impl Strategy<Value = Pair> {
    "[A-Z]{6}|[A-Z0-9]{4,10}-[A-Z0-9]{3,10}".prop_filter_map("twice the same code", |pair| Pair::parse(&pair).ok())
}

fn any_time() -> impl Strategy<Value = UnixMillis> {
    (UnixMillis::MIN.millis()..=UnixMillis::MAX.millis()).prop_map(UnixMillis::new)
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    any::<i64>().prop_map(Decimal::from_units)
}

fn above_zero() -> impl Strategy<Value = Decimal> {
    (1..i64::MAX).prop_map(Decimal::from_units)
}

fn any_members() -> impl Strategy<Value = Object> {
    vec((".{0,20}", ".{0,40}"), 0..20).prop_map(Object::from_members)
}

fn any_levels() -> impl Strategy<Value = (Direction, Levels)> {
    let direction = prop_oneof![Just(Direction::Buy), Just(Direction::Sell)];
    let pips = (direction, option::of(any_decimal()), above_zero(), option::of(above_zero()))
        .prop_map(|(direction, entry, stop, target)| (direction, Levels::Pips { entry, stop, target }));
    let prices = (any::<[i64; 3]>(), any::<bool>(), any::<bool>())
        .prop_filter("three prices", |([one, two, three], ..)| one != two && two != three && three != one)
        .prop_map(|(mut prices, is_buy, has_target)| {
            prices.sort_unstable();
            let [low, entry, high] = prices.map(Decimal::from_units);
            let (direction, stop, target) =
                if is_buy { (Direction::Buy, low, high) } else { (Direction::Sell, high, low) };
            (direction, Levels::Prices { entry, stop, target: has_target.then_some(target) })
        });
    prop_oneof![pips, prices]
}

/// Targets on the winning side, with shares or without.
fn any_targets(direction: Direction, entry: Option<Decimal>) -> impl Strategy<Value = Vec<Target>> {
    let level = (any::<bool>(), above_zero()).prop_map(move |(is_price, number)| {
        let price = match direction {
            Direction::Buy => entry.and_then(|entry| entry.checked_add(number)),
            Direction::Sell => entry.and_then(|entry| entry.checked_sub(number)),
        };
        price.filter(|_| is_price).map_or(TargetLevel::Pips(number), TargetLevel::Price)
    });
    (vec(level, 0..=10), option::of(1..=1_000_000_000_i64)).prop_map(|(levels, share)| {
        levels.into_iter().map(|level| Target { level, share: share.map(Decimal::from_units) }).collect()
    })
}

fn any_signal() -> impl Strategy<Value = Signal> {
    let names = (any_signal_id(), "[A-Z0-9._#-]{1,32}", option::of(".{0,40}"));
    let status =
        option::of(prop::sample::select(vec![SignalStatus::Active, SignalStatus::Cancelled, SignalStatus::Closed]));
    let levels = any_levels()
        .prop_flat_map(|(direction, levels)| (Just((direction, levels)), any_targets(direction, levels.entry())));
    (names, levels, option::of(any_decimal()), status, any_time(), any_time(), any_members()).prop_map(
        |(names, ((direction, levels), take_profits), confidence, status, created_at, expires_at, members)| {
            let (id, symbol, pattern_type) = names;
            Signal {
                id,
                symbol: Symbol::parse(&symbol).unwrap(),
                direction,
                levels,
                take_profits,
                pattern_type,
                confidence,
                status,
                created_at,
                expires_at,
                members,
            }
        },
    )
}

fn any_overlay() -> impl Strategy<Value = Overlay> {
    let names = (any_user_id(), option::of("[A-Z0-9_]{1,32}"), "[A-Z0-9]{3,10}");
    let decimals = prop::array::uniform6(option::of(any_decimal()));
    let basis = option::of(prop::sample::select(vec![RiskBasis::Balance, RiskBasis::Equity]));
    (names, (decimals, basis), option::of(any::<u32>()), (any_time(), any_time()), any_members()).prop_map(
        |(
            (user_id, tier, currency),
            ([risk_percent, account_balance, account_equity, free_margin, leverage, win_rate], risk_basis),
            trades_remaining,
            (updated_at, balance_confirmed_at),
            members,
        )| {
            Overlay {
                user_id,
                tier: tier.map(|tier| TierName::parse(&tier).unwrap()),
                risk_percent,
                risk_basis,
                account_balance,
                account_equity,
                free_margin,
                leverage,
                account_currency: Currency::parse(&currency).unwrap(),
                win_rate,
                trades_remaining,
                updated_at,
                balance_confirmed_at,
                members,
            }
        },
    )
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let status = prop::sample::select(vec![OutcomeStatus::Fired, OutcomeStatus::Failed, OutcomeStatus::Closed]);
    let result = option::of(prop::sample::select(vec![TradeResult::Win, TradeResult::Loss, TradeResult::Even]));
    (any_signal_id(), any_user_id(), status, any_time(), option::of(any_decimal()), result, any_members()).prop_map(
        |(signal_id, user_id, status, at, profit, result, members)| Outcome {
            signal_id,
            user_id,
            status,
            at,
            profit,
            result,
            members,
        },
    )
}

fn any_rate() -> impl Strategy<Value = Rate> {
    (any_pair(), above_zero(), any_time(), any_time()).prop_map(|(pair, price, updated_at, confirmed_at)| Rate {
        pair,
        price,
        updated_at,
        confirmed_at,
    })
}

fn any_token() -> impl Strategy<Value = Token> {
    let scope =
        prop_oneof![Just(Scope::Read), any_user_id().prop_map(Scope::ReadUser), Just(Scope::Write), Just(Scope::Admin)];
    let times = (any_time(), proptest::option::of(any_time()), proptest::option::of(any_time()));
    (".{0,40}", any::<[u8; 32]>(), vec(scope, 0..5), ".{0,40}", times).prop_map(|(id, sha256, scopes, name, times)| {
        let (created_at, expires_at, last_used_at) = times;
        Token { id, sha256, scopes, name, created_at, expires_at, last_used_at }
    })
}

/// Reads bytes as every kind of record, and renders what comes of it; returns how many kinds could be read.
fn read_as_anything(bytes: &[u8]) -> usize {
    let signal = decode_signal(bytes).map(|(signal, _)| render::signal_json(&signal).len());
    let overlay = decode_overlay(bytes).map(|(overlay, _)| render::overlay_json(&overlay).len());
    let outcome = decode_outcome(bytes).map(|(outcome, _)| render::outcome_json(&outcome).len());
    let rate = decode_rate(bytes).map(|(rate, _)| render::rate_json(&rate).len());
    let token = decode_token(bytes).map(|_| 0);
    [signal, overlay, outcome, rate, token].iter().filter(|result| result.is_ok()).count()
}

/// What may happen to bytes on a disk.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, more)| Damage::Insert(at, more)),
    ]
}

fn damage(mut bytes: Vec<u8>, damage: &Damage) -> Vec<u8> {
    match damage {
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bit;
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, more.iter().copied());
        }
    }
    bytes
}

proptest! {
    #[test]
    fn signals_are_read_as_they_were_written(signal in any_signal(), seq: u64) {
        prop_assert_eq!(decode_signal(&encode_signal(&signal, seq).unwrap()), Ok((signal, seq)));
    }

    #[test]
    fn overlays_are_read_as_they_were_written(overlay in any_overlay(), seq: u64) {
        prop_assert_eq!(decode_overlay(&encode_overlay(&overlay, seq).unwrap()), Ok((overlay, seq)));
    }

    #[test]
    fn outcomes_rates_and_tokens_are_read_as_they_were_written(
        outcome in any_outcome(), rate in any_rate(), token in any_token(), seq: u64
    ) {
        prop_assert_eq!(decode_outcome(&encode_outcome(&outcome, seq).unwrap()), Ok((outcome, seq)));
        prop_assert_eq!(decode_rate(&encode_rate(&rate, seq).unwrap()), Ok((rate, seq)));
        prop_assert_eq!(decode_token(&encode_token(&token, seq).unwrap()), Ok((token, seq)));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in vec(any::<u8>(), 0..300), version in 0..3_u8) {
        read_as_anything(&bytes);
        read_as_anything(&[&[version], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_records_are_records_or_errors(
        signal in any_signal(), overlay in any_overlay(), outcome in any_outcome(), rate in any_rate(),
        token in any_token(), hits in vec(any_damage(), 1..4)
    ) {
        for bytes in [
            encode_signal(&signal, 1),
            encode_overlay(&overlay, 1),
            encode_outcome(&outcome, 1),
            encode_rate(&rate, 1),
            encode_token(&token, 1),
        ] {
            let bytes = bytes.unwrap();
            prop_assert!(read_as_anything(&bytes) > 0);
            let damaged = hits.iter().fold(bytes, |bytes, hit| if bytes.is_empty() { bytes } else { damage(bytes, hit) });
            read_as_anything(&damaged);
        }
    }
}
