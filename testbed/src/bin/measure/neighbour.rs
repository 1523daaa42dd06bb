//! Two more peers, each with its own kind of trouble: one pours a full table in, one reads nothing. What is measured
//! beside them is what the others feel.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::sink::{self, OPEN, UPDATE};

/// Prefixes of a full table, which takes a second: about what a large router sends.
const FULL_TABLE: u64 = 1_000_000;
/// Prefixes with the same attributes; a full table has some five.
const ALIKE: u64 = 5;
/// The table comes in so many parts, each at its time.
const PARTS: u64 = 100;
const PART: Duration = Duration::from_millis(10);
/// How often a peer that reads nothing looks whether it is to go.
const GLANCE: Duration = Duration::from_millis(100);
/// Octets that the kernel takes in for a peer that reads nothing (it doubles this).
const SMALL: usize = 4_096;

/// What is wrong with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It sends a full table each second, without end.
    Pours,
    /// It takes the session, and reads nothing from then on.
    Deaf,
}

/// Such a peer, on threads of its own. It takes one session after another.
pub(crate) struct Neighbour {
    up: Arc<AtomicBool>,
    dismissed: Arc<AtomicBool>,
    poured: Arc<AtomicU64>,
}

impl Neighbour {
    /// Listens for ever.
    pub(crate) fn serve(
        listener: TcpListener,
        trouble: Trouble,
        asn: u16,
        router_id: Ipv4Addr,
    ) -> Result<Self> {
        if trouble == Trouble::Deaf {
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, SMALL).context("a small buffer")?;
        }
        let prefixes = FULL_TABLE / PARTS;
        let tables: Vec<Vec<u8>> = match trouble {
            Trouble::Pours => {
                (0..PARTS).map(|part| table(part * prefixes, prefixes, asn, router_id)).collect()
            }
            Trouble::Deaf => Vec::new(),
        };
        let (up, poured) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let dismissed = Arc::new(AtomicBool::new(false));
        let this =
            Self { up: Arc::clone(&up), dismissed: Arc::clone(&dismissed), poured: Arc::clone(&poured) };
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                // A session ends with its speaker, or when the peer is taken out of the configuration.
                if open(&mut stream, asn, router_id).is_ok() {
                    dismissed.store(false, Ordering::Release);
                    up.store(true, Ordering::Release);
                    let _ended = match trouble {
                        Trouble::Pours => pour(stream, &tables, &poured),
                        Trouble::Deaf => read_nothing(&stream, &dismissed),
                    };
                }
                up.store(false, Ordering::Release);
            }
        });
        Ok(this)
    }

    /// Whether a session is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Ends the session of one that reads nothing: it would not hear of its end.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Release);
    }

    /// How many prefixes it has poured in so far.
    pub(crate) fn poured(&self) -> u64 {
        self.poured.load(Ordering::Relaxed)
    }
}

/// Until the other side has confirmed the session.
fn open(stream: &mut TcpStream, asn: u16, router_id: Ipv4Addr) -> Result<()> {
    stream.set_nodelay(true)?;
    loop {
        match sink::message(stream)?.0 {
            OPEN => sink::answer(stream, asn, router_id.octets())?,
            _confirmed => return Ok(()),
        }
    }
}

/// Full tables, one after the other, evenly. What the speaker says is read and forgotten.
fn pour(mut stream: TcpStream, tables: &[Vec<u8>], poured: &AtomicU64) -> Result<()> {
    let mut reading = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut forgotten = vec![0; 65_536];
        while reading.read(&mut forgotten).is_ok_and(|octets| octets > 0) {}
    });
    let start = Instant::now();
    for (turn, part) in (0_u32..).zip(tables.iter().cycle()) {
        std::io::Write::write_all(&mut stream, part).context("the session is over")?;
        poured.fetch_add(FULL_TABLE / PARTS, Ordering::Relaxed);
        wait_for_end(&stream, (PART * (turn + 1)).saturating_sub(start.elapsed()))?;
    }
    Ok(())
}

/// UPDATEs for so many prefixes of 24 bits, a few with each set of attributes (RFC 4271 §4.3).
fn table(first: u64, prefixes: u64, asn: u16, router_id: Ipv4Addr) -> Vec<u8> {
    let mut octets = Vec::new();
    for group in 0..prefixes / ALIKE {
        let number = first + group * ALIKE;
        let [high, low] = asn.to_be_bytes();
        let [.., a, b, c] = number.to_be_bytes();
        // ORIGIN, AS_PATH with four numbers, NEXT_HOP, and three communities that differ from group to group.
        let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 10, 2, 4, high, low, 0x0B, 0x62, 0x1B, 0x1B, b, c];
        attributes.extend([0x40, 3, 4]);
        attributes.extend(router_id.octets());
        attributes.extend([0xC0, 8, 12, 0x0B, 0x62, a, b, 0x0B, 0x62, b, c, 0x0B, 0x62, c, a]);
        let mut update = vec![0, 0, 0, u8::try_from(attributes.len()).expect("a short list of attributes")];
        update.extend(attributes);
        for prefix in number..number + ALIKE {
            // Above 20.0.0.0, where nobody of the measurement lives.
            let [.., a, b, c] = (prefix + (20 << 16)).to_be_bytes();
            update.extend([24, a, b, c]);
        }
        octets.extend(sink::framed(UPDATE, &update));
    }
    octets
}

/// Until the other side has gone, or it is dismissed.
fn read_nothing(stream: &TcpStream, dismissed: &AtomicBool) -> Result<()> {
    while !dismissed.load(Ordering::Acquire) {
        wait_for_end(stream, GLANCE)?;
    }
    Ok(())
}

/// Waits so long; an error when the other side has gone.
fn wait_for_end(stream: &TcpStream, limit: Duration) -> Result<()> {
    let mut poll = [rustix::event::PollFd::new(stream, rustix::event::PollFlags::RDHUP)];
    let limit = rustix::event::Timespec::try_from(limit).context("a short wait")?;
    let gone = rustix::event::poll(&mut poll, Some(&limit)).context("waiting for the end")?;
    ensure!(gone == 0, "the other side has gone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_table_holds_the_prefixes_that_it_is_asked_for() {
        let octets = table(10, 20, 65_530, Ipv4Addr::new(10, 0, 2, 77));
        let (mut rest, mut prefixes) = (octets.as_slice(), 0);
        while let Some((header, _)) = rest.split_at_checked(19) {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            let (message, more) = rest.split_at(length);
            prefixes += sink::update_kind(&message[19..]).expect("an announcement").1;
            rest = more;
        }
        assert_eq!((prefixes, rest.len()), (20, 0));
    }
}
