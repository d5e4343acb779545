//! Whether the server is well, and backups on demand.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use super::access::{Admin, Open};
use super::answer;
use super::extract::{Nothing, Parameters, Query};
use super::problem::{Code, Problem};
use super::socket::CONNECTIONS_MAX;
use crate::service::{Backup, Health, Service, Severity};

/// `GET /healthz`: the process answers.
pub(super) async fn healthz(_: Open, _: Query<Nothing>) -> Response {
    answer::json(b"{\"status\":\"ok\"}".to_vec())
}

/// `GET /readyz`: whether the file can be read, and what the operator should know.
///
/// 200 as long as reads are answered. `status` is `degraded` while writes are refused: a load balancer should go on
/// sending reads here. A client without a token, if one is needed, learns that reads are answered and no more.
pub(super) async fn readyz(Open { service, is_stranger }: Open, _: Query<Nothing>) -> Result<Response, Problem> {
    let (stats, health) = service.stats_and_health().await?;
    if is_stranger {
        return Ok(answer::json(br#"{"status":"ok"}"#.to_vec()));
    }
    let word = if health.write_failure.is_none() { "ok" } else { "degraded" };
    let (writes, backup) = (writes_word(&health), BackupAge::of(&health));
    let ready = json!({
        "status": word, "seq": stats.seq, "writes": writes, "disk_low": health.is_disk_low(), "backup": backup,
        "rates_old": health.rates_old, "balances_old": health.balances_old,
    });
    Ok(answer::json(ready.to_string().into_bytes()))
}

/// Whether writes are taken, or the code that they are refused with.
pub(super) fn writes_word(health: &Health) -> &'static str {
    match &health.write_failure {
        None => "ok",
        Some(failure) if failure.is_full() => "storage-full",
        Some(failure) if failure.is_file_replaced() => "file-replaced",
        Some(_) => "storage-failed",
    }
}

/// The newest backup.
#[derive(Debug, Serialize)]
pub(super) struct BackupAge {
    age_s: Option<u64>,
    failing: bool,
    file_bytes: u64,
    verified_at: String,
}

impl BackupAge {
    pub(super) fn of(health: &Health) -> Option<Self> {
        health.backup.as_ref().map(|backup| Self {
            age_s: backup.age.map(|age| age.as_secs()),
            failing: health.backup_failed,
            file_bytes: backup.file_bytes,
            verified_at: backup.made_at.to_string(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct BackupQuery {
    /// The path of the database that the client means.
    database: Option<String>,
}

impl Parameters for BackupQuery {
    const NAMES: &'static [&'static str] = &["database"];
}

impl BackupQuery {
    /// Refuses a client that means another database than this server's. Returns the path of this one.
    fn check(&self, service: &Service) -> Result<String, Problem> {
        let own = service.path().canonicalize().unwrap_or_else(|_| service.path().to_owned()).display().to_string();
        if self.database.as_ref().is_some_and(|wanted| *wanted != own) {
            return Err(Problem::new(Code::OtherDatabase, format!("this server's database is {own}")));
        }
        Ok(own)
    }
}

/// `POST /v1/admin/backup`: makes a backup in the server's backup folder. 200 when it is verified, with where it is;
/// 409 if the client means another database. Requests that come while a backup is being made get that one.
pub(super) async fn post_backup(Admin(service): Admin, Query(query): Query<BackupQuery>) -> Result<Response, Problem> {
    let database = query.check(&service)?;
    let Backup { file, made_at, contents } = service.back_up().await?;
    let counts = contents.counts;
    let made = json!({
        "database": database, "file": file.display().to_string(), "made_at": made_at.to_string(),
        "file_bytes": contents.file_bytes, "schema": contents.schema, "seq": contents.seq, "signals": counts.signals,
        "overlays": counts.overlays, "outcomes": counts.outcomes, "rates": counts.rates, "tokens": counts.tokens,
        "sha256": contents.sha256,
    });
    Ok(answer::json(made.to_string().into_bytes()))
}

/// `GET /v1/admin/doctor`: everything that was looked at around the database, how it is, and what to do; `worst` is the
/// worst of it.
pub(super) async fn get_doctor(Admin(service): Admin, _: Query<Nothing>) -> Result<Response, Problem> {
    /// Beside connections: the database, listeners, the log, and what the runtime opens.
    const MORE_FILES: u64 = 64;
    let findings = service.doctor(CONNECTIONS_MAX as u64 + MORE_FILES).await?;
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine);
    Ok(answer::json(json!({ "worst": worst, "findings": findings }).to_string().into_bytes()))
}

/// `GET /v1/admin/backup`: a backup as a file for the client; the server keeps none. 409 if the client means another
/// database.
pub(super) async fn get_backup(Admin(service): Admin, Query(query): Query<BackupQuery>) -> Result<Response, Problem> {
    query.check(&service)?;
    let download = service.download().await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, download.contents.file_bytes.to_string()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(download.chunks()))).into_response())
}
