//! What the server says of itself to a person: counts, the last quarter of an hour, and what one file saves.

use serde_json::{Value, json};

use crate::kit::{EURUSD_PIPS, ServedWorld, Server, World, json as json_of, run, small_tree};

const VIEW: &str = "/v1/users/7/missions/S1";

#[test]
fn requests_writes_and_hits_of_the_last_minutes_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
    server.put_balance(7, 100);
    // The same again changes nothing.
    server.put_balance(7, 100);
    let tag = server.get(VIEW).header("etag").unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(server.send_with("GET", VIEW, &[("if-none-match", &tag)], b"").status, 304);
    }
    server.get("/v1/signals/S1/missions");
    server.get(VIEW);
    let stats = server.get("/v1/stats").json();
    let total = &stats["recent"]["total"];
    assert_eq!((&total["requests"], &total["not_modified"], &total["writes"]), (&json!(9), &json!(3), &json!(2)));
    assert!(total["p50_us"].as_u64() > Some(0) && total["p50_us"].as_u64() <= total["p99_us"].as_u64(), "{total}");
    // Of the last view both records were in memory; before the first one, neither was.
    assert!(total["cache_hits"].as_u64() >= Some(2) && total["cache_misses"].as_u64() >= Some(2), "{total}");
    let slots = stats["recent"]["slots"].as_array().unwrap();
    for name in ["requests", "not_modified", "writes", "cache_hits", "cache_misses"] {
        assert_eq!(slots.iter().map(|slot| slot[name].as_u64().unwrap()).sum::<u64>(), total[name].as_u64().unwrap());
    }
    assert_eq!(stats["records"], json!({"signals":1,"overlays":1,"outcomes":0,"rates":0,"tokens":0}));
    assert_eq!(stats["memory"]["roster_users"], 1);
    assert_eq!((&stats["file"]["writes"], &stats["backup"]), (&json!("ok"), &Value::Null));
    assert_eq!(server.send("POST", "/v1/admin/backup", "").status, 200);
    assert!(server.get("/v1/stats").json()["backup"]["age_s"].is_number());
    let metrics = server.get("/metrics").body;
    let hits = metrics.lines().find_map(|line| line.strip_prefix("overlaid_cache_hits_total ")).unwrap();
    assert!(hits.parse::<u64>().unwrap() >= 2, "{hits}");
}

#[test]
fn what_one_file_saves_follows_the_counts() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let saves = || served.send("", "GET", "/v1/stats", "").json()["saves"].clone();
    assert_eq!(saves()["as_files"]["files"], 0);
    let text = served.send("", "GET", "/v1/stats", "").body;
    assert!(text.contains(r#""requests":0.000005,"#), "an amount has no exponent: {text}");
    served.block_on(async {
        for signal in ["A", "B", "C"] {
            let json = format!(r#"{{"signal_id":"{signal}","symbol":"EURUSD","direction":"BUY","stop_pips":20}}"#);
            served.world.put_signal(&json).await;
        }
        for user in 0..40 {
            served.world.put_overlay(&format!(r#"{{"user_id":"{user}","note":"{}"}}"#, "x".repeat(4_000))).await;
        }
    });
    let saves = saves();
    let as_files = &saves["as_files"];
    assert_eq!((&as_files["files"], &as_files["inodes"]), (&json!(120), &json!(121)));
    assert_eq!(as_files["bytes"], 120 * 8_192, "each is longer than a block");
    assert_eq!((&saves["now"]["files"], &saves["now"]["inodes"]), (&json!(1), &json!(2)));
    let length = std::fs::metadata(served.world.path()).unwrap().len();
    assert_eq!(saves["now"]["bytes"], length.div_ceil(4_096) * 4_096);
    let files = &saves["table"][0];
    assert_eq!(*files, json!({"name":"files","as_files":"120","now":"1","ratio":"120×"}));
    let names: Vec<_> = saves["table"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files", "inodes", "bytes", "backup", "cost", "  storage", "  requests", "  backup"]);
}

/// Old files are counted and not computed.
#[test]
fn a_plan_and_an_import_compare_the_files_that_are_there() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    for command in ["plan", "import"] {
        let arguments = ["legacy", command, &tree];
        let counted = json_of(&run(&data, &[&arguments[..], &["--json"]].concat()));
        let as_files = &counted["saves"]["as_files"];
        assert_eq!((&as_files["files"], &as_files["bytes"]), (&counted["files"], &counted["disk_bytes"]), "{command}");
        assert_eq!(as_files["inodes"], counted["inodes"]);
        if command == "import" {
            let length = std::fs::metadata(data.join("overlaid.redb")).unwrap().len();
            assert_eq!(counted["saves"]["now"]["bytes"], length.div_ceil(4_096) * 4_096);
        }
        let shown = String::from_utf8(run(&data, &arguments).stdout).unwrap();
        assert!(shown.contains("one database") && shown.contains("\ncost "), "{shown}");
    }
}
