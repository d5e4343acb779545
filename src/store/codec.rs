//! Stored records: a version byte, then bincode, which for signals is packed.
//!
//! The structs here are the file format. They are frozen once released, since bincode is positional: a change is a new
//! struct with a new version byte. The layout is bincode's legacy one (little endian, fixed width), byte for byte that
//! of bincode 1.3.3, so that another implementation could take over without touching a file.
//!
//! Signals are written in version 2: the same struct as in version 1, packed with a dictionary (see `packed`), or in
//! version 1 where packing does not help. Both are read for ever.
//!
//! Decoding never trusts the bytes: it is bounded in size, must consume all of them, and parses names again, since the
//! file may have been damaged outside.

mod packed;

pub(super) use packed::Unpacker;

use bincode::{BorrowDecode, Decode, Encode};

use crate::domain::{
    Currency, Decimal, Direction, Levels, Object, Outcome, OutcomeStatus, Overlay, Pair, Rate, RiskBasis, Scope,
    Signal, SignalId, SignalStatus, Symbol, Target, TargetLevel, TierName, Token, TradeResult, UnixMillis, UserId,
};

/// Largest record, in bytes: as JSON it stays within the 64 KiB of a body or a line, so that what is exported can be
/// loaded.
const RECORD_BYTES_MAX: usize = 63 * 1024;
/// What is set aside for a record that is being encoded: most overlays and outcomes fit.
const RECORD_BYTES_USUAL: usize = 384;
/// Most members that a record keeps beside the known ones; with more, the whole could not be read back as one object,
/// which may have 256.
const MEMBERS_MAX: usize = 240;
/// The version byte of every record in this module, but for packed ones.
const VERSION: u8 = 1;
/// The version byte of a packed record, which reads as one of version 1 once it is unpacked.
const PACKED_VERSION: u8 = 2;

/// Why a record can not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is larger than can be stored")]
pub(super) struct TooLarge;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// A newer program wrote it, or it is damaged.
    #[error("record version {0}")]
    Version(u8),
    /// There are no bytes.
    #[error("empty record")]
    Empty,
    /// bincode can not read it.
    #[error("{0}")]
    Layout(String),
    /// Bytes are left over.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A value breaks a rule that holds for every record.
    #[error("{0}")]
    Value(String),
}

/// A record, and the `seq` of the change that wrote it.
type Decoded<T> = Result<(T, u64), DecodeError>;

#[derive(Debug, Encode, Decode)]
struct SignalV1 {
    seq: u64,
    id: String,
    symbol: String,
    /// 0 buy, 1 sell.
    direction: u8,
    /// 0 prices, 1 pips.
    levels: u8,
    /// This and all other decimals: units of 10⁻⁸.
    entry: Option<i64>,
    stop: i64,
    target: Option<i64>,
    pattern_type: Option<String>,
    confidence: Option<i64>,
    created_at_ms: i64,
    expires_at_ms: i64,
    /// 0 never set, 1 active, 2 cancelled, 3 closed.
    status: u8,
    /// The targets of a signal that has several, or one with a share.
    take_profits: Vec<TargetV1>,
    members: Vec<(String, String)>,
}

#[derive(Debug, Encode, Decode)]
struct TargetV1 {
    /// 0 a price, 1 pips.
    kind: u8,
    level: i64,
    share: Option<i64>,
}

/// Most records that are read and written are overlays, so that their texts are not copied.
#[derive(Debug, Encode, BorrowDecode)]
struct OverlayV1<'a> {
    seq: u64,
    user_id: &'a str,
    tier: Option<&'a str>,
    risk_percent: Option<i64>,
    /// 0 balance, 1 equity.
    risk_basis: Option<u8>,
    account_balance: Option<i64>,
    account_equity: Option<i64>,
    free_margin: Option<i64>,
    leverage: Option<i64>,
    account_currency: &'a str,
    win_rate: Option<i64>,
    trades_remaining: Option<u32>,
    updated_at_ms: i64,
    balance_confirmed_at_ms: i64,
    members: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Encode, Decode)]
struct OutcomeV1 {
    seq: u64,
    signal_id: String,
    user_id: String,
    /// 0 fired, 1 failed, 2 closed.
    status: u8,
    at_ms: i64,
    profit: Option<i64>,
    /// 0 not said, 1 win, 2 loss, 3 even.
    result: u8,
    members: Vec<(String, String)>,
}

#[derive(Debug, Encode, Decode)]
struct RateV1 {
    seq: u64,
    pair: String,
    price: i64,
    updated_at_ms: i64,
    confirmed_at_ms: i64,
}

#[derive(Debug, Encode, Decode)]
struct TokenV1 {
    seq: u64,
    id: String,
    sha256: [u8; 32],
    scopes: Vec<String>,
    name: String,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

pub(super) fn encode_signal(signal: &Signal, seq: u64) -> Result<Vec<u8>, TooLarge> {
    let plain = encode_plain_signal(signal, seq)?;
    let mut bytes = vec![PACKED_VERSION];
    let is_packed = plain.split_first().is_some_and(|(_, record)| packed::pack(record, &mut bytes));
    Ok(if is_packed { bytes } else { plain })
}

fn encode_plain_signal(signal: &Signal, seq: u64) -> Result<Vec<u8>, TooLarge> {
    let (levels, entry, stop, target) = match signal.levels {
        Levels::Prices { entry, stop, target } => (0, Some(entry), stop, target),
        Levels::Pips { entry, stop, target } => (1, entry, stop, target),
    };
    encode(&SignalV1 {
        seq,
        id: signal.id.as_str().to_owned(),
        symbol: signal.symbol.as_str().to_owned(),
        direction: u8::from(signal.direction == Direction::Sell),
        levels,
        entry: entry.map(Decimal::units),
        stop: stop.units(),
        target: target.map(Decimal::units),
        pattern_type: signal.pattern_type.clone(),
        confidence: signal.confidence.map(Decimal::units),
        created_at_ms: signal.created_at.millis(),
        expires_at_ms: signal.expires_at.millis(),
        status: match signal.status {
            None => 0,
            Some(SignalStatus::Active) => 1,
            Some(SignalStatus::Cancelled) => 2,
            Some(SignalStatus::Closed) => 3,
        },
        take_profits: signal.take_profits.iter().map(stored_target).collect(),
        members: members_of(&signal.members)?,
    })
}

fn stored_target(target: &Target) -> TargetV1 {
    let (kind, level) = match target.level {
        TargetLevel::Price(price) => (0, price),
        TargetLevel::Pips(pips) => (1, pips),
    };
    TargetV1 { kind, level: level.units(), share: target.share.map(Decimal::units) }
}

fn target_of(record: &TargetV1) -> Result<Target, DecodeError> {
    let level = Decimal::from_units(record.level);
    let level = match record.kind {
        0 => TargetLevel::Price(level),
        1 => TargetLevel::Pips(level),
        other => return Err(DecodeError::Value(format!("target {other}"))),
    };
    Ok(Target { level, share: record.share.map(Decimal::from_units) })
}

pub(super) fn decode_signal(bytes: &[u8], unpacker: &mut Unpacker) -> Decoded<Signal> {
    let record: SignalV1 = match bytes.split_first() {
        Some((&PACKED_VERSION, packed)) => decode_body(unpacker.unpack(packed)?)?,
        _ => decode(bytes)?,
    };
    let direction = match record.direction {
        0 => Direction::Buy,
        1 => Direction::Sell,
        other => return Err(DecodeError::Value(format!("direction {other}"))),
    };
    let entry = record.entry.map(Decimal::from_units);
    let stop = Decimal::from_units(record.stop);
    let target = record.target.map(Decimal::from_units);
    let levels = match (record.levels, entry) {
        (0, Some(entry)) => Levels::prices(direction, entry, stop, target).map_err(value)?,
        (1, entry) => Levels::pips(entry, stop, target).map_err(value)?,
        (other, _) => return Err(DecodeError::Value(format!("levels {other}"))),
    };
    let take_profits: Vec<_> = record.take_profits.iter().map(target_of).collect::<Result<_, _>>()?;
    Target::check(&take_profits, direction, entry).map_err(value)?;
    let signal = Signal {
        id: SignalId::parse(&record.id).map_err(value)?,
        symbol: Symbol::parse(&record.symbol).map_err(value)?,
        direction,
        levels,
        take_profits,
        pattern_type: record.pattern_type,
        confidence: record.confidence.map(Decimal::from_units),
        status: match record.status {
            0 => None,
            1 => Some(SignalStatus::Active),
            2 => Some(SignalStatus::Cancelled),
            3 => Some(SignalStatus::Closed),
            other => return Err(DecodeError::Value(format!("status {other}"))),
        },
        created_at: UnixMillis::new(record.created_at_ms),
        expires_at: UnixMillis::new(record.expires_at_ms),
        members: Object::from_members(record.members),
    };
    Ok((signal, record.seq))
}

pub(super) fn encode_overlay(overlay: &Overlay, seq: u64) -> Result<Vec<u8>, TooLarge> {
    encode(&OverlayV1 {
        seq,
        user_id: overlay.user_id.as_str(),
        tier: overlay.tier.as_ref().map(TierName::as_str),
        risk_percent: overlay.risk_percent.map(Decimal::units),
        risk_basis: overlay.risk_basis.map(|basis| u8::from(basis == RiskBasis::Equity)),
        account_balance: overlay.account_balance.map(Decimal::units),
        account_equity: overlay.account_equity.map(Decimal::units),
        free_margin: overlay.free_margin.map(Decimal::units),
        leverage: overlay.leverage.map(Decimal::units),
        account_currency: overlay.account_currency.as_str(),
        win_rate: overlay.win_rate.map(Decimal::units),
        trades_remaining: overlay.trades_remaining,
        updated_at_ms: overlay.updated_at.millis(),
        balance_confirmed_at_ms: overlay.balance_confirmed_at.millis(),
        members: borrowed_members_of(&overlay.members)?,
    })
}

pub(super) fn decode_overlay(bytes: &[u8]) -> Decoded<Overlay> {
    let record: OverlayV1<'_> = decode(bytes)?;
    let members = record.members.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let overlay = Overlay {
        user_id: UserId::parse(record.user_id).map_err(value)?,
        tier: record.tier.map(TierName::parse).transpose().map_err(value)?,
        risk_percent: record.risk_percent.map(Decimal::from_units),
        risk_basis: match record.risk_basis {
            None => None,
            Some(0) => Some(RiskBasis::Balance),
            Some(1) => Some(RiskBasis::Equity),
            Some(other) => return Err(DecodeError::Value(format!("risk basis {other}"))),
        },
        account_balance: record.account_balance.map(Decimal::from_units),
        account_equity: record.account_equity.map(Decimal::from_units),
        free_margin: record.free_margin.map(Decimal::from_units),
        leverage: record.leverage.map(Decimal::from_units),
        account_currency: Currency::parse(record.account_currency).map_err(value)?,
        win_rate: record.win_rate.map(Decimal::from_units),
        trades_remaining: record.trades_remaining,
        updated_at: UnixMillis::new(record.updated_at_ms),
        balance_confirmed_at: UnixMillis::new(record.balance_confirmed_at_ms),
        members: Object::from_members(members.collect()),
    };
    Ok((overlay, record.seq))
}

pub(super) fn encode_outcome(outcome: &Outcome, seq: u64) -> Result<Vec<u8>, TooLarge> {
    encode(&OutcomeV1 {
        seq,
        signal_id: outcome.signal_id.as_str().to_owned(),
        user_id: outcome.user_id.as_str().to_owned(),
        status: match outcome.status {
            OutcomeStatus::Fired => 0,
            OutcomeStatus::Failed => 1,
            OutcomeStatus::Closed => 2,
        },
        at_ms: outcome.at.millis(),
        profit: outcome.profit.map(Decimal::units),
        result: match outcome.result {
            None => 0,
            Some(TradeResult::Win) => 1,
            Some(TradeResult::Loss) => 2,
            Some(TradeResult::Even) => 3,
        },
        members: members_of(&outcome.members)?,
    })
}

pub(super) fn decode_outcome(bytes: &[u8]) -> Decoded<Outcome> {
    let record: OutcomeV1 = decode(bytes)?;
    let outcome = Outcome {
        signal_id: SignalId::parse(&record.signal_id).map_err(value)?,
        user_id: UserId::parse(&record.user_id).map_err(value)?,
        status: match record.status {
            0 => OutcomeStatus::Fired,
            1 => OutcomeStatus::Failed,
            2 => OutcomeStatus::Closed,
            other => return Err(DecodeError::Value(format!("outcome {other}"))),
        },
        at: UnixMillis::new(record.at_ms),
        profit: record.profit.map(Decimal::from_units),
        result: match record.result {
            0 => None,
            1 => Some(TradeResult::Win),
            2 => Some(TradeResult::Loss),
            3 => Some(TradeResult::Even),
            other => return Err(DecodeError::Value(format!("result {other}"))),
        },
        members: Object::from_members(record.members),
    };
    Ok((outcome, record.seq))
}

pub(super) fn encode_rate(rate: &Rate, seq: u64) -> Result<Vec<u8>, TooLarge> {
    let record = RateV1 {
        seq,
        pair: rate.pair.as_str().to_owned(),
        price: rate.price.units(),
        updated_at_ms: rate.updated_at.millis(),
        confirmed_at_ms: rate.confirmed_at.millis(),
    };
    encode(&record)
}

pub(super) fn decode_rate(bytes: &[u8]) -> Decoded<Rate> {
    let record: RateV1 = decode(bytes)?;
    let price = Decimal::from_units(record.price);
    if !price.is_positive() {
        return Err(DecodeError::Value(format!("price {price}")));
    }
    let pair = Pair::parse(&record.pair).map_err(value)?;
    let (updated_at, confirmed_at) = (UnixMillis::new(record.updated_at_ms), UnixMillis::new(record.confirmed_at_ms));
    Ok((Rate { pair, price, updated_at, confirmed_at }, record.seq))
}

pub(super) fn encode_token(token: &Token, seq: u64) -> Result<Vec<u8>, TooLarge> {
    let record = TokenV1 {
        seq,
        id: token.id.clone(),
        sha256: token.sha256,
        scopes: token.scopes.iter().map(ToString::to_string).collect(),
        name: token.name.clone(),
        created_at_ms: token.created_at.millis(),
        expires_at_ms: token.expires_at.map(UnixMillis::millis),
        last_used_at_ms: token.last_used_at.map(UnixMillis::millis),
    };
    encode(&record)
}

pub(super) fn decode_token(bytes: &[u8]) -> Decoded<Token> {
    let record: TokenV1 = decode(bytes)?;
    let scopes = record.scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<_, _>>().map_err(value)?;
    let token = Token {
        id: record.id,
        sha256: record.sha256,
        scopes,
        name: record.name,
        created_at: UnixMillis::new(record.created_at_ms),
        expires_at: record.expires_at_ms.map(UnixMillis::new),
        last_used_at: record.last_used_at_ms.map(UnixMillis::new),
    };
    Ok((token, record.seq))
}

fn members_of(object: &Object) -> Result<Vec<(String, String)>, TooLarge> {
    let members = borrowed_members_of(object)?;
    Ok(members.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn borrowed_members_of(object: &Object) -> Result<Vec<(&str, &str)>, TooLarge> {
    if object.iter().len() > MEMBERS_MAX { Err(TooLarge) } else { Ok(object.iter().collect()) }
}

fn encode(record: &impl Encode) -> Result<Vec<u8>, TooLarge> {
    let mut bytes = Vec::with_capacity(RECORD_BYTES_USUAL);
    bytes.push(VERSION);
    // Encoding into memory has no other way to fail than a record beyond all bounds.
    bincode::encode_into_std_write(record, &mut bytes, bincode::config::legacy()).map_err(|_| TooLarge)?;
    if bytes.len() > RECORD_BYTES_MAX { Err(TooLarge) } else { Ok(bytes) }
}

/// Decodes with a limit: without one, nine corrupt bytes can ask for more memory than there is. The limit is twice that
/// of encoding, as bincode counts a list's elements by their size in memory before it reads them.
fn decode<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version(*version));
    }
    decode_body(rest)
}

/// Decodes what follows the version byte.
fn decode_body<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let config = bincode::config::legacy().with_limit::<{ 2 * RECORD_BYTES_MAX }>();
    let (record, consumed) =
        bincode::borrow_decode_from_slice(bytes, config).map_err(|error| DecodeError::Layout(error.to_string()))?;
    match bytes.len().checked_sub(consumed) {
        Some(0) => Ok(record),
        left => Err(DecodeError::Trailing(left.unwrap_or_default())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn value(error: crate::domain::Invalid) -> DecodeError {
    DecodeError::Value(error.to_string())
}

#[cfg(test)]
mod tests;
