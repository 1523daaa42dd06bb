//! Questions to the kernel's routing side: one dump a question, read to its end, bounded in size and time.
//!
//! Needs no capability. Leaves out what the answers mean, and waiting for changes: the caller asks again when it matters.

use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Answers larger than this (several thousand entries) are cut off: bounded, and a node's own interfaces and its
/// default route come first.
const DUMP_MAX: usize = 1 << 20;

/// The kernel answers a dump at once; this only bounds a kernel that does not.
const DUMP_WAIT: Duration = Duration::from_millis(200);

// Numbers of linux/netlink.h.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;

/// Asks for all entries of one kind and hands each to `take`: the type of its message and what stands in it. `head` is
/// the fixed part of the question; its first octet is mostly a family.
pub(super) fn dump(question: u16, head: &[u8], mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
    let netlink = Domain::from(libc::AF_NETLINK);
    let mut socket = Socket::new(netlink, Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(DUMP_WAIT))?;
    socket.send(&request(question, head))?;
    let mut datagram = vec![0; 32 * 1024];
    let mut total = 0;
    while total < DUMP_MAX {
        let length = match socket.read(&mut datagram) {
            // A signal; reads with a limit are not begun again by the kernel (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        total += length.max(1);
        if read_messages(datagram.get(..length).unwrap_or_default(), &mut take)? == Dump::Done {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    Continues,
    Done,
}

fn request(question: u16, head: &[u8]) -> Vec<u8> {
    let mut request = vec![0; HEADER];
    let length = u32::try_from(HEADER + head.len()).expect("heads are small");
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&question.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request.extend_from_slice(head);
    request
}

/// Reads the messages of one datagram; one that does not fit ends the reading.
fn read_messages(mut rest: &[u8], take: &mut impl FnMut(u16, &[u8])) -> io::Result<Dump> {
    while let Some((kind, body, after)) = split_message(rest) {
        match kind {
            NLMSG_DONE => return Ok(Dump::Done),
            NLMSG_ERROR => {
                let errno = body.first_chunk().map_or(0, |octets| i32::from_ne_bytes(*octets));
                return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
            }
            other => take(other, body),
        }
        rest = after;
    }
    Ok(Dump::Continues)
}

fn split_message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*octets.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*octets.get(4..)?.first_chunk()?);
    let body = octets.get(HEADER..length)?;
    Some((kind, body, octets.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes behind the fixed part of a message, as type and value; one that does not fit ends the reading.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A number of four octets at this place.
pub(super) fn number(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

/// An address.
pub(super) fn read_ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(*value.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*value.first_chunk::<16>()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(datagram: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut found = Vec::new();
        read_messages(datagram, &mut |kind, body| found.push((kind, body.to_vec())))?;
        Ok(found)
    }

    #[test]
    fn truncated_and_lying_answers_end_the_reading() {
        let mut message = request(20, &[1, 2, 3, 4]);
        assert_eq!(messages(&message).unwrap(), [(20, vec![1, 2, 3, 4])]);
        for length in 0..message.len() {
            assert_eq!(messages(&message[..length]).unwrap(), [], "cut at {length}");
        }
        message[0..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(messages(&message).unwrap(), [], "a message of length 0 must not loop");
    }

    #[test]
    fn an_error_answer_becomes_an_error() {
        let message = request(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes());
        let fault = messages(&message).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn attributes_that_lie_about_their_length_end_the_reading() {
        let octets = [8, 0, 1, 0, 10, 0, 2, 11, 5, 0, 3, 0, 7, 0, 0, 0, 0, 0, 9, 0];
        let found: Vec<(u16, &[u8])> = attributes(&octets).collect();
        assert_eq!(found, [(1, &[10, 0, 2, 11][..]), (3, &[7])]);
    }
}
