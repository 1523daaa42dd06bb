//! Log lines as a collector sees them, and what level texts mean.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;

use super::{LevelFault, check_level, json, level};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn lines(say: impl FnOnce()) -> Vec<String> {
    let written = Lines::default();
    let layer = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(json::Lines)
        .with_writer(written.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
    let octets = written.0.lock().unwrap().clone();
    String::from_utf8(octets).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_one_flat_json_object_with_the_fixed_keys_first() {
    let lines = lines(|| {
        let span = tracing::info_span!("peer", peer = "router", node = "n1");
        let _inside = span.enter();
        tracing::warn!(node = "n2", count = 3, fine = true, what = ?[1], target = "x", "session \"down\"");
    });
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert!(line.starts_with("{\"ts\":\"20"), "{line}");
    let tail = line.split_once(",\"level\"").unwrap().1;
    assert_eq!(
        tail,
        ":\"warn\",\"msg\":\"session \\\"down\\\"\",\"target\":\"runtime::log::tests\",\"node\":\"n2\",\
         \"peer\":\"router\",\"count\":3,\"fine\":true,\"what\":\"[1]\",\"target_\":\"x\"}"
    );
    let object: Value = serde_json::from_str(line).unwrap();
    let time = object["ts"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000000Z".len(), "{time}");
}

#[test]
fn line_breaks_in_a_value_do_not_break_the_line() {
    let lines = lines(|| tracing::info!(text = "a\nb", "first\nsecond"));
    assert_eq!(lines.len(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap()["msg"], "first\nsecond");
}

/// Whether `target` may speak at `Level` under the text.
fn check(text: &str, target: &'static str, level: Level, expected: bool) {
    let targets = level::parse(text).unwrap();
    assert_eq!(targets.would_enable(target, &level), expected, "{text}: {target} at {level}");
}

#[test]
fn a_plain_level_is_about_heralds_own_crates() {
    check("info", "speaker::decide", Level::INFO, true);
    check("info", "speaker::decide", Level::DEBUG, false);
    check("debug", "runtime::watch", Level::DEBUG, true);
    check("debug", "hyper::proto", Level::DEBUG, false);
    check("debug", "hyper::proto", Level::WARN, true);
    check("debug", "kube_client::client", Level::WARN, false);
    check("trace", "hyper::proto", Level::TRACE, true);
    check("off", "speaker", Level::ERROR, false);
    check("error", "hyper", Level::WARN, false);
}

#[test]
fn lists_name_targets_and_metallbs_words_are_understood() {
    check("info,bgp_proto=trace", "bgp_proto::fsm", Level::TRACE, true);
    check("info,bgp_proto=trace", "speaker", Level::DEBUG, false);
    check("speaker=debug", "speaker", Level::DEBUG, true);
    check("speaker=debug", "runtime", Level::INFO, true);
    check("info,hyper=debug", "hyper::proto", Level::DEBUG, true);
    check("all", "speaker", Level::TRACE, true);
    check("none", "speaker", Level::ERROR, false);
    check(" INFO ", "speaker", Level::INFO, true);
}

#[test]
fn other_texts_are_refused_with_a_sentence() {
    for text in ["", "loud", "info,", "speaker=", "=debug", "speaker=loud"] {
        assert_eq!(check_level(text), Err(LevelFault::Unknown(text.to_owned())), "{text:?}");
    }
    let text = check_level("loud").unwrap_err().to_string();
    assert!(text.starts_with("\"loud\" is no log level: use off, error, warn"), "{text}");
}
