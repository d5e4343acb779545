//! The headline benchmark: every floor of speed and size, measured against peers in one run, in one table.
//!
//! `cargo bench --bench headline` prints the table; what is not installed is said with how to get it. After `--`:
//! `--markdown` or `--json` for other shapes, `--check` to exit with 1 if a floor does not hold, `--quick` for shorter
//! turns and no million users, `--only TOPIC` (may be repeated) for a part. Figures are medians of rounds in which all
//! contenders take turns; ratios are made inside each round.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time in floats, prints what it finds, and stops at the first surprise"
)]

mod contest;
mod rig;

use contest::table::{self, Row};
use contest::{Lab, TOPICS, ceilings, footprint};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Markdown,
    Json,
}

struct Options {
    shape: Shape,
    check: bool,
    quick: bool,
    only: Vec<String>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // This program again, as a contender that must be a process of its own.
        Some(ceilings::FLAG) => return ceilings::serve(&arguments[1], arguments[2].parse().unwrap()),
        Some(footprint::FLAG) => return footprint::weigh(arguments[1].as_ref()),
        _ => {}
    }
    let options = options(&arguments);
    let lab = Lab::new(options.quick);
    let before = rig::process::ticks();
    let mut rows = Vec::new();
    for topic in &TOPICS {
        if options.only.is_empty() || options.only.iter().any(|name| name == topic.name) {
            eprintln!("{} …", topic.name);
            rows.extend((topic.run)(&lab));
        }
    }
    let stolen = before.zip(rig::process::ticks()).map(|(before, after)| stolen(before, after));
    print(&options, &lab, stolen, &rows);
    let unmet = rows.iter().filter(|row| row.is_met() == Some(false)).count();
    if options.check && unmet > 0 {
        std::process::exit(1);
    }
}

fn options(arguments: &[String]) -> Options {
    let mut options = Options { shape: Shape::Text, check: false, quick: false, only: Vec::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // cargo says so to every benchmark.
            "--bench" => {}
            "--markdown" => options.shape = Shape::Markdown,
            "--json" => options.shape = Shape::Json,
            "--check" => options.check = true,
            "--quick" => options.quick = true,
            "--only" => options.only.extend(arguments.next().cloned()),
            other => usage(other),
        }
    }
    if let Some(unknown) = options.only.iter().find(|name| TOPICS.iter().all(|topic| topic.name != **name)) {
        usage(unknown);
    }
    options
}

fn usage(unknown: &str) -> ! {
    let topics: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
    eprintln!("{unknown}: options are --markdown, --json, --check, --quick, --only {}", topics.join("|"));
    std::process::exit(2);
}

/// The part of the processors' time that the host took, in percent: what makes latencies long whatever runs.
fn stolen(before: (u64, u64), after: (u64, u64)) -> f64 {
    (after.1 - before.1) as f64 * 100.0 / (after.0 - before.0).max(1) as f64
}

fn print(options: &Options, lab: &Lab, stolen: Option<f64>, rows: &[Row]) {
    let machine = format!("{}; {}", rig::process::machine(), contest::versions());
    let (rounds, turn) = (lab.rounds, lab.turn);
    let stolen_text = stolen
        .map_or(String::new(), |stolen| format!("; {stolen:.1} % of the processors' time went to others on the host"));
    let how = format!("{machine}; medians of {rounds} rounds, turns of {turn:?} over HTTP{stolen_text}");
    match options.shape {
        Shape::Json => {
            println!(
                "{}",
                serde_json::json!({ "machine": machine, "rounds": rounds, "stolen_percent": stolen, "rows": table::json(rows) })
            );
        }
        Shape::Markdown => println!("{how}.\n\n{}", table::markdown(rows)),
        Shape::Text => println!("{how}\n\n{}", table::text(rows)),
    }
}
