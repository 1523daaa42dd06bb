//! Requirements of the RFCs, one by one, as far as no other file has them. The ledgers in `docs/rfc` say which test
//! stands for which requirement.

use std::time::Duration;

use bgp_proto::wire::header::MessageType;
use bgp_proto::*;

use crate::script::Scripted;
use crate::vectors::{external, message};

const SECOND: Duration = Duration::from_secs(1);

/// RFC 4271 §4.4.
#[test]
fn keepalives_are_never_closer_than_a_second() {
    for (hold, keepalive) in [(3, None), (3, Some(SECOND / 10)), (15, Some(SECOND)), (15, Some(SECOND / 3))] {
        let hold_time = Some(HoldTime::try_new(hold).unwrap());
        let config = PeerConfig { hold_time, keepalive, ..external(64_500) };
        let (mut scripted, id) = Scripted::up(config, &[]);
        let mut last = scripted.now;
        for _ in 0..200 {
            let due = scripted.speaker.poll_timeout().unwrap();
            let third = SECOND * u32::from(hold) / 3;
            assert!(due - last >= SECOND && due - last <= third, "{hold} s, {keepalive:?}: {:?}", due - last);
            (scripted.now, last) = (due, due);
            scripted.speaker.handle_timeout(due);
            assert_eq!(scripted.drain(id), [(MessageType::Keepalive, Vec::new())]);
            scripted.input(id, &message("0013 04"));
        }
    }
}
