//! One speaker after another, as real programs: one that gets no processor in the middle of a hand-over, one of another user.

#![allow(clippy::unwrap_used, reason = "a surprise ends the run")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use speaker::takeover::channel::Channel;
use speaker::takeover::message::{Answer, GREETING_LIMIT, Hello, Order, VERSION};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than a hand-over may take.
const STOPPED: Duration = Duration::from_millis(1500);

/// Nobody listens there: a speaker that has no API server holds the turn all the same.
const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
";

/// The program, which ends with the test.
struct Speaker(Child);

impl Speaker {
    fn start(folder: &Path) -> Self {
        Self(command(folder, Path::new(env!("CARGO_BIN_EXE_speaker"))).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

fn command(folder: &Path, program: &Path) -> Command {
    let kubeconfig = folder.join("kubeconfig");
    File::create(&kubeconfig).unwrap().write_all(KUBECONFIG.as_bytes()).unwrap();
    let mut command = Command::new(program);
    command.args(["--node-name=n1", "--admin-addr=127.0.0.1:0"]).stdin(Stdio::null());
    for (flag, file) in
        [("--kubeconfig", "kubeconfig"), ("--socket", "speaker.sock"), ("--state-dir", "state")]
    {
        command.arg(flag).arg(folder.join(file));
    }
    command
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answer(channel: &Channel) -> Answer {
    let received = timeout(PATIENCE, channel.receive::<Answer>(GREETING_LIMIT)).await;
    received.expect("an answer in time").expect("an answer").0
}

/// Asks as a successor does, as soon as the speaker listens.
async fn knock(socket: &Path) -> Channel {
    let connected = async {
        loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => return stream,
                Err(_not_yet) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let channel = Channel::new(timeout(PATIENCE, connected).await.expect("the speaker listens"));
    let hello = Hello { oldest: VERSION, newest: VERSION, node: "n1".to_owned(), build: "test".to_owned() };
    // Who is sent away may not even be heard.
    let _ = channel.send(&Order::Hello(hello), None).await;
    channel
}

#[tokio::test]
async fn a_commitment_that_came_while_the_speaker_was_stopped_counts() {
    let folder = tempfile::tempdir().unwrap();
    let speaker = Speaker::start(folder.path());
    let channel = knock(&folder.path().join("takeover-metallb-system.sock")).await;
    assert!(matches!(answer(&channel).await, Answer::Welcome { .. }));
    channel.send(&Order::Ready, None).await.unwrap();
    assert!(matches!(answer(&channel).await, Answer::Sessions { count: 0, ears: 0, paths: 0 }));
    speaker.signal(Signal::STOP);
    // The successor has everything, and holds the sessions from here on.
    channel.send(&Order::Commit, None).await.unwrap();
    sleep(STOPPED).await;
    speaker.signal(Signal::CONT);
    let last = answer(&channel).await;
    assert!(
        matches!(last, Answer::Done),
        "it woke up, saw the clock and went on beside its successor: {last:?}"
    );
}

/// Waits until a log has these words.
async fn logged(log: &Path, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log).unwrap();
        if text.contains(words) {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?} is not in\n{text}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A speaker that needs capabilities is another user than one that needs none, and of the same group.
#[tokio::test]
async fn a_speaker_of_another_user_of_the_group_follows_and_a_stranger_is_sent_away() {
    const GROUP: u32 = 65_532;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be several users");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // As the init container prepares it.
    chown(folder, None, Some(GROUP)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o770)).unwrap();
    // The folder that programs are built in may be shut for others.
    let program = folder.join("speaker");
    fs::copy(env!("CARGO_BIN_EXE_speaker"), &program).unwrap();
    let of = |user: u32| {
        let log = folder.join(format!("log-{user}"));
        let out = File::create(&log).unwrap();
        let speaker = command(folder, &program).uid(user).gid(GROUP).stdout(out).spawn().unwrap();
        (Speaker(speaker), log)
    };
    let (_first, first_log) = of(GROUP);
    let socket = folder.join("takeover-metallb-system.sock");
    // We are of another user and group.
    let stranger = knock(&socket).await;
    let refused = timeout(PATIENCE, stranger.receive::<Answer>(GREETING_LIMIT)).await.expect("an end");
    assert!(refused.is_err(), "{refused:?}");
    logged(&first_log, "a process of another user and group asked for the sessions").await;
    let (_second, second_log) = of(GROUP + 1);
    logged(&second_log, "its sessions will be taken over").await;
    let text = fs::read_to_string(&second_log).unwrap();
    assert!(!text.contains("state folder cannot be written"), "{text}");
}
