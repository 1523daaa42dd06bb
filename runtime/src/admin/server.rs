//! The server's loop: listen, take a bounded number of connections, serve each for a bounded time.
//!
//! Leaves out what is answered (`route`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::Admin;
use super::listener::{Connection, Place};
use super::route::{Scope, answer};
use crate::stop::Stop;

/// Connections at a time; more of them wait in the kernel.
const CONNECTIONS: usize = 32;
/// For the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// For a whole connection, however many requests it carries.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// For the octets of a head.
const HEAD_OCTETS: usize = 16 * 1024;
const HEADERS: usize = 64;
/// Between two tries to listen.
const RETRY: Duration = Duration::from_secs(2);

/// Serves `admin` at `place` until `stop`.
///
/// Boxed, so that the program that awaits it holds no second copy of it.
pub(super) fn run<P>(place: P, admin: Arc<Admin>, scope: Scope, stop: Stop) -> BoxFuture<'static, ()>
where
    P: Place + 'static,
{
    Box::pin(async move {
        tokio::select! {
            () = listen(&place, &admin, scope) => {}
            () = stop.requested() => {}
        }
    })
}

async fn listen<P: Place>(place: &P, admin: &Arc<Admin>, scope: Scope) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failing = false;
    loop {
        let error = match place.open().await {
            Ok(listener) => {
                tracing::info!(address = %place, "admin server listens");
                failing = false;
                accept(place, &listener, admin, scope, &room).await
            }
            Err(error) => error,
        };
        if !failing {
            failing = true;
            tracing::warn!(address = %place, %error, "admin server cannot listen: trying again until it can");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes connections until the listener fails for good.
async fn accept<P: Place>(
    place: &P,
    listener: &P::Listener,
    admin: &Arc<Admin>,
    scope: Scope,
    room: &Arc<Semaphore>,
) -> std::io::Error {
    loop {
        // Closed semaphores give no permits; this one lives as long as the loop and is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { continue };
        match place.accept(listener).await {
            Ok(connection) => {
                let admin = admin.clone();
                tokio::spawn(async move {
                    serve(connection, admin, scope).await;
                    drop(permit);
                });
            }
            // The peer went away between knocking and entering.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => return error,
        }
    }
}

async fn serve(connection: Connection, admin: Arc<Admin>, scope: Scope) {
    let service = service_fn(move |request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(answer(&admin, scope, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_OCTETS)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(connection), service);
    match tokio::time::timeout(CONNECTION_LIMIT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin server broke"),
        Err(_elapsed) => tracing::debug!("a connection to the admin server was closed after its time"),
    }
}
