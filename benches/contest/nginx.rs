//! nginx with static files: what a web server does that has nothing to compute.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::rig::data;
use crate::rig::process::{self, Cpus, Running};

/// A server of the files in its folder.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Running,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it on files that hold these bytes under these paths; `None` if it is not installed.
    pub(crate) fn start(files: impl IntoIterator<Item = (String, Vec<u8>)>, cpus: Cpus) -> Option<Self> {
        let program = process::find_program("nginx")?;
        let folder = process::folder_in_memory();
        let root = folder.path().join("www");
        for (path, bytes) in files {
            let file = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        let address = free_address();
        let settings = folder.path().join("nginx.conf");
        fs::write(&settings, configuration(folder.path(), &root, address, cpus)).unwrap();
        let process = spawn(&program, folder.path(), &settings, cpus);
        wait_for(address);
        Some(Self { process, address, _folder: folder })
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        process::with_children(self.process.pid())
    }

    /// The path of one user's view.
    pub(crate) fn view_path(number: usize) -> String {
        data::view_path(number)
    }
}

/// As fast as its manual says it gets: no log, files kept open, connections kept open.
fn configuration(folder: &Path, root: &Path, address: SocketAddr, cpus: Cpus) -> String {
    let workers = if cpus == Cpus::One { "1" } else { "auto" };
    // Only who starts as root may name another user, and must, or the workers could not read the folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let (folder, root) = (folder.display(), root.display());
    format!(
        "{user}
worker_processes {workers};
daemon off;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/json;
    types {{ }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen {address}; root {root}; }}
}}
"
    )
}

fn spawn(program: &Path, folder: &Path, settings: &Path, cpus: Cpus) -> Running {
    let mut command: Command = process::command(program, cpus);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(settings);
    Running(command.stderr(Stdio::inherit()).stdout(Stdio::null()).spawn().unwrap())
}

/// An address that nothing listens on.
pub(super) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until something listens.
pub(super) fn wait_for(address: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing listens on {address}");
}
