//! The program as a process, and a client that can say anything, also what a well-behaved one never would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// The program: the one that was built with the tests, or the one that `OVERLAID_BIN` names.
pub(crate) fn program() -> Command {
    let built = env!("CARGO_BIN_EXE_overlaid").to_owned();
    Command::new(std::env::var("OVERLAID_BIN").unwrap_or(built))
}

/// Runs a command to its end on the data in `folder`.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program().arg("--data").arg(folder).args(arguments).output().unwrap()
}

/// Longer than the server takes to log what it did.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it logged, from its start on.
    log: Mutex<Receiver<Value>>,
}

impl Server {
    /// Starts a server on a free port, on the data in `folder`, and waits until it listens.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = program()
            .arg("--data")
            .arg(folder)
            .args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        let (listening, listens) = channel();
        // The log is read on, or the server would block on a full pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                if let Some(address) = event["address"].as_str() {
                    listening.send(address.parse().unwrap()).unwrap();
                }
                // A test that has ended reads no more.
                let _ = sender.send(event);
            }
        });
        let address = listens.recv_timeout(PATIENCE).expect("the server ended before it listened");
        Self { child, address, log: Mutex::new(log) }
    }

    /// Kills it as a power cut would: no signal handler runs.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself, and returns its exit code.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The next event of the log that `is_wanted`; those before it are passed over.
    pub(crate) fn logged(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.log.lock().unwrap().recv_timeout(PATIENCE).expect("nothing more is logged");
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Sends a request with a JSON body and returns the answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.send_with(method, path, &[("content-type", kind)], body.as_bytes())
    }

    /// Sends a request without a body and returns the answer.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send_with("GET", path, &[], b"")
    }

    /// As [`Server::get`]; `None` if the server is not there any more, or goes before it has answered.
    pub(crate) fn try_get(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        (!answer.is_empty()).then(|| Answer::read(&answer))
    }

    /// Sends a request with any headers and returns the answer; the host is `localhost` unless they name one.
    pub(crate) fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
        if headers.iter().all(|(name, _)| *name != "host") {
            request.extend_from_slice(b"host: localhost\r\n");
        }
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        Answer::read(&self.send_raw(&request))
    }

    /// Sends any bytes and returns all that comes back until the server closes.
    pub(crate) fn send_raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if is_chunked { unchunk(&bytes[end + 4..]) } else { bytes[end + 4..].to_vec() };
        Self { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Status, media type and body, with what differs from run to run blotted out.
    pub(crate) fn shown(&self) -> String {
        let kind = self.header("content-type").unwrap_or("-");
        let mut body = self.body.clone();
        for name in ["created_at", "expires_at", "updated_at", "at"] {
            body = blot(&body, &format!("\"{name}\":\""), '"');
        }
        body = blot(&body, "\"seconds_remaining\":", ',');
        format!("{} {kind} {body}", self.status)
    }
}

/// Puts `…` between each `start` and the `end` after it.
fn blot(text: &str, start: &str, end: char) -> String {
    let mut parts = text.split(start);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let at = part.find(end).unwrap_or(part.len());
        out.push_str(start);
        out.push('…');
        out.push_str(&part[at..]);
    }
    out
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    out
}
