//! `POST /v1/import`: many records in one request, as lines.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::access::Write;
use super::extract::Nothing;
use super::{Line, Lines, Problem, Query};
use crate::service::{LINE_BYTES_MAX, LineReader, Pending, Service, ServiceError};
use crate::store::{Effect, Operation, Precedence, Receipt};

/// Writes of one import under way at once: fills a group commit, and leaves most of the writer's queue to others.
const PENDING_MAX: usize = 512;
/// Results are sent in pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;
/// How long to wait when the writer's queue is full.
const BUSY_WAIT: Duration = Duration::from_millis(5);
/// How often to try again then, before the line is refused: ten seconds in all.
const BUSY_TRIES: u32 = 2_000;

/// Puts in the records of a body of lines; answers a line for each as it is done, and at the end the counts.
///
/// A result is `{"line":1,"effect":"created"}`, with `code`, `detail` and `pointer` for one that is `refused`. The last line is
/// `{"lines":…,"created":…,…}`; an answer without it was broken off. A signal must come before the outcomes on it.
pub(super) async fn import(Write { service, .. }: Write, _: Query<Nothing>, lines: Lines) -> Response {
    let (results, receiver) = mpsc::channel(2);
    let reader = service.line_reader(Precedence::Newest);
    let import = Import {
        service,
        reader,
        pending: VecDeque::new(),
        counts: Counts::default(),
        piece: Vec::with_capacity(PIECE_BYTES),
        results,
    };
    tokio::spawn(import.run(lines));
    let body = Body::from_stream(ReceiverStream::new(receiver));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct Import {
    service: Service,
    reader: LineReader,
    pending: VecDeque<(u64, Pending)>,
    counts: Counts,
    piece: Vec<u8>,
    results: mpsc::Sender<io::Result<Bytes>>,
}

/// The client has gone away: the rest of the body will not come.
struct Gone;

#[derive(Debug, Default, Serialize)]
struct Counts {
    lines: u64,
    created: u64,
    changed: u64,
    unchanged: u64,
    kept: u64,
    refused: u64,
    /// Why the body was not read to its end, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct LineResult<'a> {
    line: u64,
    effect: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
}

impl Import {
    async fn run(mut self, lines: Lines) {
        // Nobody is left to tell if the client has gone.
        let _: Result<(), Gone> = self.read(lines).await;
    }

    async fn read(&mut self, mut lines: Lines) -> Result<(), Gone> {
        loop {
            match lines.next().await {
                Ok(Some(Line::Text { number, bytes })) => self.line(number, &bytes).await?,
                Ok(Some(Line::TooLong { number })) => {
                    self.counts.lines += 1;
                    self.settle(0).await?;
                    self.refuse(number, &Problem::line_too_long(LINE_BYTES_MAX)).await?;
                }
                Ok(None) => break,
                Err(problem) => {
                    self.counts.error = Some(problem.code());
                    break;
                }
            }
        }
        self.settle(0).await?;
        let counts = serde_json::to_vec(&self.counts).unwrap_or_default();
        self.piece.extend_from_slice(&counts);
        self.piece.push(b'\n');
        self.send().await
    }

    async fn line(&mut self, number: u64, bytes: &[u8]) -> Result<(), Gone> {
        self.counts.lines += 1;
        match self.reader.line(bytes, self.service.now()) {
            Ok(Some(operation)) => self.submit(number, operation).await,
            Ok(None) => Ok(()),
            Err(error) => {
                // Results come in the order of lines.
                self.settle(0).await?;
                self.refuse(number, &error.into()).await
            }
        }
    }

    async fn submit(&mut self, number: u64, operation: Operation) -> Result<(), Gone> {
        self.settle(PENDING_MAX - 1).await?;
        for _ in 0..BUSY_TRIES {
            match self.service.submit(operation.clone()) {
                Ok(pending) => {
                    self.pending.push_back((number, pending));
                    return Ok(());
                }
                Err(ServiceError::Busy) => tokio::time::sleep(BUSY_WAIT).await,
                Err(error) => {
                    self.settle(0).await?;
                    return self.refuse(number, &error.into()).await;
                }
            }
        }
        self.settle(0).await?;
        self.refuse(number, &ServiceError::Busy.into()).await
    }

    /// Waits until at most `most` writes are under way.
    async fn settle(&mut self, most: usize) -> Result<(), Gone> {
        while self.pending.len() > most
            && let Some((number, pending)) = self.pending.pop_front()
        {
            match pending.done().await {
                Ok(receipt) => self.done(number, &receipt).await?,
                Err(error) => self.refuse(number, &error.into()).await?,
            }
        }
        Ok(())
    }

    async fn done(&mut self, line: u64, receipt: &Receipt) -> Result<(), Gone> {
        let (effect, count) = match receipt.effect {
            Effect::Created => ("created", &mut self.counts.created),
            Effect::Changed | Effect::Deleted => ("changed", &mut self.counts.changed),
            Effect::Unchanged => ("unchanged", &mut self.counts.unchanged),
            Effect::Kept => ("kept", &mut self.counts.kept),
        };
        *count += 1;
        self.result(&LineResult { line, effect, code: None, detail: None, pointer: None }).await
    }

    async fn refuse(&mut self, line: u64, problem: &Problem) -> Result<(), Gone> {
        self.counts.refused += 1;
        let (code, detail) = (Some(problem.code()), Some(problem.detail()));
        self.result(&LineResult { line, effect: "refused", code, detail, pointer: problem.pointer() }).await
    }

    async fn result(&mut self, result: &LineResult<'_>) -> Result<(), Gone> {
        self.piece.extend_from_slice(&serde_json::to_vec(result).unwrap_or_default());
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Gone> {
        let piece = std::mem::take(&mut self.piece);
        self.results.send(Ok(piece.into())).await.map_err(|_| Gone)
    }
}
