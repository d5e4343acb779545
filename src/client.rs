//! What commands ask: the server that has the database open, through the socket beside it or at an address of this
//! machine; or, where no process has it open, the same routes in this process.
//!
//! So each thing is done in one place, the HTTP layer, and a command works alike while a server runs and while none
//! does. Nothing here knows what a route means. There is no TLS, so no other machine is asked.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use axum::http::Method;

use crate::http::{self, InProcess, is_loopback};
use crate::service::Service;

/// How long a server may send nothing: it ends a request after some seconds, whatever it is.
const SILENCE_LIMIT: Duration = Duration::from_mins(2);
/// Where a server listens unless it is told otherwise.
const PORT: u16 = 7717;
/// Longest problem document that is read: usual ones have some hundred bytes.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// The media type of one record.
const JSON: &str = "application/json";
/// The media type of many records.
const NDJSON: &str = "application/x-ndjson";

/// An address of this machine that a server listens at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress(Authority);

impl FromStr for ServerAddress {
    type Err = String;

    /// Reads `http://127.0.0.1:7717`, `localhost`, `[::1]:7717`; without a port it is 7717.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("there is no TLS here: ask the server itself, by http:// and its port".to_owned());
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = address.strip_suffix('/').unwrap_or(address);
        let authority: Authority = address.parse().map_err(|_| "an address is needed: http://127.0.0.1:7717")?;
        if !is_loopback(&authority) {
            let host = authority.host();
            return Err(format!("{host} is not this machine, and there is no TLS here: run `ssh {host} overlaid …`"));
        }
        Ok(Self(authority))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A refusal of the routes (RFC 9457).
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// The stable code of the reason.
    pub code: String,
    /// What is wrong, as a sentence.
    pub detail: String,
}

impl Problem {
    /// Whether doing the same again would be refused again: the record is absent, or what was sent breaks a rule.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 400 | 404 | 405 | 409..=422)
    }
}

/// The one that is asked.
#[derive(Debug)]
pub struct Client {
    way: Way,
    runtime: Runtime,
    /// What ends waits, if anything does.
    interrupts: RefCell<Option<Signal>>,
}

/// The user interrupted the program while it waited.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

#[derive(Debug)]
enum Way {
    Address {
        address: ServerAddress,
        token: Option<HeaderValue>,
    },
    Socket(PathBuf),
    InProcess {
        routes: InProcess,
        /// What ends with the client.
        stopped: Option<Service>,
    },
}

/// What is sent along with a request.
#[derive(Debug)]
pub enum Content {
    /// Nothing.
    None,
    /// One JSON object.
    Json(String),
    /// Lines of JSON, made piece by piece while they are sent.
    Lines(Lines),
}

/// Pieces of lines.
pub struct Lines(pub Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// An answer whose head has come: what was asked is done.
#[derive(Debug)]
pub struct Answer<'a> {
    client: &'a Client,
    response: Response<Body>,
}

impl Client {
    /// Asks the server at an address, with a token if it has any.
    ///
    /// # Errors
    ///
    /// If the token can not be sent.
    pub fn at_address(address: ServerAddress, token: Option<&str>) -> anyhow::Result<Self> {
        let bearer = |token: &str| HeaderValue::try_from(format!("Bearer {token}"));
        let token = token.map(bearer).transpose().context("the token holds what no token does")?;
        Self::new(|_| Way::Address { address, token })
    }

    /// Asks the server that listens at a socket file; `None` if none does.
    ///
    /// # Errors
    ///
    /// If the file is another user's: then the database beside it is too, and is not to be opened.
    pub fn at_socket(path: &Path) -> anyhow::Result<Option<Self>> {
        match http::connect(path) {
            Ok(_) => Self::new(|_| Way::Socket(path.to_owned())).map(Some),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let owner = owner_of(path).unwrap_or_else(|| "root".to_owned());
                let path = path.display();
                anyhow::bail!("{path}: permission denied; run this as the user {owner}: `sudo -u {owner} overlaid …`")
            }
            Err(error) => Err(error).with_context(|| format!("cannot ask the server at {}", path.display())),
        }
    }

    /// Answers by the same routes in this process. The service is stopped with the client.
    ///
    /// # Errors
    ///
    /// If there can be no runtime.
    pub fn in_process(service: &Service) -> anyhow::Result<Self> {
        Self::of_service(service, Some(service.clone()))
    }

    /// As [`Client::in_process`], but the service goes on.
    ///
    /// # Errors
    ///
    /// If there can be no runtime.
    pub fn beside(service: &Service) -> anyhow::Result<Self> {
        Self::of_service(service, None)
    }

    fn of_service(service: &Service, stopped: Option<Service>) -> anyhow::Result<Self> {
        Self::new(|runtime| {
            let _entered = runtime.enter();
            Way::InProcess { routes: InProcess::new(service.clone()), stopped }
        })
    }

    fn new(way: impl FnOnce(&Runtime) -> Way) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start the runtime")?;
        Ok(Self { way: way(&runtime), runtime, interrupts: RefCell::new(None) })
    }

    /// From now on Ctrl-C does not end the program, but every wait for an answer, with [`Interrupted`].
    ///
    /// # Errors
    ///
    /// If the system does not tell of it.
    pub fn end_waits_at_interrupt(&mut self) -> anyhow::Result<()> {
        let _entered = self.runtime.enter();
        let interrupts = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
        self.interrupts = RefCell::new(Some(interrupts));
        Ok(())
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut interrupts = self.interrupts.take();
        let done = self.runtime.block_on(async {
            let Some(interrupts) = &mut interrupts else { return Ok(work.await) };
            tokio::select! {
                _ = interrupts.recv() => Err(Interrupted.into()),
                done = work => Ok(done),
            }
        });
        self.interrupts.replace(interrupts);
        done
    }

    /// Waits so long.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn pause(&self, duration: Duration) -> anyhow::Result<()> {
        self.wait(async { tokio::time::sleep(duration).await })
    }

    /// Whether no server is asked.
    #[must_use]
    pub fn is_in_process(&self) -> bool {
        matches!(self.way, Way::InProcess { .. })
    }

    /// Whether a server on the network is asked, which may have another database than the one that is meant.
    #[must_use]
    pub fn is_at_address(&self) -> bool {
        matches!(self.way, Way::Address { .. })
    }

    /// Sends a request, and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// [`Problem`] if it is refused; else why nobody could be asked.
    pub fn send(&self, method: Method, target: &str, content: Content) -> anyhow::Result<Answer<'_>> {
        let (kind, body) = match content {
            Content::None => (None, Body::empty()),
            Content::Json(json) => (Some(JSON), Body::from(json)),
            Content::Lines(Lines(lines)) => (Some(NDJSON), Body::from_stream(tokio_stream::iter(lines))),
        };
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost");
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.header(ACCEPT, "*/*").body(body).context("this can not be asked")?;
        let response = self.wait(self.exchange(request))??;
        let answer = Answer { client: self, response };
        match (answer.status(), &self.way) {
            (200..300, _) => Ok(answer),
            // An import of which every line was refused says so line by line.
            _ if answer.is_lines() => Ok(answer),
            (401, Way::Address { address, .. }) => Err(answer.into_error())
                .with_context(|| format!("the server at {address} wants --token or OVERLAID_TOKEN")),
            _ => Err(answer.into_error()),
        }
    }

    /// Gets JSON.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub fn get(&self, target: &str) -> anyhow::Result<String> {
        self.send(Method::GET, target, Content::None)?.text()
    }

    async fn exchange(&self, mut request: Request<Body>) -> anyhow::Result<Response<Body>> {
        match &self.way {
            Way::InProcess { routes, .. } => Ok(routes.answer(request).await),
            Way::Socket(path) => {
                let stream = connect(path).with_context(|| format!("cannot ask the server at {}", path.display()))?;
                send_on(stream, request).await
            }
            Way::Address { address, token } => {
                let host = HeaderValue::from_str(address.0.as_str()).context("the address can not be sent")?;
                request.headers_mut().insert(HOST, host);
                if let Some(token) = token {
                    request.headers_mut().insert(AUTHORIZATION, token.clone());
                }
                let host = address.0.host().trim_matches(['[', ']']);
                let stream = TcpStream::connect((host, address.0.port_u16().unwrap_or(PORT))).await;
                send_on(stream.with_context(|| format!("cannot reach a server at {address}"))?, request).await
            }
        }
    }

    /// How long an answer may not go on. In this process it takes as long as it takes.
    fn silence_limit(&self) -> Duration {
        if self.is_in_process() { Duration::MAX } else { SILENCE_LIMIT }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Way::InProcess { stopped: Some(service), .. } = &self.way {
            service.stop();
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = http::connect(path)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Sends a request over a connection of its own.
async fn send_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> anyhow::Result<Response<Body>> {
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors come out where the answer is read.
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    let response = tokio::time::timeout(SILENCE_LIMIT, exchange).await.context("the server does not answer")?;
    Ok(response.context("cannot read the server's answer")?.map(Body::new))
}

impl Answer<'_> {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    fn is_lines(&self) -> bool {
        self.response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == NDJSON)
    }

    /// Reads all of it as text.
    ///
    /// # Errors
    ///
    /// If it breaks off.
    pub fn text(mut self) -> anyhow::Result<String> {
        let mut text = Vec::new();
        while let Some(piece) = self.next_piece()? {
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).context("the server's answer is not UTF-8")
    }

    /// Reads all of it as JSON.
    ///
    /// # Errors
    ///
    /// If it breaks off, or says something else.
    pub fn json<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text()?).context("the server's answer is not as it should be")
    }

    /// Writes all of it to `out`.
    ///
    /// # Errors
    ///
    /// If it breaks off, or can not be written.
    pub fn copy_to(mut self, out: &mut dyn Write) -> anyhow::Result<()> {
        while let Some(piece) = self.next_piece()? {
            out.write_all(&piece)?;
        }
        Ok(out.flush()?)
    }

    /// Waits for the next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the answer breaks off.
    pub fn next_piece(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            let (limit, body) = (self.client.silence_limit(), self.response.body_mut());
            let frame = self.client.wait(async { tokio::time::timeout(limit, body.frame()).await })?;
            let frame = frame.context("the server does not go on")?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.context("the server broke off its answer; its log may say why")?;
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    fn into_error(mut self) -> anyhow::Error {
        let status = self.status();
        let mut json = Vec::new();
        while let Ok(Some(piece)) = self.next_piece()
            && json.len() < PROBLEM_BYTES_MAX
        {
            json.extend_from_slice(&piece);
        }
        match serde_json::from_slice::<Problem>(&json) {
            Ok(problem) => problem.into(),
            Err(_) => anyhow::anyhow!("who answers is no overlaid server: it says {status}"),
        }
    }
}

/// Text as part of a path or as a parameter.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The name of the user whose a file is, or whose the nearest folder above it that can be seen.
fn owner_of(path: &Path) -> Option<String> {
    let uid = path.ancestors().find_map(|path| fs::metadata(path).ok())?.uid().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|user| {
        let mut fields = user.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    Some(named.unwrap_or(format!("#{uid}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_asked() {
        let read = |text: &str| text.parse::<ServerAddress>().map(|address| address.to_string());
        for address in ["127.0.0.1:7717", "localhost", "[::1]:80"] {
            for text in [address.to_owned(), format!("http://{address}"), format!("http://{address}/")] {
                assert_eq!(read(&text), Ok(address.to_owned()), "{text}");
            }
        }
        assert!(read("example.org:7717").unwrap_err().contains("`ssh example.org overlaid …`"));
        assert!(read("https://127.0.0.1").unwrap_err().contains("no TLS"));
        for text in ["", "http://", "127.0.0.1:7717/v1", "ftp://127.0.0.1", "a b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
