//! `POST /v1/import`: many records in one request, as lines.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, SendError, Sender};
use serde::{Deserialize, Serialize};

use super::access::Write;
use super::body::Lines;
use super::extract::{Parameters, Query};
use super::problem::Problem;
use crate::service::{Import, ImportCounts, ImportEffect, Imported};

/// Results are sent in pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;

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
pub(super) async fn import(
    Write { service, .. }: Write,
    Query(query): Query<ImportQuery>,
    lines: Lines,
) -> Result<Response, Problem> {
    let import = match query.existing.as_deref() {
        None | Some("newest") => service.import(),
        Some("keep") => service.import_seed(),
        Some(_) => return Err(Problem::invalid_parameter("existing", "existing is newest or keep")),
    };
    let (sender, body) = Channel::<Bytes>::new(2);
    let results = Results { piece: Vec::with_capacity(PIECE_BYTES), sender };
    tokio::spawn(async move {
        // Nobody is left to tell if the client has gone.
        let _: Result<(), SendError> = run(import, lines, results).await;
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response())
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
    results.write(&Summary { lines: read, counts: import.counts(), error });
    results.send().await
}

/// The answer, on its way to the client.
struct Results {
    piece: Vec<u8>,
    sender: Sender<Bytes>,
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
                Ok(effect) => self.write(&LineResult { line, effect: Effect::Done(effect), removed, reason: None }),
                Err(error) => {
                    let problem = Problem::from(error);
                    let reason = Reason { code: problem.code(), detail: problem.detail(), pointer: problem.pointer() };
                    self.write(&LineResult { line, effect: Effect::Refused("refused"), removed, reason: Some(reason) });
                }
            }
            if self.piece.len() >= PIECE_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &impl Serialize) {
        self.piece.extend_from_slice(&serde_json::to_vec(line).unwrap_or_default());
        self.piece.push(b'\n');
    }

    async fn send(&mut self) -> Result<(), SendError> {
        self.sender.send_data(std::mem::take(&mut self.piece).into()).await
    }
}
