//! What other programs call the members of records: trading platforms, chart services and the bots around them.
//!
//! A record keeps members that this program does not know. A sender that calls the balance `account_bal` would believe
//! that it counts, so such a name is refused with the right one. Only names that would be taken for a member of ours
//! are listed: a name with another usual meaning is refused only where the member itself is absent.
//!
//! Names are compared without case and `_`, so they stand here as they are compared. A name that ends in `#` stands
//! for all that have a number there.

/// What there is in the place of another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// The member of this name.
    Member(&'static str),
    /// The member of this name. Beside one of the others the name says something of its own, and is kept.
    Unless(&'static str, &'static [&'static str]),
    /// No member; the sentence says what to do.
    Nothing(&'static str),
}

/// Names with what each of them means.
pub(super) type OtherNames = [(&'static [&'static str], Meant)];

use Meant::{Member, Nothing, Unless};

const SIZE: Meant = Nothing("a size is computed for each user when a mission is read");
const MOMENT: Meant = Nothing("send the moment of the end as \"expires_at\"");

/// Other names around a signal.
pub(super) const SIGNAL: &OtherNames = &[
    (&["id", "alertid", "signaluuid"], Unless("signal_id", &["signal_id"])),
    (&["ticker", "pair", "currencypair", "instrument", "market", "asset"], Unless("symbol", &["symbol"])),
    (&["side", "action", "type", "ordertype", "tradetype", "cmd", "buysell"], Unless("direction", &["direction"])),
    (&["entry", "entryat", "entrylevel", "openprice", "priceopen", "limitprice"], Member("entry_price")),
    (&["price"], Unless("entry_price", &["entry_price"])),
    (&["sl", "slprice", "stop", "stopprice", "stoplevel", "stoplossprice"], Member("stop_loss")),
    (&["slpips", "stoplosspips"], Unless("stop_pips", &["stop_pips", "stop_loss"])),
    (&["tp1", "takeprofit1", "target1"], Member("take_profit")),
    (&["tp", "tpprice", "target", "targetprice", "takeprofitprice"], Member("take_profit")),
    (&["tp#", "takeprofit#", "target#", "tps", "targets", "tplevels"], Member("take_profits")),
    (&["tppips", "takeprofitpips"], Unless("target_pips", &["target_pips", "take_profit", "take_profits"])),
    (
        &["slpoints", "stoppoints", "stoplosspoints", "tppoints", "targetpoints", "takeprofitpoints"],
        Nothing("send distances in pips, as \"stop_pips\" and \"target_pips\""),
    ),
    (&["pattern", "patternname"], Unless("pattern_type", &["pattern_type"])),
    (&["conf", "confidencescore", "confidencelevel", "confidencepercent"], Unless("confidence", &["confidence"])),
    (&["expiry", "expire", "expires", "expiration", "expirationtime", "expirationdate"], Member("expires_at")),
    (&["expirytime", "timeexpiration", "validuntil", "validtill", "validto", "goodtill", "gtd"], Member("expires_at")),
    (&["ttl", "ttlseconds", "ttlminutes", "expiresin", "validfor", "validity", "lifetime"], MOMENT),
    (
        &["created", "timestamp", "time", "publishedat", "generatedat", "signaltime", "opentime"],
        Unless("created_at", &["created_at"]),
    ),
    (&["lots", "lot", "lotsize", "volume", "size", "positionsize", "ordersize", "quantity", "qty", "contracts"], SIZE),
    (
        &["risk", "riskpercent", "riskpct", "riskpercentage", "accountbalance", "balance", "leverage"],
        Nothing("it belongs to the overlay of each user"),
    ),
];

/// Other names around an overlay.
pub(super) const OVERLAY: &OtherNames = &[
    (&["usertier", "accounttier"], Member("tier")),
    (&["risk", "riskpct", "riskperc", "riskpercentage", "riskpertrade", "percentrisk"], Member("risk_percent")),
    (
        &["riskamount", "riskmoney", "riskusd", "fixedrisk", "maxrisk", "maxriskpercent"],
        Nothing("send the risk of a trade as a percentage, \"risk_percent\""),
    ),
    (&["riskbase", "basis"], Member("risk_basis")),
    (&["balance", "bal", "accountbal", "accbalance", "acctbalance", "currentbalance"], Member("account_balance")),
    (&["equity", "accequity", "acctequity", "currentequity"], Member("account_equity")),
    (&["marginfree", "accountmarginfree", "accountfreemargin", "availablemargin"], Member("free_margin")),
    (&["marginavailable", "usablemargin", "marginremaining"], Member("free_margin")),
    (&["margin", "accountmargin"], Nothing("send what is free for new positions as \"free_margin\"")),
    (&["lev", "accountleverage", "accleverage"], Member("leverage")),
    (&["currency", "ccy", "accountccy", "acccurrency", "depositcurrency"], Member("account_currency")),
    (&["winpct", "winpercent", "winpercentage"], Member("win_rate")),
    (&["tradesleft", "lefttrades", "remainingtrades", "tradesavailable"], Member("trades_remaining")),
    (
        &["maxtrades", "tradesperday", "maxtradesperday", "maxdailytrades", "dailytrades"],
        Nothing("the tier has the trades of a day; send those that are left as \"trades_remaining\""),
    ),
    (
        &["maxlots", "maxlot", "maxlotsize", "maxvolume", "maxpositionsize"],
        Nothing("the largest size is the tier's and the instrument's"),
    ),
    (&["lots", "lot", "lotsize", "fixedlots", "fixedlot", "volume", "positionsize"], SIZE),
    (&["timestamp", "time", "lastupdate", "lastupdated", "asof"], Unless("updated_at", &["updated_at"])),
    (&["balanceat", "balanceupdatedat", "balancetime"], Member("balance_confirmed_at")),
];

/// Other names around an outcome.
pub(super) const OUTCOME: &OtherNames = &[
    (&["pnl", "pl", "profitloss", "netprofit", "netpnl", "realizedpnl"], Member("profit")),
    (&["timestamp", "time", "firedat", "executedat", "filledat", "closedat", "closetime"], Unless("at", &["at"])),
];

/// What a name means that is not known as it stands; `letters` are those of [`bare`].
///
/// [`bare`]: super::object::bare
pub(super) fn meant(names: &OtherNames, letters: &str) -> Option<Meant> {
    let is_it = |name: &&str| match name.strip_suffix('#') {
        None => *name == letters,
        Some(stem) => letters
            .strip_prefix(stem)
            .is_some_and(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())),
    };
    names.iter().find(|(names, _)| names.iter().any(is_it)).map(|(_, meant)| *meant)
}

#[cfg(test)]
mod tests {
    use super::super::object::bare;
    use super::super::{Object, Outcome, OverlayDraft, SignalDraft, UnixMillis, UserId};
    use super::*;

    type Record = (&'static OtherNames, &'static str, fn(Object) -> Result<(), String>);

    /// Each list, a record that is read without any of its names, and how it is read.
    fn records() -> [Record; 3] {
        [
            (SIGNAL, r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","stop_pips":20}"#, |object| {
                SignalDraft::from_object(object, None).map(drop).map_err(|error| error.to_string())
            }),
            (OVERLAY, r#"{"user_id":"7"}"#, |object| {
                let user = UserId::parse("7").unwrap();
                OverlayDraft::from_object(object, Some(&user)).map(drop).map_err(|error| error.to_string())
            }),
            (OUTCOME, r#"{"signal_id":"S1","user_id":"7","status":"closed"}"#, |object| {
                Outcome::from_object(object, None, None, UnixMillis::MIN).map(drop).map_err(|error| error.to_string())
            }),
        ]
    }

    #[test]
    fn each_name_is_refused_with_what_there_is_in_its_place() {
        for (names, record, read) in records() {
            let record = Object::parse(record.as_bytes()).unwrap();
            read(record.clone()).unwrap();
            for (name, meant) in names.iter().flat_map(|(names, meant)| names.iter().map(|name| (*name, *meant))) {
                assert!(bare(name) == name.trim_end_matches('#'), "{name} is not as names are compared");
                let name = name.replace('#', "2");
                let with = |more: &[(&str, &str)]| {
                    let mut object = record.clone();
                    for (name, value) in more {
                        object.set(name, (*value).to_owned());
                    }
                    read(object)
                };
                let refused = with(&[(&name, "1")]);
                match meant {
                    Nothing(instead) => {
                        assert_eq!(refused, Err(format!("there is no member \"{name}\": {instead}")));
                    }
                    // The record of the test has these.
                    Unless("signal_id" | "symbol" | "direction" | "stop_pips", _) => {
                        assert_eq!(refused, Ok(()), "{name}");
                    }
                    Member(own) | Unless(own, _) => {
                        assert_eq!(refused, Err(format!("\"{name}\" is not a known member; \"{own}\" is")));
                    }
                }
                if let Unless(
                    own @ ("entry_price" | "target_pips" | "pattern_type" | "confidence" | "created_at" | "updated_at"
                    | "at"),
                    _,
                ) = meant
                {
                    let value = if own == "pattern_type" { "\"1\"" } else { "1" };
                    assert_eq!(with(&[(&name, "1"), (own, value)]), Ok(()), "{name} beside {own}");
                    assert!(with(&[(&name, "1"), (own, "null")]).is_err(), "{name} beside no {own}");
                }
            }
        }
    }

    #[test]
    fn a_name_without_its_member_is_refused_by_the_name() {
        for (body, error) in [
            (r#"{"signal_id":"S1","ticker":"EURUSD"}"#, "\"ticker\" is not a known member; \"symbol\" is"),
            (r#"{"signal_id":"S1","symbol":"EURUSD","Side":1}"#, "\"Side\" is not a known member; \"direction\" is"),
            (r#"{"id":"S1","symbol":"EURUSD"}"#, "\"id\" is not a known member; \"signal_id\" is"),
        ] {
            let object = Object::parse(body.as_bytes()).unwrap();
            assert_eq!(SignalDraft::from_object(object, None).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn no_name_stands_twice_in_a_list() {
        for (names, ..) in records() {
            let mut all: Vec<_> = names.iter().flat_map(|(names, _)| names.iter()).collect();
            all.sort_unstable();
            assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
        }
    }

    #[test]
    fn a_numbered_name_has_a_number() {
        for (letters, is_meant) in
            [("tp2", true), ("tp10", true), ("takeprofit3", true), ("tp2x", false), ("tpx", false)]
        {
            assert_eq!(meant(SIGNAL, letters).is_some(), is_meant, "{letters}");
        }
        assert_eq!(meant(SIGNAL, "tp1"), Some(Member("take_profit")));
    }
}
