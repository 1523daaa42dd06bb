//! Watches the paths to the routers by BFD: sockets and an OS thread around one `bfd_proto::Endpoint`.
//!
//! A thread of its own, because a failure must be noticed, and our own packets must leave, while the rest of the daemon
//! works; it starts with the first session that is wanted, and a speaker without BFD has none. [`Bfd`] tells it which
//! sessions are wanted and learns how they stand, whole states in both directions. Inside: `driver` (the loop),
//! `listener` (what comes in), `link` (what goes out), `table` (what is told).
//! Leaves out what a dead path means: that is the business of whoever asked for the session.

mod driver;
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
use tokio::sync::watch;
use tracing::warn;

use crate::plan::BfdRow;
use driver::Driver;
pub use table::{PathRow, Table, Turn, Turns};

/// How long the end waits for the thread; it only has to send a packet for each session.
const FAREWELL: Duration = Duration::from_secs(2);

/// Room for a few frames of the loop and one datagram; what is not touched costs nothing.
const STACK: usize = 256 * 1024;

/// The BFD sessions of this node, from the side of the one who wants them.
#[derive(Debug)]
pub struct Bfd {
    seed: u64,
    wanted: watch::Sender<Arc<[SessionConfig]>>,
    table: watch::Receiver<Arc<Table>>,
    thread: Thread,
    /// The number of the last turn that was told.
    told: u64,
}

#[derive(Debug)]
enum Thread {
    /// Not needed so far; the sender that it will tell with.
    Waiting(watch::Sender<Arc<Table>>),
    /// It runs until this is dropped; an octet wakes it.
    Running(UnixStream),
}

impl Bfd {
    /// No session, and no thread. `seed` makes jitter and discriminators.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (sender, table) = watch::channel(Arc::default());
        let wanted = watch::Sender::new(Arc::from([]));
        Self { seed, wanted, table, thread: Thread::Waiting(sender), told: 0 }
    }

    /// Says which sessions are wanted: all of them, every time.
    pub fn want(&mut self, sessions: &[SessionConfig]) {
        if **self.wanted.borrow() == *sessions {
            return;
        }
        self.wanted.send_replace(Arc::from(sessions));
        self.start();
        if let Thread::Running(bell) = &mut self.thread {
            // A full pipe wakes as well, and a thread that has ended shows in its table.
            let _ = bell.write(&[1]);
        }
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
        self.want(&[]);
        if let Thread::Running(bell) = self.thread {
            drop(bell);
            let ended = async { while self.table.changed().await.is_ok() {} };
            if tokio::time::timeout(FAREWELL, ended).await.is_err() {
                warn!("BFD did not end in time");
            }
        }
    }

    fn start(&mut self) {
        let Thread::Waiting(table) = &self.thread else { return };
        match start_thread(self.seed, self.wanted.subscribe(), table.clone()) {
            Ok(bell) => self.thread = Thread::Running(bell),
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
) -> io::Result<UnixStream> {
    let (ours, bell) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    // What was wanted before the thread ran is news to it.
    wanted.mark_changed();
    let driver = Driver::new(seed, wanted, table, bell);
    std::thread::Builder::new().name("bfd".to_owned()).stack_size(STACK).spawn(move || driver.run())?;
    Ok(ours)
}
