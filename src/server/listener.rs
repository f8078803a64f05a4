//! The listening socket: what it accepts sends at once (`TCP_NODELAY`), and it closes when the server is told
//! to stop, before the connections are.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum_server::{AddrListener, Address};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(SocketAddr);

/// Accepts until told to stop, and then what has connected already.
pub(super) struct Gate {
    listener: Mutex<Option<TcpListener>>,
    stop: watch::Receiver<bool>,
}

impl Gate {
    pub(super) fn new(listener: TcpListener, stop: watch::Receiver<bool>) -> Self {
        Self {
            listener: Mutex::new(Some(listener)),
            stop,
        }
    }
}

impl Address for Peer {
    type Stream = TcpStream;
    type Listener = Gate;
}

impl Connected<Peer> for SocketAddr {
    fn connect_info(peer: Peer) -> Self {
        peer.0
    }
}

impl AddrListener<TcpStream, Peer> for Gate {
    async fn bind_to(Peer(address): Peer) -> io::Result<Self> {
        let (_, never) = watch::channel(false);
        Ok(Self::new(TcpListener::bind(address).await?, never))
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, Peer)> {
        let mut stop = self.stop.clone();
        let mut slot = self.listener.lock().await;
        if let Some(listener) = slot.as_ref() {
            tokio::select! {
                // What has connected comes before the end.
                biased;
                accepted = listener.accept() => {
                    let (stream, address) = accepted?;
                    // Answers are small and whole: waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, Peer(address)));
                }
                () = super::told(&mut stop) => {}
            }
        }
        *slot = None;
        std::future::pending().await
    }

    fn get_local_addr(&self) -> io::Result<Peer> {
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        let slot = self.listener.try_lock().map_err(|_| closed())?;
        slot.as_ref().ok_or_else(closed)?.local_addr().map(Peer)
    }
}
