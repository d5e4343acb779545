//! The table: floor, measured, holds or not.

use std::fmt::Write as _;

use super::rounds::Spread;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    floor: Floor,
    measured: Result<Measured, &'static str>,
}

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
    /// The row is for information.
    None,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Times,
    Milliseconds,
    Bytes,
    Megabytes,
}

#[derive(Debug)]
struct Measured {
    spread: Spread,
    unit: Unit,
    detail: String,
}

impl Row {
    /// A row that was measured; or `missing` says why not, if there is no figure.
    pub(crate) fn new(
        what: impl Into<String>,
        floor: Floor,
        unit: Unit,
        spread: Option<Spread>,
        missing: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let measured = spread.map(|spread| Measured { spread, unit, detail: detail.into() }).ok_or(missing);
        Self { what: what.into(), floor, measured }
    }

    /// A row of one figure without rounds.
    pub(crate) fn single(
        what: impl Into<String>,
        floor: Floor,
        unit: Unit,
        value: f64,
        detail: impl Into<String>,
    ) -> Self {
        let spread = Spread { median: value, low: value, high: value };
        Self::new(what, floor, unit, Some(spread), "", detail)
    }

    /// A row that could not be measured.
    pub(crate) fn missing(what: impl Into<String>, floor: Floor, why: &'static str) -> Self {
        Self { what: what.into(), floor, measured: Err(why) }
    }

    /// Whether the floor holds; `None` if there is none, or nothing was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let measured = self.measured.as_ref().ok()?;
        match self.floor {
            Floor::AtLeast(limit) => Some(measured.spread.median >= limit),
            Floor::AtMost(limit) => Some(measured.spread.median <= limit),
            Floor::None => None,
        }
    }

    fn cells(&self) -> [String; 4] {
        let unit = self.measured.as_ref().map_or(Unit::Times, |measured| measured.unit);
        let floor = match self.floor {
            Floor::AtLeast(limit) => format!("≥ {}", unit.show(limit)),
            Floor::AtMost(limit) => format!("≤ {}", unit.show(limit)),
            Floor::None => "–".to_owned(),
        };
        let measured = match &self.measured {
            Ok(Measured { spread: Spread { median, low, high }, unit, detail }) => {
                let range = if high <= low {
                    String::new()
                } else {
                    format!(" ({}–{})", unit.number(*low), unit.number(*high))
                };
                let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
                format!("{}{range}{detail}", unit.show(*median))
            }
            Err(why) => (*why).to_owned(),
        };
        let met = match self.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "–",
        };
        [self.what.clone(), floor, measured, met.to_owned()]
    }
}

impl Unit {
    fn number(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{value:.0}"),
            Self::Times | Self::Milliseconds if value >= 100.0 => format!("{value:.0}"),
            Self::Times | Self::Milliseconds | Self::Megabytes if value >= 10.0 => format!("{value:.1}"),
            Self::Times | Self::Milliseconds | Self::Megabytes => format!("{value:.2}"),
        }
    }

    fn show(self, value: f64) -> String {
        let name = match self {
            Self::Times => "×",
            Self::Milliseconds => " ms",
            Self::Bytes => " B",
            Self::Megabytes => " MB",
        };
        format!("{}{name}", self.number(value))
    }
}

const HEADINGS: [&str; 4] = ["what", "floor", "measured, median (range)", ""];

/// For a terminal.
pub(crate) fn text(rows: &[Row]) -> String {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let texts = cells.iter().map(|row| &*row[column]).chain([HEADINGS[column]]);
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let (what, floor) = (width(0), width(1));
    let mut out = String::new();
    let headings = HEADINGS.map(str::to_owned);
    for [name, aim, measured, met] in std::iter::once(&headings).chain(&cells) {
        let _ = writeln!(out, "{met:7}  {name:what$}  {aim:>floor$}  {measured}");
    }
    out
}

/// For a README.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = format!("| {} |\n|---|---|---|---|\n", HEADINGS.join(" | "));
    for row in rows {
        let _ = writeln!(out, "| {} |", row.cells().join(" | "));
    }
    out
}

/// For programs.
pub(crate) fn json(rows: &[Row]) -> serde_json::Value {
    let rows = rows.iter().map(|row| {
        let (floor, limit) = match row.floor {
            Floor::AtLeast(limit) => (Some("at_least"), Some(limit)),
            Floor::AtMost(limit) => (Some("at_most"), Some(limit)),
            Floor::None => (None, None),
        };
        let mut object = serde_json::json!({ "what": row.what, "floor": floor, "limit": limit, "met": row.is_met() });
        match &row.measured {
            Ok(Measured { spread, unit, detail }) => {
                object["unit"] = format!("{unit:?}").to_lowercase().into();
                object["median"] = spread.median.into();
                object["low"] = spread.low.into();
                object["high"] = spread.high.into();
                object["detail"] = detail.as_str().into();
            }
            Err(why) => object["missing"] = (*why).into(),
        }
        object
    });
    rows.collect()
}

/// A number of answers a second: `48,100/s`.
pub(crate) fn per_second(value: f64) -> String {
    format!("{}/s", thousands(value))
}

/// CPU time for one answer.
pub(crate) fn cpu(value: f64) -> String {
    if value >= 1_000.0 { format!("{:.2} ms", value / 1_000.0) } else { format!("{value:.1} µs") }
}

/// A time in milliseconds, or microseconds if it is short.
pub(crate) fn ms(value: f64) -> String {
    if value < 1.0 { format!("{:.0} µs", value * 1_000.0) } else { format!("{value:.2} ms") }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
