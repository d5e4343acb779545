//! Health and metrics, for whoever watches the server.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use serde_json::json;

use super::access::{Admin, Metrics, Open};
use super::extract::Nothing;
use super::{Problem, Query, answer};
use crate::service::{Backup, Health, Service, ServiceError, Stats};

/// `GET /healthz`: the process answers.
pub(super) async fn healthz(_: Open, _: Query<Nothing>) -> Response {
    answer::json(b"{\"status\":\"ok\"}".to_vec())
}

/// `GET /readyz`: whether the file can be read, and what the operator should know.
///
/// 200 as long as reads are answered. `status` is `degraded` while writes are refused: whoever sends reads here should go on
/// doing so. A client without a token, if one is needed, learns that reads are answered and no more.
pub(super) async fn readyz(Open { service, is_stranger }: Open, _: Query<Nothing>) -> Result<Response, Problem> {
    let (stats, health) = look(service.clone()).await?;
    if is_stranger {
        return Ok(answer::json(br#"{"status":"ok"}"#.to_vec()));
    }
    let age_s = |backup: &Backup| (service.now().millis() - backup.made_at.millis()) / 1_000;
    let backup = health.backup.as_ref().map(|backup| {
        json!({
            "age_s": age_s(backup), "file_bytes": backup.file_bytes, "verified_at": backup.made_at.to_string(),
            "failing": health.backup_failed,
        })
    });
    let (word, writes) = match &health.write_failure {
        None => ("ok", "ok"),
        Some(failure) if failure.is_full() => ("degraded", "storage-full"),
        Some(failure) if failure.is_file_replaced() => ("degraded", "file-replaced"),
        Some(_) => ("degraded", "storage-failed"),
    };
    let ready = json!({
        "status": word, "seq": stats.seq, "writes": writes, "disk_low": health.is_disk_low(), "backup": backup,
    });
    Ok(answer::json(ready.to_string().into_bytes()))
}

/// `GET /metrics`: counters for Prometheus.
pub(super) async fn metrics(Metrics(service): Metrics, _: Query<Nothing>) -> Result<Response, Problem> {
    let (stats, health) = look(service.clone()).await?;
    let text = service.metrics().encode(&stats, &health, service.now());
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// `POST /v1/admin/backup`: makes a backup in the server's backup folder. 200 when it is verified, with where it is.
pub(super) async fn post_backup(Admin(service): Admin, _: Query<Nothing>) -> Result<Response, Problem> {
    let made = tokio::task::spawn_blocking(move || {
        Ok::<_, ServiceError>((service.back_up()?, service.path().canonicalize().ok()))
    });
    let (backup, database) = made.await.map_err(|_| ServiceError::Worker)??;
    let contents = backup.contents.as_ref();
    let made = json!({
        "database": database.map(|path| path.display().to_string()),
        "file": backup.file.display().to_string(), "made_at": backup.made_at.to_string(), "file_bytes": backup.file_bytes,
        "seq": contents.map(|contents| contents.seq), "sha256": contents.map(|contents| &contents.sha256),
    });
    Ok(answer::json(made.to_string().into_bytes()))
}

async fn look(service: Service) -> Result<(Stats, Health), Problem> {
    let looked = tokio::task::spawn_blocking(move || Ok::<_, ServiceError>((service.stats()?, service.health()))).await;
    Ok(looked.map_err(|_| ServiceError::Worker)??)
}
