//! JSON that is kept to the letter: nothing panics, nothing is lost, and a merge patch is RFC 7396's.

use std::collections::BTreeMap;

use overlaid::domain::{Invalid, InvalidKind, Object, Overlay, OverlayDraft, UnixMillis, check_json};
use overlaid::render::overlay_json;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Values whose objects draw their names from a few, so that two of them meet.
fn any_value() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        3 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        2 => any::<f64>().prop_map(Value::from),
        2 => any::<String>().prop_map(Value::from),
    ];
    plain.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => any_members(inner).prop_map(Value::from),
        ]
    })
}

fn any_members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(vec!["alpha", "bravo", "charlie", "delta \"\\\n", "écho 😀", ""]);
    btree_map(name, value, 0..5)
        .prop_map(|members: BTreeMap<_, _>| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// RFC 7396, section 2, line by line.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut merged = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            merged.remove(name);
        } else {
            let old = merged.remove(name).unwrap_or(Value::Null);
            merged.insert(name.clone(), merge_patch(old, value));
        }
    }
    Value::Object(merged)
}

/// Writes a value with blanks between its tokens and with escapes that need not be.
fn spaced(value: &Value, blank: &str) -> String {
    let text = |text: &str| {
        let plain = serde_json::to_string(text).unwrap();
        plain.replace('a', "\\u0061").replace('/', "\\/")
    };
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| spaced(item, blank)).collect();
            format!("[{blank}{}{blank}]", items.join(&format!("{blank},{blank}")))
        }
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{}{blank}:{blank}{}", text(name), spaced(value, blank)))
                .collect();
            format!("{{{blank}{}{blank}}}", members.join(&format!("{blank},{blank}")))
        }
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

fn value_of(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn overlay(members: &Map<String, Value>) -> Result<Overlay, Invalid> {
    let object = Object::parse(Value::from(members.clone()).to_string().as_bytes())?;
    Ok(OverlayDraft::from_object(object, None)?.resolve(UnixMillis::MIN))
}

/// Members that a patch may name, right and wrong.
fn known_members() -> impl Strategy<Value = Map<String, Value>> {
    let choices = [
        ("user_id", vec![json!("7"), json!("8"), json!(7), json!(null)]),
        ("tier", vec![json!("fang"), json!("no such!"), json!({"a": null}), json!(null)]),
        ("risk_percent", vec![json!(2), json!("1.5"), json!(101), json!([]), json!(null)]),
        ("account_balance", vec![json!(10.5), json!("7"), json!(0), json!(-1), json!({}), json!(null)]),
        ("account_currency", vec![json!("gbp"), json!("US$"), json!(1), json!(null)]),
        ("win_rate", vec![json!(64.2), json!("two"), json!(null)]),
        ("trades_remaining", vec![json!(3), json!("4"), json!(1.5), json!(null)]),
        ("updated_at", vec![json!(1), json!("2026-01-30T12:00:00Z"), json!("now"), json!(null)]),
        ("broker", vec![json!("A"), json!({"name": "A"}), json!({"server": {"port": 1}}), json!(null)]),
        ("acount_balance", vec![json!(1), json!(null)]),
    ];
    let one = prop::sample::select(choices.to_vec())
        .prop_flat_map(|(name, values)| prop::sample::select(values).prop_map(move |value| (name.to_owned(), value)));
    vec(one, 0..5).prop_map(|members| members.into_iter().collect())
}

/// Text that is nearly JSON: that of a value, with a few bytes changed, dropped or doubled.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4);
    (any_members(any_value()), edits).prop_map(|(members, edits)| {
        let mut bytes = Value::from(members).to_string().into_bytes();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 if bytes.len() > 1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop_oneof![vec(any::<u8>(), 0..64), nearly_json()]) {
        let is_json = check_json(&bytes).is_ok();
        let is_object = Object::parse(&bytes).is_ok();
        let value = serde_json::from_slice::<Value>(&bytes);
        prop_assert!(!is_json || value.is_ok(), "what is taken for JSON has to be JSON");
        prop_assert_eq!(is_object, is_json && value.is_ok_and(|value| value.is_object()));
        if let Ok(object) = Object::parse(&bytes) {
            for (name, value) in object.iter() {
                prop_assert_eq!(object.get(name), Some(value));
            }
            let _read_or_refused = OverlayDraft::from_object(object, None);
        }
    }

    #[test]
    fn the_compact_text_says_the_same(members in any_members(any_value()), blank in "[ \t\r\n]{0,3}") {
        let value = Value::from(members);
        let text = spaced(&value, &blank);
        let object = Object::parse(text.as_bytes()).unwrap();
        let compact = object.to_json();
        prop_assert_eq!(value_of(&compact), value_of(&text));
        prop_assert!(!compact.contains('\n') && !compact.contains('\r'));
        prop_assert_eq!(&Object::parse(compact.as_bytes()).unwrap(), &object, "compact text is its own compact text");
        // Without needless escapes it is what serde_json writes.
        let plain = Object::parse(value_of(&compact).to_string().as_bytes()).unwrap();
        prop_assert_eq!(plain.to_json(), value_of(&compact).to_string());
    }

    #[test]
    fn a_patch_merges_as_rfc_7396_says(
        base in any_members(any_value()),
        patch in any_members(any_value()),
        balances in any::<(Option<u32>, Option<Option<u32>>)>(),
    ) {
        let (mut base, mut patch) = (base, patch);
        base.insert("user_id".to_owned(), json!("7"));
        base.insert("account_currency".to_owned(), json!("EUR"));
        base.insert("updated_at".to_owned(), json!("1970-01-01T00:00:00Z"));
        // Patched like any other member: kept where the patch is silent, gone where it says null.
        let (balance, patched_balance) = balances;
        base.extend(balance.map(|balance| ("account_balance".to_owned(), json!(balance))));
        patch.extend(patched_balance.map(|balance| ("account_balance".to_owned(), json!(balance))));

        let stored = overlay(&base).unwrap();
        let patch = Value::from(patch);
        let patched = stored.patched(Object::parse(patch.to_string().as_bytes()).unwrap(), UnixMillis::MIN).unwrap();
        let actual = value_of(&String::from_utf8(overlay_json(&patched)).unwrap());
        // Through text, as serde_json does not read every float back to the last bit.
        let (base, patch) = (value_of(&Value::from(base).to_string()), value_of(&patch.to_string()));
        prop_assert_eq!(actual, merge_patch(base, &patch));
    }

    /// A patch comes to what the whole body would, with the patch merged in: the same overlay, or the same refusal.
    #[test]
    fn a_patched_overlay_is_that_of_the_merged_body(base in known_members(), patch in known_members()) {
        let is_right = |name: &str, value: &Value| {
            let members = [("user_id", json!("7")), (name, value.clone())];
            overlay(&members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()).is_ok()
        };
        let mut base = base;
        base.retain(|name, value| is_right(name, value));
        base.insert("user_id".to_owned(), json!("7"));
        let (stored, now) = (overlay(&base).unwrap(), UnixMillis::parse("2026-01-30T16:00:00Z").unwrap());
        let patch = Object::parse(Value::from(patch).to_string().as_bytes()).unwrap();
        let patched = stored.patched(patch.clone(), now);

        let mut body = value_of(&String::from_utf8(overlay_json(&stored)).unwrap());
        // The old time is no part of the body, nor is what is taken away that can not be.
        body.as_object_mut().unwrap().remove("updated_at");
        let body = Object::parse(merge_patch(body, &value_of(&patch.to_json())).to_string().as_bytes()).unwrap();
        let whole = OverlayDraft::from_object(body, Some(&stored.user_id)).map(|draft| draft.resolve(now));
        let is_removed = |name: &str| patch.get(name) == Some("null");
        match (patched, whole) {
            (Ok(patched), Ok(whole)) => {
                prop_assert!(!is_removed("user_id") && !is_removed("account_currency"));
                // As values: this file's own merging sorts what is inside an object.
                let said = |overlay: &Overlay| value_of(&String::from_utf8(overlay_json(overlay)).unwrap());
                prop_assert_eq!(said(&patched), said(&whole));
            }
            (Err(error), _) if is_removed("user_id") || is_removed("account_currency") => {
                prop_assert!(matches!(error.kind(), InvalidKind::MissingMember | InvalidKind::MisspelledMember));
            }
            // A slip of the pen is refused first, also where it would take away what is not there.
            (Err(error), _) if patch.get("acount_balance").is_some() => {
                prop_assert_eq!(error.kind(), InvalidKind::MisspelledMember);
            }
            (Err(error), Err(whole)) => prop_assert_eq!((error.kind(), error.pointer()), (whole.kind(), whole.pointer())),
            (Err(error), Ok(whole)) => prop_assert!(false, "{error} instead of {whole:?}"),
            (Ok(patched), Err(error)) => prop_assert!(false, "{patched:?} instead of {error}"),
        }
    }
}
