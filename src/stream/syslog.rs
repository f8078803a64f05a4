//! OCSF events as syslog messages (RFC 5424) over TCP with octet counting (RFC 6587 §3.4.1), with or without TLS
//! (RFC 5425).
//!
//! The protocol has no acknowledgement. So each delivery has a connection of its own, which is closed for writing at its
//! end; that the receiver closes it in turn says that it has read everything. A receiver that goes away before leaves the
//! delivery unacknowledged, and it is repeated. TLS tells the two apart by itself; for TCP see [`ending`].

mod address;
mod ending;
mod message;

pub use address::{Address, NotSyslog};

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use self::message::Frame;
use super::StreamError;
use super::envelope::{Checkpoint, Envelope};
use super::ocsf::lines;
use super::sink::{Delivering, Delivery, Failure, Sink};
use crate::app::App;
use crate::clock::Clock;
use crate::outbound::Fetcher;

/// How long a connection, with the greetings of TLS, may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a delivery may take after that.
const SEND: Duration = Duration::from_secs(8);

/// A syslog receiver.
pub struct Syslog {
    clock: Clock,
    issuer: String,
    host: String,
    address: Address,
    tls: TlsConnector,
    outbound: Fetcher,
}

impl Syslog {
    /// The receiver at a URL ([`Address`]).
    pub fn open(app: &App, url: &str) -> Result<Self, StreamError> {
        let address = Address::parse(url).map_err(|error| StreamError::Target(error.to_string()))?;
        let issuer = url::Url::parse(&app.settings.issuer).ok();
        let host = issuer.as_ref().and_then(url::Url::host_str).unwrap_or("-");
        Ok(Self {
            clock: app.ledger.clock().clone(),
            issuer: app.settings.issuer.clone(),
            host: host.to_owned(),
            address,
            tls: app.outbound.tls().clone(),
            outbound: app.outbound.clone(),
        })
    }

    /// Sends frames and waits until the receiver has read them.
    async fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = async {
            let host = self.address.as_host();
            let stream = self.outbound.connect_inside(&host, self.address.port);
            let stream = tokio::time::timeout(CONNECT, stream);
            let stream = stream.await.map_err(|_| Failure::new("timeout"))?;
            let stream = stream.map_err(|error| Failure::new(error.code()))?;
            match self.address.server_name() {
                None => within(ending::exchange(stream, bytes)).await,
                Some(name) => {
                    let stream = tokio::time::timeout(CONNECT, self.tls.connect(name, stream));
                    let stream = stream.await.map_err(|_| Failure::new("timeout"))?;
                    let stream = stream.map_err(|_| Failure::new("tls_failed"))?;
                    within(exchange(stream, bytes)).await
                }
            }
        };
        sent.await
    }
}

async fn within(exchange: impl Future<Output = io::Result<()>>) -> Result<(), Failure> {
    let sent = tokio::time::timeout(SEND, exchange).await;
    let sent = sent.map_err(|_| Failure::new("not_closed"))?;
    sent.map_err(|_| Failure::new("connection_lost"))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    // Syslog has nothing to say; what comes all the same is passed over.
    let mut answer = [0; 512];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

impl Sink for Syslog {
    fn deliver<'a>(&'a mut self, events: &'a [Envelope]) -> Delivering<'a, Delivery> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            let (mut read, mut failed) = (0, None);
            for event in events {
                match lines::event(&self.issuer, event) {
                    Ok(line) => {
                        if let Some(line) = line {
                            Frame::of(&self.host, &event.row.recorded_at, &line).append(&mut bytes);
                        }
                        read += 1;
                    }
                    Err(failure) => {
                        failed = Some(failure);
                        break;
                    }
                }
            }
            if !bytes.is_empty()
                && let Err(failure) = self.send(&bytes).await
            {
                return Delivery::failed(0, failure);
            }
            Delivery {
                acknowledged: read,
                failure: failed,
            }
        })
    }

    fn checkpoint<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> Delivering<'a, Result<(), Failure>> {
        Box::pin(async move {
            let at = self.clock.now();
            let line = lines::checkpoint(&self.issuer, checkpoint, at);
            let at = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let mut bytes = Vec::new();
            Frame::of(&self.host, &at, &line).append(&mut bytes);
            self.send(&bytes).await
        })
    }
}

#[cfg(test)]
mod tests;
