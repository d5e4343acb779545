//! Reading answers: where each ends, and nothing else about it.

/// Splits the bytes of a connection into answers, however they arrive.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    state: State,
    /// The start of a head or of a chunk's size whose rest has not come yet.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Body {
        left: usize,
    },
    ChunkSize,
    /// The data and the line end after it.
    Chunk {
        left: usize,
    },
    LastChunk,
}

/// Longest head that is looked at.
const HEAD_BYTES_MAX: usize = 16 * 1024;

impl Answers {
    /// Takes what has arrived; returns how many answers ended in it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut ended = 0;
        if self.partial.is_empty() {
            let used = self.split(bytes, &mut ended);
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.split(&all, &mut ended);
            all.drain(..used);
            self.partial = all;
        }
        assert!(self.partial.len() < HEAD_BYTES_MAX, "an answer without a head");
        ended
    }

    fn split(&mut self, bytes: &[u8], ended: &mut usize) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.state {
                State::Head => {
                    let Some(head) = Head::read(rest) else { break };
                    at += head.bytes;
                    self.state = match head.length {
                        Length::Known(0) => {
                            *ended += 1;
                            State::Head
                        }
                        Length::Known(left) => State::Body { left },
                        Length::Chunked => State::ChunkSize,
                    };
                }
                State::Body { left } => {
                    let taken = left.min(rest.len());
                    at += taken;
                    self.state = if taken == left { State::Head } else { State::Body { left: left - taken } };
                    *ended += usize::from(taken == left);
                }
                State::ChunkSize => {
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
                    at += end + 1;
                    let size = usize::from_str_radix(std::str::from_utf8(&rest[..end - 1]).unwrap(), 16).unwrap();
                    self.state = if size == 0 { State::LastChunk } else { State::Chunk { left: size + 2 } };
                }
                State::Chunk { left } => {
                    let taken = left.min(rest.len());
                    at += taken;
                    self.state = if taken == left { State::ChunkSize } else { State::Chunk { left: left - taken } };
                }
                State::LastChunk => {
                    if rest.len() < 2 {
                        break;
                    }
                    at += 2;
                    *ended += 1;
                    self.state = State::Head;
                }
            }
        }
        at
    }
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Known(usize),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: usize,
    length: Length,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut length = Length::Known(0);
        let mut start = 0;
        loop {
            let end = start + bytes[start..].iter().position(|byte| *byte == b'\n')?;
            let line = &bytes[start..end];
            if start == 0 {
                let status = &line[9..12];
                assert!(status[0] == b'2' || status == b"304", "{}", bytes.escape_ascii());
            } else if line.len() <= 1 {
                return Some(Self { bytes: end + 1, length });
            } else if let Some(value) = value(line, b"content-length:") {
                let digits = value.iter().filter(|byte| byte.is_ascii_digit());
                length = Length::Known(digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')));
            } else if let Some(value) = value(line, b"transfer-encoding:") {
                assert!(value.trim_ascii() == b"chunked", "{}", line.escape_ascii());
                length = Length::Chunked;
            }
            start = end + 1;
        }
    }
}

fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    // Most lines differ in their first letter already.
    (own[0] | 0x20 == name[0] && own.eq_ignore_ascii_case(name)).then_some(value)
}
