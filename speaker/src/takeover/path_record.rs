//! A BFD session as it is written down between two processes of one node. Leaves out its sockets, which come beside it.

use std::net::IpAddr;
use std::time::Duration;

use bfd_proto::{Heard, Hops, Interval, PACKET_LEN, Path, SessionImage};
use serde::{Deserialize, Serialize};

use crate::bfd::estate::Ear;

/// One BFD session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRecord {
    local: IpAddr,
    remote: IpAddr,
    link: u32,
    multihop: bool,
    ours: [u8; PACKET_LEN],
    theirs: Option<([u8; PACKET_LEN], Duration)>,
    /// In microseconds.
    tx_in_force: u32,
    /// In microseconds.
    rx_in_force: u32,
    state_for: Duration,
    ups: u64,
    downs: u64,
    received: u64,
    sent: u64,
}

/// A socket that BFD is heard by, which comes beside this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarRecord {
    multihop: bool,
    ipv4: bool,
}

impl From<SessionImage> for PathRecord {
    fn from(image: SessionImage) -> Self {
        // Whoever adds to the image has to say here how it is written down, and to raise the version.
        let SessionImage {
            path: Path { local, remote, link, hops },
            ours,
            theirs,
            tx_in_force,
            rx_in_force,
            state_for,
            ups,
            downs,
            received,
            sent,
        } = image;
        Self {
            local,
            remote,
            link,
            multihop: is_multihop(hops),
            ours,
            theirs: theirs.map(|heard| (heard.packet, heard.ago)),
            tx_in_force: tx_in_force.micros(),
            rx_in_force: rx_in_force.micros(),
            state_for,
            ups,
            downs,
            received,
            sent,
        }
    }
}

impl From<PathRecord> for SessionImage {
    fn from(record: PathRecord) -> Self {
        Self {
            path: Path {
                local: record.local,
                remote: record.remote,
                link: record.link,
                hops: hops(record.multihop),
            },
            ours: record.ours,
            theirs: record.theirs.map(|(packet, ago)| Heard { packet, ago }),
            tx_in_force: Interval::from_micros(record.tx_in_force),
            rx_in_force: Interval::from_micros(record.rx_in_force),
            state_for: record.state_for,
            ups: record.ups,
            downs: record.downs,
            received: record.received,
            sent: record.sent,
        }
    }
}

impl From<Ear> for EarRecord {
    fn from(ear: Ear) -> Self {
        Self { multihop: is_multihop(ear.hops), ipv4: ear.ipv4 }
    }
}

impl From<EarRecord> for Ear {
    fn from(record: EarRecord) -> Self {
        Self { hops: hops(record.multihop), ipv4: record.ipv4 }
    }
}

fn is_multihop(hops: Hops) -> bool {
    match hops {
        Hops::Single => false,
        Hops::Multi => true,
    }
}

fn hops(multihop: bool) -> Hops {
    if multihop { Hops::Multi } else { Hops::Single }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_written_down_is_read_again_as_it_was() {
        for (theirs, hops) in [
            (None, Hops::Single),
            (Some(Heard { packet: [7; PACKET_LEN], ago: Duration::from_millis(250) }), Hops::Multi),
        ] {
            let image = SessionImage {
                path: Path { local: [10, 0, 2, 11].into(), remote: [10, 0, 2, 1].into(), link: 7, hops },
                ours: [9; PACKET_LEN],
                theirs,
                tx_in_force: Interval::from_millis(300),
                rx_in_force: Interval::from_millis(200),
                state_for: Duration::from_secs(86_400),
                ups: 3,
                downs: 2,
                received: 1_000_000,
                sent: 999_999,
            };
            let text = serde_json::to_string(&PathRecord::from(image)).unwrap();
            assert_eq!(SessionImage::from(serde_json::from_str::<PathRecord>(&text).unwrap()), image);
            for ipv4 in [true, false] {
                let ear = Ear { hops, ipv4 };
                let text = serde_json::to_string(&EarRecord::from(ear)).unwrap();
                assert_eq!(Ear::from(serde_json::from_str::<EarRecord>(&text).unwrap()), ear);
            }
        }
    }
}
