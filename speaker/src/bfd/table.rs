//! What the thread tells: one row for each session, with the words for what is wrong.

use std::collections::BTreeMap;

use bfd_proto::{DownReason, Hops, Path, SessionStatus, State};

use crate::plan::{BfdRow, PacketCounts};

/// All sessions, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// One row for each session that runs.
    pub rows: BTreeMap<Path, PathRow>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRow {
    /// As the operator sees it.
    pub row: BfdRow,
    /// What happened to it last.
    pub turns: Turns,
}

/// The last failure and the last recovery of a path. Numbers count both for the whole process, from 1: what is over when
/// the table is read is seen all the same, and in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Number and reason of the last failure.
    pub failed: Option<(u64, DownReason)>,
    /// Number of the last time that the session came up.
    pub rose: Option<u64>,
}

/// A turn that a path took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It failed.
    Failed(DownReason),
    /// It is whole.
    Rose,
}

/// The row of a session. `obstacle` is what this node itself has in the way.
pub(super) fn row(
    status: &SessionStatus,
    obstacle: Option<String>,
    turns: Turns,
    packets: PacketCounts,
) -> PathRow {
    packets.set(status.received, status.sent);
    let row = BfdRow {
        state: if status.remote_state == State::AdminDown { State::AdminDown } else { status.state },
        detection_time: status.detection_time,
        message: (status.state != State::Up).then(|| obstacle.unwrap_or_else(|| why_not_up(status))),
        ups: status.ups,
        downs: status.downs,
        packets,
    };
    PathRow { row, turns }
}

fn why_not_up(status: &SessionStatus) -> String {
    let port = status.path.hops.port();
    if status.remote_state == State::AdminDown {
        return "BFD is switched off on the router".to_owned();
    }
    if status.heard {
        return format!("the router does not hear this node: its firewall must let UDP port {port} in");
    }
    let hint = match status.path.hops {
        Hops::Single => "switch BFD on there for this neighbour (one hop)",
        Hops::Multi => "switch BFD on there for this neighbour (multihop)",
    };
    match status.last_down {
        Some((_, reason)) => format!("{reason}, and nothing comes on UDP port {port}"),
        None => format!("nothing has come from the router on UDP port {port}: {hint}, and let that port in"),
    }
}
