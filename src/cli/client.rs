//! The few requests that a command makes of a running server: plain HTTP/1.1 on one connection each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// How long a server may take: a backup of a large database takes some seconds.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Largest answer that is read: the ones that are asked for have some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Sends a POST without a body and returns the status and the answer's JSON.
pub(super) fn post(server: SocketAddr, path: &str, token: Option<&str>) -> anyhow::Result<(u16, serde_json::Value)> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("cannot reach a server at {server}"))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let authorization = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n{authorization}content-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).context("cannot ask the server")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).context("cannot read the server's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the server's answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("the server's answer has no status")?;
    Ok((status, serde_json::from_str(body).context("the server's answer is not JSON")?))
}
