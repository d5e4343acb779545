//! Made-up records: the same in every run, of the sizes and kinds that real ones have.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// The signal that all benchmarks read.
pub(crate) const SIGNAL: &str = "ELITE_RAPID_EURUSD_1763904604";

/// A signal as a producer publishes it, for the id `id`.
pub(crate) fn signal_json(id: &str) -> String {
    format!(
        r#"{{"signal_id":"{id}","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"pattern_type":"LIQUIDITY_SWEEP_REVERSAL","confidence":89.5,"expires_at":"2099-01-01T00:00:00Z","session":"LONDON","signal_class":"RAPID","quality_tier":"PREMIUM","shield_score":8.4,"citadel_insights":"London low swept, demand held twice","filters_passed":{{"spread":true,"volume":true,"news":true,"trend":true}},"xp_reward":122}}"#
    )
}

/// The id of the user with this number: of ten digits, as those of messengers are.
pub(crate) fn user_id(number: usize) -> String {
    // Multiplied by an odd number, so that neighbours in a list of users are not neighbours in the file.
    let scattered = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 34;
    format!("{}{number:07}", 100 + scattered % 900)
}

/// The balance of a user, in the `version`th push of it.
pub(crate) fn balance(number: usize, version: u64) -> String {
    let cents = (number as u64).wrapping_mul(2_654_435_761) % 4_900_000 + 100_000 + version % 9_973 * 37;
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A user's overlay: four tiers, three currencies, one in four with what a terminal adds.
pub(crate) fn overlay_json(number: usize) -> String {
    let tier = ["PRESS_PASS", "NIBBLER", "FANG", "COMMANDER"][number % 4];
    let currency = ["USD", "USD", "USD", "EUR", "GBP"][number % 5];
    let mut json = format!(
        r#"{{"user_id":"{}","tier":"{tier}","risk_percent":{},"account_balance":{},"account_currency":"{currency}","win_rate":{}.{},"trades_remaining":{},"updated_at":"2025-11-23T08:{:02}:{:02}Z""#,
        user_id(number),
        ["1", "2", "2.5", "3"][number % 4],
        balance(number, 0),
        50 + number % 30,
        1 + number % 9,
        3 + number % 15,
        number % 60,
        number / 60 % 60,
    );
    if number % 4 == 1 {
        let equity = balance(number + 7, 1);
        let _ =
            write!(json, r#","broker":"Northbridge Markets","server":"Live{}","account_equity":{equity}"#, number % 9);
    }
    json.push('}');
    json
}

/// Writes the lines that `overlaid load` reads: rates, the signal, and the overlays of `users` users.
pub(crate) fn write_records(path: &Path, users: usize) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for (pair, price) in [("EURUSD", "1.085"), ("GBPUSD", "1.34"), ("USDJPY", "148.5")] {
        writeln!(file, r#"{{"rate":{{"pair":"{pair}","price":{price}}}}}"#)?;
    }
    writeln!(file, r#"{{"signal":{}}}"#, signal_json(SIGNAL))?;
    for number in 0..users {
        writeln!(file, r#"{{"overlay":{}}}"#, overlay_json(number))?;
    }
    file.flush()
}

/// A whole answer's request: a view of the signal for one user.
pub(crate) fn view_path(number: usize) -> String {
    format!("/v1/users/{}/missions/{SIGNAL}", user_id(number))
}

/// Where the views of all users are.
pub(crate) fn batch_path() -> String {
    format!("/v1/signals/{SIGNAL}/missions")
}

/// A `GET` as bytes, with the headers that a usual client sends.
pub(crate) fn get(path: &str, more_headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n{more_headers}\r\n")
        .into_bytes()
}

/// A `GET` of the holder of a token.
pub(crate) fn get_with(path: &str, token: &str, more_headers: &str) -> Vec<u8> {
    get(path, &format!("authorization: Bearer {token}\r\n{more_headers}"))
}

/// A request with a JSON body, of the holder of a token if there is one.
pub(crate) fn send(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: */*\r\n{bearer}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A request for the views of all users as lines.
pub(crate) fn get_batch() -> Vec<u8> {
    get_lines(&batch_path())
}

/// A request for lines.
pub(crate) fn get_lines(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\naccept: application/x-ndjson\r\n\r\n")
        .into_bytes()
}

/// A push of a balance as bytes.
pub(crate) fn patch(number: usize, balance: &str) -> Vec<u8> {
    patch_with(number, balance, None)
}

/// The same of the holder of a token.
pub(crate) fn patch_with(number: usize, balance: &str, token: Option<&str>) -> Vec<u8> {
    let path = format!("/v1/users/{}/overlay", user_id(number));
    send("PATCH", &path, token, &format!(r#"{{"account_balance":{balance}}}"#))
}

/// Numbers that look random and are the same in every run (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % end
    }
}
