//! Instruments: what one lot is, and in which steps it trades.
//!
//! The table is data (`data/instruments.toml`), since brokers differ; an operator's own file replaces it entry by
//! entry.

use std::collections::BTreeMap;

use serde::Deserialize;

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
}

/// All instruments by symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instruments {
    by_symbol: BTreeMap<Symbol, Instrument>,
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

    /// Adds the entries of a TOML text; an entry replaces the one of the same symbol whole.
    ///
    /// # Errors
    ///
    /// [`Invalid`] that names the entry, if the text is no such table or a number makes no sense. Nothing
    /// is replaced then.
    pub fn override_with(&mut self, text: &str) -> Result<(), Invalid> {
        let entries: BTreeMap<Symbol, Instrument> =
            toml::from_str(text).map_err(|error| Invalid::table(text, &error))?;
        for (symbol, instrument) in &entries {
            instrument.check(symbol)?;
        }
        self.by_symbol.extend(entries);
        Ok(())
    }

    /// Looks a symbol up.
    #[must_use]
    pub fn get(&self, symbol: &Symbol) -> Option<&Instrument> {
        self.by_symbol.get(symbol)
    }

    /// All entries in the order of their symbols.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Symbol, &Instrument)> {
        self.by_symbol.iter()
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
