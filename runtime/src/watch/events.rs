//! Events of an open watch: one a line, cut out of the answer as its octets come.
//!
//! Leaves out what follows from an event, and from the end of the answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::CallError;

/// Octets of a line. etcd takes objects of 1.5 MB, and as JSON they are seldom twice that.
const LONGEST: usize = 16 << 20;
/// A buffer that is larger is given back when it is empty, as most watches are silent most of the time.
const KEPT: usize = 4 << 10;

/// An object of an event, as text.
pub(super) struct Text(Box<RawValue>);

impl Text {
    pub(super) fn as_str(&self) -> &str {
        self.0.get()
    }
}

/// What the server says in a line.
pub(super) enum Event {
    /// This object exists and looks like this.
    Applied(Text),
    /// It is gone; this is how it looked last.
    Deleted(Text),
    /// Everything up to this version has been said.
    Mark {
        /// The version.
        version: String,
        /// It ends the state that the watch began with (KEP-3157).
        ends_state: bool,
    },
    /// The server cannot go on.
    Failed(Box<Status>),
}

/// Why there is no event where one could be.
#[derive(Debug)]
pub(super) enum EventFault {
    /// This one cannot be read; the next one may be.
    Unreadable(String),
    /// The watch is over.
    Broken(CallError),
}

/// What comes of a watch.
pub(super) struct Events<B = Body> {
    body: B,
    lines: Lines,
}

impl<B: HttpBody<Data = Bytes, Error = kube::Error> + Unpin> Events<B> {
    pub(super) fn of(body: B) -> Self {
        Self { body, lines: Lines::default() }
    }

    /// The next event; `None` when the server has ended the watch. May be given up at any time without loss.
    pub(super) async fn next(&mut self) -> Option<Result<Event, EventFault>> {
        loop {
            if let Some(event) = self.lines.next(read) {
                return Some(event);
            }
            let octets = match self.body.frame().await? {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => return Some(Err(EventFault::Broken(error.into()))),
            };
            if !self.lines.add(&octets) {
                let fault = CallError::Unreadable(format!("an event is longer than {LONGEST} octets"));
                return Some(Err(EventFault::Broken(fault)));
            }
        }
    }
}

/// Octets that came and are still to be read.
#[derive(Default)]
struct Lines {
    octets: Vec<u8>,
    /// Up to here they were read.
    from: usize,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Lines {
    /// `false` when a line would become too long.
    fn add(&mut self, octets: &[u8]) -> bool {
        self.octets.drain(..self.from);
        self.searched -= self.from;
        self.from = 0;
        self.octets.extend_from_slice(octets);
        self.octets.len() <= LONGEST
    }

    /// What `read` makes of the next line that is whole and not empty.
    fn next<T>(&mut self, read: impl Fn(&[u8]) -> T) -> Option<T> {
        loop {
            let Some(length) = self.octets[self.searched..].iter().position(|octet| *octet == b'\n') else {
                self.searched = self.octets.len();
                if self.from == self.octets.len() && self.octets.capacity() > KEPT {
                    *self = Self::default();
                }
                return None;
            };
            let end = self.searched + length;
            let line = self.octets[self.from..end].trim_ascii();
            let made = (!line.is_empty()).then(|| read(line));
            (self.from, self.searched) = (end + 1, end + 1);
            if made.is_some() {
                return made;
            }
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Mark {
    metadata: MarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn read(line: &[u8]) -> Result<Event, EventFault> {
    let unreadable = |error: serde_json::Error| EventFault::Unreadable(error.to_string());
    let Line { r#type, object } = api::json::from_octets(line).map_err(|error| alone(line, &error))?;
    match r#type.as_ref() {
        "ADDED" | "MODIFIED" => Ok(Event::Applied(Text(object.to_owned()))),
        "DELETED" => Ok(Event::Deleted(Text(object.to_owned()))),
        "BOOKMARK" => {
            let Mark { metadata } = serde_json::from_str(object.get()).map_err(unreadable)?;
            let ends_state = metadata.annotations.contains_key("k8s.io/initial-events-end");
            Ok(Event::Mark { version: metadata.resource_version, ends_state })
        }
        "ERROR" => Ok(Event::Failed(serde_json::from_str(object.get()).map_err(unreadable)?)),
        other => Err(EventFault::Unreadable(format!("an event of the type {other:?}"))),
    }
}

/// A server that fails while it streams may say a Status alone; as that has no required field, any object is one.
fn alone(line: &[u8], error: &serde_json::Error) -> EventFault {
    let status: Option<Box<Status>> = api::json::from_octets(line).ok();
    match status.filter(|status| status.code != 0 || status.status.is_some()) {
        Some(status) => EventFault::Broken(CallError::Refused(status)),
        None => EventFault::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// The events of an answer that comes in these pieces, a word each.
    async fn events(pieces: &[&str]) -> Vec<String> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, kube::Error>(Frame::data(Bytes::copy_from_slice(piece.as_bytes()))))
            .collect();
        let mut events = Events::of(StreamBody::new(futures::stream::iter(frames)));
        let mut said = Vec::new();
        while let Some(event) = events.next().await {
            said.push(match event {
                Ok(Event::Applied(text)) => format!("applied {}", text.as_str()),
                Ok(Event::Deleted(text)) => format!("deleted {}", text.as_str()),
                Ok(Event::Mark { version, ends_state }) => format!("mark {version} {ends_state}"),
                Ok(Event::Failed(status)) => format!("failed {}", status.code),
                Err(EventFault::Unreadable(reason)) => format!("unreadable {reason}"),
                Err(EventFault::Broken(error)) => format!("broken {}", error.word()),
            });
        }
        said
    }

    #[tokio::test]
    async fn lines_are_events_however_the_octets_come() {
        let text = "{\"type\":\"ADDED\",\"object\":{\"a\":\"ä\"}}\n\r\n{\"object\":{},\"type\":\"DELETED\"}\r\n\
             {\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}\n\
             {\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"8\",\
             \"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n\
             {\"\\u0074ype\":\"MODIFI\\u0045D\",\"object\":{}}\n";
        let expected = ["applied {\"a\":\"ä\"}", "deleted {}", "mark 7 false", "mark 8 true", "applied {}"];
        assert_eq!(events(&[text]).await, expected);
        // Cut at every place, also within a letter.
        for at in 0..text.len() {
            let (Some(one), Some(two)) = (text.get(..at), text.get(at..)) else { continue };
            assert_eq!(events(&[one, two]).await, expected, "cut at {at}");
        }
        let letters: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!(events(&letters).await, expected);
    }

    #[tokio::test]
    async fn what_is_no_event_is_told_and_the_rest_goes_on() {
        let said = events(&["{\"type\":\"ADDED\"}\nnonsense\n{\"type\":\"MOVED\",\"object\":{}}\n{\"type\":\"ADDED\",\"object\":{}}\n"]).await;
        assert!(said[..3].iter().all(|one| one.starts_with("unreadable ")), "{said:?}");
        assert_eq!(said[3..], ["applied {}"]);
    }

    #[tokio::test]
    async fn a_status_ends_the_watch_whether_as_an_event_or_alone() {
        let gone = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":410}";
        assert_eq!(events(&[&format!("{{\"type\":\"ERROR\",\"object\":{gone}}}\n")]).await, ["failed 410"]);
        assert_eq!(events(&[gone, "\n"]).await, ["broken refused"]);
    }

    #[tokio::test]
    async fn half_a_line_at_the_end_is_no_event() {
        assert_eq!(events(&["{\"type\":\"ADDED\",\"object\":{}}\n{\"type\":\"ADD"]).await, ["applied {}"]);
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_a_large_buffer_given_back() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; LONGEST];
        assert!(lines.add(&piece));
        assert!(lines.next(|_| ()).is_none());
        assert!(!lines.add(b"x"));

        let mut lines = Lines::default();
        assert!(lines.add(&[vec![b'x'; 10 * KEPT], vec![b'\n']].concat()));
        assert_eq!(lines.next(<[u8]>::len), Some(10 * KEPT));
        assert!(lines.next(|_| ()).is_none());
        assert_eq!(lines.octets.capacity(), 0);
    }
}
