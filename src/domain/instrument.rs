//! Instruments: what one lot is, and in which steps it trades.
//!
//! The table is data (`data/instruments.toml`), since brokers differ; an operator's own file replaces it entry by
//! entry. A broker's symbol leads to an entry by its own name, by an alias, or by either once a suffix that the table
//! lists is removed. Nothing is guessed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{Currency, Decimal, Invalid, InvalidKind, Symbol};

/// What is traded under one symbol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// The currency, metal or coin that a lot is made of. `None`: an index has none.
    #[serde(default)]
    pub base: Option<Currency>,
    /// The currency that the price is in.
    pub quote: Currency,
    /// Units of the base in one lot; above zero.
    pub contract_size: Decimal,
    /// The price distance called one pip; above zero. For display, and for signals that are given in pips.
    pub pip: Decimal,
    /// Decimals of a quoted price, for display.
    pub digits: u8,
    /// Smallest size that trades, in lots; above zero.
    pub min_lot: Decimal,
    /// Sizes are multiples of this, in lots; above zero.
    pub lot_step: Decimal,
    /// Largest size of one order, in lots; at least `min_lot`.
    pub max_lot: Decimal,
    /// The least margin of a position, in percent of its value, whatever the account's leverage; above zero, at most
    /// 100. `None`: the leverage alone decides.
    #[serde(default)]
    pub margin_percent: Option<Decimal>,
    /// Other symbols of the same instrument.
    #[serde(default)]
    pub aliases: Vec<Symbol>,
}

/// All instruments by symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instruments {
    by_symbol: BTreeMap<Symbol, Instrument>,
    symbols_by_alias: BTreeMap<Symbol, Symbol>,
    /// What brokers add to symbols, the longest first.
    suffixes: Vec<Symbol>,
}

/// The instrument that a symbol was taken for, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundInstrument<'a> {
    /// The entry's own symbol.
    pub symbol: &'a Symbol,
    /// The entry.
    pub instrument: &'a Instrument,
    /// Whether the symbol, without the suffix, is an alias of the entry.
    pub is_alias: bool,
    /// The suffix that was removed.
    pub suffix: Option<&'a Symbol>,
}

/// The text of a table: entries by symbol, and a list of suffixes.
#[derive(Debug, Default)]
struct Table {
    suffixes: Option<Vec<Symbol>>,
    entries: BTreeMap<Symbol, Instrument>,
}

impl<'de> Deserialize<'de> for Table {
    /// By hand, as an error in a flattened entry would not name its line.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor;
        impl<'de> Visitor<'de> for TableVisitor {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of instruments")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table, A::Error> {
                let mut table = Table::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "suffixes" {
                        table.suffixes = Some(map.next_value()?);
                    } else {
                        table.entries.insert(Symbol::parse(&name).map_err(A::Error::custom)?, map.next_value()?);
                    }
                }
                Ok(table)
            }
        }
        deserializer.deserialize_map(TableVisitor)
    }
}

impl Instruments {
    /// The built-in table.
    ///
    /// # Errors
    ///
    /// None in a tested build: the table is compiled in, and a test reads it.
    pub fn built_in() -> Result<Self, Invalid> {
        let mut table = Self::default();
        table.override_with(include_str!("../../data/instruments.toml"))?;
        Ok(table)
    }

    /// Adds the entries of a TOML text; an entry replaces the one of the same symbol whole, and takes its symbols from
    /// the aliases of others. A list of suffixes replaces the one before.
    ///
    /// # Errors
    ///
    /// [`Invalid`] that names the entry, if the text is no such table, a number makes no sense, or an alias would stand
    /// for two instruments. Nothing is replaced then.
    pub fn override_with(&mut self, text: &str) -> Result<(), Invalid> {
        let Table { suffixes, entries } = toml::from_str(text).map_err(|error| Invalid::table(text, &error))?;
        let named: BTreeSet<Symbol> =
            entries.iter().flat_map(|(symbol, entry)| entry.aliases.iter().chain([symbol])).cloned().collect();
        let mut by_symbol = self.by_symbol.clone();
        for instrument in by_symbol.values_mut() {
            instrument.aliases.retain(|alias| !named.contains(alias));
        }
        by_symbol.extend(entries);
        let mut symbols_by_alias = BTreeMap::new();
        for (symbol, instrument) in &by_symbol {
            instrument.check(symbol)?;
            for alias in &instrument.aliases {
                let is_entry = by_symbol.contains_key(alias).then(|| alias.clone());
                if let Some(other) = symbols_by_alias.insert(alias.clone(), symbol.clone()).or(is_entry) {
                    let detail = format!("alias {alias} stands for two instruments, {other} and {symbol}");
                    return Err(Invalid::member(InvalidKind::DuplicateMember, "aliases", detail));
                }
            }
        }
        let mut suffixes = suffixes.unwrap_or_else(|| self.suffixes.clone());
        suffixes.sort_by_key(|suffix| Reverse(suffix.as_str().len()));
        *self = Self { by_symbol, symbols_by_alias, suffixes };
        Ok(())
    }

    /// Returns the instrument of a symbol.
    #[must_use]
    pub fn get(&self, symbol: &Symbol) -> Option<&Instrument> {
        self.find(symbol).map(|found| found.instrument)
    }

    /// Finds the instrument of a symbol: by its own symbol, else by an alias, else by either without a suffix of the
    /// table, the longest first.
    #[must_use]
    pub fn find(&self, symbol: &Symbol) -> Option<FoundInstrument<'_>> {
        let bare = self.suffixes.iter().filter_map(|suffix| {
            let bare = symbol.as_str().strip_suffix(suffix.as_str()).filter(|bare| !bare.is_empty())?;
            self.named(bare, Some(suffix))
        });
        self.named(symbol.as_str(), None).into_iter().chain(bare).next()
    }

    fn named<'a>(&'a self, name: &str, suffix: Option<&'a Symbol>) -> Option<FoundInstrument<'a>> {
        let own = self.by_symbol.get_key_value(name);
        let is_alias = own.is_none();
        // No alias is the symbol of another entry.
        let (symbol, instrument) = own.or_else(|| self.by_symbol.get_key_value(self.symbols_by_alias.get(name)?))?;
        Some(FoundInstrument { symbol, instrument, is_alias, suffix })
    }

    /// What brokers add to symbols, the longest first.
    #[must_use]
    pub fn suffixes(&self) -> &[Symbol] {
        &self.suffixes
    }

    /// All entries in the order of their symbols.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Symbol, &Instrument)> {
        self.by_symbol.iter()
    }
}

impl FoundInstrument<'_> {
    /// Why it was taken, in words: `exact`, `alias`, `suffix .M removed`.
    #[must_use]
    pub fn why(&self) -> String {
        match (self.is_alias, self.suffix) {
            (false, None) => "exact".to_owned(),
            (true, None) => "alias".to_owned(),
            (false, Some(suffix)) => format!("suffix {suffix} removed"),
            (true, Some(suffix)) => format!("suffix {suffix} removed, alias"),
        }
    }
}

impl Instrument {
    fn check(&self, symbol: &Symbol) -> Result<(), Invalid> {
        let numbers = [
            ("contract_size", self.contract_size),
            ("pip", self.pip),
            ("min_lot", self.min_lot),
            ("lot_step", self.lot_step),
            ("max_lot", self.max_lot),
        ];
        for (name, number) in numbers {
            if !number.is_positive() {
                return Err(Invalid::member(
                    InvalidKind::OutOfRange,
                    name,
                    format!("{symbol}: {name} must be above zero"),
                ));
            }
        }
        if self.margin_percent.is_some_and(|percent| !percent.is_positive() || percent > Decimal::HUNDRED) {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                "margin_percent",
                format!("{symbol}: margin_percent must lie above 0, at most 100"),
            ));
        }
        if self.max_lot < self.min_lot {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                "max_lot",
                format!("{symbol}: max_lot is below min_lot"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_holds_all_majors_and_crosses() {
        let table = Instruments::built_in().unwrap();
        // By market convention the earlier of two is the base.
        let order = ["EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF", "JPY"];
        let mut pairs = 0;
        for (at, base) in order.iter().enumerate() {
            for quote in &order[at + 1..] {
                let symbol = Symbol::parse(&format!("{base}{quote}")).unwrap();
                let instrument = table.get(&symbol).unwrap_or_else(|| panic!("{symbol} is missing"));
                assert_eq!(instrument.base.as_ref().map(Currency::as_str), Some(*base));
                assert_eq!(instrument.quote.as_str(), *quote);
                assert_eq!(instrument.contract_size.to_string(), "100000");
                assert_eq!(instrument.pip.to_string(), if *quote == "JPY" { "0.01" } else { "0.0001" });
                pairs += 1;
            }
        }
        assert_eq!(pairs, 28);
        let contract = |symbol: &str| table.get(&Symbol::parse(symbol).unwrap()).unwrap().contract_size.to_string();
        assert_eq!(
            (contract("XAUUSD"), contract("XAGUSD"), contract("BTCUSD"), contract("US30")),
            ("100".into(), "5000".into(), "1".into(), "1".into())
        );
    }

    /// An entry of some instrument, with more lines.
    fn entry(symbol: &str, more: &str) -> String {
        let numbers = "contract_size=1\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9\n";
        format!("['{symbol}']\nquote='USD'\n{numbers}{more}\n")
    }

    /// How a symbol is found: the entry, `=` for an alias, `-` for a suffix.
    fn found(table: &Instruments, symbol: &str) -> Option<String> {
        let found = table.find(&Symbol::parse(symbol).unwrap())?;
        let alias = if found.is_alias { "=" } else { "" };
        Some(format!("{alias}{}{}", found.symbol, found.suffix.map_or(String::new(), |suffix| format!("-{suffix}"))))
    }

    #[test]
    fn a_symbol_is_found_by_itself_by_an_alias_or_without_a_listed_suffix_and_never_guessed() {
        let mut table = Instruments::built_in().unwrap();
        assert_eq!(found(&table, "EURUSD.m"), None, "no suffix is built in");
        let text = format!(
            "suffixes = ['.m', 'm', '+', '_i', '.pro', 'x.pro']\n{}{}{}",
            entry("MYIDX", "aliases = ['idx', 'S&P500!', '^MY:IDX']"),
            entry("ODDM", ""),
            entry("ODDMX", "")
        );
        table.override_with(&text).unwrap();
        for (symbol, expected) in [
            ("eur/usd", Some("EURUSD")),
            ("EURUSD.m", Some("EURUSD-.M")),
            ("EURUSDm", Some("EURUSD-M")),
            ("EURUSD+", Some("EURUSD-+")),
            ("EURUSD_i", Some("EURUSD-_I")),
            ("EURUSD.pro", Some("EURUSD-.PRO")),
            ("idx", Some("=MYIDX")),
            ("S&P500!", Some("=MYIDX")),
            ("^my:idx", Some("=MYIDX")),
            ("idx.m", Some("=MYIDX-.M")),
            ("gold.m", Some("=XAUUSD-.M")),
            // What stands in the table as it is comes before a suffix.
            ("ODDM", Some("ODDM")),
            ("ODDM.m", Some("ODDM-.M")),
            // Of two suffixes that both lead to an entry, the longer.
            ("ODDMX.pro", Some("ODDM-X.PRO")),
            ("ODD", None),
            (".m", None),
            ("m", None),
            // One suffix, at the end, of those that are listed.
            ("EURUSD.mm", None),
            ("EURUSD.m.m", None),
            ("EURUSD.ecn", None),
            ("mEURUSD", None),
        ] {
            assert_eq!(found(&table, symbol).as_deref(), expected, "{symbol}");
        }
        table.override_with("suffixes = ['.x']").unwrap();
        assert_eq!(
            (found(&table, "EURUSD.m"), found(&table, "EURUSD.x").is_some()),
            (None, true),
            "a list is replaced"
        );
        assert!(found(&table, "IDX").is_some(), "and the entries stay");
    }

    #[test]
    fn an_alias_of_two_instruments_is_refused_and_an_entry_takes_its_names() {
        let mut table = Instruments::built_in().unwrap();
        let before = table.clone();
        for (text, named) in [
            (
                entry("ONE", "aliases = ['X']") + &entry("TWO", "aliases = ['x']"),
                "alias X stands for two instruments, ONE and TWO",
            ),
            (entry("ONE", "aliases = ['EURUSD']"), "alias EURUSD stands for two instruments, EURUSD and ONE"),
            (entry("ONE", "aliases = ['one']"), "alias ONE stands for two instruments, ONE and ONE"),
            (entry("ONE", "aliases = ['a b']"), "a b"),
            ("suffixes = ['']".to_owned(), "symbol"),
            ("suffixes = '.m'".to_owned(), "suffixes"),
        ] {
            let error = table.override_with(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
            assert_eq!(table, before);
        }
        // An operator's own entry is another instrument than the one that had its symbol for an alias.
        assert_eq!(found(&table, "GOLD").as_deref(), Some("=XAUUSD"));
        table.override_with(&entry("GOLD", "")).unwrap();
        assert_eq!(found(&table, "GOLD").as_deref(), Some("GOLD"));
        table.override_with(&entry("MINE", "aliases = ['SILVER']")).unwrap();
        assert_eq!(found(&table, "SILVER").as_deref(), Some("=MINE"));
    }

    #[test]
    fn an_operators_file_replaces_entry_by_entry() {
        let mut table = Instruments::built_in().unwrap();
        let before = table.iter().len();
        let text = "[US30]\nquote='USD'\ncontract_size=5\npip=1\ndigits=1\nmin_lot='0.1'\nlot_step='0.1'\nmax_lot=50\n[MYIDX]\nquote='EUR'\ncontract_size=1\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9\n";
        table.override_with(text).unwrap();
        assert_eq!(table.iter().len(), before + 1);
        assert_eq!(table.get(&Symbol::parse("US30").unwrap()).unwrap().contract_size.to_string(), "5");
        assert!(table.get(&Symbol::parse("EURUSD").unwrap()).is_some());
    }

    #[test]
    fn a_senseless_entry_is_named_and_replaces_nothing() {
        let mut table = Instruments::built_in().unwrap();
        let before = table.clone();
        for (text, named) in [
            (
                "[EURUSD]\nquote='USD'\ncontract_size=0\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9",
                "contract_size",
            ),
            ("[EURUSD]\nquote='USD'\ncontract_size=1\npip=1\ndigits=1\nmin_lot=10\nlot_step=1\nmax_lot=9", "max_lot"),
            (
                "[EURUSD]\nquote='USD'\ncontract_size=1.5\npip=1\ndigits=1\nmin_lot=1\nlot_step=1\nmax_lot=9",
                "contract_size",
            ),
            ("[EURUSD]\nquote='USD'", "missing field"),
            ("[EURUSD]\nqoute='USD'", "qoute"),
        ] {
            let error = table.override_with(text).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
            assert_eq!(table, before);
        }
    }
}
