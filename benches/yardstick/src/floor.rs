//! A yardstick, not a library: the least work that reading and writing UPDATEs can be.
//!
//! It checks lengths and nothing else, knows only what the sums need, and would be wrong as a speaker. What Herald
//! does is measured as a multiple of this.

use crate::stream::Sums;

/// Reads a whole stream of UPDATEs. `None` when a length does not fit.
#[must_use]
pub fn walk(mut stream: &[u8]) -> Option<Sums> {
    let mut sums = Sums::default();
    while !stream.is_empty() {
        let length = usize::from(u16_at(stream, 16)?);
        walk_message(stream.get(..length)?, &mut sums)?;
        stream = stream.get(length..)?;
    }
    Some(sums)
}

/// Reads one whole message and adds what an UPDATE holds. `None` when a length does not fit.
pub fn walk_message(message: &[u8], sums: &mut Sums) -> Option<()> {
    let [header, body] = [message.get(..19)?, message.get(19..)?];
    if *header.last()? == 2 {
        sums.messages += 1;
        walk_update(body, sums)?;
    }
    Some(())
}

/// Whether all lengths in one whole UPDATE add up: of the message, its parts, its attributes and its prefixes.
#[must_use]
pub fn check(message: &[u8]) -> bool {
    let is_whole = u16_at(message, 16).is_some_and(|length| usize::from(length) == message.len());
    is_whole && message.get(19..).and_then(check_update).is_some()
}

/// Writes UPDATEs of at most 4096 octets that announce `addresses` as /32 with one attribute set.
pub fn pack(attributes: &[u8], addresses: impl Iterator<Item = [u8; 4]>, out: &mut Vec<u8>) {
    let mut start = begin(attributes, out);
    for [a, b, c, d] in addresses {
        if out.len() - start + 5 > 4096 {
            finish(start, out);
            start = begin(attributes, out);
        }
        out.extend([32, a, b, c, d]);
    }
    finish(start, out);
}

fn begin(attributes: &[u8], out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0xFF; 16]);
    out.extend([0, 0, 2, 0, 0]);
    out.extend(u16::try_from(attributes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(attributes);
    start
}

fn finish(start: usize, out: &mut [u8]) {
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = out.get_mut(start + 16..start + 18) {
        field.copy_from_slice(&length);
    }
}

fn check_update(body: &[u8]) -> Option<()> {
    let withdrawn_end = 2 + usize::from(u16_at(body, 0)?);
    let attributes_end = withdrawn_end + 2 + usize::from(u16_at(body, withdrawn_end)?);
    check_prefixes(body.get(2..withdrawn_end)?)?;
    check_prefixes(body.get(attributes_end..)?)?;
    let mut attributes = body.get(withdrawn_end + 2..attributes_end)?;
    while let [flags, code, rest @ ..] = attributes {
        let (length, header) = match flags & 0x10 {
            0 => (usize::from(*rest.first()?), 1),
            _ => (usize::from(u16_at(rest, 0)?), 2),
        };
        let value = rest.get(header..header + length)?;
        match code {
            2 => check_path(value)?,
            14 => check_prefixes(value.get(5 + usize::from(*value.get(3)?)..)?)?,
            15 => check_prefixes(value.get(3..)?)?,
            _ => {}
        }
        attributes = rest.get(header + length..)?;
    }
    Some(())
}

fn check_path(mut path: &[u8]) -> Option<()> {
    while let [_, count, rest @ ..] = path {
        path = rest.get(4 * usize::from(*count)..)?;
    }
    Some(())
}

fn check_prefixes(mut prefixes: &[u8]) -> Option<()> {
    while let [bits, rest @ ..] = prefixes {
        prefixes = rest.get(usize::from(bits.div_ceil(8))..)?;
    }
    Some(())
}

fn walk_update(body: &[u8], sums: &mut Sums) -> Option<()> {
    let withdrawn_end = 2 + usize::from(u16_at(body, 0)?);
    let attributes_end = withdrawn_end + 2 + usize::from(u16_at(body, withdrawn_end)?);
    walk_prefixes(body.get(2..withdrawn_end)?, sums)?;
    walk_prefixes(body.get(attributes_end..)?, sums)?;
    let mut attributes = body.get(withdrawn_end + 2..attributes_end)?;
    while let [flags, code, rest @ ..] = attributes {
        let (length, header) = match flags & 0x10 {
            0 => (usize::from(*rest.first()?), 1),
            _ => (usize::from(u16_at(rest, 0)?), 2),
        };
        let value = rest.get(header..header + length)?;
        match code {
            2 => walk_path(value, sums)?,
            8 => value.chunks_exact(4).for_each(|octets| sums.communities += u64::from(u32_of(octets))),
            14 => walk_prefixes(value.get(5 + usize::from(*value.get(3)?)..)?, sums)?,
            15 => walk_prefixes(value.get(3..)?, sums)?,
            _ => {}
        }
        attributes = rest.get(header + length..)?;
    }
    Some(())
}

/// A path with an AS 0 in it is malformed (RFC 7607 §2) and does not count; the real streams have one.
fn walk_path(mut path: &[u8], sums: &mut Sums) -> Option<()> {
    let (mut sum, mut least) = (0, u32::MAX);
    while let [_, count, rest @ ..] = path {
        let (asns, after) = rest.split_at_checked(4 * usize::from(*count))?;
        for asn in asns.chunks_exact(4).map(u32_of) {
            sum += u64::from(asn);
            least = least.min(asn);
        }
        path = after;
    }
    if least > 0 {
        sums.asns += sum;
    }
    Some(())
}

fn walk_prefixes(mut prefixes: &[u8], sums: &mut Sums) -> Option<()> {
    while let [bits, rest @ ..] = prefixes {
        sums.prefixes += 1;
        sums.bits += u64::from(*bits);
        prefixes = rest.get(usize::from(bits.div_ceil(8))..)?;
    }
    Some(())
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*octets.get(at..)?.first_chunk()?))
}

fn u32_of(octets: &[u8]) -> u32 {
    octets.first_chunk().map_or(0, |octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;

    #[test]
    fn what_is_packed_is_walked_again() {
        let mut out = Vec::new();
        pack(&[0x40, 1, 1, 0], (0..2_000_u32).map(u32::to_be_bytes), &mut out);
        let sums = walk(&out).expect("whole messages");
        assert_eq!((sums.messages, sums.prefixes, sums.bits), (3, 2_000, 64_000));
    }

    #[test]
    fn a_message_that_is_cut_is_not_whole() {
        let stream = stream::generated(200);
        let mut rest = stream.as_slice();
        while let Some(length) = u16_at(rest, 16) {
            let (message, after) = rest.split_at(usize::from(length));
            assert!(check(message));
            assert!(!check(&message[..message.len() - 1]));
            rest = after;
        }
    }
}
