//! What an operator should know of an installation: each thing that was looked at, how it is, and what to do.
//!
//! The judgements are functions of plain values, so that each can be tested without a machine in that state.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use super::blocking::blocking;
use super::shortlist::shortlist;
use super::{Health, Service, ServiceError};
use crate::domain::{Pair, Rate, Token, UnixMillis};
use crate::store::{self, FileFacts, SCHEMA};

/// A backup that is older is worth a word: most are made every hour or day.
const BACKUP_AGE_MAX: Duration = Duration::from_hours(2 * 24);
/// Times of records that are ahead of the clock by no more are those of another machine's clock.
const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// A token that expires sooner is worth a word.
const EXPIRES_SOON_MS: i64 = 14 * 24 * 3_600_000;
/// Signals whose times are compared with the clock: the newest.
const SIGNALS_SAMPLED: usize = 100;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// To be looked at when there is time.
    Warning,
    /// To be looked at now.
    Serious,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable name of what was looked at.
    pub check: &'static str,
    /// How it is.
    pub severity: Severity,
    /// How it is, in words.
    pub what: String,
    /// What to do about it; `None` if nothing is to be done.
    #[serde(rename = "do")]
    pub todo: Option<String>,
}

impl Finding {
    fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, severity: Severity::Fine, what: what.into(), todo: None }
    }

    fn warning(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warning, what: what.into(), todo: Some(todo.into()) }
    }

    fn serious(check: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { severity: Severity::Serious, ..Self::warning(check, what, todo) }
    }
}

impl Service {
    /// Looks at everything that can go wrong around the database, and says what to do. Each check is there, also where
    /// all is well.
    ///
    /// - `files_needed`: file descriptors that a server with all its clients has open.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`] if the database can not be read.
    pub async fn doctor(&self, files_needed: u64) -> Result<Vec<Finding>, ServiceError> {
        let service = self.clone();
        blocking(move || service.examine(files_needed)).await
    }

    fn examine(&self, files_needed: u64) -> Result<Vec<Finding>, ServiceError> {
        let (stats, health, now, path) = (self.stats()?, self.health(), self.now(), self.path());
        let facts = store::file_facts(path);
        let mut findings = vec![
            Finding::fine("version", format!("overlaid {}, schema {SCHEMA}", env!("CARGO_PKG_VERSION"))),
            writes(&health),
            damage(stats.roster.damaged),
        ];
        match &facts {
            Ok(facts) => findings.extend([permissions(path, facts), owner(path, facts), file_system(facts)]),
            Err(error) => findings.push(Finding::serious(
                "permissions",
                format!("{} can not be looked at: {error}", path.display()),
                "see that the database file is there",
            )),
        }
        findings.extend([
            copies(&health),
            room(health.disk_free_bytes, stats.file_bytes),
            open_files(store::open_files_max(), files_needed),
            clock(self.newest_time()?, now),
            rates(health.rates_old, &self.old_rates(now)),
            balances(health.balances_old),
            backup(&health),
            access(&self.tokens(), now, self.shared.metrics.http.foreign_refused.get()),
        ]);
        Ok(findings)
    }

    /// The pairs whose rates are older than half the limit.
    fn old_rates(&self, now: UnixMillis) -> Vec<Pair> {
        let rates = self.rates();
        let is_old =
            |rate: &&Rate| self.shared.settings.max_ages.rate.is_some_and(|max| max.is_old(rate.confirmed_at, now));
        rates.iter().filter(is_old).map(|rate| rate.pair.clone()).collect()
    }

    /// The latest time that a record, a rate, a token or a backup names, of those that are quick to find.
    fn newest_time(&self) -> Result<Option<UnixMillis>, ServiceError> {
        let snapshot = self.snapshot()?;
        let signals = snapshot.signals_newest_first(None)?.take(SIGNALS_SAMPLED);
        let signals = signals.filter_map(|row| row.ok().map(|stored| stored.signal.created_at)).collect::<Vec<_>>();
        let rates = self.rates();
        let rates = rates.iter().map(|rate| rate.updated_at);
        let tokens = self.tokens();
        let tokens = tokens.iter().map(|token| token.created_at);
        let backup = self.shared.backups.newest().map(|backup| backup.made_at);
        Ok(signals.into_iter().chain(rates).chain(tokens).chain(backup).max())
    }
}

fn writes(health: &Health) -> Finding {
    match &health.write_failure {
        None => Finding::fine("writes", "writes are taken"),
        Some(failure) if failure.is_full() => Finding::serious(
            "writes",
            "writes are refused: the disk is full",
            "free space on the disk; no restart is needed",
        ),
        Some(failure) => Finding::serious(
            "writes",
            format!("writes are refused: {failure}"),
            failure.lost_file().map_or("look at the log and at the disk; no restart is needed", |lost| lost.remedy),
        ),
    }
}

fn damage(overlays: usize) -> Finding {
    if overlays == 0 {
        return Finding::fine("damage", "no damaged record was met");
    }
    Finding::serious(
        "damage",
        format!("{overlays} overlays can not be decoded, and lists leave them out"),
        "restore a backup (`overlaid restore FILE`), or put these overlays again; the log names them",
    )
}

fn permissions(path: &Path, facts: &FileFacts) -> Finding {
    let (file, folder) = (path.display(), facts.folder.display());
    if facts.mode & 0o022 != 0 || facts.folder_mode & 0o022 != 0 {
        let what = format!(
            "others than the owner may change {file} (mode {:o}) or replace it in {folder} (mode {:o})",
            facts.mode, facts.folder_mode
        );
        return Finding::serious("permissions", what, format!("chmod 600 {file}; chmod 700 {folder}"));
    }
    if facts.mode & 0o044 != 0 {
        let what = format!("others than the owner may read {file} (mode {:o}), which holds balances", facts.mode);
        return Finding::warning("permissions", what, format!("chmod 600 {file}"));
    }
    Finding::fine("permissions", format!("only the owner may read and change {file}"))
}

fn owner(path: &Path, facts: &FileFacts) -> Finding {
    let (file, FileFacts { owner, user, .. }) = (path.display(), facts);
    if owner == user {
        return Finding::fine("owner", "the database belongs to the user that this program runs as");
    }
    let what = format!(
        "{file} belongs to user {owner}, and this program runs as user {user}: copies of the live file are not safe"
    );
    Finding::warning("owner", what, format!("run it as user {owner}, or stop the server and chown {user} {file}"))
}

fn file_system(facts: &FileFacts) -> Finding {
    match facts.unfit_file_system {
        None => Finding::fine("file_system", "the file system is fit for a database"),
        Some(name @ "tmpfs") => Finding::serious(
            "file_system",
            format!("the database is on {name}, which is memory: a restart of the machine loses it"),
            "move the data to a disk (--data)",
        ),
        Some(name) => Finding::serious(
            "file_system",
            format!("the database is on {name}: its locks and syncs are not those of a local disk"),
            "move the data to a local disk (--data)",
        ),
    }
}

fn copies(health: &Health) -> Finding {
    match &health.unsafe_copies {
        None => Finding::fine("copies", "the live file may be copied at any time"),
        Some(reason) => Finding::warning(
            "copies",
            format!("a copy of the live file by cp may be torn: {reason}"),
            "make backups with `overlaid backup`, or by `serve --backup-every 1h`",
        ),
    }
}

fn room(free_bytes: Option<u64>, file_bytes: u64) -> Finding {
    let Some(free) = free_bytes else {
        return Finding::fine("disk", "the system does not say how much room the disk has");
    };
    let shown = format!("the disk has room for {}", ByteSize(free).display().iec());
    if super::health::is_low(free) {
        return Finding::serious(
            "disk",
            format!("{shown}: writes fail when it is full"),
            "free space, or move the data to a larger disk",
        );
    }
    if free < file_bytes.saturating_mul(2) {
        let what = format!("{shown}, and the database has {}", ByteSize(file_bytes).display().iec());
        return Finding::warning(
            "disk",
            what,
            "free space for backups, `compact` and `restore`: twice the size of the database",
        );
    }
    Finding::fine("disk", shown)
}

fn open_files(limit: Option<u64>, needed: u64) -> Finding {
    match limit {
        Some(limit) if limit < needed => Finding::warning(
            "open_files",
            format!("this process may have {limit} files open, and a server with all its clients needs {needed}"),
            format!("ulimit -n {needed}, or LimitNOFILE={needed} in the unit of systemd"),
        ),
        Some(limit) => {
            Finding::fine("open_files", format!("{limit} files may be open, and {needed} are needed at most"))
        }
        None => Finding::fine("open_files", "there is no limit on open files"),
    }
}

fn clock(newest: Option<UnixMillis>, now: UnixMillis) -> Finding {
    match newest.filter(|newest| newest.millis() > now.millis().saturating_add(CLOCK_TOLERANCE_MS)) {
        None => Finding::fine("clock", format!("it is {now}, and nothing is stored from later")),
        Some(newest) => Finding::warning(
            "clock",
            format!("it is {now}, and something is stored from {newest}"),
            "set the machine's clock (timedatectl), or find out who publishes times that are still to come",
        ),
    }
}

/// - `old`: how many are older than half the limit; `None` without a limit.
/// - `first`: some of them.
fn rates(old: Option<usize>, pairs: &[Pair]) -> Finding {
    match old {
        None => Finding::fine("rates", "rates have no limit on their age (--rate-max-age)"),
        Some(0) => Finding::fine("rates", "every rate was confirmed within half of --rate-max-age"),
        Some(old) => {
            let pairs = shortlist(pairs);
            let what = format!("{old} rates were last confirmed longer ago than half of --rate-max-age: {pairs}");
            let todo = "see that the price feed runs: missions that need a rate beyond the limit are not tradable (stale_rate)";
            Finding::warning("rates", what, todo)
        }
    }
}

/// - `old`: how many are older than half the limit; `None` without a limit, or as long as not all are in memory.
fn balances(old: Option<usize>) -> Finding {
    match old {
        None => Finding::fine(
            "balances",
            "balances have no limit on their age (--balance-max-age), or are not in memory yet",
        ),
        Some(0) => Finding::fine("balances", "every balance was confirmed within half of --balance-max-age"),
        Some(old) => Finding::warning(
            "balances",
            format!("{old} balances were last confirmed longer ago than half of --balance-max-age"),
            "see that the terminals push balances: missions of users beyond the limit are not tradable (stale_balance)",
        ),
    }
}

fn backup(health: &Health) -> Finding {
    let todo = "`overlaid backup`, or `serve --backup-every 1h`; copies that you make with cp are not counted here";
    if health.backup_failed {
        return Finding::serious(
            "backup",
            "the last attempt at a backup failed",
            "the log says why; is the folder for backups writable, and is there room?",
        );
    }
    let Some(newest) = &health.backup else { return Finding::warning("backup", "no verified backup is known", todo) };
    match newest.age {
        None => Finding::warning(
            "backup",
            format!("the newest backup is from {}, which is still to come", newest.made_at),
            "set the machine's clock",
        ),
        Some(age) if age > BACKUP_AGE_MAX => Finding::warning(
            "backup",
            format!("the newest verified backup is {} days old", age.as_secs() / 86_400),
            todo,
        ),
        Some(_) => Finding::fine("backup", format!("the newest verified backup is from {}", newest.made_at)),
    }
}

fn access(tokens: &[Token], now: UnixMillis, foreign_refused: u64) -> Finding {
    if tokens.is_empty() {
        if foreign_refused > 0 {
            return Finding::serious(
                "access",
                format!(
                    "no token has been made, and {foreign_refused} requests came by a proxy or from a page of another site, and were refused"
                ),
                "`overlaid token create --scope admin`: behind a proxy that says nothing of itself, everybody is let in",
            );
        }
        let what = "no token has been made: every program of this machine may do everything, and nobody else anything";
        return Finding::fine("access", what);
    }
    let valid: Vec<_> = tokens.iter().filter(|token| !token.is_revoked() && !token.is_expired(now)).collect();
    if valid.is_empty() {
        return Finding::serious(
            "access",
            "all tokens are revoked or expired: nobody is let in over the network",
            "`overlaid token create --scope …`, or `overlaid token none` to open access to this machine",
        );
    }
    let soon = now.plus_millis(EXPIRES_SOON_MS);
    let mut ending: Vec<_> = valid.iter().filter(|token| token.is_expired(soon)).collect();
    ending.sort_by_key(|token| token.expires_at);
    let Some(first) = ending.first().and_then(|token| token.expires_at) else {
        return Finding::fine("access", format!("{} tokens are valid", valid.len()));
    };
    let tokens = shortlist(ending.iter().map(|token| format!("{} {}", token.id, token.name)));
    Finding::warning(
        "access",
        format!("{} tokens expire within 14 days, the first at {first}: {tokens}", ending.len()),
        "`overlaid token create`, give the new ones out, and revoke the old ones",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;
    use crate::service::NewestBackup;
    use crate::store::GateWaits;

    fn now() -> UnixMillis {
        UnixMillis::parse("2026-01-31T12:00:00Z").unwrap()
    }

    fn well() -> Health {
        let backup = NewestBackup { made_at: now(), age: Some(Duration::from_hours(1)), file_bytes: 1 };
        Health {
            write_failure: None,
            gate_waits: GateWaits::default(),
            unsafe_copies: None,
            backup: Some(backup),
            backup_failed: false,
            disk_free_bytes: Some(1 << 40),
            rate_age: None,
            rates_old: None,
            balances_old: None,
        }
    }

    fn facts() -> FileFacts {
        let folder = Path::new("/data").to_owned();
        FileFacts { mode: 0o600, owner: 7, user: 7, folder, folder_mode: 0o700, unfit_file_system: None }
    }

    /// Checks how bad a finding is, that all that is not well has something to do, and that it says what is wrong.
    #[track_caller]
    fn check(finding: &Finding, severity: Severity, what: &str) {
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert_eq!(finding.todo.is_some(), severity != Severity::Fine, "{finding:?}");
        assert!(finding.what.contains(what), "{finding:?}");
    }

    #[test]
    fn others_may_neither_read_nor_change_the_database() {
        let path = Path::new("/data/overlaid.redb");
        check(&permissions(path, &facts()), Severity::Fine, "only the owner");
        check(&permissions(path, &FileFacts { mode: 0o640, ..facts() }), Severity::Warning, "mode 640");
        check(&permissions(path, &FileFacts { mode: 0o620, ..facts() }), Severity::Serious, "mode 620");
        check(&permissions(path, &FileFacts { folder_mode: 0o777, ..facts() }), Severity::Serious, "mode 777");
        check(&permissions(path, &FileFacts { folder_mode: 0o755, ..facts() }), Severity::Fine, "");
        check(&owner(path, &facts()), Severity::Fine, "");
        check(&owner(path, &FileFacts { user: 8, ..facts() }), Severity::Warning, "belongs to user 7");
    }

    #[test]
    fn a_file_system_is_local_and_no_memory() {
        check(&file_system(&facts()), Severity::Fine, "");
        for name in ["nfs", "tmpfs"] {
            check(&file_system(&FileFacts { unfit_file_system: Some(name), ..facts() }), Severity::Serious, name);
        }
        check(&copies(&well()), Severity::Fine, "");
        let unsafe_copies = Some("no lease".to_owned());
        check(&copies(&Health { unsafe_copies, ..well() }), Severity::Warning, "no lease");
    }

    #[test]
    fn a_disk_has_room_for_writes_and_for_a_backup() {
        check(&room(Some(1 << 40), 1 << 30), Severity::Fine, "1.0 TiB");
        check(&room(Some(1 << 30), 1 << 30), Severity::Warning, "1.0 GiB");
        check(&room(Some(1 << 20), 1), Severity::Serious, "1.0 MiB");
        check(&room(None, 1), Severity::Fine, "");
        check(&open_files(Some(1_024), 4_160), Severity::Warning, "1024");
        check(&open_files(Some(4_160), 4_160), Severity::Fine, "");
        check(&open_files(None, 4_160), Severity::Fine, "");
    }

    #[test]
    fn the_clock_is_behind_nothing_that_is_stored() {
        check(&clock(None, now()), Severity::Fine, "");
        check(&clock(Some(now().plus_millis(60_000)), now()), Severity::Fine, "");
        check(&clock(Some(now().plus_millis(60_001)), now()), Severity::Warning, "2026-01-31T12:01:00.001Z");
    }

    #[test]
    fn rates_and_balances_are_young() {
        let pair = Pair::parse("GBPUSD").unwrap();
        check(&rates(None, &[]), Severity::Fine, "no limit");
        check(&rates(Some(0), &[]), Severity::Fine, "every rate");
        check(&rates(Some(1), &[pair]), Severity::Warning, ": GBPUSD");
        check(&balances(None), Severity::Fine, "no limit");
        check(&balances(Some(0)), Severity::Fine, "every balance");
        check(&balances(Some(3)), Severity::Warning, "3 balances");
    }

    #[test]
    fn a_backup_is_there_and_young() {
        let with = |age| well().backup.map(|backup| NewestBackup { age, ..backup });
        check(&backup(&well()), Severity::Fine, "2026-01-31");
        check(&backup(&Health { backup: None, ..well() }), Severity::Warning, "no verified backup");
        check(&backup(&Health { backup: with(Some(Duration::from_hours(72))), ..well() }), Severity::Warning, "3 days");
        check(&backup(&Health { backup: with(None), ..well() }), Severity::Warning, "still to come");
        check(&backup(&Health { backup_failed: true, ..well() }), Severity::Serious, "failed");
    }

    #[test]
    fn whoever_stands_behind_a_proxy_has_a_token_that_is_valid() {
        let token = |scopes: &[Scope], days: Option<i64>| {
            let expires_at = days.map(|days| now().plus_millis(days * 24 * 3_600_000));
            let (name, created_at, last_used_at) = ("bot".to_owned(), now(), None);
            Token {
                id: "k1".to_owned(),
                sha256: [0; 32],
                scopes: scopes.to_vec(),
                name,
                created_at,
                expires_at,
                last_used_at,
            }
        };
        let read = &[Scope::Read][..];
        check(&access(&[], now(), 0), Severity::Fine, "no token");
        check(&access(&[], now(), 3), Severity::Serious, "3 requests");
        check(&access(&[token(read, None)], now(), 3), Severity::Fine, "1 tokens");
        check(&access(&[token(&[], None), token(read, Some(-1))], now(), 0), Severity::Serious, "all tokens");
        check(&access(&[token(read, None), token(read, Some(13))], now(), 0), Severity::Warning, "k1 bot");
        check(&access(&[token(read, Some(15))], now(), 0), Severity::Fine, "");
    }

    #[test]
    fn damage_and_refused_writes_are_serious() {
        check(&writes(&well()), Severity::Fine, "");
        check(&damage(0), Severity::Fine, "");
        check(&damage(2), Severity::Serious, "2 overlays");
        let failed = |kind: std::io::ErrorKind| {
            let failure = store::StoreError::io(std::io::Error::from(kind));
            writes(&Health { write_failure: Some(std::sync::Arc::new(failure)), ..well() })
        };
        check(&failed(std::io::ErrorKind::StorageFull), Severity::Serious, "full");
        check(&failed(std::io::ErrorKind::Other), Severity::Serious, "refused");
    }
}
