//! Ranges as people write them, and as random numbers make them.

use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: Result<&str, &str>) {
    let got = AddressRange::parse(text).map(|range| range.to_string()).map_err(|fault| fault.to_string());
    assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
}

#[test]
fn networks_and_ranges_are_read_as_metallb_reads_them() {
    check("10.0.4.0/23", Ok("10.0.4.0/23"));
    check("10.0.4.5/24", Ok("10.0.4.0/24"));
    check("10.0.4.5/32", Ok("10.0.4.5/32"));
    check("10.0.4.1-10.0.4.99", Ok("10.0.4.1-10.0.4.99"));
    check(" 10.0.4.1 \t-  10.0.4.99 ", Ok("10.0.4.1-10.0.4.99"));
    check("10.0.4.0-10.0.4.255", Ok("10.0.4.0/24"));
    check("fd00:4::/64", Ok("fd00:4::/64"));
    check("FD00::10-fd00::1F", Ok("fd00::10/124"));
    check("fd00::10-fd00::12", Ok("fd00::10-fd00::12"));
    check("::/0", Ok("::/0"));
}

#[test]
fn what_is_no_range_says_why() {
    check(
        "10.0.4.0",
        Err("invalid CIDR \"10.0.4.0\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99"),
    );
    check(
        " 10.0.4.0/24",
        Err("invalid CIDR \" 10.0.4.0/24\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99"),
    );
    check(
        "10.0.4.0/33",
        Err("invalid CIDR \"10.0.4.0/33\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99"),
    );
    check(
        "10.0.4.9-10.0.4.1",
        Err(
            "invalid IP range \"10.0.4.9-10.0.4.1\": start IP \"10.0.4.9\" is after the end IP \"10.0.4.1\"; swap them",
        ),
    );
    check("10.0.4.9-bar", Err("invalid IP range \"10.0.4.9-bar\": invalid end IP \"bar\""));
    check("foo-10.0.4.9", Err("invalid IP range \"foo-10.0.4.9\": invalid start IP \"foo\""));
    check(
        "10.0.4.9-fd00::1",
        Err("invalid IP range \"10.0.4.9-fd00::1\": both ends must be IPv4 or both IPv6"),
    );
    check("", Err("invalid CIDR \"\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99"));
    check(
        "1.1.1.1-2.2.2.2-3.3.3.3",
        Err(
            "invalid CIDR \"1.1.1.1-2.2.2.2-3.3.3.3\": write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99",
        ),
    );
}

#[test]
fn an_address_of_the_other_family_is_never_inside() {
    let all = AddressRange::parse("0.0.0.0/0").expect("a network");
    assert!(all.contains("255.255.255.255".parse().expect("an address")));
    assert!(!all.contains("::1".parse().expect("an address")));
    assert!(!all.overlaps(&AddressRange::parse("::/0").expect("a network")));
}

#[test]
fn the_whole_of_ipv6_has_the_largest_length_there_is() {
    assert_eq!(AddressRange::parse("::/0").expect("a network").len(), u128::MAX);
    assert_eq!(AddressRange::parse("10.0.4.0/23").expect("a network").len(), 512);
}

#[test]
fn a_range_is_as_short_as_its_largest_block() {
    let range = AddressRange::parse("10.0.4.1-10.0.4.99").expect("a range");
    assert_eq!(range.shortest_prefix(), 27);
}

fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let v4 = (any::<u32>(), any::<u32>())
        .prop_map(|(a, b)| (IpAddr::from(Ipv4Addr::from(a.min(b))), IpAddr::from(Ipv4Addr::from(a.max(b)))));
    let v6 = (any::<u128>(), any::<u128>())
        .prop_map(|(a, b)| (IpAddr::from(Ipv6Addr::from(a.min(b))), IpAddr::from(Ipv6Addr::from(a.max(b)))));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again((first, last) in ends()) {
        let range = AddressRange::try_new(first, last).expect("ends in order");
        prop_assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
        let ends = format!("{first} - {last}");
        prop_assert_eq!(AddressRange::parse(&ends), Ok(range));
    }

    #[test]
    fn the_blocks_cover_the_range_without_gap_or_overlap((first, last) in ends()) {
        let range = AddressRange::try_new(first, last).expect("ends in order");
        let mut next = Some(first);
        for block in range.blocks() {
            prop_assert_eq!(Some(block.network()), next);
            next = address_above(block.broadcast(), 1);
        }
        prop_assert_eq!(next, address_above(last, 1));
    }

    #[test]
    fn overlap_is_the_same_from_both_sides((a, b) in ends(), (c, d) in ends()) {
        let one = AddressRange::try_new(a, b).expect("ends in order");
        let two = AddressRange::try_new(c, d).expect("ends in order");
        prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
        prop_assert!(one.overlaps(&one) && one.contains(a) && one.contains(b));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _ = AddressRange::parse(&text);
    }
}
