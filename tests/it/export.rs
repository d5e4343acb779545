//! Everything that is stored, in one answer: one committed state, as lines that can be loaded again.

use std::fs;

use redb::TableDefinition;

use crate::kit::{Connection, Direct, ServedWorld, Server, World, done, error, export, overlay, request, run};

const LINES: (&str, &str) = ("accept-encoding", "identity");

#[test]
fn what_a_server_exports_restores_everything() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let server = Server::with_samples(old.path());
    server.send("PATCH", "/v1/signals/ELITE_GUARD_EURUSD_1763905800", r#"{"status":"cancelled"}"#);
    let exported = server.send_with("GET", "/v1/export", &[LINES], b"");
    assert_eq!((exported.status, exported.header("content-type")), (200, Some("application/x-ndjson")));
    drop(server);
    assert_eq!(exported.body, export(old.path()), "as the command does");
    assert!(exported.body.contains(r#""status":"cancelled""#));

    let lines = new.path().join("all.ndjson");
    fs::write(&lines, &exported.body).unwrap();
    let data = new.path().join("data");
    let loaded = done(run(&data, &["load", lines.to_str().unwrap()]));
    assert!(loaded.ends_with("0 refused\n"), "{loaded}");
    assert_eq!(export(&data), exported.body);
}

#[test]
fn an_export_shows_one_state_however_slowly_it_is_read() {
    const USERS: usize = 20_000;
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let text = served.block_on(async {
        for user in 0..USERS {
            drop(served.world.service.submit(overlay(user, 0)).unwrap());
            if user % 1_000 == 0 {
                served.world.put_rate(r#"{"pair":"EURUSD","price":1}"#).await;
            }
        }
        served.world.put_rate(r#"{"pair":"EURUSD","price":2}"#).await;
        let (cursor, mut pieces) = served.world.service.export().await.unwrap();
        assert_eq!(cursor, served.world.service.cursor());
        let mut text = pieces.recv().await.unwrap().unwrap();
        assert!(text.len() < 100_000, "it comes in pieces");
        served.world.put_overlay(r#"{"user_id":"zzz"}"#).await;
        served.world.put_overlay(r#"{"user_id":"9999","account_balance":5.125}"#).await;
        while let Some(piece) = pieces.recv().await {
            text.extend(piece.unwrap());
        }
        text
    });
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), USERS + 1);
    assert!(!text.contains("zzz") && !text.contains("5.125"));
}

/// A client must be able to tell half an export from a whole one.
#[test]
fn an_export_that_meets_a_damaged_row_breaks_off() {
    const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");
    let direct = Direct::new();
    for user in 7..10 {
        direct.put(overlay(user, 0));
    }
    let direct = direct.tamper(|tx| {
        tx.open_table(OVERLAYS).unwrap().insert("8", &[9][..]).unwrap();
    });
    let folder = direct.close();
    let server = Server::start(folder.path(), &[]);
    let mut connection = Connection::to(server.address);
    connection.send(request("GET", "/v1/export", &[LINES], ""));
    let answer = connection.try_answer_to("GET");
    // The connection may be closed before the head is sent.
    assert!(!matches!(answer, Ok(Some(_))), "it has an end: {answer:?}");
    let event = server.logged(|event| event["message"] == "list broke off");
    assert!(event["level"] == "ERROR", "{event}");
    assert_eq!(server.get("/v1/users/7/overlay").status, 200, "the server goes on");
    drop(server);
    assert!(error(&run(folder.path(), &["export"])).contains("overlays-1"));
}
