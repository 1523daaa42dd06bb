//! Pure code takes time, chance, bytes and objects as arguments: it names no clock, socket, file, lock or runtime.

use super::{Breach, is_test, product_lines};
use crate::workspace::SourceFile;

/// Folders and files that hold pure code.
const PURE: [&str; 15] = [
    "runtime/src/client/kubeconfig/tree.rs",
    "api/src/",
    "bfd-proto/src/",
    "bgp-proto/src/",
    "controller/src/alloc",
    "controller/src/plan",
    "controller/src/contest.rs",
    "controller/src/overlap.rs",
    "controller/src/pool_condition.rs",
    "speaker/src/decide",
    "speaker/src/termination/wish.rs",
    "speaker/src/watch/convert.rs",
    "speaker/src/watch/node.rs",
    "speaker/src/plan.rs",
    "speakerctl/src/absence.rs",
];

/// What pure code must not name, and why.
const FORBIDDEN: [(&str, &str); 13] = [
    ("tokio", "no runtime in pure code"),
    ("kube::Client", "no API client in pure code"),
    ("kube::Api", "no API client in pure code"),
    ("std::fs", "files are read by the shell"),
    ("std::env", "the environment is read by the shell"),
    ("TcpStream", "sockets belong to the driver"),
    ("UdpSocket", "sockets belong to the driver"),
    ("Mutex", "one owner per piece of state"),
    ("RwLock", "one owner per piece of state"),
    ("Instant::now", "time is an argument"),
    ("SystemTime::now", "time is an argument"),
    ("thread::", "no threads in pure code"),
    ("HashMap", "its order differs from run to run: equal inputs must give equal bytes"),
];

pub(super) fn check(files: &[SourceFile]) -> Vec<Breach> {
    files.iter().filter(|file| is_pure(&file.path)).flat_map(impure_lines).collect()
}

fn is_pure(path: &str) -> bool {
    path.ends_with(".rs") && PURE.iter().any(|prefix| path.starts_with(prefix)) && !is_test(path)
}

fn impure_lines(file: &SourceFile) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (line, text) in product_lines(&file.text) {
        for (word, why) in FORBIDDEN.iter().filter(|(word, _)| text.contains(word)) {
            breaches.push(Breach { path: file.path.clone(), line, why: format!("`{word}`: {why}") });
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> usize {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn a_clock_in_pure_code_is_a_breach() {
        assert_eq!(breaches("bgp-proto/src/session.rs", "let now = Instant::now();"), 1);
    }

    #[test]
    fn the_shell_may_read_the_clock() {
        assert_eq!(breaches("speaker/src/peering/driver.rs", "let now = Instant::now();"), 0);
    }

    #[test]
    fn tests_of_pure_code_are_free() {
        assert_eq!(
            breaches("bgp-proto/src/session.rs", "#[cfg(test)]\nmod tests { fn x() { Instant::now(); } }"),
            0
        );
    }
}
