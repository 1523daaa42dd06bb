//! The file on real folders; the keeper on paused time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use api::config::{Password, Peer, PeerRefusal, SessionKey};
use bgp_proto::{PathAttrs, Prefix};
use tempfile::TempDir;

use super::*;
use crate::peering::tests::peer;
use crate::plan::PeerPlan;

const HOUR: Duration = Duration::from_secs(3600);

fn tor() -> Peer {
    peer(([10, 0, 2, 1], 179).into())
}

fn routes(last: impl IntoIterator<Item = u8>) -> Arc<RouteSet> {
    let attrs = Arc::new(PathAttrs { med: Some(7), ..PathAttrs::default() });
    Arc::new(
        last.into_iter().map(|last| (Prefix::host([10, 0, 4, last].into()), Arc::clone(&attrs))).collect(),
    )
}

fn plan<const N: usize>(peers: [(&str, Peer, &Arc<RouteSet>); N]) -> Plan {
    let peers = peers.into_iter().map(|(name, peer, routes)| {
        (name.to_owned(), PeerPlan { peer: Arc::new(peer), routes: Arc::clone(routes) })
    });
    Plan { peers: peers.collect(), synced: true, version: 5, ..Plan::unsynced() }
}

fn file(folder: &Path) -> StateFile {
    StateFile::new(folder, "n1", HOUR).of_boot("boot-1")
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn read(file: &StateFile) -> Result<Plan, String> {
    file.read(SystemTime::now()).map_err(|fault| fault.to_string())
}

#[test]
fn a_plan_that_was_written_is_read_again_as_it_was() {
    let (folder, table) = (folder(), routes(1..=9));
    let file = file(&folder.path().join("made/here"));
    let written = plan([("tor", tor(), &table), ("other", Peer { port: 1179, ..tor() }, &table)]);
    file.write(&written).unwrap();
    let read = read(&file).unwrap();
    assert!(read.synced && is_same(&read, &written));
    assert!(Arc::ptr_eq(&read.peers["tor"].routes, &read.peers["other"].routes), "one table, as before");
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_peer_that_stays_down_is_not_kept() {
    let (folder, table) = (folder(), routes(1..=2));
    let file = file(folder.path());
    let refused = Some(PeerRefusal::NoSecret { secret: "s".to_owned() });
    file.write(&plan([("tor", tor(), &table), ("down", Peer { refused, ..tor() }, &table)])).unwrap();
    assert_eq!(read(&file).unwrap().peers.keys().collect::<Vec<_>>(), ["tor"]);
}

#[test]
fn a_password_is_kept_in_memory_and_never_on_a_disk() {
    let signed = || Peer { key: Password::try_new("hunter2").map(SessionKey::Md5), ..tor() };
    let kept = |folder: &Path| {
        let file = file(folder);
        file.write(&plan([("tor", signed(), &routes([1]))])).unwrap();
        read(&file).unwrap().peers.get("tor").map(|kept| kept.peer.key.clone())
    };
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: this machine has no /dev/shm");
        return;
    };
    assert_eq!(kept(memory.path()), Some(Password::try_new("hunter2").map(SessionKey::Md5)));
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert_eq!(kept(disk.path()), None, "the peer stays down until its Secret can be read");
}

#[test]
fn a_file_that_may_be_wrong_is_not_used() {
    let folder = folder();
    let file = file(folder.path());
    assert_eq!(read(&file).unwrap_err(), "there is none");
    file.write(&plan([("tor", tor(), &routes(1..=3))])).unwrap();

    let elsewhere = StateFile::new(folder.path(), "n2", HOUR).of_boot("boot-1");
    assert_eq!(read(&elsewhere).unwrap_err(), "it is of node \"n1\"");
    assert_eq!(
        read(&file.clone().of_boot("boot-2")).unwrap_err(),
        "the machine was started since it was written"
    );
    let at = |seconds: i64| {
        let now = SystemTime::now();
        let offset = Duration::from_secs(seconds.unsigned_abs());
        let then = if seconds < 0 { now - offset } else { now + offset };
        file.read(then).map(drop).map_err(|fault| fault.to_string())
    };
    assert_eq!(at(3500), Ok(()));
    assert!(at(3700).unwrap_err().ends_with("and 3600 s is the limit"));
    assert_eq!(at(-60).unwrap_err(), "it is from the future: the clock was set back");
    assert!(
        read(&StateFile::new(folder.path(), "n1", Duration::ZERO).of_boot("boot-1")).is_err(),
        "zero is never"
    );
    file.touch(SystemTime::now() + HOUR);
    assert_eq!(at(2 * 3600 - 60), Ok(()), "a speaker ran an hour from now");

    let whole = fs::read(file.path()).unwrap();
    for cut in (0..whole.len()).step_by(7) {
        fs::write(file.path(), &whole[..cut]).unwrap();
        let fault = read(&file).unwrap_err();
        assert!(
            ["it is not of the form that this version writes", "it is damaged"].contains(&fault.as_str()),
            "{fault}"
        );
    }
    for at in (0..whole.len()).step_by(5) {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x20;
        fs::write(file.path(), rotten).unwrap();
        assert!(read(&file).is_err(), "octet {at}");
    }
}

/// A keeper with its inlets.
struct Keeper {
    plan: watch::Sender<Arc<Plan>>,
    role: watch::Sender<Role>,
    memory: Memory,
    file: StateFile,
    _folder: TempDir,
}

impl Keeper {
    fn start(role: Role) -> Self {
        let folder = folder();
        let file = file(folder.path());
        let plan = watch::Sender::new(Arc::new(Plan::unsynced()));
        let role = watch::Sender::new(role);
        let never_answered = std::future::pending();
        let (memory, _) =
            Memory::start(&file, never_answered, Barrier::new(), plan.subscribe(), &role.subscribe());
        Self { plan, role, memory, file, _folder: folder }
    }

    fn say(&self, table: &Arc<RouteSet>) {
        self.plan.send_replace(Arc::new(plan([("tor", tor(), table)])));
    }

    /// How many routes are on file, once that is as expected; real time, because a thread writes.
    async fn holds(&self, expected: Option<usize>) {
        let what = format!("{expected:?} routes on file");
        let found = || read(&self.file).ok().map(|plan| plan.peers["tor"].routes.len());
        let reached = async {
            while found() != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(30), reached).await;
        assert!(within.is_ok(), "{what}, found {:?}", found());
    }
}

#[tokio::test]
async fn a_withdrawal_takes_the_file_away_at_once_and_it_is_written_again_later() {
    let keeper = Keeper::start(Role::Active);
    keeper.say(&routes(1..=3));
    keeper.holds(Some(3)).await;
    let before = std::time::Instant::now();
    keeper.say(&routes(1..=2));
    keeper.holds(None).await;
    assert!(before.elapsed() < WRITE_EVERY, "what was withdrawn is not announced again after a crash");
    keeper.holds(Some(2)).await;
    assert!(before.elapsed() > WRITE_EVERY / 2, "and the folder is not written with every change");
}

#[tokio::test]
async fn only_who_holds_the_sessions_writes() {
    let keeper = Keeper::start(Role::Waiting);
    keeper.say(&routes(1..=3));
    tokio::task::yield_now().await;
    assert_eq!(read(&keeper.file).unwrap_err(), "there is none");
    keeper.role.send_replace(Role::Active);
    keeper.holds(Some(3)).await;
}

#[tokio::test]
async fn the_end_leaves_the_newest_plan_or_nothing() {
    let keeper = Keeper::start(Role::Active);
    keeper.say(&routes(1..=3));
    keeper.holds(Some(3)).await;
    // Not written yet: the folder is not written with every change.
    keeper.say(&routes(1..=9));
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let Keeper { memory, file, _folder, .. } = keeper;
    memory.end(Ending::Keep).await;
    assert_eq!(read(&file).unwrap().peers["tor"].routes.len(), 9);

    let keeper = Keeper::start(Role::Active);
    keeper.say(&routes(1..=3));
    keeper.holds(Some(3)).await;
    keeper.memory.end(Ending::Remove).await;
    assert_eq!(read(&keeper.file).unwrap_err(), "there is none");
}

#[tokio::test]
async fn whoever_does_not_hold_the_sessions_leaves_the_file_of_the_other_alone() {
    for ending in [Ending::Keep, Ending::Remove] {
        let keeper = Keeper::start(Role::Retired);
        keeper.file.write(&plan([("tor", tor(), &routes(1..=2))])).unwrap();
        keeper.say(&routes(1..=9));
        keeper.memory.end(ending).await;
        assert_eq!(read(&keeper.file).unwrap().peers["tor"].routes.len(), 2, "{ending:?}");
    }
}

#[test]
fn a_write_that_is_under_way_does_not_come_after_the_removal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let attrs = Arc::new(PathAttrs::default());
    let many = (0..100_000_u32).map(|number| {
        let address = std::net::Ipv4Addr::from_bits(0x0A00_0000 + number);
        (Prefix::host(address.into()), Arc::clone(&attrs))
    });
    let table: Arc<RouteSet> = Arc::new(many.collect());
    let (file, folder) = runtime.block_on(async {
        let keeper = Keeper::start(Role::Active);
        keeper.say(&table);
        // The keeper has begun to write: another thread does it.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        keeper.memory.end(Ending::Remove).await;
        (keeper.file, keeper._folder)
    });
    // Waits for threads that still write.
    runtime.shutdown_timeout(Duration::from_secs(60));
    assert_eq!(read(&file).unwrap_err(), "there is none");
    drop(folder);
}

#[tokio::test]
async fn a_plan_from_the_file_keeps_it_young_while_it_is_announced() {
    let folder = folder();
    let file = file(folder.path());
    file.write(&plan([("tor", tor(), &routes(1..=3))])).unwrap();
    let old = SystemTime::now() - HOUR / 2;
    file.touch(old);
    let (role, own) = (watch::Sender::new(Role::Active), watch::Sender::new(Arc::new(Plan::unsynced())));
    let away = async { Err(CallError::TimedOut { limit: HOUR }) };
    let (_memory, mut wanted) =
        Memory::start(&file, away, Barrier::new(), own.subscribe(), &role.subscribe());
    wanted.wait_for(|plan| plan.synced).await.unwrap();
    let is_young = async {
        while fs::metadata(file.path()).unwrap().modified().unwrap() < old + HOUR / 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(30), is_young).await;
    assert!(within.is_ok(), "the next start would find it {:?} old", SystemTime::now().duration_since(old));
}

async fn restored(file: &StateFile, answer: Option<Result<(), CallError>>, synced: bool) -> Option<Plan> {
    let barrier = Barrier::new();
    let (one, _other) = (barrier.register("nodes"), barrier.register("services"));
    let role = watch::Sender::new(Role::Active);
    let waiting = restore(
        file.clone(),
        async {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        },
        barrier,
        role.subscribe(),
    );
    let marking = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if synced {
            one.mark();
        }
    };
    tokio::join!(waiting, marking).0
}

#[tokio::test(start_paused = true)]
async fn the_file_is_used_only_when_the_api_server_says_nothing_about_the_cluster() {
    let folder = folder();
    let file = file(folder.path());
    assert!(restored(&file, None, false).await.is_none(), "there is none");
    file.write(&plan([("tor", tor(), &routes(1..=3))])).unwrap();
    let away = || Some(Err(CallError::TimedOut { limit: HOUR }));
    assert_eq!(restored(&file, away(), false).await.map(|plan| plan.peers.len()), Some(1));
    assert!(restored(&file, None, false).await.is_some(), "a server that swallows everything is away, too");
    assert!(
        restored(&file, Some(Ok(())), false).await.is_some(),
        "and so is one that answers and lists nothing"
    );
    assert!(restored(&file, Some(Ok(())), true).await.is_none(), "one list is a fact of today");
}
