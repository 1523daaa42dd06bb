//! OPENs that a speaker has to bear, and those that it has to refuse.

use bgp_proto::wire::capability::Capability;
use bgp_proto::wire::open::{Open, OpenBuilder};
use bgp_proto::*;
use bytes::BytesMut;

use crate::pair::router_id;
use crate::vectors::unhex;

/// A body with the given parameters, their length in one octet.
fn body(parameters: &str) -> Vec<u8> {
    let parameters = unhex(parameters);
    let mut body = unhex("04 fde9 005a 0a000001");
    body.push(u8::try_from(parameters.len()).unwrap());
    body.extend(parameters);
    body
}

fn refused(body: &[u8], expected: DecodeError) {
    assert_eq!(Open::parse(body).err(), Some(expected), "{body:02x?}");
}

fn borne(body: &[u8]) -> usize {
    Open::parse(body).unwrap_or_else(|error| panic!("{error}: {body:02x?}")).capabilities.count()
}

#[test]
fn the_fixed_part_is_refused_field_by_field() {
    refused(&unhex("03 fde9 005a 0a000001 00"), DecodeError::UnsupportedVersion { version: 3 });
    refused(&unhex("05 fde9 005a 0a000001 00"), DecodeError::UnsupportedVersion { version: 5 });
    refused(&unhex("04 0000 005a 0a000001 00"), DecodeError::UnusableAs);
    refused(&unhex("04 5ba0 005a 0a000001 00"), DecodeError::UnusableAs);
    refused(&unhex("04 fde9 0001 0a000001 00"), DecodeError::HoldTimeTooShort { seconds: 1 });
    refused(&unhex("04 fde9 0002 0a000001 00"), DecodeError::HoldTimeTooShort { seconds: 2 });
    refused(&unhex("04 fde9 005a 00000000 00"), DecodeError::ZeroRouterId);
    assert_eq!(borne(&unhex("04 fde9 0000 0a000001 00")), 0);
}

#[test]
fn the_four_octet_number_must_agree_with_the_short_one() {
    refused(&body("02 06 4104 00000000"), DecodeError::UnusableAs);
    refused(&body("02 06 4104 00005ba0"), DecodeError::UnusableAs);
    refused(&body("02 06 4104 0000fde8"), DecodeError::UnusableAs);
    refused(&body("02 06 4104 fa56ea01"), DecodeError::UnusableAs);
    assert_eq!(borne(&body("02 06 4104 0000fde9")), 1);
    let long = unhex("04 5ba0 005a 0a000001 08 02 06 4104 fa56ea01");
    assert_eq!(Open::parse(&long).unwrap().asn, Asn(4_200_000_001));
}

#[test]
fn lengths_that_leave_their_parent_are_refused() {
    refused(&unhex("04 fde9 005a 0a000001 05"), DecodeError::MalformedOpen);
    refused(&unhex("04 fde9 005a 0a000001 00 00"), DecodeError::MalformedOpen);
    refused(&body("02"), DecodeError::MalformedOpen);
    refused(&body("02 05 0104"), DecodeError::MalformedOpen);
    refused(&body("02 03 0104 00"), DecodeError::MalformedOpen);
    refused(&body("02 02 4100"), DecodeError::MalformedOpen);
    refused(&body("02 01 41"), DecodeError::MalformedOpen);
    refused(&body("01 01 00"), DecodeError::UnsupportedParameter { code: 1 });
}

#[test]
fn odd_capabilities_are_borne() {
    assert_eq!(borne(&body("02 02 0100")), 1, "multiprotocol without value");
    assert_eq!(borne(&body("02 09 4007 0078 0001018000")), 1, "graceful restart with stray octets");
    assert_eq!(borne(&body("02 02 4000")), 1);
    assert_eq!(borne(&body("02 00 02 00 02 02 0200")), 1, "empty parameters");
    let repeated = format!("02 f0 {}", "0104 00010001".repeat(40));
    assert_eq!(borne(&body(&repeated)), 40);
    for code in 0..=255_u8 {
        if code != 65 {
            borne(&body(&format!("02 05 {code:02x} 03 010203")));
        }
    }
}

#[test]
fn long_parameters_are_read_in_both_forms_and_written_in_the_one_that_fits() {
    assert_eq!(
        borne(&unhex("04 fde9 005a 0a000001 ff ff 0005 02 0002 0200")),
        1,
        "a short one in the long form"
    );
    assert_eq!(
        borne(&unhex("04 fde9 005a 0a000001 01 ff 0005 02 0002 0200")),
        1,
        "the first length says nothing"
    );
    refused(&unhex("04 fde9 005a 0a000001 ff ff"), DecodeError::MalformedOpen);
    refused(&unhex("04 fde9 005a 0a000001 ff ff 00"), DecodeError::MalformedOpen);
    refused(&unhex("04 fde9 005a 0a000001 ff ff 0005 02 0003 0200"), DecodeError::MalformedOpen);
    refused(&unhex("04 fde9 005a 0a000001 ff ff 0001 02"), DecodeError::MalformedOpen);
    for count in [0, 1, 61, 62, 63, 64, 1_015] {
        let capabilities = vec![Capability::Other { code: 200, value: &[1, 2] }; count];
        let mut out = BytesMut::new();
        let hold_time = HoldTime::DEFAULT;
        OpenBuilder { asn: Asn(65_001), hold_time, router_id: router_id(1), capabilities: &capabilities }
            .encode(&mut out);
        assert_eq!(Open::parse(&out[19..]).unwrap().capabilities.collect::<Vec<_>>(), capabilities);
        assert_eq!(out[28] == 255, count > 63, "{count}");
        assert!(out.len() <= 4096);
    }
}

#[test]
fn an_open_that_is_cut_anywhere_is_refused_and_never_more() {
    let whole = unhex(
        "04 5ba0 005a 0a00000b 2e 02 2c 0104 00010001 0104 00020001 0200 0506 000100010002 0600 \
                       400a c078 00010180 00020180 4104 fa56ea01 4600",
    );
    for end in 0..whole.len() {
        assert!(Open::parse(&whole[..end]).is_err(), "{end}");
    }
}
