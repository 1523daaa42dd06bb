//! The way of a node to the API server: a TCP proxy that listens inside the node's network namespace and can be shut. Or on
//! the host, for whoever is compared with a node's program.
//! TLS passes through untouched. Faults that need to read the stream (429, 410) are made elsewhere, by the real server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::namespace::Namespace;

/// Where each node finds the API server.
pub const API_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);

/// A node's programs hold far fewer connections.
const MOST_CONNECTIONS: usize = 256;

/// What happens to connections through the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They are forwarded.
    Open,
    /// They are reset, old and new: the API server is gone and its host says so.
    Refused,
    /// They stay, and nothing moves: the path to the API server swallows everything.
    Held,
}

/// The door of one node. Dropping it closes all connections.
#[derive(Debug)]
pub struct ApiDoor {
    passage: watch::Sender<Passage>,
    keeper: JoinHandle<()>,
}

impl ApiDoor {
    /// Opens the door in a namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub async fn open(namespace: &Namespace, api_server: SocketAddr) -> Result<Self> {
        let listener = namespace.listen(API_ADDRESS).await?;
        listener.set_nonblocking(true).context("preparing the listener")?;
        Ok(Self::keep(TcpListener::from_std(listener).context("taking the listener")?, api_server))
    }

    /// Opens a door on the host, for a client that is compared with a node's program: both have the same way. Gives its
    /// port on loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn on_host(api_server: SocketAddr) -> Result<(Self, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening on loopback")?;
        let port = listener.local_addr().context("asking for the port")?.port();
        Ok((Self::keep(listener, api_server), port))
    }

    fn keep(listener: TcpListener, api_server: SocketAddr) -> Self {
        let (passage, watched) = watch::channel(Passage::Open);
        let keeper = tokio::spawn(keep(listener, api_server, watched));
        Self { passage, keeper }
    }

    /// Changes what happens to connections, those that exist included.
    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// Resets all connections that exist and lets new ones in: a load balancer before the API server that restarts.
    pub fn cut(&self) {
        self.set(Passage::Refused);
        // The connections look at the value when they wake, and they must not miss the one in between.
        let passage = self.passage.clone();
        tokio::spawn(async move {
            while passage.receiver_count() > 1 {
                tokio::task::yield_now().await;
            }
            passage.send_replace(Passage::Open);
        });
    }
}

impl Drop for ApiDoor {
    fn drop(&mut self) {
        self.keeper.abort();
        self.set(Passage::Refused);
    }
}

async fn keep(listener: TcpListener, api_server: SocketAddr, passage: watch::Receiver<Passage>) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((inside, _)) = listener.accept().await else { return };
        let passage = passage.clone();
        tokio::spawn(async move {
            pass(inside, api_server, passage).await;
            drop(permit);
        });
    }
}

async fn pass(mut inside: TcpStream, api_server: SocketAddr, mut passage: watch::Receiver<Passage>) {
    let forwarding = async {
        let Ok(mut outside) = TcpStream::connect(api_server).await else { return };
        let _ = inside.set_nodelay(true);
        let _ = outside.set_nodelay(true);
        let _ = copy_bidirectional(&mut inside, &mut outside).await;
    };
    tokio::pin!(forwarding);
    loop {
        let now = *passage.borrow_and_update();
        if now == Passage::Refused {
            return;
        }
        tokio::select! {
            () = &mut forwarding, if now == Passage::Open => return,
            changed = passage.changed() => if changed.is_err() { return },
        }
    }
}
