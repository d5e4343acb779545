//! A stream of events (`text/event-stream`), read as strictly as the standard allows.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use super::client::{Answer, Connection, request};

/// A client that follows changes by a stream.
pub(crate) struct Events {
    pub(crate) connection: Connection,
    /// The head of the answer.
    pub(crate) head: Answer,
    unread: String,
    /// Comments that came between events.
    pub(crate) comments: usize,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Events {
    /// Asks for a stream, which must be one.
    #[track_caller]
    pub(crate) fn follow(address: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Self {
        let mut connection = Connection::to(address);
        connection.send(request("GET", target, &[&[("accept", "text/event-stream")], fields].concat(), ""));
        let head = connection.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        Self { connection, head, unread: String::new(), comments: 0 }
    }

    /// The next event; `None` at the end of the stream.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.try_next().unwrap()
    }

    /// As [`Events::next`]; an error if the stream breaks off.
    pub(crate) fn try_next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                match event_of(&block) {
                    Some(event) => return Ok(Some(event)),
                    None if block == ":" => self.comments += 1,
                    None => assert_eq!(block, "retry: 1000", "a block that is no event"),
                }
                continue;
            }
            let chunk = self.connection.try_chunk()?;
            if chunk.is_empty() {
                assert_eq!(self.unread, "", "the stream ends within an event");
                return Ok(None);
            }
            self.unread += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

/// Reads a block, which is an event if it has both an id and data, each once.
fn event_of(block: &str) -> Option<Event> {
    let mut lines = block.lines();
    let id = lines.next()?.strip_prefix("id: ")?;
    let data = lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("no data: {block}"));
    assert_eq!(lines.next(), None, "more than an event: {block}");
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["cursor"], id, "the id is the cursor");
    Some(Event { id: id.to_owned(), data })
}
