//! The control packet of RFC 5880 §4.1: 24 octets, read by value and written into an array.
//!
//! Which session a packet belongs to, and whether it may speak to it, is the endpoint's.

use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};

use crate::config::Interval;
use crate::discard::Discard;
use crate::state::{Diagnostic, State};

/// The length of a packet without authentication, in octets (RFC 5880 §4.1).
pub const PACKET_LEN: usize = 24;

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The number by which one end knows a session; never zero (RFC 5880 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Discriminator(NonZeroU32);

impl Discriminator {
    /// `None` for zero, which stands for "not known" on the wire.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Discriminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A control packet (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// The P bit: the sender asks for an answer with the F bit (RFC 5880 §6.5).
    pub poll: bool,
    /// The F bit: this is such an answer.
    pub answers_poll: bool,
    /// The C bit: the sender's BFD survives the loss of its control plane.
    pub independent: bool,
    /// The D bit: the sender wants no periodic packets while both are Up (RFC 5880 §6.6).
    pub demand: bool,
    /// How many of its packets may be missed.
    pub detect_multiplier: NonZeroU8,
    /// The sender's number for the session.
    pub my_discriminator: Discriminator,
    /// The receiver's number for the session; `None` when the sender has not heard it.
    pub your_discriminator: Option<Discriminator>,
    /// How often the sender would like to send.
    pub desired_min_tx: Interval,
    /// How often the sender can receive; `None` asks for no periodic packets at all.
    pub required_min_rx: Option<Interval>,
    /// How often the sender takes echo packets; `None` is never.
    pub required_min_echo_rx: Option<Interval>,
}

impl Packet {
    /// Reads a packet, in the order of RFC 5880 §6.8.6. Octets behind its length are not looked at.
    ///
    /// # Errors
    /// The [`Discard`] that says why it must be discarded whatever sessions there are.
    pub fn parse(octets: &[u8]) -> Result<Self, Discard> {
        let Some((fixed, _)) = octets.split_first_chunk::<PACKET_LEN>() else {
            return Err(Discard::TooShort { octets: octets.len() });
        };
        let &[first, flags, multiplier, length, ref words @ ..] = fixed;
        let version = first >> 5;
        if version != VERSION {
            return Err(Discard::Version { version });
        }
        let (said, with_authentication) = (usize::from(length), flags & AUTHENTICATED != 0);
        let least = if with_authentication { PACKET_LEN + 2 } else { PACKET_LEN };
        if said < least || said > octets.len() {
            return Err(Discard::Length { said: length, octets: octets.len() });
        }
        let detect_multiplier = NonZeroU8::new(multiplier).ok_or(Discard::ZeroMultiplier)?;
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let [mine, yours, tx, rx, echo] = numbers(words);
        let my_discriminator = Discriminator::new(mine).ok_or(Discard::ZeroDiscriminator)?;
        let state = State::from_code(flags >> 6);
        let your_discriminator = Discriminator::new(yours);
        if your_discriminator.is_none() && !matches!(state, State::Down | State::AdminDown) {
            return Err(Discard::NotAddressed { state });
        }
        if with_authentication {
            return Err(Discard::Authenticated);
        }
        let unless_zero = |micros: u32| (micros != 0).then(|| Interval::from_micros(micros));
        Ok(Self {
            diagnostic: Diagnostic(first & 0x1F),
            state,
            poll: flags & POLL != 0,
            answers_poll: flags & FINAL != 0,
            independent: flags & INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_multiplier,
            my_discriminator,
            your_discriminator,
            desired_min_tx: Interval::from_micros(tx),
            required_min_rx: unless_zero(rx),
            required_min_echo_rx: unless_zero(echo),
        })
    }

    /// The octets of the packet, numbers in network order and intervals in microseconds.
    #[must_use]
    pub fn to_octets(&self) -> [u8; PACKET_LEN] {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        let flags = self.state.code() << 6
            | bit(self.poll, POLL)
            | bit(self.answers_poll, FINAL)
            | bit(self.independent, INDEPENDENT)
            | bit(self.demand, DEMAND);
        let length = u8::try_from(PACKET_LEN).expect("24 fits");
        let head =
            [VERSION << 5 | self.diagnostic.code() & 0x1F, flags, self.detect_multiplier.get(), length];
        let or_zero = |interval: Option<Interval>| interval.map_or(0, Interval::micros);
        let words = [
            self.my_discriminator.number(),
            self.your_discriminator.map_or(0, Discriminator::number),
            self.desired_min_tx.micros(),
            or_zero(self.required_min_rx),
            or_zero(self.required_min_echo_rx),
        ];
        let mut octets = [0; PACKET_LEN];
        let all = head.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes));
        octets.iter_mut().zip(all).for_each(|(octet, value)| *octet = value);
        octets
    }
}

/// The five numbers behind the head.
fn numbers(words: &[u8; 20]) -> [u32; 5] {
    let mut numbers = [0; 5];
    for (number, word) in numbers.iter_mut().zip(words.as_chunks::<4>().0) {
        *number = u32::from_be_bytes(*word);
    }
    numbers
}
