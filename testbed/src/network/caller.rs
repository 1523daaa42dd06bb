//! A computer that never stops calling: a new request every few milliseconds, and one connection that stays open.
//! What breaks is noted with its words.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinHandle;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(10);
/// Longer than a lost SYN takes to be sent again: a request may be slow, but it must not fail.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two lines on the connection that stays open.
const LINE_EVERY: Duration = Duration::from_millis(100);

/// A server waits a minute for a head.
const LONGEST_HEAD: Duration = Duration::from_secs(50);

/// What became of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were answered.
    pub answered: usize,
    /// What the others met.
    pub failed: Vec<String>,
    /// The longest time from one answer to the next.
    pub longest_gap: Duration,
    /// How the connection that stayed open ended, when it did before its time.
    pub broken: Option<String>,
}

/// A caller at work. Dropping it lets it end by itself.
#[derive(Debug)]
pub struct Caller {
    /// The calls go on for as long as these live.
    going_on: [Sender<()>; 2],
    requests: JoinHandle<Result<Tally>>,
    stream: JoinHandle<Result<Option<String>>>,
}

impl Caller {
    pub(super) fn new(
        going_on: [Sender<()>; 2],
        requests: JoinHandle<Result<Tally>>,
        stream: JoinHandle<Result<Option<String>>>,
    ) -> Self {
        Self { going_on, requests, stream }
    }

    /// Ends the calls and tells how they went.
    ///
    /// # Errors
    /// When the calls could not be made at all.
    pub async fn end(self) -> Result<Tally> {
        drop(self.going_on);
        let mut tally = self.requests.await.context("the calls ended early")??;
        tally.broken = self.stream.await.context("the open connection's thread ended early")??;
        Ok(tally)
    }
}

impl Tally {
    /// Fails unless every request was answered and the open connection stayed open.
    ///
    /// # Errors
    /// What was lost.
    pub fn nothing_lost(&self) -> Result<()> {
        ensure!(self.answered > 0, "nobody called");
        ensure!(
            self.failed.is_empty(),
            "{} of {} requests failed, the first: {:?}",
            self.failed.len(),
            self.answered + self.failed.len(),
            self.failed.first()
        );
        ensure!(self.broken.is_none(), "the open connection broke: {:?}", self.broken);
        Ok(())
    }
}

/// One request after the other until told to stop.
pub(super) fn call(address: IpAddr, owner: &Receiver<()>) -> Tally {
    let mut tally = Tally::default();
    let mut last = Instant::now();
    while goes_on(owner, PAUSE) {
        match request(address) {
            Ok(()) => {
                tally.answered += 1;
                tally.longest_gap = tally.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) => tally.failed.push(error.to_string()),
        }
    }
    tally
}

/// One request whose head comes line by line, for as long as it takes; its answer shows that the connection is whole.
pub(super) fn stay(address: IpAddr, owner: &Receiver<()>) -> Option<String> {
    let talk = || -> std::io::Result<()> {
        let mut stream = connect(address)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: herald\r\n")?;
        let began = Instant::now();
        let mut line = 0;
        while began.elapsed() < LONGEST_HEAD && goes_on(owner, LINE_EVERY) {
            line += 1;
            stream.write_all(format!("X-Line: {}\r\n", line % 10).as_bytes())?;
        }
        stream.write_all(b"Connection: close\r\n\r\n")?;
        answered(stream)
    };
    talk().err().map(|error| error.to_string())
}

/// Waits, and says whether the owner is still there.
fn goes_on(owner: &Receiver<()>, pause: Duration) -> bool {
    owner.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
}

fn request(address: IpAddr) -> std::io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    answered(stream)
}

fn connect(address: IpAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(address, 80), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn answered(mut stream: TcpStream) -> std::io::Result<()> {
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    if page.contains("hello from") {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("the answer was {page:?}")))
    }
}
