//! Streams of UPDATE messages: generated ones, and real ones when they are at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader finds in a stream. Two readers that agree on all of it have read the same thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// UPDATE messages.
    pub messages: u64,
    /// Announced and withdrawn prefixes of both families.
    pub prefixes: u64,
    /// Their lengths in bits, added.
    pub bits: u64,
    /// AS numbers of all paths, added.
    pub asns: u64,
    /// Standard communities, added.
    pub communities: u64,
}

/// Numbers that look random and are the same each time (xorshift64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts from any seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).expect("32 bits are left") % bound.max(1)
    }
}

/// A stream as routers on the Internet send it: mostly one prefix a message, a path of three to six, a few
/// communities, some IPv6, some withdrawals. Four-octet AS numbers.
#[must_use]
pub fn generated(messages: usize) -> Vec<u8> {
    let mut dice = Dice::new(20_190_101);
    let mut stream = Vec::with_capacity(messages * 80);
    for _ in 0..messages {
        let body = match dice.below(10) {
            0 => withdrawal(&mut dice),
            1 => announcement_v6(&mut dice),
            _ => announcement_v4(&mut dice),
        };
        put_message(&mut stream, 2, &body);
    }
    stream
}

/// The real streams: name and octets. Empty when the folder or `xz` is missing.
#[must_use]
pub fn real() -> Vec<(String, Vec<u8>)> {
    let folder = vectors().join("streams");
    ["full-2010", "ris-20190101", "updates-et-2015"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), unpack(&folder.join(format!("{name}.bgp.xz")))?)))
        .collect()
}

/// Appends a whole message.
pub fn put_message(stream: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let length = u16::try_from(body.len() + 19).expect("generated messages are short");
    stream.extend([0xFF; 16]);
    stream.extend(length.to_be_bytes());
    stream.push(kind);
    stream.extend(body);
}

fn vectors() -> PathBuf {
    std::env::var_os("HERALD_BGP_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/bgp-vectors"),
        PathBuf::from,
    )
}

fn unpack(path: &Path) -> Option<Vec<u8>> {
    path.exists().then_some(())?;
    let output = Command::new("xz").arg("-dc").arg(path).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn announcement_v4(dice: &mut Dice) -> Vec<u8> {
    let mut attributes = path_attributes(dice);
    attributes.extend([0x40, 3, 4, 192, 0, 2, 1]);
    let mut body = vec![0, 0];
    put_counted(&mut body, &attributes);
    let prefixes = if dice.below(100) < 72 { 1 } else { 2 + dice.below(14) };
    for _ in 0..prefixes {
        put_prefix_v4(&mut body, dice);
    }
    body
}

fn announcement_v6(dice: &mut Dice) -> Vec<u8> {
    let mut reach = vec![0, 2, 1, 16];
    reach.extend([0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    reach.push(0);
    for _ in 0..=dice.below(3) {
        let [high, low, ..] = dice.below(u32::MAX).to_be_bytes();
        reach.extend([48, 0x20, 1, 0x0D, 0xB8, high, low]);
    }
    let mut attributes = vec![0x80, 14, u8::try_from(reach.len()).expect("three prefixes are short")];
    attributes.extend(reach);
    attributes.extend(path_attributes(dice));
    let mut body = vec![0, 0];
    put_counted(&mut body, &attributes);
    body
}

fn withdrawal(dice: &mut Dice) -> Vec<u8> {
    let mut withdrawn = Vec::new();
    for _ in 0..=dice.below(4) {
        put_prefix_v4(&mut withdrawn, dice);
    }
    let mut body = Vec::new();
    put_counted(&mut body, &withdrawn);
    body.extend([0, 0]);
    body
}

fn path_attributes(dice: &mut Dice) -> Vec<u8> {
    let mut attributes = vec![0x40, 1, 1, 0];
    let hops = 3 + u8::try_from(dice.below(4)).expect("below 4");
    attributes.extend([0x40, 2, 2 + 4 * hops, 2, hops]);
    for _ in 0..hops {
        attributes.extend((1 + dice.below(400_000)).to_be_bytes());
    }
    let communities = u8::try_from(dice.below(6)).expect("below 6");
    if communities > 0 {
        attributes.extend([0xC0, 8, 4 * communities]);
        for _ in 0..communities {
            attributes.extend((0x0001_0000 + dice.below(0x7FFF_0000)).to_be_bytes());
        }
    }
    attributes
}

fn put_prefix_v4(out: &mut Vec<u8>, dice: &mut Dice) {
    let [first, second, third, _] = (0x0100_0000 + dice.below(0xDE00_0000)).to_be_bytes();
    match dice.below(3) {
        0 => out.extend([16, first, second]),
        _ => out.extend([24, first, second, third]),
    }
}

fn put_counted(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend(u16::try_from(octets.len()).expect("generated messages are short").to_be_bytes());
    out.extend(octets);
}
