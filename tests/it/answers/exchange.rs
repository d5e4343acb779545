//! One connection that sends requests of the table, and answers as text in which nothing differs from run to run.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Times with these years stand in the records of the tests; others are the server's.
const YEARS_OF_RECORDS: [&str; 2] = ["2020", "2099"];
/// Members whose numbers or texts differ from run to run.
const VARYING: [&str; 6] = ["seconds_remaining", "age_s", "file_bytes", "sha256", "database", "file"];
const OPENAPI: &str = include_str!("../../../data/openapi.json");

/// A request as the table writes it: method and target, then columns two blanks apart, each a header field, or a body.
///
/// A column that begins with `{` or `[` is a JSON body; one that begins with `=` is any body, with `\n` for line ends. `<9>` stands
/// for nine times an `x`, `TAG` for the entity tag of the last answer that had one.
pub(super) struct Request<'a> {
    pub(super) line: &'a str,
    /// More header fields, each with its line end.
    pub(super) more_fields: &'a str,
}

impl Request<'_> {
    fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    fn to_bytes(&self, tag: &str) -> String {
        let mut columns = self.line.split("  ").map(str::trim).filter(|column| !column.is_empty());
        let (method, target) = columns.next().unwrap().split_once(' ').unwrap();
        let mut head = format!("{method} {} HTTP/1.1\r\n{}", repeated(target.trim()), self.more_fields);
        let (mut has_kind, mut body) = (false, None);
        for column in columns {
            if let Some(text) = column.strip_prefix('=') {
                body = Some(repeated(text.trim_start()).replace("\\n", "\n"));
            } else if column.starts_with(['{', '[']) {
                body = Some(repeated(column));
            } else {
                has_kind |= column.starts_with("content-type");
                head += &[&*repeated(column).replace("TAG", tag), "\r\n"].concat();
            }
        }
        if !head.contains("\r\nhost:") {
            head += "host: localhost\r\n";
        }
        if let Some(body) = &body {
            if !has_kind {
                head += "content-type: application/json\r\n";
            }
            head += &["content-length: ", &*body.len().to_string(), "\r\n"].concat();
        }
        format!("{}\r\n{}", head.replace("content-type: none\r\n", ""), body.unwrap_or_default())
    }
}

/// Writes `<9>` out.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once('<') else { return text.to_owned() };
    let Some((count, after)) = rest.split_once('>') else { return text.to_owned() };
    match count.parse() {
        Ok(count) => format!("{before}{}{}", "x".repeat(count), repeated(after)),
        Err(_) => text.to_owned(),
    }
}

/// A connection that is kept as long as the server keeps it.
pub(super) struct Connection {
    address: SocketAddr,
    wire: Wire,
    tag: String,
}

impl Connection {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self { address, wire: Wire::to(address), tag: String::new() }
    }

    /// Sends a request and returns the answer as text.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> String {
        // The server may refuse before it has read everything.
        let _ = self.wire.stream.write_all(request.to_bytes(&self.tag).as_bytes());
        let answer = self.wire.answer(request.method()).unwrap_or_else(|| panic!("no answer to {}", request.line));
        if let Some(tag) = field(&answer.head, "etag") {
            tag.clone_into(&mut self.tag);
        }
        if field(&answer.head, "connection") == Some("close") {
            self.wire = Wire::to(self.address);
        }
        answer.shown()
    }
}

/// Sends bytes as they are, says that no more will come, and returns all answers until the server closes.
pub(super) fn send_raw(address: SocketAddr, request: &str) -> String {
    let mut wire = Wire::to(address);
    let _ = wire.stream.write_all(request.as_bytes());
    wire.stream.shutdown(Shutdown::Write).unwrap();
    let mut methods =
        request.lines().filter(|line| line.contains(" HTTP/1.")).map(|line| line.split(' ').next().unwrap());
    let mut shown = String::new();
    let mut method = methods.next();
    while let Some(answer) = wire.answer(method.unwrap_or_default()) {
        if !answer.is_interim() {
            method = methods.next();
        }
        shown += &answer.shown();
    }
    shown + "(closed)\n"
}

/// The value of a header field.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

struct RawAnswer {
    head: String,
    body: Vec<u8>,
}

impl Wire {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Reads on; `false` at the end.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        // A reset is an end too: the server closes over what it does not want to read.
        let read = self.stream.read(&mut buffer).unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..read]);
        read > 0
    }

    /// Takes everything up to and with the next `end`; `None` if the connection ends before.
    fn take_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill(), "an answer broke off");
        }
        self.unread.drain(..length).collect()
    }

    fn answer(&mut self, method: &str) -> Option<RawAnswer> {
        let head = String::from_utf8(self.take_through(b"\r\n\r\n")?).unwrap();
        let mut answer = RawAnswer { head, body: Vec::new() };
        let has_no_body = method == "HEAD" || answer.is_interim() || [" 204 ", " 304 "].contains(&&answer.head[8..13]);
        if has_no_body {
            return Some(answer);
        }
        if field(&answer.head, "transfer-encoding") == Some("chunked") {
            loop {
                let size = String::from_utf8(self.take_through(b"\r\n").unwrap()).unwrap();
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                let chunk = self.take(size + 2);
                if size == 0 {
                    break;
                }
                answer.body.extend_from_slice(&chunk[..size]);
            }
        } else if let Some(length) = field(&answer.head, "content-length") {
            answer.body = self.take(length.parse().unwrap());
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.unread);
        }
        Some(answer)
    }
}

impl RawAnswer {
    fn is_interim(&self) -> bool {
        self.head[9..].starts_with('1')
    }

    /// The head on one line, the body after it.
    fn shown(&self) -> String {
        // Every answer of the router has an id of its own: `request_log` tests it.
        let fields = self.head.trim_end().split("\r\n").filter(|line| !line.starts_with("x-request-id: "));
        let head: Vec<_> = fields.map(masked_field).collect();
        let kind = field(&self.head, "content-type").unwrap_or_default();
        let body = match field(&self.head, "content-encoding") {
            Some("gzip") if self.body.starts_with(b"\x1f\x8b") => "(gzip)".to_owned(),
            Some("zstd") if self.body.starts_with(b"\x28\xb5\x2f\xfd") => "(zstd)".to_owned(),
            _ if kind == "application/octet-stream" => "(a file)".to_owned(),
            _ => masked_body(kind, std::str::from_utf8(&self.body).unwrap()),
        };
        let line_end = if body.is_empty() || body.ends_with('\n') { "" } else { "\n" };
        format!("{}\n{body}{line_end}", head.join(" | "))
    }
}

fn masked_field(line: &str) -> String {
    match line.split_once(": ") {
        // The reader above took the length at its word.
        Some((name @ ("date" | "content-length"), _)) => format!("{name}: …"),
        // The first part of a tag tells runs of a server apart.
        Some(("etag", tag)) => {
            let (start, rest) = tag.split_at(tag.find('"').unwrap() + 1);
            format!("etag: {start}…{}", rest.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric()))
        }
        _ => line.to_owned(),
    }
}

fn masked_body(kind: &str, body: &str) -> String {
    if body == OPENAPI {
        return "(data/openapi.json)".to_owned();
    }
    if !kind.contains("json") {
        let masked = |line: &str| match line.rsplit_once(' ') {
            Some((name, _)) if !line.starts_with('#') => format!("{name} …\n"),
            _ => format!("{line}\n"),
        };
        // Labels come in any order.
        let mut lines: Vec<_> = body.lines().map(masked).collect();
        lines.sort();
        return lines.concat();
    }
    let mut masked = body.to_owned();
    for name in ["created_at", "expires_at", "updated_at", "at", "made_at", "verified_at"] {
        masked = mask(&masked, name, |value| !YEARS_OF_RECORDS.iter().any(|year| value[1..].starts_with(year)));
    }
    VARYING.iter().fold(masked, |masked, name| mask(&masked, name, |_| true))
}

/// Puts `…` in the place of the values of a member that are to be masked.
fn mask(json: &str, name: &str, is_masked: impl Fn(&str) -> bool) -> String {
    let start = format!("\"{name}\":");
    let mut parts = json.split(&start);
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        let is_text = part.starts_with('"');
        let end = if is_text { part[1..].find('"').map(|at| at + 2) } else { part.find([',', '}']) };
        let (value, rest) = part.split_at(end.unwrap());
        masked += &start;
        masked += if value != "null" && is_masked(value) { "…" } else { value };
        masked += rest;
    }
    masked
}
