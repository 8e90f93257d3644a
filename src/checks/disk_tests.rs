use super::*;
use crate::http::testing::{DEADLINE, is_inner, rerun};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::mpsc;

const LONG: Duration = DEADLINE;
const SHORT: Duration = Duration::from_millis(50);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Every file system has this much.
const MODEST: DiskLimits = DiskLimits { degraded: Space::Bytes(2), unhealthy: Space::Bytes(1) };

fn percents(degraded: f64, unhealthy: f64) -> DiskLimits {
    DiskLimits { degraded: Space::Percent(degraded), unhealthy: Space::Percent(unhealthy) }
}

fn sizes(degraded: u64, unhealthy: u64) -> DiskLimits {
    DiskLimits { degraded: Space::Bytes(degraded), unhealthy: Space::Bytes(unhealthy) }
}

#[test]
fn parts_are_of_space_and_of_inodes() {
    use Status::{Degraded, Healthy, Unhealthy};
    for (free, free_inodes, status, detail) in [
        (1000, 1000, Healthy, "100% free"),
        (200, 200, Healthy, "20% free"),
        (199, 200, Degraded, "19% free"),
        (100, 900, Degraded, "10% free"),
        (99, 900, Unhealthy, "9.9% free"),
        (40, 900, Unhealthy, "4% free"),
        (0, 0, Unhealthy, "0% free"),
        (900, 150, Degraded, "15% of the inodes free"),
        (900, 99, Unhealthy, "9.9% of the inodes free"),
        // Space is only degraded; the inodes are worse.
        (150, 20, Unhealthy, "2% of the inodes free"),
        (20, 150, Unhealthy, "2% free"),
    ] {
        let usage = Usage { size: 1000, free, inodes: 1000, free_inodes };
        assert_eq!(judged(usage, percents(20.0, 10.0)), (status, detail.to_owned()), "{free} {free_inodes}");
    }
    // btrfs has no number of inodes.
    let usage = Usage { size: 1000, free: 500, inodes: 0, free_inodes: 0 };
    assert_eq!(judged(usage, percents(20.0, 10.0)), (Healthy, "50% free".to_owned()));
}

#[test]
fn sizes_are_of_space_alone() {
    use Status::{Degraded, Healthy, Unhealthy};
    for (free, limits, status, detail) in [
        (4 * GIB, sizes(2 * GIB, GIB), Healthy, "4 GiB free"),
        (2 * GIB, sizes(2 * GIB, GIB), Healthy, "2 GiB free"),
        (2 * GIB - 1, sizes(2 * GIB, GIB), Degraded, "1.9 GiB free"),
        (1300 * MIB, sizes(2 * GIB, GIB), Degraded, "1.2 GiB free"),
        (512 * MIB, sizes(2 * GIB, GIB), Unhealthy, "512 MiB free"),
        (17, sizes(2 * GIB, GIB), Unhealthy, "17 B free"),
        (0, sizes(2 * GIB, GIB), Unhealthy, "0 B free"),
        (1024 * GIB, sizes(1025 * GIB, KIB), Degraded, "1 TiB free"),
    ] {
        let usage = Usage { size: 2048 * GIB, free, inodes: 1000, free_inodes: 0 };
        assert_eq!(judged(usage, limits), (status, detail.to_owned()), "{free}");
    }
}

#[test]
fn a_part_and_a_size_go_together() {
    let limits = DiskLimits { degraded: Space::Percent(50.0), unhealthy: Space::Bytes(10 * MIB) };
    let usage = |free| Usage { size: 100 * MIB, free: free * MIB, inodes: 10, free_inodes: 10 };
    assert_eq!(judged(usage(60), limits), (Status::Healthy, "60% free".to_owned()));
    assert_eq!(judged(usage(40), limits), (Status::Degraded, "40% free".to_owned()));
    assert_eq!(judged(usage(9), limits), (Status::Unhealthy, "9 MiB free".to_owned()));
}

#[test]
fn what_has_no_size_is_not_known_to_be_full() {
    let usage = Usage { size: 0, free: 0, inodes: 0, free_inodes: 0 };
    for limits in [percents(20.0, 10.0), MODEST] {
        let unknown = "the file system does not say how large it is";
        assert_eq!(judged(usage, limits), (Status::Degraded, unknown.to_owned()));
    }
}

#[tokio::test]
async fn a_real_file_system_has_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let ask = async |path: &Path, limits| attempt(path, limits, LONG, &mut Stuck::default()).await;
    let found = ask(dir.path(), MODEST).await;
    assert!(found.status == Status::Healthy && found.detail.ends_with("B free"), "{found:?}");
    let found = ask(dir.path(), sizes(u64::MAX, u64::MAX)).await;
    assert!(found.status == Status::Unhealthy && found.detail.ends_with("B free"), "{found:?}");
    let found = ask(&dir.path().join("none"), MODEST).await;
    assert_eq!((found.status, found.detail.as_str()), (Status::Unhealthy, "no such file or directory"));
    let found = ask(Path::new("/proc"), MODEST).await;
    assert_eq!(found.status, Status::Degraded);
}

/// A question that is answered, with numbers that no real file system has, when its other end is dropped.
fn hanging() -> (std::io::Result<Question>, mpsc::Sender<()>) {
    let (end, wait) = mpsc::channel::<()>();
    let question = blocking::start(move || {
        _ = wait.recv();
        Ok(Usage { size: 1 << 60, free: 77, inodes: 0, free_inodes: 0 })
    });
    (question, end)
}

fn seen(attempt: &Attempt) -> (Status, &str) {
    (attempt.status, attempt.detail.as_str())
}

#[tokio::test]
async fn while_one_question_hangs_no_second_one_is_asked() {
    let mut stuck = Stuck::default();
    let (question, end) = hanging();
    let found = answered(|| question, MODEST, SHORT, &mut stuck).await;
    assert_eq!(seen(&found), (Status::Unhealthy, "no answer within 50ms"));
    assert!(found.took >= SHORT);
    let second = || panic!("a second question");
    for _ in 0..2 {
        let found = answered(second, MODEST, SHORT, &mut stuck).await;
        assert_eq!(seen(&found), (Status::Unhealthy, "no answer within 50ms, still hanging"));
        assert!(found.took >= SHORT);
    }
    // It comes back while it is waited for, and its own answer counts.
    let (found, ()) = tokio::join!(answered(second, MODEST, LONG, &mut stuck), async { drop(end) });
    assert_eq!(seen(&found), (Status::Healthy, "77 B free"));
    // Then a new one is asked.
    let found = attempt(Path::new("/"), MODEST, LONG, &mut stuck).await;
    assert!(found.status == Status::Healthy && found.detail != "77 B free", "{found:?}");
}

#[tokio::test]
async fn an_answer_of_long_ago_does_not_count() {
    let (question, end) = hanging();
    let mut question = question.unwrap();
    let mut stuck = Stuck(Some(question.clone()));
    drop(end);
    question.wait().await.expect("an answer").expect("numbers");
    let found = attempt(Path::new("/"), MODEST, LONG, &mut stuck).await;
    assert!(found.status == Status::Healthy && found.detail != "77 B free", "{found:?}");
}

#[tokio::test]
async fn a_hanging_question_holds_nobody_up() {
    let (question, _end) = hanging();
    let mut stuck = Stuck(question.ok());
    // On the same thread: the second gets its answer with no end in sight for the first.
    let others = async {
        for _ in 0..20 {
            assert_eq!(attempt(Path::new("/"), MODEST, LONG, &mut Stuck::default()).await.status, Status::Healthy);
        }
    };
    tokio::select! {
        found = attempt(Path::new("/"), MODEST, LONG, &mut stuck) => panic!("{found:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let question = || blocking::start(|| panic!("on purpose"));
    let found = answered(question, MODEST, LONG, &mut Stuck::default()).await;
    assert_eq!(seen(&found), (Status::Unhealthy, "it could not be asked"));
}

#[test]
fn without_a_thread_it_fails_and_no_more() {
    rerun("checks::disk::tests::inner_without_a_thread", &[]);
}

/// The body of the test above, in a process of its own: with no address space left, no thread can be started.
#[test]
fn inner_without_a_thread() {
    if !is_inner() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stuck = Stuck::default();
    let mut ask = || runtime.block_on(attempt(Path::new("/"), MODEST, LONG, &mut stuck));
    // The first of all: a thread that has ended leaves its stack to the next.
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    setrlimit(Resource::RLIMIT_AS, pages * 4096 + 64 * KIB, hard).unwrap();
    let found = ask();
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    let detail = "no thread to ask: resource temporarily unavailable";
    assert_eq!((found.status, found.detail.as_str()), (Status::Unhealthy, detail));
    assert_eq!(ask().status, Status::Healthy);
}
