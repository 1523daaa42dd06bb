//! Watches the paths to the routers by BFD: sockets and an OS thread around one `bfd_proto::Endpoint`.
//!
//! A thread of its own, because a failure must be noticed, and our own packets must leave, while the rest of the daemon
//! works; it starts with the first session that is wanted, and a speaker without BFD has none. [`Bfd`] tells it which
//! sessions are wanted and learns how they stand, whole states in both directions. Inside: `driver` (the loop),
//! `listener` (what comes in), `link` (what goes out), `table` (what is told), `estate` (what another process needs to go
//! on with the sessions).
//! Leaves out what a dead path means: that is the business of whoever asked for the session.

mod driver;
pub mod estate;
mod link;
mod listener;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bfd_proto::{Path, SessionConfig};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::plan::BfdRow;
use driver::Driver;
use estate::Estate;
pub use table::{PathRow, Table, Turn, Turns};

/// How long the end waits for the thread; it only has to send a packet for each session.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the thread may take to write its sessions down; while it does, BGP stands still.
const COPY: Duration = Duration::from_millis(200);

/// Room for a few frames of the loop and one datagram; what is not touched costs nothing.
const STACK: usize = 256 * 1024;

/// The BFD sessions of this node, from the side of the one who wants them.
#[derive(Debug)]
pub struct Bfd {
    seed: u64,
    wanted: watch::Sender<Arc<[SessionConfig]>>,
    table: watch::Receiver<Arc<Table>>,
    thread: Thread,
    /// What the thread goes on with when it starts.
    inherited: Option<Estate>,
    /// The number of the last turn that was told.
    told: u64,
}

#[derive(Debug)]
enum Thread {
    /// Not needed so far; the sender that it will tell with.
    Waiting(watch::Sender<Arc<Table>>),
    /// It runs until the bell is dropped; an octet wakes it.
    Running { bell: UnixStream, orders: mpsc::Sender<Order> },
}

/// What the thread is asked for besides its sessions.
#[derive(Debug)]
enum Order {
    /// Everything that another process needs to go on.
    Copy(oneshot::Sender<Estate>),
    /// To end without a word: another process goes on.
    Vanish,
}

impl Bfd {
    /// No session, and no thread. `seed` makes jitter and discriminators.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (sender, table) = watch::channel(Arc::default());
        let wanted = watch::Sender::new(Arc::from([]));
        Self { seed, wanted, table, thread: Thread::Waiting(sender), inherited: None, told: 0 }
    }

    /// Goes on with the sessions of another process, as far as they are wanted when something is wanted next. It must come
    /// before that.
    pub fn inherit(&mut self, estate: Estate) {
        self.inherited = (!estate.sessions.is_empty()).then_some(estate);
    }

    /// Says which sessions are wanted: all of them, every time.
    pub fn want(&mut self, sessions: &[SessionConfig]) {
        if **self.wanted.borrow() == *sessions && self.inherited.is_none() {
            return;
        }
        self.wanted.send_replace(Arc::from(sessions));
        self.start();
        self.ring();
    }

    fn ring(&mut self) {
        if let Thread::Running { bell, .. } = &mut self.thread {
            // A full pipe wakes as well, and a thread that has ended shows in its table.
            let _ = bell.write(&[1]);
        }
    }

    /// Everything that another process needs to go on; the sessions go on here meanwhile. `None` when the thread does not
    /// answer.
    pub async fn copy(&mut self) -> Option<Estate> {
        let Thread::Running { orders, .. } = &self.thread else { return Some(Estate::default()) };
        let (sender, estate) = oneshot::channel();
        orders.try_send(Order::Copy(sender)).ok()?;
        self.ring();
        tokio::time::timeout(COPY, estate).await.ok()?.ok()
    }

    /// Ends the thread without a word to the routers: another process goes on with the sessions. Says nothing and hears
    /// nothing any more when it returns, unless the thread hangs.
    pub async fn vanish(mut self) {
        if let Thread::Running { orders, .. } = &self.thread {
            // The one order before it was answered or given up.
            let _ = orders.try_send(Order::Vanish);
        }
        self.ring();
        let is_running = matches!(self.thread, Thread::Running { .. });
        if is_running && tokio::time::timeout(FAREWELL, self.ended()).await.is_err() {
            warn!("BFD did not end in time");
        }
    }

    /// Until the thread, and with it the table's sender, is gone.
    async fn ended(&mut self) {
        while self.table.changed().await.is_ok() {}
    }

    /// How the sessions stand.
    #[must_use]
    pub fn row(&self, path: Path) -> Option<BfdRow> {
        self.table.borrow().rows.get(&path).map(|row| row.row.clone())
    }

    /// Waits for a change of any session. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.table.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What happened to the paths since this was asked last, in order.
    pub fn turns(&mut self) -> Vec<(Path, Turn)> {
        let table = Arc::clone(&self.table.borrow_and_update());
        let mut new: Vec<(u64, Path, Turn)> = Vec::new();
        for (path, row) in &table.rows {
            new.extend(row.turns.failed.map(|(number, reason)| (number, *path, Turn::Failed(reason))));
            new.extend(row.turns.rose.map(|number| (number, *path, Turn::Rose)));
        }
        new.retain(|(number, ..)| *number > self.told);
        new.sort_by_key(|(number, ..)| *number);
        self.told = new.last().map_or(self.told, |(number, ..)| *number);
        new.into_iter().map(|(_, path, turn)| (path, turn)).collect()
    }

    /// Switches all sessions off, tells the routers so, and ends the thread.
    pub async fn end(mut self) {
        self.inherited = None;
        self.want(&[]);
        if let Thread::Running { bell, orders } = self.thread {
            drop((bell, orders));
            let ended = async { while self.table.changed().await.is_ok() {} };
            if tokio::time::timeout(FAREWELL, ended).await.is_err() {
                warn!("BFD did not end in time");
            }
        }
    }

    fn start(&mut self) {
        let Thread::Waiting(table) = &self.thread else { return };
        let estate = self.inherited.take().unwrap_or_default();
        match start_thread(self.seed, self.wanted.subscribe(), table.clone(), estate) {
            Ok((bell, orders)) => self.thread = Thread::Running { bell, orders },
            Err(error) => {
                warn!(%error, "BFD cannot run: its thread cannot be started before something else is wanted");
            }
        }
    }
}

fn start_thread(
    seed: u64,
    mut wanted: watch::Receiver<Arc<[SessionConfig]>>,
    table: watch::Sender<Arc<Table>>,
    estate: Estate,
) -> io::Result<(UnixStream, mpsc::Sender<Order>)> {
    let (ours, bell) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    // What was wanted before the thread ran is news to it.
    wanted.mark_changed();
    let (orders, taken) = mpsc::channel(2);
    let driver = Driver::new(seed, wanted, table, bell, taken);
    std::thread::Builder::new()
        .name("bfd".to_owned())
        .stack_size(STACK)
        .spawn(move || driver.inherit(estate).run())?;
    Ok((ours, orders))
}
