//! Redis: the planned redesign, from Rust and from Python.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use redis::Commands as _;

use super::library::Renderer;
use super::nginx::{free_address, wait_for};
use crate::rig::process::{self, Cpus, Running};
use crate::rig::{data, process::find_program};

/// A server with one signal and its users.
pub(crate) struct Redis {
    pub(crate) process: Running,
    address: SocketAddr,
    connection: redis::Connection,
    renderer: Renderer,
    keys: Vec<String>,
    _folder: tempfile::TempDir,
}

fn signal_key() -> String {
    format!("signal:{}", data::SIGNAL)
}

impl Redis {
    /// Starts it; `None` if it is not installed.
    pub(crate) fn start(users: usize) -> Option<Self> {
        let program = find_program("redis-server")?;
        let folder = process::folder();
        let address = free_address();
        let mut command = process::command(&program, Cpus::All);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"]);
        command.args(["--appendfsync", "no", "--save", "", "--dir"]).arg(folder.path());
        let process = Running(command.stdout(Stdio::null()).spawn().unwrap());
        wait_for(address);
        let mut connection = redis::Client::open(format!("redis://{address}/")).unwrap().get_connection().unwrap();
        let keys: Vec<_> = (0..users).map(|number| format!("user_overlay:{}", data::user_id(number))).collect();
        connection.set::<_, _, ()>(signal_key(), data::signal_json(data::SIGNAL)).unwrap();
        for (number, key) in keys.iter().enumerate() {
            connection.set::<_, _, ()>(key, data::overlay_json(number)).unwrap();
        }
        Some(Self { process, address, connection, renderer: Renderer::new(), keys, _folder: folder })
    }

    /// `always`: on the disk before it is acknowledged; `no`: when the kernel likes.
    pub(crate) fn sync(&mut self, when: &str) {
        redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(when).query::<()>(&mut self.connection).unwrap();
    }

    fn begin(&mut self) {
        let signal: Vec<u8> = self.connection.get(signal_key()).unwrap();
        self.renderer.signal(&signal);
    }

    /// The views of all users, by one MGET.
    pub(crate) fn mget(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.begin();
        let overlays: Vec<Vec<u8>> = self.connection.mget(&self.keys).unwrap();
        for overlay in &overlays {
            self.renderer.view(overlay, out);
        }
    }

    /// The views of all users, by a GET for each.
    pub(crate) fn get_each(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.begin();
        for key in &self.keys {
            let overlay: Vec<u8> = self.connection.get(key).unwrap();
            self.renderer.view(&overlay, out);
        }
    }

    /// Writes one overlay.
    pub(crate) fn put(&mut self, number: usize, json: &str) {
        self.connection.set::<_, _, ()>(&self.keys[number], json).unwrap();
    }
}

/// The client that was planned, in Python.
pub(crate) struct Python {
    _process: Running,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it; `None` if there is no Python with a `redis` module.
    pub(crate) fn start(redis: &Redis) -> Option<Self> {
        let usable = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
            let check = Command::new(python).args(["-c", "import redis"]).stderr(Stdio::null()).status();
            check.is_ok_and(|status| status.success())
        })?;
        let mut child = Command::new(usable)
            .args(["-c", include_str!("redis_client.py"), &redis.address.port().to_string(), &signal_key()])
            .args(["user_overlay:*"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { _process: Running(child), orders, answers })
    }

    /// Lets it make all views by `mget` or `get`; returns how long it took.
    pub(crate) fn batch(&mut self, how: &str) -> Duration {
        writeln!(self.orders, "{how}").unwrap();
        let mut seconds = String::new();
        self.answers.read_line(&mut seconds).unwrap();
        Duration::from_secs_f64(seconds.trim().parse().unwrap())
    }
}
