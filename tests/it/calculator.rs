//! Missions over HTTP against a calculator in Python, which follows the manual and shares no line with the program.
//!
//! `tests/calculator/` has the program and the tables that make sizes awkward. It draws signals, users and rates from a
//! fixed seed, sends them to a server, and compares every number of each mission exactly.

use std::process::Command;

use tempfile::TempDir;

use crate::kit::{Server, error, has_tool, skipped};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CASES: &str = "3000";

#[test]
fn three_thousand_missions_are_what_an_independent_calculator_makes_of_them() {
    if !has_tool("python3") {
        return;
    }
    let table = |name: &str| format!("{ROOT}/tests/calculator/{name}.toml");
    let (instruments, tiers) = (table("instruments"), table("tiers"));
    let folder = TempDir::new().unwrap();
    let options = ["--instruments", &instruments, "--tiers", &tiers, "--balance-max-age", "24h"];
    let server = Server::start(folder.path(), &options);
    let output = Command::new("python3")
        .arg(format!("{ROOT}/tests/calculator/calculator.py"))
        .args([server.address.to_string(), CASES.to_owned()])
        .args([format!("{ROOT}/data/instruments.toml,{instruments}"), format!("{ROOT}/data/tiers.toml,{tiers}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", error(&output));
    if let Some(why) = said.strip_prefix("skipped: ") {
        return skipped(why.trim());
    }
    assert!(said.starts_with("3000 missions compared, 0 differ\n"), "{said}");
    // What no mission has is not compared.
    let reasons = [
        "below_minimum_lot",
        "insufficient_margin",
        "no_conversion_rate",
        "negative_balance",
        "stale_balance",
        "stale_rate",
        "tradable",
    ];
    let limits = ["risk", "margin", "tier", "instrument"].map(|limit| format!("limited by {limit}"));
    let seen = ["2 rates", "several targets"].iter().chain(&reasons).map(|name| (*name).to_owned()).chain(limits);
    for name in seen {
        assert!(said.contains(&format!("{name}: ")), "no mission is {name}:\n{said}");
    }
}
