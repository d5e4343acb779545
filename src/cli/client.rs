//! The few requests that a command makes of a running server: plain HTTP/1.1 on one connection each.

use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// How long a server may send nothing: it ends a request after some seconds, whatever it is.
const SILENCE_LIMIT: Duration = Duration::from_mins(2);
/// Longest head, and longest JSON, of an answer that is read: they have some hundred bytes.
const TEXT_BYTES_MAX: u64 = 64 * 1024;

/// A server, and what it lets a command in with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) server: SocketAddr,
    pub(super) token: Option<&'a str>,
}

/// An answer whose head was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body_bytes: u64,
    stream: BufReader<TcpStream>,
}

impl Client<'_> {
    /// Sends a request without a body.
    pub(super) fn send(&self, method: &str, path: &str) -> anyhow::Result<Answer> {
        let Self { server, token } = self;
        let mut stream = TcpStream::connect(server).with_context(|| format!("cannot reach a server at {server}"))?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        let authorization = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n{authorization}content-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).context("cannot ask the server")?;
        Answer::read(BufReader::new(stream))
    }
}

impl Answer {
    fn read(mut stream: BufReader<TcpStream>) -> anyhow::Result<Self> {
        let mut head = (&mut stream).take(TEXT_BYTES_MAX);
        let mut line = String::new();
        let mut next_line = || -> anyhow::Result<String> {
            line.clear();
            head.read_line(&mut line).context("cannot read the server's answer")?;
            Ok(line.trim_end().to_owned())
        };
        let status = next_line()?.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.context("the server's answer is not HTTP")?;
        let mut body_bytes = None;
        loop {
            let field = next_line()?;
            let Some((name, value)) = field.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                body_bytes = value.trim().parse().ok();
            }
        }
        Ok(Self { status, body_bytes: body_bytes.context("the server's answer has no length")?, stream })
    }

    /// Reads the body as JSON.
    pub(super) fn json(self) -> anyhow::Result<serde_json::Value> {
        let mut body = Vec::new();
        self.stream.take(TEXT_BYTES_MAX).read_to_end(&mut body).context("cannot read the server's answer")?;
        serde_json::from_slice(&body).context("the server's answer is not JSON")
    }

    /// Writes the whole body to `out`.
    pub(super) fn copy_to(self, mut out: impl Write) -> anyhow::Result<()> {
        let copied = io::copy(&mut self.stream.take(self.body_bytes), &mut out);
        let copied = copied.context("cannot copy the server's answer")?;
        anyhow::ensure!(copied == self.body_bytes, "the server broke off its answer; its log may say why");
        Ok(())
    }
}

/// Text as the value of a parameter in a path.
pub(super) fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
