//! Requests as the table writes them, and answers as text in which nothing differs from run to run.

use std::net::SocketAddr;

use crate::kit::{Answer, Connection, with_member};

/// Times with these years stand in the records of the tests; others are the server's.
const YEARS_OF_RECORDS: [&str; 2] = ["2020", "2099"];
/// Members whose numbers or texts differ from run to run.
const VARYING: [&str; 8] = ["seq", "cursor", "seconds_remaining", "age_s", "file_bytes", "sha256", "database", "file"];
const OPENAPI: &str = include_str!("../../../data/openapi.json");

/// A request as the table writes it: method and target, then columns two blanks apart, each a header field, or a body.
///
/// A column that begins with `{` or `[` is a JSON body; one that begins with `=` is any body, with `\n` for line ends.
/// `<9>` stands for nine times an `x`, `TAG` for the entity tag of the last answer that had one.
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

/// Requests and answers over one connection, and over a new one once the server has closed it.
pub(super) struct Conversation {
    address: SocketAddr,
    connection: Connection,
    tag: String,
}

impl Conversation {
    pub(super) fn with(address: SocketAddr) -> Self {
        Self { address, connection: Connection::to(address), tag: String::new() }
    }

    /// Sends a request and returns the answer as text.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> String {
        self.connection.send_what_is_taken(request.to_bytes(&self.tag));
        let answer = self.connection.answer_to(request.method());
        if let Some(tag) = answer.header("etag") {
            tag.clone_into(&mut self.tag);
        }
        if answer.header("connection") == Some("close") {
            self.connection.closed();
            self.connection = Connection::to(self.address);
        }
        shown(&answer)
    }
}

/// The head on one line, the body after it.
pub(super) fn shown(answer: &Answer) -> String {
    // Every answer of the router has an id of its own: `request_log` tests it.
    let fields = answer.head.trim_end().split("\r\n").filter(|line| !line.starts_with("x-request-id: "));
    let head: Vec<_> = fields.map(masked_field).collect();
    let kind = answer.header("content-type").unwrap_or_default();
    let body = match answer.header("content-encoding") {
        Some("gzip") if answer.bytes.starts_with(b"\x1f\x8b") => "(gzip)".to_owned(),
        Some("zstd") if answer.bytes.starts_with(b"\x28\xb5\x2f\xfd") => "(zstd)".to_owned(),
        _ if kind == "application/octet-stream" => "(a file)".to_owned(),
        _ => masked_body(std::str::from_utf8(&answer.bytes).unwrap()),
    };
    let line_end = if body.is_empty() || body.ends_with('\n') { "" } else { "\n" };
    format!("{}\n{body}{line_end}", head.join(" | "))
}

fn masked_field(line: &str) -> String {
    match line.split_once(": ") {
        // The reader above took the length at its word.
        // A cursor has a random number too.
        Some((name @ ("date" | "content-length" | "overlaid-cursor"), _)) => format!("{name}: …"),
        Some(("etag", tag)) => {
            let opaque = tag.trim_start_matches("W/").trim_matches('"');
            let masked = match opaque.split('-').collect::<Vec<_>>()[..] {
                // A record's: the run, which is a random number, and the change, with the time of a confirmation.
                [_, change] => match change.split_once('.') {
                    Some((change, _)) => format!("…-{change}.…"),
                    None => format!("…-{change}"),
                },
                // A view's: the rules, the run, five changes, and the times of confirmations.
                [_, _, ref changes @ .., _, _] => format!("…-{}-…-…", changes.join("-")),
                // A list's: a hash.
                _ => "…".to_owned(),
            };
            line.replace(opaque, &masked)
        }
        _ => line.to_owned(),
    }
}

fn masked_body(body: &str) -> String {
    if body == OPENAPI {
        return "(data/openapi.json)".to_owned();
    }
    // Metrics, and not the steps of an explanation.
    if body.starts_with("# ") {
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
    let confirmed = ["confirmed_at", "balance_confirmed_at", "rates_confirmed_at"];
    let others = ["created_at", "expires_at", "updated_at", "at", "made_at", "verified_at"];
    for name in others.into_iter().chain(confirmed) {
        masked = mask(&masked, name, |value| !YEARS_OF_RECORDS.iter().any(|year| value[1..].starts_with(year)));
    }
    // The file learns of the use of a token a moment later.
    if body.starts_with("{\"backup\":") {
        masked = mask(&masked, "seq", |_| true);
    }
    let masked = VARYING.iter().fold(masked, |masked, name| mask(&masked, name, |_| true));
    // Those of an explanation.
    let mut parts = masked.split("(confirmed ");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let is_of_record = YEARS_OF_RECORDS.iter().any(|year| part.starts_with(year));
        let part = if is_of_record { part.to_owned() } else { format!("…{}", &part[part.find(')').unwrap()..]) };
        format!("{text}(confirmed {part}")
    })
}

/// Puts `…` in the place of the values of a member that are to be masked.
fn mask(json: &str, name: &str, is_masked: impl Fn(&str) -> bool) -> String {
    with_member(json, name, |value| (value != "null" && is_masked(value)).then_some("…"))
}
