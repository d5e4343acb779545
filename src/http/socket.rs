//! The socket of one connection, with a limit on writing and problem documents for unreadable requests.
//!
//! hyper answers a request that is not HTTP by itself, with a bare head, and has no hook to give that answer a body.
//! Such a head is always the last thing it writes to a connection and always looks the same, so it is recognised
//! here, at the end of a write, and completed into a problem document. Should hyper change the look of it, clients
//! get the bare head again, and a test notices.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::either::Either;

use super::problem::Problem;
use crate::metrics::UnreadableLabels;

/// What hyper's own answer says of its body.
const NO_BODY: &[u8] = b"content-length: 0\r\n";
/// How hyper's own answers begin.
const STATUS_LINE: &[u8] = b"HTTP/1.1 4";
const CLOSE: &[u8] = b"connection: close\r\n";
/// A bare head ends in this and in a date.
const BARE_END: &[u8] = b"content-length: 0\r\ndate: ";
const DATE_BYTES: usize = "Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n".len();
/// Longest head of hyper's own answers: status line, `connection`, `content-length` and `date`.
const BARE_HEAD_BYTES_MAX: usize = 160;

/// Connections of a server at once: a few hundred clients keep theirs open; the rest is room for a bad day, at some 14
/// KB each.
pub(super) const CONNECTIONS_MAX: usize = 4_096;

/// A connection from the network, or through the socket file.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A connection's socket.
pub(super) struct Socket {
    // Boxed because hyper moves its socket, and timers must not be moved.
    stream: Pin<Box<TimeoutWriter<Stream>>>,
    /// What is still to be written of the last answer.
    farewell: Vec<u8>,
    /// Whether a request could not be read, so that the client may still be sending the rest of it.
    refused: bool,
    /// Counts these answers before the client has them, so that a client that has one finds it in the metrics.
    unreadable: Family<UnreadableLabels, Counter>,
    /// Whether hyper holds part of an answer that is not written yet. It flushes once it holds nothing more.
    mid_answer: bool,
}

impl Socket {
    /// Lets a client go that takes nothing for as long as `write_limit`.
    pub(super) fn new(stream: Stream, write_limit: Duration, unreadable: Family<UnreadableLabels, Counter>) -> Self {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(write_limit));
        Self { stream: Box::pin(stream), farewell: Vec::new(), refused: false, unreadable, mid_answer: false }
    }

    /// Whether the last answer was to a request that could not be read, so that the client may still be sending.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Answers a request that hyper itself did not answer, and ends the connection.
    ///
    /// Writes nothing in the middle of an earlier answer, where it would be taken for a part of that.
    pub(super) async fn refuse(&mut self, status: StatusCode) -> io::Result<()> {
        if self.mid_answer {
            return Ok(());
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", status.as_u16());
        self.farewell = problem_answer(head.as_bytes(), b"", status);
        self.count_refusal(status);
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await
    }

    /// Reads and drops what the client still sends, until it stops.
    ///
    /// A socket closed over unread bytes is reset, and a reset can overtake the answer that says what was wrong.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            std::future::poll_fn(|cx| self.stream.as_mut().poll_read(cx, &mut buffer)).await?;
            if buffer.filled().is_empty() {
                return Ok(());
            }
        }
    }

    fn count_refusal(&mut self, status: StatusCode) {
        self.refused = true;
        self.unreadable.get_or_create(&UnreadableLabels { status: status.as_u16() }).inc();
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.farewell.is_empty() {
            let written = ready!(self.stream.as_mut().poll_write(cx, &self.farewell))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.farewell.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Where `part` begins.
fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Splits `bytes` before hyper's own answer, if they end in one, and tells its status.
fn split_bare_head(bytes: &[u8]) -> Option<(&[u8], &[u8], StatusCode)> {
    // Answers of the router get no further than this: they end in a body or, where there is none, say no such length
    // before the date.
    let end_at = bytes.len().checked_sub(BARE_END.len() + DATE_BYTES)?;
    if !bytes.ends_with(b"\r\n\r\n") || !bytes.get(end_at..)?.starts_with(BARE_END) {
        return None;
    }
    let (earlier, tail) = bytes.split_at(bytes.len().saturating_sub(BARE_HEAD_BYTES_MAX));
    let start = tail.windows(STATUS_LINE.len()).rposition(|window| window == STATUS_LINE)?;
    let head = tail.get(start..)?;
    let has = |line: &[u8]| position(head, line).is_some();
    // Answers of the router have a content type, and say nothing of the connection.
    if !has(NO_BODY) || !has(CLOSE) || has(b"content-type") {
        return None;
    }
    let status = head.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok())?;
    bytes.split_at_checked(earlier.len() + start).map(|(before, head)| (before, head, status))
}

/// Completes a head that lacks its last lines into a whole answer.
fn problem_answer(head: &[u8], more_head: &[u8], status: StatusCode) -> Vec<u8> {
    let json = Problem::unreadable(status).to_json();
    let fields = format!("content-type: application/problem+json\r\ncontent-length: {}\r\n", json.len());
    [head, fields.as_bytes(), more_head, b"\r\n", json.as_bytes()].concat()
}

/// Puts a problem document into hyper's own answer, keeping its other fields.
fn completed(head: &[u8], status: StatusCode) -> Option<Vec<u8>> {
    let at = position(head, NO_BODY)?;
    let (before, rest) = head.split_at_checked(at)?;
    let after = rest.strip_prefix(NO_BODY)?.strip_suffix(b"\r\n")?;
    Some(problem_answer(before, after, status))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.mid_answer = true;
        match split_bare_head(bytes) {
            None => self.stream.as_mut().poll_write(cx, bytes),
            // Answers to earlier requests go first; hyper then writes the rest again.
            Some((before, _, _)) if !before.is_empty() => self.stream.as_mut().poll_write(cx, before),
            Some((_, head, status)) => {
                self.count_refusal(status);
                self.farewell = completed(head, status).unwrap_or_else(|| head.to_vec());
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone: only this can be hyper's own answer.
        if let [head] = bufs {
            return self.poll_write(cx, head);
        }
        self.mid_answer = true;
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx))?;
        self.mid_answer = false;
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx))?;
        self.stream.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

    #[test]
    fn a_bare_answer_is_found_behind_earlier_ones() {
        let earlier = b"HTTP/1.1 404 Not Found\r\ncontent-type: x\r\ncontent-length: 2\r\n\r\n{}";
        let both = [earlier, BARE].concat();
        let (before, head, status) = split_bare_head(&both).unwrap();
        assert_eq!((before, head, status), (&earlier[..], BARE, StatusCode::BAD_REQUEST));
        assert_eq!(split_bare_head(BARE).unwrap().0, b"");
    }

    #[test]
    fn answers_of_the_router_are_left_alone() {
        for answer in [
            &b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            b"\r\n\r\n",
            b"",
        ] {
            assert_eq!(split_bare_head(answer), None);
        }
    }

    #[test]
    fn a_completed_answer_keeps_its_fields_and_counts_its_body() {
        let text = String::from_utf8(completed(BARE, StatusCode::BAD_REQUEST).unwrap()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"), "{head}");
        assert!(head.ends_with("date: Thu, 01 Jan 1970 00:00:00 GMT"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("\"malformed-request\""), "{body}");
    }
}
