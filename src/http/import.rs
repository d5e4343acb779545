//! `POST /v1/import`: many records in one request, as lines.
//!
//! The status of the answer says whether any record went in, so the first results wait for it: until a record went in
//! (200), or the body has ended and none did (422; 503 if the server could not write). An answer that can wait no
//! longer, for there are too many results or the client sends slowly, is 207: its last line says how it went.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, SendError, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::access::Write;
use super::answer;
use super::body::Lines;
use super::extract::{Parameters, Query};
use super::problem::Problem;
use super::qvalue;
use crate::service::{Import, ImportCounts, ImportEffect, Imported};

/// Results are sent in pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;
/// Results that wait for the status come to this many bytes at most, which is as much as the body of one record.
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// How long they wait at most: half of the time that a handler has.
const STATUS_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
pub(super) struct ImportQuery {
    existing: Option<String>,
}

impl Parameters for ImportQuery {
    const NAMES: &'static [&'static str] = &["existing"];
}

/// Puts in the records of a body of lines; answers a line for each as it is done, and at the end the counts.
///
/// A result is `{"line":1,"effect":"created"}`, with `code`, `detail` and `pointer` for one that is `refused`, and with
/// `removed`, the members that are gone, for an overlay that replaced another as a whole. The last line is
/// `{"lines":…,"created":…,…}`; an answer without it was broken off. A signal must come before the outcomes on it.
/// Of two records the newer wins; with `existing=keep` the one that is there already stays.
///
/// 200 if a record went in, or there is none; 422 if all were refused, and 503 if that is the server's fault; 207 if
/// that is not known in time. The head is sent before the last record is in, so it names the cursor before the first
/// one: a client that follows from there is told of all that the import changed.
pub(super) async fn import(
    Write { service, .. }: Write,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    lines: Lines,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let import = match query.existing.as_deref() {
        None | Some("newest") => service.import(),
        Some("keep") => service.import_seed(),
        Some(_) => return Err(Problem::invalid_parameter("existing", "existing is newest or keep")),
    };
    let (sender, body) = Channel::<Bytes>::new(2);
    let (status_sender, status) = oneshot::channel();
    let results =
        Results { piece: Vec::with_capacity(PIECE_BYTES), sender, status: Some(status_sender), has_failed: false };
    tokio::spawn(async move {
        // Nobody is left to tell if the client has gone.
        let _: Result<(), SendError> = run(import, lines, results).await;
    });
    let status = tokio::time::timeout(STATUS_WAIT, status).await;
    let status = status.map_or(StatusCode::MULTI_STATUS, |status| status.unwrap_or(StatusCode::MULTI_STATUS));
    let response = (status, [(CONTENT_TYPE, qvalue::lines(&headers))], Body::new(body)).into_response();
    Ok(answer::as_of(cursor, response))
}

async fn run(mut import: Import, mut lines: Lines, mut results: Results) -> Result<(), SendError> {
    let (mut read, mut error) = (0, None);
    loop {
        match lines.next().await {
            Ok(Some(line)) => {
                read += 1;
                import.line(&line).await;
                results.send_all(import.take_imported()).await?;
            }
            Ok(None) => break,
            Err(problem) => {
                error = Some(problem.code());
                break;
            }
        }
    }
    import.finish().await;
    results.send_all(import.take_imported()).await?;
    let counts = import.counts();
    results.write(&Summary { lines: read, counts, error });
    results.answer_with(match counts.refused {
        0 => StatusCode::OK,
        _ if results.has_failed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    });
    results.send().await
}

/// The answer, on its way to the client.
struct Results {
    piece: Vec<u8>,
    sender: Sender<Bytes>,
    /// Tells the handler the status of the answer; `None` once that is done.
    status: Option<oneshot::Sender<StatusCode>>,
    /// Whether the server could not put in a record that may be right: the client may send it again.
    has_failed: bool,
}

#[derive(Serialize)]
struct LineResult<'a> {
    line: u64,
    effect: Effect,
    /// What a whole overlay took from the one that it replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    #[serde(flatten)]
    reason: Option<Reason<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Effect {
    Done(ImportEffect),
    Refused(&'static str),
}

#[derive(Serialize)]
struct Reason<'a> {
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary {
    lines: u64,
    #[serde(flatten)]
    counts: ImportCounts,
    /// Why the body was not read to its end, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Results {
    async fn send_all(&mut self, imported: Vec<Imported>) -> Result<(), SendError> {
        for Imported { line, result, removed } in imported {
            match result {
                Ok(effect) => {
                    self.answer_with(StatusCode::OK);
                    self.write(&LineResult { line, effect: Effect::Done(effect), removed, reason: None });
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    self.has_failed |= problem.status().is_server_error();
                    let reason = Reason { code: problem.code(), detail: problem.detail(), pointer: problem.pointer() };
                    self.write(&LineResult { line, effect: Effect::Refused("refused"), removed, reason: Some(reason) });
                }
            }
            if self.piece.len() >= self.piece_bytes() {
                self.answer_with(StatusCode::MULTI_STATUS);
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Tells the handler the status of the answer, unless it has one.
    fn answer_with(&mut self, status: StatusCode) {
        if let Some(sender) = self.status.take() {
            // The handler has waited long enough, or the client has gone.
            let _ = sender.send(status);
        }
    }

    /// How many bytes of results are collected.
    fn piece_bytes(&self) -> usize {
        let is_waiting = self.status.as_ref().is_some_and(|status| !status.is_closed());
        if is_waiting { WAITING_BYTES_MAX } else { PIECE_BYTES }
    }

    fn write(&mut self, line: &impl Serialize) {
        self.piece.extend_from_slice(&serde_json::to_vec(line).unwrap_or_default());
        self.piece.push(b'\n');
    }

    async fn send(&mut self) -> Result<(), SendError> {
        self.sender.send_data(std::mem::take(&mut self.piece).into()).await
    }
}
