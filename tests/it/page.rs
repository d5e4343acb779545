//! The files of the page at `/`, and the counts that it draws: what a browser gets before it runs anything.

use crate::kit::{ServedWorld, Server, World, create_token};

/// Files that the page names, and what they are.
const FILES: [(&str, &str); 3] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/main.js", "text/javascript; charset=utf-8"),
    ("/page/style.css", "text/css; charset=utf-8"),
];

#[test]
fn the_page_needs_no_token_and_may_load_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    create_token(folder.path(), "read");
    let server = Server::start(folder.path(), &[]);
    for (path, kind) in FILES {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(
            answer.header("content-security-policy"),
            Some(
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let names_another_site = answer.body.replace("http://www.w3.org/2000/svg", "").contains("://");
        assert!(!names_another_site, "{path} names an address");
    }
}

#[test]
fn a_browser_that_holds_a_file_gets_304() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (path, _) in FILES {
        let tag = server.get(path).header("etag").unwrap().to_owned();
        let again = server.send_with("GET", path, &[("if-none-match", &tag)], b"");
        assert_eq!((again.status, again.header("etag")), (304, Some(&*tag)), "{path}");
        assert_eq!(server.send_with("GET", path, &[("if-none-match", "\"x\"")], b"").status, 200);
    }
    assert_ne!(server.get("/page/main.js").header("etag"), server.get("/page/style.css").header("etag"));
    assert_eq!(server.send_with("HEAD", "/", &[], b"").status, 200);
    assert_eq!(server.send("POST", "/", "").status, 405);
    for path in ["/page/none.js", "/page/%2E%2E", "/page/", "/page"] {
        assert_eq!(server.get(path).json()["code"], "no-such-route", "{path}");
    }
}

/// The sum over all missions of the list is the summary.
#[test]
fn a_summary_counts_what_the_list_has() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    served.block_on(async {
        let signal = r#"{"signal_id":"S1","symbol":"EURJPY","direction":"BUY","stop_pips":20}"#;
        served.world.put_signal(signal).await;
        for user in 0..300 {
            let (currency, trades) = (["USD", "EUR", "JPY"][user % 3], user % 2);
            let balance = if user % 5 == 0 { String::new() } else { format!(r#","account_balance":{}"#, user * 40) };
            served
                .world
                .put_overlay(&format!(
                    r#"{{"user_id":"{user}","risk_percent":1,"account_currency":"{currency}","trades_remaining":{trades}{balance}}}"#
                ))
                .await;
        }
        served.world.put_outcome(r#"{"signal_id":"S1","user_id":"8","status":"fired"}"#).await;
    });
    let list = served.send("", "GET", "/v1/signals/S1/missions?limit=1000", "").json();
    let missions: Vec<_> = list["missions"].as_array().unwrap().iter().map(|view| &view["mission"]).collect();
    let summary = served.send("", "GET", "/v1/signals/S1/summary", "").json();
    let tradable = missions.iter().filter(|mission| mission["tradable"] == true).count();
    assert_eq!(summary["users"], 300);
    assert_eq!(summary["tradable"], tradable);
    assert_eq!(summary["not_tradable"], 300 - tradable);
    let counted = summary["reasons"].as_array().unwrap();
    assert!(counted.len() >= 5, "{summary}");
    for count in counted {
        let has = |mission: &&&serde_json::Value| mission["reasons"].as_array().unwrap().contains(&count["reason"]);
        assert_eq!(count["users"], missions.iter().filter(has).count(), "{count}");
    }
    let listed = missions.iter().flat_map(|mission| mission["reasons"].as_array().unwrap()).count() as u64;
    assert_eq!(counted.iter().map(|count| count["users"].as_u64().unwrap()).sum::<u64>(), listed);
}
