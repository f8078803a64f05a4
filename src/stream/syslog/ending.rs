//! Whether a receiver by TCP closed the connection after it had read everything, or before.
//!
//! Both look the same to who reads: the stream is at its end. A receiver that takes no more connections, a balancer without
//! anybody behind it, or a process that is killed between two reads closes a connection that it has not read from, and what
//! was sent is lost. So an end that comes before ours is a failure; and where the system tells, so is one that comes while
//! the receiver's system has not confirmed our end.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For how long a receiver may say that it wants nothing before it is told that this is all.
const EARLY: Duration = Duration::from_millis(10);
/// The states of a connection that the other side closed before it had everything, as in Linux's `net/tcp_states.h`:
/// `CLOSE_WAIT`, `LAST_ACK` and `CLOSING`. One that was closed in turn is in `TIME_WAIT`.
const CLOSED_EARLY: [&str; 3] = ["08", "09", "0B"];

/// Sends bytes, closes the connection for writing, and waits until the receiver has read them and closes it in turn.
pub(super) async fn exchange(mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    let addresses = (stream.local_addr()?, stream.peer_addr()?);
    stream.write_all(bytes).await?;
    let mut answer = [0; 512];
    // Syslog has nothing to say; what comes all the same is passed over.
    match tokio::time::timeout(EARLY, stream.read(&mut answer)).await {
        Ok(Ok(0)) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(_)) | Err(_) => {}
    }
    stream.shutdown().await?;
    while stream.read(&mut answer).await? > 0 {}
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    let table = match addresses.0 {
        SocketAddr::V4(_) => "/proc/self/net/tcp",
        SocketAddr::V6(_) => "/proc/self/net/tcp6",
    };
    // Elsewhere than on Linux nothing more is known.
    let connections = tokio::fs::read_to_string(table).await.unwrap_or_default();
    match state(&connections, addresses) {
        Some(state) if CLOSED_EARLY.contains(&state) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(_) | None => Ok(()),
    }
}

/// The state of the connection between two addresses, local and remote, in Linux's table of connections.
fn state(table: &str, (local, remote): (SocketAddr, SocketAddr)) -> Option<&str> {
    let (local, remote) = (written(local), written(remote));
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let found = fields.next()? == local && fields.next()? == remote;
        fields.next().filter(|_| found)
    })
}

/// An address as it stands there: words of 32 bits as the machine has them, and the port, in hexadecimal digits.
fn written(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::new();
    for word in octets.as_chunks::<4>().0 {
        // Writing to a string does not fail.
        let _ = write!(text, "{:08X}", u32::from_ne_bytes(*word));
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection, ours and the receiver's.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_a_receiver_that_closes_after_the_end_has_read_everything() {
        let (ours, mut receiver) = connection().await;
        let reads = async {
            let mut read = Vec::new();
            receiver.read_to_end(&mut read).await.unwrap();
            drop(receiver);
            read
        };
        let (sent, read) = tokio::join!(exchange(ours, b"5 <83>1"), reads);
        assert_eq!((sent.is_ok(), read.as_slice()), (true, b"5 <83>1".as_slice()));

        // It takes the connection and closes it, or its half of it, without having read.
        let (ours, receiver) = connection().await;
        drop(receiver);
        ours.readable().await.unwrap();
        assert!(exchange(ours, b"5 <83>1").await.is_err());
        let (ours, mut receiver) = connection().await;
        receiver.shutdown().await.unwrap();
        ours.readable().await.unwrap();
        assert!(exchange(ours, b"5 <83>1").await.is_err());
        drop(receiver);
    }

    #[test]
    fn a_connections_state_stands_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:0259 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100\n\
                     1: 0100007F:9C40 0100007F:0259 0B 00000007:00000000 00:00000000 00000000     0        0 2 1 0 100\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = |local: &str| state(table, (at(local), at("127.0.0.1:601")));
        if cfg!(target_endian = "little") {
            assert_eq!(found("127.0.0.1:40000"), Some("0B"));
        }
        assert_eq!(found("127.0.0.1:40001"), None);
        assert_eq!(state("", (at("[::1]:1"), at("[::1]:2"))), None);
        let six = written(at("[::1]:601"));
        assert!(six.ends_with(":0259") && six.len() == 37, "{six}");
    }
}
