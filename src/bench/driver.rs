//! The load driver: keep-alive HTTP/1.1 connections on loopback, each waiting for its answer before the next
//! request. It parses no more of an answer than it needs, so that it takes little of the two cores that it
//! shares with what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clock::monotonic;

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8192),
        })
    }

    /// Posts a form; the answer's body where its status is 200.
    pub(super) async fn post(&mut self, path: &str, authorization: &str, body: &str) -> Result<&str> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {authorization}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(range) = complete(&self.buffer)? {
                let text = std::str::from_utf8(self.buffer.get(range).unwrap_or_default())?;
                ensure!(
                    self.buffer.starts_with(b"HTTP/1.1 200"),
                    "the server answered: {text}"
                );
                return Ok(text);
            }
        }
    }
}

/// Where the body is, once it is whole.
fn complete(buffer: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let Some(length) = length else {
        bail!("an answer without content-length")
    };
    let (start, stop) = (end + 4, end + 4 + length);
    Ok((buffer.len() >= stop).then_some(start..stop))
}

/// The value of a string member of a flat JSON object.
pub(super) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":\"");
    let start = json.find(&key)? + key.len();
    let rest = json.get(start..)?;
    rest.get(..rest.find('"')?)
}

/// What a number of connections did in a time.
pub(super) struct Throughput {
    pub(super) operations: u64,
    pub(super) seconds: f64,
}

/// Lets each connection's loop run until the time is over. A loop counts what it completes.
pub(super) async fn drive<F, R>(connections: usize, slice: Duration, each: F) -> Result<Throughput>
where
    F: Fn(usize, Arc<AtomicU64>, tokio::time::Instant) -> R,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let done = Arc::new(AtomicU64::new(0));
    let started = monotonic();
    let until = tokio::time::Instant::now() + slice;
    let tasks: Vec<_> = (0..connections)
        .map(|number| tokio::spawn(each(number, Arc::clone(&done), until)))
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(Throughput {
        operations: done.load(Ordering::Relaxed),
        seconds: started.elapsed().as_secs_f64(),
    })
}
