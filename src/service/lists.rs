//! Lists: their pages, and their tags, which are known before a row is rendered.
//!
//! A list rests on records, on the rules, on the question and, where rows have a status, on the time. Records are
//! named by numbers of changes: of the newest signal, of the newest outcome of a user, of an overlay. A deletion counts
//! as a change, and the file has these numbers, so that they are the same after a restart. The time is named by the
//! next moment at which it will change a status: until then, a list is the same. Each list takes the numbers from the
//! same state as its rows, so that no tag stands for two bodies.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::rules::Rules;
use super::{Service, ServiceError};
use crate::domain::{Rates, UnixMillis};
use crate::render;

/// A page ends early once it has this many bytes, so that no answer takes much memory; its cursor goes on from there.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows as JSON, with commas between.
    pub rows: Vec<u8>,
    /// How many.
    pub count: usize,
    /// Where the next page starts; `None` at the end.
    pub next_cursor: Option<String>,
}

impl Page {
    pub(super) fn is_full(&self, rows_max: usize) -> bool {
        self.count >= rows_max.max(1) || self.rows.len() >= PAGE_BYTES_MAX
    }

    /// Counts the next row, and separates it from the one before.
    pub fn separate_row(&mut self) {
        if self.count > 0 {
            self.rows.push(b',');
        }
        self.count += 1;
    }
}

/// A hash of everything that a list rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListTag(pub u64);

/// The question that a list answers.
pub struct Asked {
    /// The path and the query.
    pub text: String,
    /// Whether the list is wanted that has this tag: asked before a row is rendered.
    pub is_wanted: Box<dyn FnOnce(ListTag) -> bool + Send>,
}

impl Default for Asked {
    /// Wants the list, whatever its tag.
    fn default() -> Self {
        Self { text: String::new(), is_wanted: Box::new(|_| true) }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("text", &self.text).finish_non_exhaustive()
    }
}

/// A list, or its tag alone.
#[derive(Debug)]
pub struct Listed {
    /// The tag.
    pub tag: ListTag,
    /// A page of rows; `None` if the list with this tag was not wanted.
    pub page: Option<Page>,
}

/// What a list rests on, number by number, always in the same order for lists of one kind.
pub(super) struct Basis<'a> {
    service: &'a Service,
    digest: Sha256,
    newest: u64,
}

impl<'a> Basis<'a> {
    /// Begins with the rules and the question.
    pub(super) fn new(service: &'a Service, rules: &Rules, asked: &Asked) -> Self {
        let mut digest = Sha256::new();
        digest.update(rules.hash().to_be_bytes());
        digest.update((asked.text.len() as u64).to_be_bytes());
        digest.update(&asked.text);
        Self { service, digest, newest: 0 }
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        self.digest.update(number.to_be_bytes());
    }

    /// Adds the number of a change; 0 for none.
    pub(super) fn change(&mut self, seq: u64) {
        self.newest = self.newest.max(seq);
        self.number(seq);
    }

    /// Adds a moment, or that there is none.
    pub(super) fn moment(&mut self, moment: Option<UnixMillis>) {
        self.number(moment.map_or(u64::MAX, |moment| moment.millis().unsigned_abs()));
    }

    /// Adds all rates, each with its confirmation, and whether that is too old.
    pub(super) fn rates(&mut self, rates: &Rates, is_stale: impl Fn(UnixMillis) -> bool) {
        for (rate, seq) in rates.iter().filter_map(|rate| rates.get(&rate.pair)) {
            self.change(seq);
            self.moment(Some(rate.confirmed_at));
            self.number(is_stale(rate.confirmed_at).into());
        }
    }

    /// Ends with the run that wrote the newest change: in each file with that run, older changes have the same numbers.
    pub(super) fn tag(mut self) -> ListTag {
        self.number(self.service.cursor_of(self.newest).run.into());
        let digest = <[u8; 32]>::from(self.digest.finalize());
        ListTag(digest.first_chunk().copied().map_or(0, u64::from_be_bytes))
    }
}

impl Asked {
    /// Makes the list with this tag if it is wanted.
    pub(super) fn list(
        self,
        tag: ListTag,
        make: impl FnOnce() -> Result<Page, ServiceError>,
    ) -> Result<Listed, ServiceError> {
        let page = if (self.is_wanted)(tag) { Some(make()?) } else { None };
        Ok(Listed { tag, page })
    }
}

impl Service {
    /// All rates as a page.
    ///
    /// # Errors
    ///
    /// None: rates are in memory.
    pub fn list_rates(&self, asked: Asked) -> Result<Listed, ServiceError> {
        let (rates, mut basis) = (self.rates(), Basis::new(self, &self.current_rules(), &asked));
        basis.rates(&rates, |_| false);
        let tag = basis.tag();
        asked.list(tag, || {
            let mut page = Page::default();
            for rate in rates.iter() {
                page.separate_row();
                page.rows.extend_from_slice(&render::rate_json(rate));
            }
            Ok(page)
        })
    }

    /// The table of instruments as a page, in the order of symbols.
    ///
    /// # Errors
    ///
    /// None: the table is in memory.
    pub fn list_instruments(&self, asked: Asked) -> Result<Listed, ServiceError> {
        let rules = self.current_rules();
        let tag = Basis::new(self, &rules, &asked).tag();
        asked.list(tag, || {
            let mut page = Page::default();
            for (symbol, instrument) in rules.instruments().iter() {
                page.separate_row();
                page.rows.extend_from_slice(&render::instrument_json(symbol, instrument));
            }
            Ok(page)
        })
    }
}
