//! How far a long run is: a bar on a terminal, a line now and then anywhere else.
//!
//! All of it goes to standard error, so that the answer on standard output stays clean.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::walk::Tree;

/// Files between two plain lines: some seconds apart.
const FILES_PER_LINE: u64 = 50_000;

/// The progress of one run over files.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    /// The count at which the next plain line is due.
    due: u64,
}

impl Progress {
    /// Begins a run over a tree. On a terminal its files are counted first, for the time that is left.
    pub(super) fn over(what: &'static str, tree: &Tree) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let files = tree.walk().ok().map(|walk| walk.count() as u64);
            let bar = files.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = "{msg} {wide_bar} {human_pos}/{human_len} files, {rate}/s, {eta} left";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style.with_key("rate", write_rate)).with_message(what)
        });
        Self { what, bar, due: FILES_PER_LINE }
    }

    /// Notes that so many files are done.
    pub(super) fn set(&mut self, files: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(files);
        } else if files >= self.due {
            self.due = files.saturating_add(FILES_PER_LINE);
            // A closed standard error takes nothing from the work.
            let _ = writeln!(io::stderr(), "{}: {files} files", self.what);
        }
    }
}

/// Files a second, without the library's four decimals.
fn write_rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // A bar that can not be drawn takes nothing from the work.
    let _ = write!(out, "{:.0}", state.per_sec());
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
