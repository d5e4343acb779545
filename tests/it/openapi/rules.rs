//! Rules that the description of the routes keeps, so that strangers' tools and clients can rely on it: words are those
//! of the code, limits are the server's, scopes are those that are asked for, and everything has an example.

use std::collections::BTreeSet;

use overlaid::domain::{
    Currency, Decimal, Direction, InvalidKind, OutcomeStatus, Pair, RiskBasis, SignalId, SignalStatus, Status, Symbol,
    TierName, TradeResult, UnixMillis,
};
use proptest::prelude::{any, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use serde_json::{Value, json};
use strum::VariantNames as _;

use super::{METHODS, check, document, resolved, validator};
use crate::kit::{Server, create_token};

/// Words that a language that clients are generated for keeps for itself.
const KEYWORDS: [&str; 30] = [
    "import", "export", "default", "delete", "class", "function", "return", "new", "in", "is", "from", "global",
    "package", "public", "private", "static", "switch", "case", "try", "catch", "yield", "async", "await", "match",
    "type", "use", "mod", "fn", "do", "end",
];

/// Each operation: its method in upper case, its path, what stands there.
fn operations(document: &Value) -> Vec<(String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item.get(method).is_some());
            methods.map(move |method| (method.to_uppercase(), path.as_str(), &item[method]))
        })
        .collect()
}

#[test]
fn words_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (schema, variants) in [
        (&schemas["Direction"], Direction::VARIANTS),
        (&schemas["SignalState"], SignalStatus::VARIANTS),
        (&schemas["OutcomeStatus"], OutcomeStatus::VARIANTS),
        (&schemas["TradeResult"], TradeResult::VARIANTS),
        (&schemas["RiskBasis"], RiskBasis::VARIANTS),
        (&schemas["Mission"]["properties"]["status"], Status::VARIANTS),
    ] {
        assert_eq!(schema["enum"], json!(variants));
    }
    let codes = schemas["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    assert!(InvalidKind::MalformedJson.code() == codes[codes.len() - 15], "{codes:?}");
}

#[test]
fn the_server_is_the_one_that_sent_the_document() {
    assert_eq!(document()["servers"][0]["url"], "/");
}

#[test]
fn operations_have_names_that_every_language_allows() {
    let document = document();
    let names: Vec<_> =
        operations(&document).iter().map(|(.., value)| value["operationId"].as_str().unwrap()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands twice");
    let tags = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap());
    for name in names.iter().copied().chain(tags) {
        assert!(name.chars().all(|letter| letter.is_ascii_alphabetic()), "{name}");
        assert!(name.starts_with(|letter: char| letter.is_ascii_lowercase()), "{name}");
        assert!(!KEYWORDS.contains(&name), "{name}");
    }
}

/// The schemes of which one is enough for an operation; none if no token is needed.
fn schemes(operation: &Value) -> BTreeSet<&str> {
    let ways = operation["security"].as_array().unwrap().iter();
    ways.flat_map(|way| way.as_object().unwrap().keys().map(String::as_str)).collect()
}

#[test]
fn refusals_are_described_with_what_their_heads_say() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        let described = |status: &str| responses.get(status).map(|response| resolved(&document, response));
        assert!(described("default").is_some(), "{name}");
        let schemes = schemes(operation);
        for status in ["401", "403"] {
            let response = described(status);
            // Of a hook the path holds the token.
            let needs_token = !schemes.is_empty() || path.contains("{token}");
            assert_eq!(response.is_some(), needs_token, "{name} {status}");
            assert!(response.is_none_or(|response| response["headers"].get("WWW-Authenticate").is_some()), "{name}");
        }
        if schemes.contains("write") {
            assert!(described("503").is_some(), "{name}");
        }
        for (status, response) in responses {
            let response = resolved(&document, response);
            let content = response["content"].as_object().into_iter().flatten();
            for (_, problem) in content.filter(|(kind, _)| *kind == "application/problem+json") {
                assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{name} {status}");
                assert!(
                    problem["examples"].as_object().is_some_and(|examples| !examples.is_empty()),
                    "{name} {status}"
                );
                if matches!(&**status, "503" | "default") {
                    assert!(response["headers"].get("Retry-After").is_some(), "{name} {status}");
                }
            }
        }
    }
}

/// A client that reads, writes or exports records can follow from there.
#[test]
fn every_answer_about_records_names_the_cursor_that_it_is_as_of() {
    const RECORDS: [&str; 7] =
        ["/v1/signals", "/v1/users", "/v1/rates", "/v1/instruments", "/v1/hooks", "/v1/import", "/v1/export"];
    let document = document();
    let mut count = 0;
    for (method, path, operation) in operations(&document) {
        let is_about_records = RECORDS.iter().any(|prefix| path.starts_with(prefix)) || path == "/v1/admin/prune";
        let responses = operation["responses"].as_object().unwrap().iter();
        for (status, response) in responses.filter(|(status, _)| status.starts_with(['2', '3'])) {
            let names_it = resolved(&document, response)["headers"].get("Overlaid-Cursor").is_some();
            assert_eq!(names_it, is_about_records, "{method} {path} {status}");
            count += usize::from(is_about_records);
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn conditions_are_described_where_they_are_looked_at() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let names: BTreeSet<_> =
            parameters.filter_map(|parameter| resolved(&document, parameter)["name"].as_str()).collect();
        let can_fail = operation["responses"].get("412").is_some();
        let is_of_record = match &*method {
            "GET" => operation["responses"].get("304").is_some(),
            "POST" => false,
            _ => !path.starts_with("/v1/admin/"),
        };
        let described = ["If-Match", "If-None-Match"].map(|name| names.contains(name));
        assert_eq!((described, can_fail), ([is_of_record; 2], is_of_record), "{method} {path}");
    }
}

/// Lists whose cursors look different have one parameter each, which says how.
#[test]
fn the_cursor_of_a_page_fits_the_parameter_that_takes_it() {
    let document = document();
    let folder = tempfile::tempdir().unwrap();
    let [_, admin] = [(); 2].map(|()| create_token(folder.path(), "admin"));
    let server = Server::with_samples(folder.path());
    let bearer = [("content-type", "application/json"), ("authorization", &*format!("Bearer {admin}"))];
    let send = |method: &str, path: &str, body: &str| server.send_with(method, path, &bearer, body.as_bytes());
    let [signal, other] = ["ELITE_GUARD_EURUSD_1763905800", "ELITE_GUARD_XAUUSD_1763875209"];
    for signal in [signal, other] {
        send("PUT", &format!("/v1/users/7001/outcomes/{signal}"), r#"{"status":"fired"}"#);
    }
    let mut lists = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.map(|parameter| resolved(&document, parameter));
        let Some(parameter) = parameters.clone().find(|parameter| parameter["name"] == "cursor") else { continue };
        let takes_status = parameters.clone().any(|parameter| parameter["name"] == "status");
        let validator = validator(&document, &parameter["schema"]);
        assert!(!validator.is_valid(&json!("")) && !validator.is_valid(&json!("!")), "{path}");
        for status in if takes_status { &["&status=all", "&status=active"][..] } else { &[""] } {
            let path = path.replace("{user}", "7001").replace("{signal}", signal);
            let page = send(&method, &format!("{path}?limit=1{status}"), "").json();
            let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{path} has one row: {page}"));
            check(&validator, &page["next_cursor"].to_string());
            assert_eq!(send(&method, &format!("{path}?cursor={cursor}{status}"), "").status, 200, "{path}");
            lists.insert(path);
        }
    }
    assert_eq!(lists.len(), 6, "{lists:?}");
}

#[test]
fn every_body_has_examples_that_fit() {
    let document = document();
    let mut count = 0;
    for (method, path, operation) in operations(&document) {
        for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let validator = validator(&document, &content["schema"]);
            let several = content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            let examples: Vec<_> = content.get("example").into_iter().chain(several).collect();
            assert!(!examples.is_empty(), "{method} {path} {kind}");
            for example in examples {
                check(&validator, &example.to_string());
            }
            count += 1;
        }
    }
    assert!(count > 8);
}

/// A path with the examples of its parameters.
fn example_path(document: &Value, path: &str, operation: &Value) -> String {
    let of_path = &document["paths"][path]["parameters"];
    let parameters = [&operation["parameters"], of_path].into_iter().filter_map(Value::as_array).flatten();
    parameters.map(|parameter| resolved(document, parameter)).fold(path.to_owned(), |path, parameter| {
        let example = parameter["example"].as_str().unwrap_or_default();
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), example)
    })
}

/// A condition that no record meets keeps the records as they are.
#[test]
fn scopes_are_those_that_the_server_asks_for() {
    let document = document();
    let folder = tempfile::tempdir().unwrap();
    drop(Server::with_samples(folder.path()));
    let tokens = [("read", "read"), ("read_user", "read:7001"), ("write", "write"), ("metrics", "metrics")]
        .map(|(scheme, scope)| (scheme, create_token(folder.path(), scope)));
    let server = Server::start(folder.path(), &[]);
    for (method, path, operation) in operations(&document) {
        let schemes = schemes(operation);
        let said = operation["description"].as_str().unwrap();
        let (_, scopes) = said.split_once("Scope: ").unwrap_or((said, ""));
        for (scheme, scope) in
            [("read", "`read`"), ("read_user", "`read:<user>`"), ("write", "`write`"), ("admin", "`admin`")]
        {
            assert_eq!(schemes.contains(scheme), scopes.contains(scope), "{method} {path}: {said}");
        }
        for (scheme, token) in &tokens {
            let fields = [("authorization", &*format!("Bearer {token}")), ("if-match", "\"x\"")];
            let answer = server.send_with(&method, &example_path(&document, path, operation), &fields, b"");
            let is_allowed = schemes.is_empty() || schemes.contains(scheme);
            assert_eq!(answer.status != 403, is_allowed, "{method} {path} with {scheme}: {answer:?}");
        }
    }
}

/// Whether a schema of the document takes a value.
fn takes(name: &str, value: &Value) -> bool {
    let document = document();
    validator(&document, &json!({"$ref": format!("#/components/schemas/{name}")})).is_valid(value)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn names_are_read_if_and_only_if_the_document_allows_them(
        text in prop_oneof!["[A-Za-z0-9+^!&#/:._ -]{0,36}", "[A-Z]{3}[/-]?[A-Z]{3}", "[A-Za-z0-9_ -]{30,34}", "\\PC{0,4}"],
    ) {
        let json = json!(text);
        assert_eq!(takes("Symbol", &json), Symbol::parse(&text).is_ok(), "{text}");
        assert_eq!(takes("Currency", &json), Currency::parse(&text).is_ok(), "{text}");
        assert_eq!(takes("TierName", &json), TierName::parse(&text).is_ok(), "{text}");
        // No pattern can say that the two currencies differ, or that an id is no folder's name.
        let halves = text.split_once(['/', '-']).or_else(|| text.split_at_checked(3));
        let is_twice = halves.is_some_and(|(base, quote)| base.eq_ignore_ascii_case(quote));
        assert!(is_twice || takes("Pair", &json) == Pair::parse(&text).is_ok(), "{text}");
        assert!(matches!(&*text, "." | "..") || takes("Id", &json) == SignalId::parse(&text).is_ok(), "{text}");
    }

    #[test]
    fn numbers_as_text_and_times_that_the_document_allows_are_read(
        number in "-?[0-9]{1,12}(\\.[0-9]{0,10})?", seconds in any::<i64>().prop_map(|bits| bits >> 24),
    ) {
        let (json, decimal) = (json!(number), Decimal::parse(&number));
        let within = |least: &str, most: &str| {
            let [least, most] = [least, most].map(|bound| Decimal::parse(bound).unwrap());
            decimal.is_ok_and(|decimal| least <= decimal && decimal <= most)
        };
        assert!(!takes("Amount", &json) || decimal.is_ok(), "{number}");
        assert!(!takes("Price", &json) || within("0.00000001", "92233720368.5"), "{number}");
        assert!(!takes("Percentage", &json) || within("0", "100"), "{number}");
        assert!(!takes("Leverage", &json) || within("1", "10000"), "{number}");
        assert!(!takes("Count", &json) || within("0", "1000000"), "{number}");
        let is_moment = Decimal::from_int(seconds).and_then(UnixMillis::from_unix_seconds).is_some();
        assert_eq!(takes("Moment", &json!(seconds)), is_moment, "{seconds}");
    }
}
