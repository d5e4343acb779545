//! One request after the other on one connection, for what needs an answer's content.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { stream, answer: vec![0; 256 * 1024] }
    }

    /// Sends a request and returns the answer, head and all, which is good until the next one.
    pub(crate) fn send(&mut self, request: &[u8]) -> &[u8] {
        self.post(request);
        self.answer()
    }

    /// Sends a request whose answer is read later.
    pub(crate) fn post(&mut self, request: &[u8]) {
        self.stream.write_all(request).unwrap();
    }

    /// Reads an answer, head and all.
    pub(crate) fn answer(&mut self) -> &[u8] {
        let mut answers = super::wire::Answers::default();
        let mut length = 0;
        loop {
            if length == self.answer.len() {
                self.answer.resize(2 * length, 0);
            }
            let read = self.stream.read(&mut self.answer[length..]).unwrap();
            assert!(read > 0, "the server closed the connection");
            let ended = answers.take(&self.answer[length..length + read]);
            length += read;
            if ended > 0 {
                return &self.answer[..length];
            }
        }
    }

    /// Sends a request and returns the body, without the sizes of chunks.
    pub(crate) fn body(&mut self, request: &[u8]) -> Vec<u8> {
        let answer = self.send(request);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let (head, mut rest) = answer.split_at(end + 4);
        let is_chunked = head.windows(9).any(|window| window == b": chunked");
        if !is_chunked {
            return rest.to_vec();
        }
        let mut body = Vec::new();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end - 1]).unwrap(), 16).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&rest[end + 1..end + 1 + size]);
            rest = &rest[end + 1 + size + 2..];
        }
    }

    /// Sends a request and returns a header of the answer.
    pub(crate) fn header(&mut self, request: &[u8], name: &str) -> Option<String> {
        let answer = String::from_utf8_lossy(self.send(request)).into_owned();
        let lines = answer.split("\r\n").take_while(|line| !line.is_empty());
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}
