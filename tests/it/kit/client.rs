//! The HTTP client of all tests: it sends any bytes, also bytes that no HTTP library would send, and reads answers one
//! by one.
//!
//! An answer counts only once all of it has come: a body that breaks off fails the test. The client reads bodies of a
//! known length, bodies in chunks, and bodies that last until the server closes the connection.
//!
//! `src/http/connection_tests.rs` takes in this file too, so it uses nothing else of the kit.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes; a test that waits so long fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// One connection, kept for as long as the server keeps it.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::try_to(address).unwrap()
    }

    /// As [`Connection::to`], to a server that may be gone.
    pub(crate) fn try_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends what the server takes: one that refuses early may close before it has read everything.
    pub(crate) fn send_what_is_taken(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Says that no more will come.
    pub(crate) fn finish_sending(&self) {
        match self.stream.shutdown(Shutdown::Write) {
            // The server has refused and closed already.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            ended => ended.unwrap(),
        }
    }

    /// Reads on; `false` at the end.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }

    /// The answer to a request that is neither a HEAD nor refused without one.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    /// The answer to a request of this method: one to a HEAD has no body.
    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        match self.try_answer_to(method) {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the server closed without an answer to this {method}"),
            Err(error) => panic!("no answer to this {method}: {error}; came: {}", self.unread.escape_ascii()),
        }
    }

    /// As [`Connection::answer_to`]; `None` if the server closes, or resets, before an answer begins.
    pub(crate) fn try_answer_to(&mut self, method: &str) -> io::Result<Option<Answer>> {
        if self.unread.is_empty() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // A server that does not read everything resets.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut answer = self.take_head()?;
        answer.bytes = self.take_body(&answer, method)?;
        answer.body = String::from_utf8_lossy(&answer.bytes).into_owned();
        Ok(Some(answer))
    }

    /// The answer to a GET without its body, of which [`Connection::try_chunk`] reads the chunks.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        self.take_head().unwrap()
    }

    fn take_head(&mut self) -> io::Result<Answer> {
        let head = String::from_utf8(self.take_through(b"\r\n\r\n")?).map_err(io::Error::other)?;
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("this is no head: {head}")))?;
        Ok(Answer { status, head, bytes: Vec::new(), body: String::new() })
    }

    /// The next chunk of a body; an empty one at its end.
    pub(crate) fn try_chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = String::from_utf8(self.take_through(b"\r\n")?).map_err(io::Error::other)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = self.take(size + 2)?;
        chunk.truncate(size);
        Ok(chunk)
    }

    fn take_body(&mut self, answer: &Answer, method: &str) -> io::Result<Vec<u8>> {
        if method == "HEAD" || answer.is_interim() || matches!(answer.status, 204 | 304) {
            return Ok(Vec::new());
        }
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.try_chunk()?;
                if chunk.is_empty() {
                    return Ok(body);
                }
                body.extend_from_slice(&chunk);
            }
        }
        if let Some(length) = answer.header("content-length") {
            return self.take(length.parse().map_err(io::Error::other)?);
        }
        while self.fill()? {}
        body.append(&mut self.unread);
        Ok(body)
    }

    /// Takes everything up to the next `end`, and `end` too.
    fn take_through(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.fill_for_more()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill_for_more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    fn fill_for_more(&mut self) -> io::Result<()> {
        if self.fill()? { Ok(()) } else { Err(io::Error::new(ErrorKind::UnexpectedEof, "the answer broke off")) }
    }

    /// Waits until the server closes, which must say nothing more.
    #[track_caller]
    pub(crate) fn closed(&mut self) {
        loop {
            assert!(self.unread.is_empty(), "more came: {}", self.unread.escape_ascii());
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the server did not close"),
            }
        }
    }
}

/// A request with any header fields. The host is `localhost` unless they name one; a body has its length.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    let mut add = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    if fields.iter().all(|(name, _)| *name != "host") {
        add("host", "localhost");
    }
    for (name, value) in fields {
        add(name, value);
    }
    if !body.is_empty() {
        add("content-length", &body.len().to_string());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends bytes as they are over a connection of their own, says that no more will come, and returns all answers until
/// the server closes.
#[track_caller]
pub(crate) fn answers_to(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    let mut connection = Connection::to(address);
    connection.send_what_is_taken(&bytes);
    connection.finish_sending();
    let text = String::from_utf8_lossy(bytes.as_ref());
    let mut methods = text.lines().filter(|line| line.contains(" HTTP/1.")).filter_map(|line| line.split(' ').next());
    let mut method = methods.next();
    let mut answers = Vec::new();
    while let Some(answer) = connection.try_answer_to(method.unwrap_or_default()).unwrap() {
        if !answer.is_interim() {
            method = methods.next();
        }
        answers.push(answer);
    }
    answers
}

/// An answer, all of it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the header fields as they came, with the empty line.
    pub(crate) head: String,
    /// The body as it came, without chunks.
    pub(crate) bytes: Vec<u8>,
    /// The same as text.
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header field; a proxy may write its name in upper case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of a problem document, which must be one.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        let code = document["code"].as_str().unwrap();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["type"], format!("/problems/{code}"));
        (self.status, code.to_owned())
    }

    /// Whether another answer follows, as after 100.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Status, media type and body, with `…` for what differs from run to run.
    pub(crate) fn shown(&self) -> String {
        let kind = self.header("content-type").unwrap_or("-");
        let mut body = self.body.clone();
        let confirmed = ["confirmed_at", "balance_confirmed_at", "rates_confirmed_at"];
        for name in ["created_at", "expires_at", "updated_at", "at"].into_iter().chain(confirmed) {
            body = with_member(&body, name, |value| value.starts_with('"').then_some("\"…\""));
        }
        body = with_member(&body, "seconds_remaining", |_| Some("…"));
        format!("{} {kind} {body}", self.status)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.head, self.body)
    }
}

/// A JSON text in which each value of a member, as it is written, gives way to what `instead` says, if anything.
pub(crate) fn with_member(json: &str, name: &str, instead: impl Fn(&str) -> Option<&'static str>) -> String {
    let start = format!("\"{name}\":");
    let mut parts = json.split(&start);
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let is_text = part.starts_with('"');
        let end = if is_text { part[1..].find('"').map(|at| at + 2) } else { part.find([',', '}']) };
        let (value, rest) = part.split_at(end.unwrap());
        out.extend([&*start, instead(value).unwrap_or(value), rest]);
    }
    out
}
