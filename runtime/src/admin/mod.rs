//! The admin server: health, metrics, debug state and the log level over HTTP/1.1, on TCP or a unix socket.
//!
//! Routes: `/livez`, `/readyz`, `/healthz` (each with `?verbose`), `/metrics`, `/debug/state`, `/debug/log-level` (GET and
//! PUT), and any JSON view a daemon adds. Everything is bounded: connections, headers, bodies, times. Leaves out TLS and
//! access control: it listens on loopback unless the operator says otherwise.

mod listener;
mod route;
mod server;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;

use crate::log::LevelHandle;
use crate::stop::Stop;

use listener::{Tcp, Unix};

/// One health check: its name, and the question.
struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

type View = Box<dyn Fn() -> serde_json::Value + Send + Sync>;
type Inquiry = Box<dyn Fn(String) -> BoxFuture<'static, serde_json::Value> + Send + Sync>;

/// What the server shows. Build it once, then [`share`](Admin::share) it with one or more listeners.
#[derive(Default)]
pub struct Admin {
    ready: Vec<Check>,
    registry: Option<Registry>,
    views: Vec<(&'static str, View)>,
    inquiries: Vec<(&'static str, Inquiry)>,
    level: Option<LevelHandle>,
}

impl Admin {
    /// A server that is alive and ready and shows nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a readiness check. Its error is shown as it is.
    #[must_use]
    pub fn ready(
        mut self,
        name: &'static str,
        ask: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.ready.push(Check { name, ask: Box::new(ask) });
        self
    }

    /// Shows these metrics at `/metrics` in the OpenMetrics text form.
    #[must_use]
    pub fn metrics(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Shows this at `/debug/state`.
    #[must_use]
    pub fn debug_state(self, view: impl Fn() -> serde_json::Value + Send + Sync + 'static) -> Self {
        self.json("/debug/state", view)
    }

    /// Shows JSON at `path`, such as `/state`. The view is made anew for each request and must not take long.
    #[must_use]
    pub fn json(
        mut self,
        path: &'static str,
        view: impl Fn() -> serde_json::Value + Send + Sync + 'static,
    ) -> Self {
        self.views.push((path, Box::new(view)));
        self
    }

    /// Answers at `path` with JSON that depends on the query (what follows the `?`, as it was sent). The answer may wait
    /// for another task, and must limit how long.
    #[must_use]
    pub fn inquiry<F>(mut self, path: &'static str, ask: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = serde_json::Value> + Send + 'static,
    {
        self.inquiries.push((path, Box::new(move |query| ask(query).boxed())));
        self
    }

    /// Shows and sets the log level at `/debug/log-level`.
    #[must_use]
    pub fn log_level(mut self, level: LevelHandle) -> Self {
        self.level = Some(level);
        self
    }

    /// Lets several listeners serve the same.
    #[must_use]
    pub fn share(self) -> SharedAdmin {
        SharedAdmin(Arc::new(self))
    }

    /// Serves on `addr` until `stop`. A port that is taken is tried again, with one line in the log; see
    /// [`SharedAdmin::serve`].
    pub fn serve(self, addr: SocketAddr, stop: Stop) -> BoxFuture<'static, ()> {
        self.share().serve(addr, stop)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.views.iter().map(|(path, _)| *path).collect();
        f.debug_struct("Admin").field("views", &paths).finish_non_exhaustive()
    }
}

/// An [`Admin`] that several listeners serve. Clones show the same.
#[derive(Clone, Debug)]
pub struct SharedAdmin(Arc<Admin>);

impl SharedAdmin {
    /// Serves everything on `addr` until `stop`. A port that is taken (a MetalLB speaker that still runs on the node
    /// during a hand-over) is tried again every few seconds and logged once; never an end of the process.
    pub fn serve(self, addr: SocketAddr, stop: Stop) -> BoxFuture<'static, ()> {
        server::run(Tcp::new(addr), self.0, route::Scope::Everything, stop)
    }

    /// What the readiness checks that fail say, in one line; `None` when all hold.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let failed: Vec<String> = self.0.ready.iter().filter_map(|check| (check.ask)().err()).collect();
        (!failed.is_empty()).then(|| failed.join("; "))
    }

    /// Serves only `/metrics` and the health routes on `addr` until `stop`: for addresses that the network reaches.
    pub fn serve_metrics(self, addr: SocketAddr, stop: Stop) -> BoxFuture<'static, ()> {
        server::run(Tcp::new(addr), self.0, route::Scope::Metrics, stop)
    }
}

/// Serves `admin` on the unix socket `path` until `stop`, then removes it.
///
/// The folder is made where possible; a socket that is left over is replaced when nobody answers on it; its mode is
/// 0660. What goes wrong is tried again and logged once.
pub fn serve_unix(admin: SharedAdmin, path: PathBuf, stop: Stop) -> BoxFuture<'static, ()> {
    server::run(Unix::new(path), admin.0, route::Scope::Everything, stop)
}

#[cfg(test)]
mod tests;
