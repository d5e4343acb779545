//! Ceilings: servers that do nothing but answer a constant. No server that does something can be faster on the same
//! stack.
//!
//! They run as processes of their own (this program again, as `--ceiling hyper|axum BYTES`), so that their CPU time is
//! told apart from that of the load generator.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;

use crate::rig::process::{self, Cpus, Running};

/// The flag by which this program becomes one of them.
pub(crate) const FLAG: &str = "--ceiling";

/// A ceiling as a process.
#[derive(Debug)]
pub(crate) struct Ceiling {
    process: Running,
    pub(crate) address: SocketAddr,
}

impl Ceiling {
    pub(crate) fn start(kind: &str, bytes: usize, cpus: Cpus) -> Self {
        let mut command = process::command(&std::env::current_exe().unwrap(), cpus);
        let mut child = command.args([FLAG, kind, &bytes.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process: Running(child), address: address.trim().parse().unwrap() }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        vec![self.process.pid()]
    }
}

/// Serves for ever.
pub(crate) fn serve(kind: &str, bytes: usize) {
    let constant = Bytes::from(vec![b'x'; bytes]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().unwrap()).unwrap();
        out.flush().unwrap();
        if kind == "axum" { axum_constant(listener, constant).await } else { hyper_constant(listener, constant).await }
    });
}

async fn axum_constant(listener: tokio::net::TcpListener, constant: Bytes) {
    let answer = move || {
        let constant = constant.clone();
        async move { ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], constant).into_response() }
    };
    let router = axum::Router::new().route("/v1/users/{user}/missions/{signal}", axum::routing::get(answer));
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router)
        .await
        .unwrap();
}

async fn hyper_constant(listener: tokio::net::TcpListener, constant: Bytes) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let constant = constant.clone();
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(|_| {
                let mut response = hyper::Response::new(Full::new(constant.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            // The client ends the connection when it has seen enough.
            let _ = http.pipeline_flush(true).serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
