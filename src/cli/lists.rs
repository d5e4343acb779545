//! Lists: pages of the routes, as tables for a person or as lines of JSON for a program. A list that is cut says so.

use std::collections::HashMap;
use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Global;
use crate::client::{Client, percent_encoded};

/// Most rows that a route puts on one page.
const PAGE_ROWS_MAX: usize = 1_000;
/// What a table shows where there is nothing.
const NOTHING: &str = "-";

/// How much of a list is shown.
#[derive(Debug, Args)]
pub(super) struct Rows {
    /// Show at most this many rows.
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show all rows.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// A list, and how its table looks.
pub(super) struct List<'a> {
    /// Path and query of its route.
    pub(super) target: &'a str,
    /// The member of a page that holds the rows.
    pub(super) member: &'a str,
    pub(super) columns: &'a [Column],
}

/// A column of a table, with its title.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    Text(&'static str),
    /// Aligned to the right.
    Number(&'static str),
}

/// One JSON object. Values are shown as they are written, so that no number changes.
#[derive(Debug, Default)]
pub(super) struct Row<'a> {
    /// All of it.
    pub(super) json: &'a str,
    members: HashMap<String, &'a RawValue>,
}

impl<'a> Row<'a> {
    pub(super) fn parse(json: &'a str) -> anyhow::Result<Self> {
        let members = serde_json::from_str(json).context("the server's answer is not as it should be")?;
        Ok(Self { json, members })
    }

    fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.members.get(name)?.get()).ok()
    }

    /// The object in a member; an empty one if there is none.
    pub(super) fn object(&self, name: &str) -> Self {
        self.members.get(name).and_then(|value| Self::parse(value.get()).ok()).unwrap_or_default()
    }

    /// The list in a member; an empty one if there is none.
    pub(super) fn list(&self, name: &str) -> Vec<&'a RawValue> {
        self.get(name).unwrap_or_default()
    }

    /// The texts in a member, with commas between.
    pub(super) fn texts(&self, name: &str) -> String {
        self.get::<Vec<String>>(name).unwrap_or_default().join(", ")
    }

    /// The text in a member, or the number as it is written; a dash if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.known(name).unwrap_or_else(|| NOTHING.to_owned())
    }

    /// As [`Row::text`]; `None` if there is none.
    pub(super) fn known(&self, name: &str) -> Option<String> {
        let value = self.members.get(name)?.get();
        if value == "null" {
            return None;
        }
        // What a stranger wrote may hold what would move the cursor of a terminal.
        let plain = |text: String| text.replace(char::is_control, "\u{fffd}");
        Some(self.get(name).map_or_else(|| value.to_owned(), plain))
    }
}

impl List<'_> {
    /// Prints a list that comes in pages; returns how many rows it printed.
    pub(super) fn print(
        &self,
        (global, client): (&Global, &Client),
        rows: &Rows,
        cells: impl Fn(&Row<'_>) -> Vec<String>,
    ) -> anyhow::Result<usize> {
        let mut table = Table::new(self.columns);
        let mut printed = 0;
        let mut left = if rows.all { usize::MAX } else { usize::try_from(rows.limit).unwrap_or(usize::MAX) };
        let mut cursor = String::new();
        loop {
            let separator = if self.target.contains('?') { '&' } else { '?' };
            let page = client.get(&format!("{}{separator}limit={}{cursor}", self.target, left.min(PAGE_ROWS_MAX)))?;
            let page = Row::parse(&page)?;
            let rows = self.print_page(&page, global, &mut table, &cells)?;
            (left, printed) = (left.saturating_sub(rows), printed + rows);
            let Some(next) = page.known("next_cursor") else { return Ok(printed) };
            if left == 0 {
                let shown = "only the first rows are shown: --limit ROWS shows more, --all shows all";
                writeln!(io::stderr(), "overlaid: {shown}")?;
                return Ok(printed);
            }
            cursor = format!("&cursor={}", percent_encoded(&next));
        }
    }

    /// Prints a list that comes as a whole.
    pub(super) fn print_whole(
        &self,
        (global, client): (&Global, &Client),
        cells: impl Fn(&Row<'_>) -> Vec<String>,
    ) -> anyhow::Result<()> {
        let page = client.get(self.target)?;
        self.print_page(&Row::parse(&page)?, global, &mut Table::new(self.columns), &cells).map(drop)
    }

    fn print_page(
        &self,
        page: &Row<'_>,
        global: &Global,
        table: &mut Table<'_>,
        cells: &impl Fn(&Row<'_>) -> Vec<String>,
    ) -> anyhow::Result<usize> {
        let found = page.list(self.member);
        if global.json {
            let mut out = io::stdout().lock();
            for row in &found {
                writeln!(out, "{}", row.get())?;
            }
        } else {
            let rows = found.iter().map(|row| Ok(cells(&Row::parse(row.get())?)));
            table.print(&rows.collect::<anyhow::Result<Vec<_>>>()?)?;
        }
        Ok(found.len())
    }
}

/// A table that is printed page by page: columns get wider, but never narrower.
struct Table<'a> {
    columns: &'a [Column],
    widths: Vec<usize>,
}

impl<'a> Table<'a> {
    fn new(columns: &'a [Column]) -> Self {
        Self { columns, widths: Vec::new() }
    }

    fn print(&mut self, rows: &[Vec<String>]) -> io::Result<()> {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title().to_owned()).collect();
        let is_first = self.widths.is_empty();
        self.widths.resize(titles.len(), 0);
        for row in rows.iter().chain([&titles]) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if is_first {
            self.print_row(&titles)?;
        }
        rows.iter().try_for_each(|row| self.print_row(row))
    }

    fn print_row(&self, cells: &[String]) -> io::Result<()> {
        let padded = self.columns.iter().zip(&self.widths).zip(cells).map(|((column, &width), cell)| match column {
            Column::Text(_) => format!("{cell:<width$}"),
            Column::Number(_) => format!("{cell:>width$}"),
        });
        writeln!(io::stdout(), "{}", padded.collect::<Vec<_>>().join("  ").trim_end())
    }
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Number(title) => title,
        }
    }
}
