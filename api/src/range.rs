//! Address ranges as people write them in pools: `10.0.4.0/23`, `10.0.4.1-10.0.4.99`, `fd00::10 - fd00::1f`.
//!
//! Host bits of a CIDR are masked away, spaces around the ends of a range do not matter. Both ends are of one family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, digit1, multispace0};
use nom::combinator::{all_consuming, map_opt};
use nom::sequence::{delimited, separated_pair};
use nom::{IResult, Parser};
use thiserror::Error;

/// Addresses of one family from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// A range by its ends.
    ///
    /// # Errors
    /// Ends of different families, or in the wrong order.
    pub fn try_new(first: IpAddr, last: IpAddr) -> Result<Self, RangeFault> {
        let text = || format!("{first}-{last}");
        if first.is_ipv4() != last.is_ipv4() {
            return Err(RangeFault::MixedFamilies { text: text() });
        }
        if first > last {
            return Err(RangeFault::Reversed { text: text(), first, last });
        }
        Ok(Self { first, last })
    }

    /// Reads what stands in a pool.
    ///
    /// # Errors
    /// The text is neither a CIDR nor a range, or the range makes no sense.
    pub fn parse(text: &str) -> Result<Self, RangeFault> {
        match all_consuming(alt((cidr_text, ends_text, unreadable))).parse(text) {
            Ok((_, Written::Cidr(network))) => Ok(Self::from(network)),
            Ok((_, Written::Ends(first, last))) => Self::of_texts(text, first, last),
            Ok((_, Written::Neither)) | Err(_) => Err(RangeFault::InvalidCidr { text: text.to_owned() }),
        }
    }

    fn of_texts(text: &str, first: &str, last: &str) -> Result<Self, RangeFault> {
        let end = |which: &'static str, end: &str| {
            end.parse::<IpAddr>().map_err(|_| RangeFault::InvalidEnd {
                text: text.to_owned(),
                which,
                end: end.to_owned(),
            })
        };
        let (first, last) = (end("start", first)?, end("end", last)?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err(RangeFault::MixedFamilies { text: text.to_owned() });
        }
        if first > last {
            return Err(RangeFault::Reversed { text: text.to_owned(), first, last });
        }
        Ok(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the addresses are IPv4; otherwise they are IPv6.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether the address is inside.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.is_ipv4() == ip.is_ipv4() && self.first <= ip && ip <= self.last
    }

    /// Whether any address is in both ranges.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.first <= other.last && other.first <= self.last
    }

    /// Number of addresses; all of IPv6 counts as the largest number there is.
    #[must_use]
    pub fn len(&self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Never: a range holds at least one address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The fewest CIDRs that make up the range, lowest first.
    #[must_use]
    pub fn blocks(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }

    /// The shortest prefix among the CIDRs of the range: what an aggregation length is measured against.
    #[must_use]
    pub fn shortest_prefix(&self) -> u8 {
        let width = if self.is_ipv4() { 32 } else { 128 };
        self.blocks().iter().map(IpNet::prefix_len).min().unwrap_or(width)
    }
}

impl From<IpNet> for AddressRange {
    fn from(network: IpNet) -> Self {
        match network {
            IpNet::V4(net) => Self { first: net.network().into(), last: net.broadcast().into() },
            IpNet::V6(net) => Self { first: net.network().into(), last: net.broadcast().into() },
        }
    }
}

impl std::str::FromStr for AddressRange {
    type Err = RangeFault;

    fn from_str(text: &str) -> Result<Self, RangeFault> {
        Self::parse(text)
    }
}

/// One CIDR where the range is one, else both ends with a hyphen.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.blocks().as_slice() {
            [network] => write!(f, "{network}"),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum RangeFault {
    /// Neither a CIDR nor two ends with a hyphen between them.
    #[error("invalid CIDR {text:?}: write a network as 10.0.4.0/24 or a range as 10.0.4.1-10.0.4.99")]
    InvalidCidr {
        /// What stands there.
        text: String,
    },
    /// One end of a range is no address.
    #[error("invalid IP range {text:?}: invalid {which} IP {end:?}")]
    InvalidEnd {
        /// What stands there.
        text: String,
        /// `start` or `end`.
        which: &'static str,
        /// That end.
        end: String,
    },
    /// One end is IPv4, the other IPv6.
    #[error("invalid IP range {text:?}: both ends must be IPv4 or both IPv6")]
    MixedFamilies {
        /// What stands there.
        text: String,
    },
    /// The ends are in the wrong order.
    #[error("invalid IP range {text:?}: start IP {:?} is after the end IP {:?}; swap them", .first.to_string(), .last.to_string())]
    Reversed {
        /// What stands there.
        text: String,
        /// The first address as written.
        first: IpAddr,
        /// The last address as written.
        last: IpAddr,
    },
}

/// The forms that a text can have.
enum Written<'a> {
    Cidr(IpNet),
    Ends(&'a str, &'a str),
    Neither,
}

fn cidr_text(text: &str) -> IResult<&str, Written<'_>> {
    let parts = separated_pair(address_text, char('/'), digit1);
    map_opt(parts, |(address, length): (&str, &str)| {
        let network = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => IpNet::V4(Ipv4Net::new(ip, length.parse().ok()?).ok()?.trunc()),
            IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new(ip, length.parse().ok()?).ok()?.trunc()),
        };
        Some(Written::Cidr(network))
    })
    .parse(text)
}

fn ends_text(text: &str) -> IResult<&str, Written<'_>> {
    let end = || delimited(multispace0, take_while1(|c: char| c != '-' && !c.is_whitespace()), multispace0);
    let (rest, (first, last)) = separated_pair(end(), char('-'), end()).parse(text)?;
    Ok((rest, Written::Ends(first, last)))
}

fn unreadable(_: &str) -> IResult<&str, Written<'_>> {
    Ok(("", Written::Neither))
}

fn address_text(text: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_hexdigit() || c == '.' || c == ':').parse(text)
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The address a number of steps above another one, in the same family.
///
/// `None` beyond the end of the family's space.
#[must_use]
pub fn address_above(ip: IpAddr, steps: u128) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => {
            u32::from(ip).checked_add(u32::try_from(steps).ok()?).map(|sum| Ipv4Addr::from(sum).into())
        }
        IpAddr::V6(ip) => u128::from(ip).checked_add(steps).map(|sum| Ipv6Addr::from(sum).into()),
    }
}

#[cfg(test)]
mod tests;
