//! kill -9 under load: what the server answered is there when it starts again.
//!
//! The ledger of acknowledgements is kept here, outside the process that dies. Each user's balance only ever grows, so
//! what is found must be the last balance that was acknowledged or one that was under way.
//!
//! The long form is 2,000 rounds: `cargo test --release -p overlaid --test it kill::campaign -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use overlaid::service::Stopwatch;

use crate::kit::{Connection, Dice, Server, effort, request, seed};

const USERS: usize = 4;

/// Sends balances, one after the other, until the server is gone; returns the last one that was acknowledged and the
/// last that was sent.
fn push(server: SocketAddr, user: usize, from: u64, began: &AtomicBool) -> (u64, u64) {
    let (mut acknowledged, mut sent) = (from, from);
    let Ok(mut connection) = Connection::try_to(server) else { return (acknowledged, sent) };
    let path = format!("/v1/users/{user}/overlay");
    loop {
        sent += 1;
        let body = format!(r#"{{"account_balance":{sent}}}"#);
        connection.send_what_is_taken(request("PUT", &path, &[("content-type", "application/json")], body));
        let Ok(Some(answer)) = connection.try_answer_to("PUT") else { return (acknowledged, sent) };
        assert!(matches!(answer.status, 201 | 204), "a server that is there takes it: {answer:?}");
        acknowledged = sent;
        began.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_killed_server_has_lost_nothing() {
    kill_many(effort(50));
}

#[test]
#[ignore = "takes minutes; see the head of this file"]
fn campaign() {
    kill_many(2_000);
}

fn kill_many(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(seed());
    let mut ledger = [(0, 0); USERS];
    let mut acknowledged_in_all = 0;
    let watch = Stopwatch::start();
    for round in 0..rounds {
        let server = Server::start(folder.path(), &[]);
        for (user, (acknowledged, sent)) in ledger.iter_mut().enumerate() {
            let found = match server.get(&format!("/v1/users/{user}/overlay")) {
                answer if answer.status == 404 => 0,
                answer => answer.json()["account_balance"].as_u64().unwrap(),
            };
            assert!(
                (*acknowledged..=*sent).contains(&found),
                "round {round}, user {user}: {found}, {acknowledged} to {sent}"
            );
            (*acknowledged, *sent) = (found, found);
        }
        let address = server.address;
        let began = AtomicBool::new(false);
        ledger = std::thread::scope(|scope| {
            let began = &began;
            let pushing: Vec<_> = (0..USERS)
                .map(|user| {
                    let from = ledger[user].1;
                    scope.spawn(move || push(address, user, from, began))
                })
                .collect();
            while !began.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            std::thread::sleep(std::time::Duration::from_micros(dice.roll() % 40_000));
            server.kill();
            let ended: Vec<_> = pushing.into_iter().map(|pushing| pushing.join().unwrap()).collect();
            ended.try_into().unwrap()
        });
        acknowledged_in_all = ledger.iter().map(|(acknowledged, _)| acknowledged).sum::<u64>();
        if round % 100 == 99 {
            let rounds = round + 1;
            println!("{rounds} rounds so far, {acknowledged_in_all} acknowledgements, {:.0} s", watch.seconds());
        }
    }
    println!("{rounds} rounds, {acknowledged_in_all} acknowledgements, none lost; {:.0} s", watch.seconds());
}
