//! What the data takes in one file, and what the same takes as one file for each user and signal: files, inodes, bytes
//! on the disk, time to back up, and money.
//!
//! Prices and speeds are the constants of this file and of nowhere else.

use bytesize::ByteSize;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Decimal;

/// A file takes whole blocks of this size on a usual disk.
const BLOCK_BYTES: u64 = 4_096;
/// How long a backup takes for a file, beside its bytes, in microseconds: `cp -a` of 150,000 small ones took 7.1 s.
const BACKUP_US_A_FILE: u64 = 45;
/// How many bytes a backup copies in a microsecond: 200 MB in a second.
const BACKUP_BYTES_A_US: u64 = 200;

/// A dollar, in the millionths that amounts are counted in.
const USD: u128 = 1_000_000;
/// A gibibyte.
const GIB: u128 = 1 << 30;
/// A gibibyte of block storage for a month: 0.08 dollars, the list price of AWS EBS gp3 in us-east-1 (2025).
const DISK_GIB_MONTH: u128 = USD * 8 / 100;
/// A gibibyte of object storage for a month: 0.023 dollars, AWS S3 Standard.
const OBJECT_GIB_MONTH: u128 = USD * 23 / 1_000;
/// A thousand objects put there: 0.005 dollars, AWS S3 Standard.
const PUT_THOUSAND: u128 = USD * 5 / 1_000;

/// What is kept on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Files.
    pub files: u64,
    /// Files and folders.
    pub inodes: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of disk blocks.
    pub disk_bytes: u64,
}

impl Kept {
    /// One file of `mission_bytes` for each user and signal, in one folder.
    #[must_use]
    pub fn as_files(signals: u64, users: u64, mission_bytes: u64) -> Self {
        let files = signals.saturating_mul(users);
        Self {
            files,
            inodes: files.saturating_add(1),
            bytes: files.saturating_mul(mission_bytes),
            disk_bytes: files.saturating_mul(in_blocks(mission_bytes)),
        }
    }

    /// One database, in one folder.
    #[must_use]
    pub fn as_database(bytes: u64) -> Self {
        Self { files: 1, inodes: 2, bytes, disk_bytes: in_blocks(bytes) }
    }

    /// How long a copy of all of it takes, in milliseconds, while it is in the system's memory.
    fn backup_ms(self) -> u64 {
        let us = self.files.saturating_mul(BACKUP_US_A_FILE).saturating_add(self.bytes / BACKUP_BYTES_A_US);
        us.div_ceil(1_000)
    }

    /// Storage, requests and backup.
    fn costs(self) -> [u64; 3] {
        let (files, bytes, disk_bytes) = (u128::from(self.files), u128::from(self.bytes), u128::from(self.disk_bytes));
        let costs = [
            (disk_bytes * DISK_GIB_MONTH).div_ceil(GIB),
            (files * PUT_THOUSAND).div_ceil(1_000),
            (bytes * OBJECT_GIB_MONTH).div_ceil(GIB),
        ];
        costs.map(|cost| u64::try_from(cost).unwrap_or(u64::MAX))
    }

    fn takes(self) -> Takes {
        let Self { files, inodes, disk_bytes, .. } = self;
        let [storage, requests, backup] = self.costs();
        let total = storage.saturating_add(requests).saturating_add(backup);
        let cost_usd = Cost { storage: Usd(storage), requests: Usd(requests), backup: Usd(backup), total: Usd(total) };
        Takes { files, inodes, bytes: disk_bytes, backup_ms: self.backup_ms(), cost_usd }
    }
}

/// The space of a file on the disk.
fn in_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// What something takes, in the numbers that a reader compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Takes {
    files: u64,
    inodes: u64,
    /// Of disk blocks.
    bytes: u64,
    backup_ms: u64,
    cost_usd: Cost,
}

/// What it costs to keep something for a month, in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Cost {
    /// Its blocks on the disk.
    storage: Usd,
    /// Putting one backup of it into object storage, file by file.
    requests: Usd,
    /// Keeping that backup there.
    backup: Usd,
    total: Usd,
}

/// An amount, in millionths of a dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usd(u64);

impl Usd {
    fn to_decimal(self) -> Decimal {
        /// A [`Decimal`] counts 10⁻⁸.
        const UNITS: i64 = 100;
        Decimal::from_units(i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(UNITS))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = RawValue::from_string(self.to_decimal().to_string()).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

/// What one file for each user and signal would take, what one database takes, and a table of both for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Savings {
    /// As files.
    pub as_files: Takes,
    /// As one database.
    pub now: Takes,
    /// The rows, each with its ratio.
    pub table: Vec<SavingsRow>,
}

/// A row of the table, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SavingsRow {
    /// What is compared.
    pub name: &'static str,
    /// What files take.
    pub as_files: String,
    /// What the database takes.
    pub now: String,
    /// How many times as much files take.
    pub ratio: String,
}

impl Savings {
    /// Compares files with a database.
    #[must_use]
    pub fn of(as_files: Kept, database: Kept) -> Self {
        let (as_files, now) = (as_files.takes(), database.takes());
        let row = |name, show: fn(u64) -> String, of: fn(&Takes) -> u64| {
            let (before, after) = (of(&as_files), of(&now));
            SavingsRow { name, as_files: show(before), now: show(after), ratio: ratio(before, after) }
        };
        let table = vec![
            row("files", grouped, |takes| takes.files),
            row("inodes", grouped, |takes| takes.inodes),
            row("bytes", |bytes| ByteSize(bytes).display().iec().to_string(), |takes| takes.bytes),
            row("backup", duration, |takes| takes.backup_ms),
            row("cost", dollars, |takes| takes.cost_usd.total.0),
            row("  storage", dollars, |takes| takes.cost_usd.storage.0),
            row("  requests", dollars, |takes| takes.cost_usd.requests.0),
            row("  backup", dollars, |takes| takes.cost_usd.backup.0),
        ];
        Self { as_files, now, table }
    }

    /// The table as lines, under a heading.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |name: &str, as_files: &str, now: &str, ratio: &str| {
            let text = format!("{name:<12}{as_files:>16}{now:>16}{ratio:>12}");
            [text.trim_end(), "\n"].concat()
        };
        let rows = self.table.iter().map(|row| line(row.name, &row.as_files, &row.now, &row.ratio));
        std::iter::once(line("", "as files", "one database", "")).chain(rows).collect()
    }
}

/// A count with commas.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds as a person says them.
fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min", grouped(ms / 60_000)),
    }
}

/// Millionths of a dollar: rounded to cents if there are any, else all places.
fn dollars(millionths: u64) -> String {
    /// In millionths of a dollar.
    const CENT: u64 = 10_000;
    if millionths < CENT {
        return format!("${}", Usd(millionths).to_decimal());
    }
    let cents = millionths.saturating_add(CENT / 2) / CENT;
    format!("${}.{:02}", grouped(cents / 100), cents % 100)
}

/// How many times `now` fits into `before`: whole from ten on, with a tenth below.
fn ratio(before: u64, now: u64) -> String {
    let tenths = u128::from(before) * 10 / u128::from(now.max(1));
    let tenths = u64::try_from(tenths).unwrap_or(u64::MAX);
    if tenths >= 100 { format!("{}×", grouped(tenths / 10)) } else { format!("{}.{}×", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 signals for 5,000 users, as they were measured once.
    #[test]
    fn a_day_of_the_old_service_takes_what_was_measured() {
        let savings = Savings::of(Kept::as_files(30, 5_000, 855), Kept::as_database(2_232_320));
        insta::assert_snapshot!(savings.to_text(), @"
                            as files    one database
        files                150,000               1    150,000×
        inodes               150,001               2     75,000×
        bytes              585.9 MiB         2.1 MiB        275×
        backup                 7.3 s           12 ms        616×
        cost                   $0.80        $0.00022      3,629×
          storage              $0.05       $0.000167        274×
          requests             $0.75       $0.000005    150,000×
          backup           $0.002748       $0.000048         57×
        ");
        insta::assert_snapshot!(serde_json::to_string(&savings.as_files).unwrap(), @r#"{"files":150000,"inodes":150001,"bytes":614400000,"backup_ms":7392,"cost_usd":{"storage":0.045777,"requests":0.75,"backup":0.002748,"total":0.798525}}"#);
        insta::assert_snapshot!(serde_json::to_string(&savings.now).unwrap(), @r#"{"files":1,"inodes":2,"bytes":2232320,"backup_ms":12,"cost_usd":{"storage":0.000167,"requests":0.000005,"backup":0.000048,"total":0.00022}}"#);
    }

    #[test]
    fn nothing_and_very_much_have_numbers_too() {
        let ratios =
            |savings: &Savings| savings.table.iter().map(|row| row.ratio.clone()).collect::<Vec<_>>().join(" ");
        let nothing = Savings::of(Kept::as_files(0, 5_000, 855), Kept::as_database(65_536));
        assert_eq!(ratios(&nothing), "0.0× 0.5× 0.0× 0.0× 0.0× 0.0× 0.0× 0.0×");
        let much = Savings::of(Kept::as_files(u64::MAX, u64::MAX, u64::MAX), Kept::as_database(u64::MAX));
        assert!(much.to_text().contains("18,446,744,073,709,551,615"));
    }

    #[test]
    fn numbers_are_shown_as_a_person_reads_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 7_150, 119_999, 600_000].map(duration), ["0 ms", "999 ms", "7.1 s", "119.9 s", "10 min"]);
        assert_eq!([0, 163, 798_523, 1_234_567_890].map(dollars), ["$0", "$0.000163", "$0.80", "$1,234.57"]);
        assert_eq!(
            [(7, 2), (99, 10), (100, 10), (150_000, 30)].map(|(before, now)| ratio(before, now)),
            ["3.5×", "9.9×", "10×", "5,000×"]
        );
    }
}
