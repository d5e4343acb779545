//! Tests of the signal.

use super::*;

/// An ordinary signal in prices; the cases below merge into it what they are about.
const BASE: &str = r#"{"signal_id":"S-1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,
    "stop_loss":1.083,"take_profit":1.089}"#;
/// Drops the price levels, to make room for pips.
const NO_PRICES: &str = r#"{"entry_price":null,"stop_loss":null,"take_profit":null}"#;
const HOUR_MS: i64 = 3_600_000;

fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).unwrap()
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).unwrap()
}

fn time(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

/// [`BASE`] with `patch` merged into it.
fn read(patch: &str) -> Result<SignalDraft, Invalid> {
    SignalDraft::from_object(object(BASE).merged(&object(patch)), None)
}

fn stored(patch: &str) -> Signal {
    read(patch).unwrap().resolve(time("2026-01-30T16:00:00Z"), HOUR_MS).unwrap()
}

fn json(signal: &Signal) -> String {
    String::from_utf8(crate::render::signal_json(signal)).unwrap()
}

#[track_caller]
fn check(result: Result<impl std::fmt::Debug, Invalid>, kind: InvalidKind, pointer: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{error}");
}

#[test]
fn a_full_body_in_prices_is_read() {
    let text = r#"{"signal_id":"ELITE_GUARD_EURUSD_1","symbol":"eur/usd","direction":"sell","entry_price":"1.085",
        "stop_loss":1.0870,"take_profit":1.081,"pattern_type":"SWEEP \"A\"","confidence":87.5,
        "created_at":"2026-01-30T16:00:00.25","expires_at":1769792400,
        "citadel":{"score": 9.10},"sl_pips":20.000000000000018,"note":null}"#;
    let signal = SignalDraft::from_object(object(text), None).unwrap().resolve(UnixMillis::MAX, HOUR_MS).unwrap();
    assert_eq!(signal.id.as_str(), "ELITE_GUARD_EURUSD_1");
    assert_eq!((signal.symbol.as_str(), signal.direction), ("EURUSD", Direction::Sell));
    let levels = Levels::Prices { entry: decimal("1.085"), stop: decimal("1.087"), target: Some(decimal("1.081")) };
    assert_eq!(signal.levels, levels);
    assert_eq!(signal.levels.entry(), Some(decimal("1.085")));
    assert_eq!(signal.pattern_type.as_deref(), Some("SWEEP \"A\""));
    assert_eq!(signal.confidence, Some(decimal("87.5")));
    assert_eq!(signal.created_at, time("2026-01-30T16:00:00.25Z"));
    assert_eq!(signal.expires_at, time("2026-01-30T17:00:00Z"));
    // What is not known is kept to the letter.
    assert_eq!(signal.members.to_json(), r#"{"citadel":{"score":9.10},"sl_pips":20.000000000000018,"note":null}"#);
}

#[test]
fn levels_are_prices_where_there_is_a_stop_loss_and_pips_elsewhere() {
    let without_prices = object(BASE).merged(&object(NO_PRICES));
    let pips =
        |patch: &str| SignalDraft::from_object(without_prices.clone().merged(&object(patch)), None).unwrap().levels;
    let (stop, target) = (decimal("20"), Some(decimal("40.5")));
    assert_eq!(pips(r#"{"stop_pips":20,"target_pips":40.5}"#), Levels::Pips { entry: None, stop, target });
    assert_eq!(pips(r#"{"stop_pips":20,"target_pips":null}"#), Levels::Pips { entry: None, stop, target: None });
    let with_entry = read(r#"{"stop_loss":null,"take_profit":null,"stop_pips":20}"#).unwrap().levels;
    assert_eq!(with_entry, Levels::Pips { entry: Some(decimal("1.085")), stop, target: None });
    assert_eq!((with_entry.entry(), pips(r#"{"stop_pips":20}"#).entry()), (Some(decimal("1.085")), None));

    // Beside prices, pips are the producer's own reading: kept, not used.
    let both = read(r#"{"stop_pips":99,"target_pips":99}"#).unwrap();
    let prices = Levels::Prices { entry: decimal("1.085"), stop: decimal("1.083"), target: Some(decimal("1.089")) };
    assert_eq!(both.levels, prices);
    assert_eq!(both.members.to_json(), r#"{"stop_pips":99,"target_pips":99}"#);
    let no_target = read(r#"{"take_profit":null}"#).unwrap().levels;
    assert_eq!(no_target, Levels::Prices { entry: decimal("1.085"), stop: decimal("1.083"), target: None });
}

#[test]
fn a_missing_member_is_named() {
    for name in ["signal_id", "symbol", "direction", "entry_price", "stop_loss"] {
        check(read(&format!(r#"{{"{name}":null}}"#)), InvalidKind::MissingMember, &format!("/{name}"));
    }
    check(read(NO_PRICES), InvalidKind::MissingMember, "/stop_loss");
    check(read(r#"{"stop_loss":null,"take_profit":null}"#), InvalidKind::MissingMember, "/stop_loss");
}

#[test]
fn a_member_of_another_kind_is_named() {
    for (patch, kind, pointer) in [
        (r#"{"signal_id":7}"#, InvalidKind::WrongType, "/signal_id"),
        (r#"{"signal_id":"a/b"}"#, InvalidKind::InvalidName, "/signal_id"),
        (r#"{"symbol":["EURUSD"]}"#, InvalidKind::WrongType, "/symbol"),
        (r#"{"symbol":"EUR USD"}"#, InvalidKind::InvalidName, "/symbol"),
        (r#"{"direction":"LONG"}"#, InvalidKind::WrongType, "/direction"),
        (r#"{"direction":true}"#, InvalidKind::WrongType, "/direction"),
        (r#"{"entry_price":"market"}"#, InvalidKind::WrongType, "/entry_price"),
        (r#"{"entry_price":{}}"#, InvalidKind::WrongType, "/entry_price"),
        (r#"{"entry_price":0}"#, InvalidKind::OutOfRange, "/entry_price"),
        (r#"{"stop_loss":-1.083}"#, InvalidKind::OutOfRange, "/stop_loss"),
        (r#"{"take_profit":1e11}"#, InvalidKind::OutOfRange, "/take_profit"),
        (r#"{"take_profit":1e-9}"#, InvalidKind::OutOfRange, "/take_profit"),
        (r#"{"pattern_type":1}"#, InvalidKind::WrongType, "/pattern_type"),
        (r#"{"confidence":100.00000001}"#, InvalidKind::OutOfRange, "/confidence"),
        (r#"{"confidence":-0.00000001}"#, InvalidKind::OutOfRange, "/confidence"),
        (r#"{"created_at":"yesterday"}"#, InvalidKind::InvalidTime, "/created_at"),
        (r#"{"created_at":-1}"#, InvalidKind::InvalidTime, "/created_at"),
        (r#"{"expires_at":{}}"#, InvalidKind::InvalidTime, "/expires_at"),
        (r#"{"stop_los":1}"#, InvalidKind::MisspelledMember, "/stop_los"),
        (r#"{"Symbol":"EURUSD"}"#, InvalidKind::MisspelledMember, "/Symbol"),
        (r#"{"sl":1}"#, InvalidKind::MisspelledMember, "/sl"),
        (r#"{"TP1":1}"#, InvalidKind::MisspelledMember, "/TP1"),
        (r#"{"expiry":1}"#, InvalidKind::MisspelledMember, "/expiry"),
    ] {
        check(read(patch), kind, pointer);
    }
    let long = "x".repeat(PATTERN_BYTES_MAX + 1);
    check(read(&format!(r#"{{"pattern_type":"{long}"}}"#)), InvalidKind::OutOfRange, "/pattern_type");
    let longest = &long[1..];
    assert_eq!(stored(&format!(r#"{{"pattern_type":"{longest}"}}"#)).pattern_type.as_deref(), Some(longest));
}

#[test]
fn a_level_on_the_wrong_side_of_the_entry_is_refused() {
    for (patch, kind, pointer) in [
        (r#"{"stop_loss":1.086}"#, InvalidKind::StopWrongSide, "/stop_loss"),
        (r#"{"stop_loss":1.085}"#, InvalidKind::ZeroDistance, "/stop_loss"),
        (r#"{"take_profit":1.084}"#, InvalidKind::TargetWrongSide, "/take_profit"),
        (r#"{"take_profit":1.085}"#, InvalidKind::ZeroDistance, "/take_profit"),
        (r#"{"direction":"SELL"}"#, InvalidKind::StopWrongSide, "/stop_loss"),
        (r#"{"direction":"SELL","stop_loss":1.086}"#, InvalidKind::TargetWrongSide, "/take_profit"),
        (r#"{"stop_loss":null,"take_profit":null,"stop_pips":0}"#, InvalidKind::ZeroDistance, "/stop_pips"),
        (
            r#"{"stop_loss":null,"take_profit":null,"stop_pips":1,"target_pips":0}"#,
            InvalidKind::ZeroDistance,
            "/target_pips",
        ),
        (r#"{"stop_loss":null,"take_profit":null,"stop_pips":-1}"#, InvalidKind::OutOfRange, "/stop_pips"),
        (r#"{"take_profit":null,"target_pips":40}"#, InvalidKind::MixedLevels, "/target_pips"),
    ] {
        check(read(patch), kind, pointer);
    }
    assert!(read(r#"{"take_profit":null,"target_pips":null}"#).is_ok(), "a null is no target");
}

#[test]
fn several_targets_are_prices_or_objects_and_come_back_in_their_order() {
    let list = |json: &str| {
        let signal = stored(&format!(r#"{{"take_profit":null,"take_profits":{json}}}"#));
        let back = Object::parse(crate::render::signal_json(&signal).as_slice()).unwrap();
        back.get("take_profits").unwrap_or("none").to_owned()
    };
    for (json, expected) in [
        ("[1.087]", "[1.087]"),
        (r#"[1.091,"1.0870",1.087]"#, "[1.091,1.087,1.087]"),
        (r#"[{"price":1.087},{"pips":"40.50"}]"#, r#"[1.087,{"pips":40.5}]"#),
        (
            r#"[{"share":60,"price":1.087},{"pips":40,"share":"40.0"}]"#,
            r#"[{"price":1.087,"share":60},{"pips":40,"share":40}]"#,
        ),
        (r#"[{"price":1.087,"pips":null,"share":null}]"#, "[1.087]"),
        ("[]", "none"),
        ("null", "none"),
        ("[1.1,1.2,1.3,1.4,1.5,1.6,1.7,1.8,1.9,2]", "[1.1,1.2,1.3,1.4,1.5,1.6,1.7,1.8,1.9,2]"),
    ] {
        assert_eq!(list(json), expected);
    }
    let target = |level, share: Option<&str>| Target { level, share: share.map(decimal) };
    let signal = stored(r#"{"take_profit":null,"take_profits":[{"price":1.087,"share":60},{"pips":40,"share":30}]}"#);
    let targets = [
        target(TargetLevel::Price(decimal("1.087")), Some("60")),
        target(TargetLevel::Pips(decimal("40")), Some("30")),
    ];
    assert_eq!(signal.targets(), targets);
    assert_eq!(stored("{}").targets(), [target(TargetLevel::Price(decimal("1.089")), None)]);
    assert_eq!(stored(r#"{"take_profit":null}"#).targets(), []);
    let pips = r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":40}"#;
    assert_eq!(stored(pips).targets(), [target(TargetLevel::Pips(decimal("40")), None)]);
}

#[test]
fn targets_that_no_size_can_be_split_by_are_refused() {
    for (list, kind, pointer) in [
        ("1.087", InvalidKind::WrongType, ""),
        (r#"{"price":1.087}"#, InvalidKind::WrongType, ""),
        ("[[1.087]]", InvalidKind::WrongType, "/0"),
        ("[1.087,true]", InvalidKind::WrongType, "/1"),
        (r#"[{"price":"far"}]"#, InvalidKind::WrongType, "/0/price"),
        ("[0]", InvalidKind::OutOfRange, "/0"),
        ("[null]", InvalidKind::MissingMember, "/0"),
        ("[{}]", InvalidKind::MissingMember, "/0/price"),
        (r#"[{"share":100}]"#, InvalidKind::MissingMember, "/0/price"),
        (r#"[{"price":1.087,"pips":20}]"#, InvalidKind::MixedLevels, "/0/pips"),
        (r#"[{"price":1.087,"shares":100}]"#, InvalidKind::MisspelledMember, "/0/shares"),
        ("[1.087,1.084]", InvalidKind::TargetWrongSide, "/1"),
        ("[1.087,1.085]", InvalidKind::ZeroDistance, "/1"),
        (r#"[{"pips":0}]"#, InvalidKind::ZeroDistance, "/0"),
        (r#"[{"pips":-1}]"#, InvalidKind::OutOfRange, "/0/pips"),
        (r#"[{"price":1.087,"share":0}]"#, InvalidKind::OutOfRange, "/0/share"),
        (r#"[{"price":1.087,"share":-1}]"#, InvalidKind::OutOfRange, "/0/share"),
        (r#"[{"price":1.087,"share":100.00000001}]"#, InvalidKind::OutOfRange, "/0/share"),
        (r#"[{"price":1.087,"share":50},1.089]"#, InvalidKind::MissingMember, "/1/share"),
        (r#"[1.087,{"price":1.089,"share":50}]"#, InvalidKind::MissingMember, "/0/share"),
        (r#"[{"price":1.087,"share":50},{"price":1.089,"share":50.00000001}]"#, InvalidKind::OutOfRange, ""),
        ("[1.1,1.2,1.3,1.4,1.5,1.6,1.7,1.8,1.9,2,2.1]", InvalidKind::OutOfRange, ""),
    ] {
        let patch = format!(r#"{{"take_profit":null,"take_profits":{list}}}"#);
        check(read(&patch), kind, &format!("/take_profits{pointer}"));
    }
    let sale = r#"{"direction":"SELL","stop_loss":1.086,"take_profit":null,"take_profits":[1.084,1.087]}"#;
    check(read(sale), InvalidKind::TargetWrongSide, "/take_profits/1");
    let at_market = r#"{"entry_price":null,"stop_loss":null,"stop_pips":20,"take_profit":null,"take_profits":[1.087]}"#;
    check(read(at_market), InvalidKind::MixedLevels, "/take_profits/0");
}

#[test]
fn one_target_and_a_list_of_them_are_not_both_given() {
    check(read(r#"{"take_profits":[1.089]}"#), InvalidKind::MixedLevels, "/take_profit");
    let in_pips =
        r#"{"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":40,"take_profits":[{"pips":40}]}"#;
    check(read(in_pips), InvalidKind::MixedLevels, "/target_pips");
    assert!(read(r#"{"take_profits":[]}"#).is_ok(), "an empty list is none");
    // Beside prices the producer's own distances are only kept.
    let kept = stored(r#"{"take_profit":null,"target_pips":20,"take_profits":[1.087]}"#);
    assert_eq!(kept.members.to_json(), r#"{"target_pips":20}"#);
}

#[test]
fn a_patch_replaces_one_target_by_a_list_and_a_list_by_one() {
    let one = stored("{}");
    let unchanged = json(&one);
    let several = one.patched(&object(r#"{"take_profits":[1.087,{"pips":40}]}"#)).unwrap();
    let with_list = unchanged
        .replace(r#""take_profit":1.089,"#, "")
        .replace(r#""created_at""#, r#""take_profits":[1.087,{"pips":40}],"created_at""#);
    assert_eq!(json(&several), with_list);
    assert_eq!(json(&several.patched(&object(r#"{"take_profit":1.089}"#)).unwrap()), unchanged);
    let shorter = several.patched(&object(r#"{"take_profits":[1.087]}"#)).unwrap();
    assert_eq!(shorter.targets().len(), 1);
    for none in ["null", "[]"] {
        assert_eq!(several.patched(&object(&format!(r#"{{"take_profits":{none}}}"#))).unwrap().targets(), []);
    }
    assert_eq!(json(&several.patched(&object(r#"{"take_profit":null}"#)).unwrap()), with_list);
    check(
        one.patched(&object(r#"{"take_profits":[1.087],"take_profit":1.089}"#)),
        InvalidKind::MixedLevels,
        "/take_profit",
    );
    check(several.patched(&object(r#"{"entry_price":1.088}"#)), InvalidKind::TargetWrongSide, "/take_profits/0");
    let in_pips = several.patched(&object(r#"{"stop_loss":null,"stop_pips":20,"target_pips":40}"#)).unwrap();
    assert_eq!((in_pips.take_profits.len(), in_pips.targets().len()), (0, 1));
    let again = in_pips.patched(&object(r#"{"take_profits":[1.087]}"#)).unwrap();
    assert_eq!(again.levels, Levels::Pips { entry: Some(decimal("1.085")), stop: decimal("20"), target: None });
}

#[test]
fn the_id_of_the_request_and_of_the_body_are_one() {
    let id = |text: &str| SignalId::parse(text).unwrap();
    let mismatch = SignalDraft::from_object(object(BASE), Some(&id("S-2")));
    check(mismatch, InvalidKind::IdMismatch, "/signal_id");
    let without_id = object(BASE).merged(&object(r#"{"signal_id":null}"#));
    for body in [without_id, object(BASE)] {
        assert_eq!(SignalDraft::from_object(body, Some(&id("S-1"))).unwrap().id(), &id("S-1"));
    }
}

#[test]
fn times_that_are_left_out_are_filled_in() {
    let now = time("2026-01-30T16:00:00Z");
    let times = |patch: &str| {
        let signal = read(patch).unwrap().resolve(now, HOUR_MS)?;
        Ok::<_, Invalid>((signal.created_at.to_string(), signal.expires_at.to_string()))
    };
    let both = |created_at: &str, expires_at: &str| Ok((created_at.to_owned(), expires_at.to_owned()));
    assert_eq!(times("{}"), both("2026-01-30T16:00:00Z", "2026-01-30T17:00:00Z"));
    assert_eq!(times(r#"{"created_at":"2026-01-30T12:00:00Z"}"#), both("2026-01-30T12:00:00Z", "2026-01-30T13:00:00Z"));
    assert_eq!(times(r#"{"expires_at":"2026-01-30T16:30:00Z"}"#), both("2026-01-30T16:00:00Z", "2026-01-30T16:30:00Z"));
    // What is over was not created now.
    assert_eq!(times(r#"{"expires_at":"2026-01-30T16:00:00Z"}"#), both("2026-01-30T15:00:00Z", "2026-01-30T16:00:00Z"));
    check(
        times(r#"{"created_at":"2026-01-30T12:00:00Z","expires_at":"2026-01-30T12:00:00Z"}"#),
        InvalidKind::ExpiryBeforeCreation,
        "/expires_at",
    );
    check(times(r#"{"expires_at":"1970-01-01T00:00:00Z"}"#), InvalidKind::ExpiryBeforeCreation, "/expires_at");
    check(times(r#"{"created_at":"9999-12-30T22:00:00Z"}"#), InvalidKind::ExpiryBeforeCreation, "/expires_at");
}

#[test]
fn times_move_together_and_only_where_given() {
    let mut draft = read(r#"{"created_at":"2026-01-30T12:00:00Z"}"#).unwrap();
    draft.shift_times(-HOUR_MS);
    assert_eq!((draft.created_at, draft.expires_at), (Some(time("2026-01-30T11:00:00Z")), None));
    let mut draft = read(r#"{"expires_at":"2026-01-30T12:00:00Z"}"#).unwrap();
    draft.shift_times(HOUR_MS);
    assert_eq!((draft.created_at, draft.expires_at), (None, Some(time("2026-01-30T13:00:00Z"))));
}

#[test]
fn a_body_that_is_sent_again_agrees_unless_it_says_something_else() {
    let given = r#"{"confidence":80,"pattern_type":"A","note":{"b":[1.10]},"session":"LONDON"}"#;
    let before = stored(given);
    assert!(read(given).unwrap().agrees_with(&before), "a body without times agrees with any");
    let reordered = r#"{"session":"LONDON","note":{"b": [1.10]},"pattern_type":"A","confidence":80.0}"#;
    assert!(read(reordered).unwrap().agrees_with(&before), "order, blanks and zeros say nothing");
    let same_times = r#"{"created_at":"2026-01-30T16:00:00Z","expires_at":1769792400}"#;
    let again = |patch: &str| {
        let body = object(BASE).merged(&object(given)).merged(&object(patch));
        SignalDraft::from_object(body, None).unwrap()
    };
    assert!(again(same_times).agrees_with(&before));
    for patch in [
        r#"{"signal_id":"S-2"}"#,
        r#"{"symbol":"GBPUSD"}"#,
        r#"{"direction":"SELL","stop_loss":1.089,"take_profit":1.083}"#,
        r#"{"stop_loss":1.082}"#,
        r#"{"take_profit":null}"#,
        r#"{"take_profit":null,"take_profits":[1.089]}"#,
        r#"{"stop_loss":null,"take_profit":null,"stop_pips":20}"#,
        r#"{"pattern_type":"B"}"#,
        r#"{"confidence":81}"#,
        r#"{"session":"TOKYO"}"#,
        r#"{"session":null}"#,
        r#"{"note":{"b":[1.1]}}"#,
        r#"{"more":1}"#,
    ] {
        assert!(!again(patch).agrees_with(&before), "{patch}");
        assert!(!again(patch).same_but_times(&before), "{patch}");
    }
    for patch in [r#"{"created_at":"2026-01-30T16:00:00.001Z"}"#, r#"{"expires_at":"2026-01-30T18:00:00Z"}"#] {
        assert!(!again(patch).agrees_with(&before), "{patch}");
        assert!(again(patch).same_but_times(&before), "{patch}");
    }
}

/// Files hold fingerprints, so that none of these numbers may ever change.
#[test]
fn a_fingerprint_tells_bodies_apart_by_what_they_say_and_never_changes() {
    let of = |more: &str| read(more).unwrap().fingerprint_without_id();
    assert_eq!(of("{}"), 12_135_586_807_795_738_061);
    let full = r#"{"status":"closed","confidence":80,"created_at":0,"expires_at":3600.5,"note":{"b":[1.10]}}"#;
    assert_eq!(of(full), 17_661_835_357_230_894_471);
    for same in [
        r#"{"stop_loss":"1.0830","symbol":"eur/usd","direction":"buy"}"#,
        r#"{"status":"active"}"#,
        r#"{"note":null,"created_at":null,"confidence":null}"#,
    ] {
        assert_eq!(of(same), of("{}"), "{same}");
    }
    assert_eq!(of(r#"{"a":1,"b":2}"#), of(r#"{"b": 2, "a": 1}"#));
    let others = [
        "{}",
        r#"{"symbol":"GBPUSD"}"#,
        r#"{"direction":"SELL","stop_loss":1.089,"take_profit":1.083}"#,
        r#"{"stop_loss":1.082}"#,
        r#"{"take_profit":null}"#,
        r#"{"take_profit":null,"take_profits":[1.089]}"#,
        r#"{"take_profit":null,"take_profits":[{"price":1.089,"share":50}]}"#,
        r#"{"stop_loss":null,"take_profit":null,"stop_pips":20}"#,
        r#"{"pattern_type":"B"}"#,
        r#"{"confidence":81}"#,
        r#"{"status":"cancelled"}"#,
        r#"{"created_at":0}"#,
        r#"{"created_at":1}"#,
        r#"{"expires_at":1}"#,
        r#"{"created_at":0,"expires_at":1}"#,
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":1,"b":2}"#,
    ];
    for (at, body) in others.iter().enumerate() {
        assert!(others[..at].iter().all(|other| of(other) != of(body)), "{body}");
    }
    let whole = r#"{"created_at":"2026-01-30T16:00:00Z","expires_at":"2026-01-30T17:00:00Z"}"#;
    let named = read(whole).unwrap();
    assert_eq!(named.fingerprint(), 17_321_592_461_120_615_403);
    assert_ne!(named.fingerprint(), named.fingerprint_without_id());
    assert_eq!(stored("{}").fingerprint(), named.fingerprint(), "it is that of a body with all that the signal holds");
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let before = stored(r#"{"confidence":80,"note":{"a":1,"b":{"c":2}},"session":"LONDON"}"#);
    let patched = |patch: &str| json(&before.patched(&object(patch)).unwrap());
    let unchanged = json(&before);
    assert_eq!(patched("{}"), unchanged);
    assert_eq!(patched(r#"{"signal_id":"S-1"}"#), unchanged);
    assert_eq!(patched(r#"{"stop_loss":1.08}"#), unchanged.replace(r#""stop_loss":1.083"#, r#""stop_loss":1.08"#));
    assert_eq!(patched(r#"{"take_profit":null}"#), unchanged.replace(r#""take_profit":1.089,"#, ""));
    assert_eq!(
        patched(r#"{"note":{"b":{"d":3,"c":null},"e":[{"f":null}]}}"#),
        unchanged.replace(r#"{"a":1,"b":{"c":2}}"#, r#"{"a":1,"b":{"d":3},"e":[{"f":null}]}"#)
    );
    assert_eq!(
        patched(r#"{"session":null,"confidence":null}"#),
        unchanged.replace(r#","session":"LONDON""#, "").replace(r#""confidence":80,"#, "")
    );
    assert_eq!(patched(r#"{"expires_at":"2026-01-30T18:00:00Z"}"#), unchanged.replace("17:00:00", "18:00:00"));
    let in_pips = patched(r#"{"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":40}"#);
    assert_eq!(
        in_pips,
        unchanged.replace(r#""stop_loss":1.083,"take_profit":1.089"#, r#""stop_pips":20,"target_pips":40"#)
    );
}

#[test]
fn a_patch_may_not_break_what_publishing_would_refuse() {
    let before = stored("{}");
    for (patch, kind, pointer) in [
        (r#"{"signal_id":null}"#, InvalidKind::MissingMember, "/signal_id"),
        (r#"{"created_at":null}"#, InvalidKind::MissingMember, "/created_at"),
        (r#"{"expires_at":null}"#, InvalidKind::MissingMember, "/expires_at"),
        (r#"{"signal_id":"S-2"}"#, InvalidKind::IdMismatch, "/signal_id"),
        (r#"{"symbol":null}"#, InvalidKind::MissingMember, "/symbol"),
        (r#"{"entry_price":null}"#, InvalidKind::MissingMember, "/entry_price"),
        (r#"{"stop_loss":1.09}"#, InvalidKind::StopWrongSide, "/stop_loss"),
        (r#"{"direction":"SELL"}"#, InvalidKind::StopWrongSide, "/stop_loss"),
        (r#"{"expires_at":"2026-01-30T16:00:00Z"}"#, InvalidKind::ExpiryBeforeCreation, "/expires_at"),
        (r#"{"confidance":1}"#, InvalidKind::MisspelledMember, "/confidance"),
        (r#"{"confidance":null}"#, InvalidKind::MisspelledMember, "/confidance"),
    ] {
        check(before.patched(&object(patch)), kind, pointer);
    }
}

#[test]
fn a_signal_is_expired_from_its_last_moment_on() {
    let signal = stored("{}");
    assert!(!signal.is_expired(time("2026-01-30T16:59:59.999Z")));
    assert!(signal.is_expired(time("2026-01-30T17:00:00Z")));
}
