//! Gathers the answers to pipelined requests into few writes.
//!
//! hyper flushes after each answer, which costs a system call each even if sixteen requests came in one packet. Its own remedy
//! (`pipeline_flush`) takes away the limit on what waits to be written, so that one client that reads nothing can use up all memory. Here a
//! flush is put off while more requests are at hand, up to a bound:
//!
//! - A read that brought more than one request turns gathering on; any other turns it off, and then nothing is copied or put off.
//! - What is gathered goes out when hyper wants to read again, when the bound is reached, or when a flush comes without anything written
//!   since the last one. So that such a flush comes, putting one off wakes the connection's task.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes gathered: some sixty views, and little beside the socket's own buffer.
const GATHERED_BYTES_MAX: usize = 64 * 1024;
/// What stands between the head of one request and the next.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Looks for it; made once, as that takes longer than to look through the head of a request.
static HEAD_END_FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(HEAD_END));

/// A stream that gathers what is written to it while requests are pipelined.
#[derive(Debug)]
pub(super) struct Gather<S> {
    inner: S,
    gathered: Vec<u8>,
    /// How much of `gathered` has been written.
    written: usize,
    /// Whether the last read brought more than one request.
    is_pipelined: bool,
    /// Whether anything was written since the last flush.
    wrote: bool,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, gathered: Vec::new(), written: 0, is_pipelined: false, wrote: false }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Whether the next write is put to what is gathered.
    fn is_gathering(&self) -> bool {
        self.is_pipelined || !self.gathered.is_empty()
    }

    /// Writes out what is gathered.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.gathered.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes as much of `bytes` as there is room for.
    fn poll_gather(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            ready!(self.poll_out(cx))?;
        }
        let room = GATHERED_BYTES_MAX.saturating_sub(self.gathered.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.gathered.extend_from_slice(taken);
        self.wrote = true;
        Poll::Ready(Ok(taken.len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // All requests at hand are answered. A socket that takes nothing now wakes the task when it does; reading goes on
        // meanwhile, so that the end of the connection is noticed.
        if !self.gathered.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_out(cx)
        {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default();
        let first_end = HEAD_END_FINDER.find(came);
        self.is_pipelined = first_end.is_some_and(|at| at + HEAD_END.len() < came.len());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_gathering() { self.poll_gather(cx, bytes) } else { Pin::new(&mut self.inner).poll_write(cx, bytes) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.is_gathering() {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.poll_gather(cx, buf) {
                Poll::Ready(Ok(some)) => {
                    taken += some;
                    if some < buf.len() {
                        break;
                    }
                }
                // What was taken must be said; the rest meets the same again.
                Poll::Pending | Poll::Ready(Err(_)) if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) && self.is_pipelined {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
