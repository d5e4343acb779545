//! A server as a process of its own: the program that was built with the tests, on a free port.

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::client::{Answer, Connection, answers_to, request};
use super::command::program;
use super::records::{EURUSD_PIPS, SAMPLES};

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
        Self::start_at(folder, "127.0.0.1:0", arguments)
    }

    /// Starts a server with the signal `S1` and the user 7.
    pub(crate) fn start_with_mission(folder: &Path) -> Self {
        let server = Self::start(folder, &[]);
        server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
        server.put_balance(7, 100);
        server
    }

    /// As [`Server::start`], on this address: that of a server that has ended.
    pub(crate) fn start_at(folder: &Path, address: &str, arguments: &[&str]) -> Self {
        let mut child = program()
            .arg("--data")
            .arg(folder)
            .args(["--log-format", "json", "serve", "--listen", address])
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

    /// Starts a server that loads the samples, where they are not there yet.
    pub(crate) fn with_samples(folder: &Path) -> Self {
        Self::start(folder, &["--load", SAMPLES])
    }

    /// Starts a server that loads these lines, where they are not there yet.
    pub(crate) fn with_records(folder: &Path, lines: &str, arguments: &[&str]) -> Self {
        let records = folder.join("records.ndjson");
        std::fs::write(&records, lines).unwrap();
        Self::start(folder, &[&["--load", records.to_str().unwrap()], arguments].concat())
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

    /// What else it logged, after it has ended.
    pub(crate) fn rest_of_log(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().collect()
    }

    /// A connection that is kept for more requests.
    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    /// Sends a request with a JSON body and returns the answer.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.send_with(method, path, &[("content-type", kind)], body.as_bytes())
    }

    /// Puts an overlay that says nothing but a balance, and returns the answer.
    #[track_caller]
    pub(crate) fn put_balance(&self, user: impl Display, balance: impl Display) -> Answer {
        self.send("PUT", &format!("/v1/users/{user}/overlay"), &format!(r#"{{"account_balance":{balance}}}"#))
    }

    /// Sends lines of records to be imported and returns the answer.
    #[track_caller]
    pub(crate) fn import(&self, lines: &str) -> Answer {
        self.send_with("POST", "/v1/import", &[("content-type", "application/x-ndjson")], lines.as_bytes())
    }

    /// Sends a request without a body and returns the answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send_with("GET", path, &[], b"")
    }

    /// As [`Server::get`], with a token.
    #[track_caller]
    pub(crate) fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send_with("GET", path, &[("authorization", &format!("Bearer {token}"))], b"")
    }

    /// What `/readyz` says of the server and of its writes.
    #[track_caller]
    pub(crate) fn readiness(&self) -> (String, String) {
        let ready = self.get("/readyz");
        assert_eq!(ready.status, 200);
        let ready = ready.json();
        (ready["status"].as_str().unwrap().to_owned(), ready["writes"].as_str().unwrap().to_owned())
    }

    /// As [`Server::get`]; `None` if the server is not there any more, or goes before it has answered.
    pub(crate) fn try_get(&self, path: &str) -> Option<Answer> {
        let mut connection = Connection::try_to(self.address).ok()?;
        connection.send_what_is_taken(request("GET", path, &[("connection", "close")], ""));
        connection.try_answer_to("GET").ok()?
    }

    /// Sends a request with any headers and returns the answer; the host is `localhost` unless they name one.
    #[track_caller]
    pub(crate) fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = self.connect();
        connection.send_what_is_taken(request(method, path, &[&[("connection", "close")], headers].concat(), body));
        let answer = connection.answer_to(method);
        connection.closed();
        answer
    }

    /// Sends bytes as they are and returns all answers until the server closes.
    #[track_caller]
    pub(crate) fn send_raw(&self, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
        answers_to(self.address, bytes)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
