//! The barest BGP peer: takes the session, answers OPEN and KEEPALIVE, and notes when which UPDATE had arrived.
//! It knows just enough of RFC 4271 §4 to tell a withdrawal from an announcement.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

const HEADER: usize = 19;
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// What an UPDATE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Took IPv4 prefixes back.
    Withdrawal,
    /// Brought IPv4 prefixes.
    Announcement,
}

/// One UPDATE, stamped when its last octet had been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) kind: Kind,
    /// How many prefixes it did that to.
    pub(crate) prefixes: usize,
}

/// Takes one session after another on a thread of its own (a busy runtime must not make the stamps late).
pub(crate) fn serve(listener: TcpListener, asn: u16, router_id: [u8; 4]) -> Receiver<Arrival> {
    let (sender, receiver) = sync_channel(100_000);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // A session ends when its speaker does; what matters is that UPDATEs came, and that is looked at elsewhere.
            if let Err(why) = session(stream, asn, router_id, &sender) {
                eprintln!("the bare peer: {why:#}");
            }
        }
    });
    receiver
}

fn session(
    mut stream: TcpStream,
    asn: u16,
    router_id: [u8; 4],
    arrivals: &SyncSender<Arrival>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let (kind, body) = message(&mut stream)?;
        let at = Instant::now();
        match kind {
            OPEN => answer(&mut stream, asn, router_id)?,
            UPDATE => {
                if let Some((kind, prefixes)) = update_kind(&body) {
                    arrivals
                        .try_send(Arrival { at, kind, prefixes })
                        .context("more UPDATEs than are looked at")?;
                }
            }
            NOTIFICATION => bail!("NOTIFICATION {body:?}"),
            _ => {}
        }
    }
}

/// Answers an OPEN with another and the KEEPALIVE that confirms it.
pub(crate) fn answer(stream: &mut TcpStream, asn: u16, router_id: [u8; 4]) -> Result<()> {
    // Hold Time 0: no timers on either side (RFC 4271 §4.2). Capabilities: IPv4 and IPv6 unicast.
    let [high, low] = asn.to_be_bytes();
    let mut open = vec![4, high, low, 0, 0];
    open.extend(router_id);
    open.extend([14, 2, 12, 1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]);
    let both = [framed(OPEN, &open), framed(KEEPALIVE, &[])].concat();
    stream.write_all(&both).context("sending")
}

/// What an UPDATE does to how many IPv4 prefixes; `None` for End-of-RIB and for UPDATEs of other families only.
pub(crate) fn update_kind(body: &[u8]) -> Option<(Kind, usize)> {
    let length = |at: usize| Some(usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?])));
    let withdrawn = length(0)?;
    let attributes = length(2 + withdrawn)?;
    if withdrawn > 0 {
        return Some((Kind::Withdrawal, prefixes(body.get(2..2 + withdrawn)?)));
    }
    let announced = body.get(4 + withdrawn + attributes..)?;
    (!announced.is_empty()).then(|| (Kind::Announcement, prefixes(announced)))
}

fn prefixes(mut octets: &[u8]) -> usize {
    let mut count = 0;
    while let Some((bits, rest)) = octets.split_first() {
        octets = rest.get(usize::from(bits.div_ceil(8))..).unwrap_or_default();
        count += 1;
    }
    count
}

/// The next message: its type and its body.
pub(crate) fn message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).context("the session was closed")?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length.checked_sub(HEADER).context("a message shorter than its header")?];
    stream.read_exact(&mut body).context("the session was closed inside a message")?;
    Ok((header[18], body))
}

/// A message with its header (RFC 4271 §4.1).
pub(crate) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).expect("the messages here are short");
    [&[0xFF; 16], length.to_be_bytes().as_slice(), &[kind], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_is_told_from_an_announcement_and_from_end_of_rib() {
        assert_eq!(update_kind(&[0, 5, 32, 10, 0, 4, 1, 0, 0]), Some((Kind::Withdrawal, 1)));
        let two = [0, 0, 0, 0, 32, 10, 0, 4, 1, 24, 10, 0, 5];
        assert_eq!(update_kind(&two), Some((Kind::Announcement, 2)));
        assert_eq!(update_kind(&[0, 0, 0, 0]), None);
    }
}
