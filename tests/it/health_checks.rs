//! Dependencies that hang, go away and come back: what is seen of that in probes and metrics, and when checks end.

use crate::support::health::{Dependency, check, check_status, metrics, value};
use crate::support::run::{Run, folder, wait_for, words};
use crate::support::{DEADLINE, app, free_port, get, python3, signals};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// graceful with a probe server and this file as its configuration.
fn start(port: u16, file: &str, options: &[&str], command: &[String]) -> Run {
    let folder = folder();
    let path = folder.path().join("graceful.toml");
    std::fs::write(&path, file).expect("room");
    let listen = format!("127.0.0.1:{port}");
    let fixed = ["--probe-listen", &listen, "--config", path.to_str().expect("UTF-8")];
    Run::start_in(folder, &[&fixed, options].concat(), command)
}

/// An app for which only the checks matter.
fn idle() -> Vec<String> {
    signals(&["--exit-on", "TERM=4"])
}

/// A check of every 20 ms. Its timeout is not the interval, as it would be unsaid: a busy machine takes its time.
fn a_check(name: &str, target: &str, more: &str) -> String {
    let timeout = if more.contains("timeout") { "" } else { "timeout = \"20s\"" };
    let interval = if more.contains("interval") { "" } else { "interval = \"20ms\"" };
    format!("[[check]]\nname = \"{name}\"\ntarget = \"{target}\"\njitter = \"0s\"\n{interval}\n{timeout}\n{more}\n")
}

fn tcp_check(name: &str, port: u16, more: &str) -> String {
    let target = format!("tcp://127.0.0.1:{port}");
    a_check(name, &target, &format!("send = \"PING\\r\\n\"\nexpect = \"+PONG\"\n{more}"))
}

/// Of the app itself, which does not listen yet when it is asked for the first time.
fn http_check(port: u16) -> String {
    a_check("http", &format!("http://127.0.0.1:{port}/"), "")
}

/// One test of this file at a time: they measure, or try things often.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|error| error.into_inner())
}

/// So many tries of a check have ended, whatever came of them.
fn tries(port: u16, name: &str) -> f64 {
    let page = metrics(port);
    let count = |result| value(&page, &format!("graceful_check_tries_total{{check=\"{name}\",result=\"{result}\"}}"));
    ["healthy", "degraded", "unhealthy"].into_iter().filter_map(count).sum()
}

mod a_hanging_dependency {
    use super::*;

    const OTHERS: [&str; 4] = ["tcp", "http", "command", "disk"];
    /// A busy machine is slow for reasons of its own, and for a while: that something is fast at all shows in the best of
    /// some rounds. What a hanging dependency did to the others would be there in every one.
    const ROUNDS: usize = 10;

    /// Two gracefuls with the same checks, side by side so that the same noise hits both; one of them has two more, which
    /// hang: one that gives up again and again, and one that does not in this test's time.
    struct Pair {
        runs: Vec<(Run, u16)>,
        /// The app of the first one: GET / has nothing to do with health.
        web: u16,
        _dependencies: Vec<Dependency>,
        _alone: MutexGuard<'static, ()>,
    }

    /// The other checks are tried in this interval.
    fn pair(interval: &str) -> Pair {
        let alone = alone();
        let (redis, silent) = (Dependency::answering(free_port()), Dependency::silent(free_port()));
        let web = free_port();
        let others = tcp_check("tcp", redis.port(), "")
            + &http_check(web)
            + &a_check("command", "exec:true", "")
            + &a_check("disk", "disk:/", "degraded_free = \"2B\"\nunhealthy_free = \"1B\"");
        let others = others.replace("20ms", interval);
        let hanging = tcp_check("late", silent.port(), "critical = false\ntimeout = \"200ms\"")
            + &tcp_check("stuck", silent.port(), "critical = false\ninterval = \"1h\"\ntimeout = \"1h\"");
        let start = |file: &str, command: &[String]| {
            let port = free_port();
            (start(port, file, &[], command), port)
        };
        let server = words(&[&python3(), &app("ready.py"), &web.to_string()]);
        let runs = vec![start(&others, &server), start(&(others.clone() + &hanging), &idle())];
        for (_, port) in &runs {
            wait_for("ready", || get(*port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
        }
        wait_for("two that hang", || silent.connections() >= 3);
        wait_for("one that gives up", || check_status(runs[1].1, "late") == "unhealthy");
        Pair { runs, web, _dependencies: vec![redis, silent], _alone: alone }
    }

    impl Pair {
        fn without(&self) -> u16 {
            self.runs[0].1
        }

        fn with(&self) -> u16 {
            self.runs[1].1
        }
    }

    /// The middle one of 25 latencies of a check, in milliseconds.
    fn latency(port: u16, name: &str) -> f64 {
        let mut seen: Vec<f64> = Vec::new();
        while seen.len() < 25 {
            let before = tries(port, name);
            wait_for("one more try", || tries(port, name) > before);
            seen.push(check(port, name)["latency_ms"].as_f64().expect("a number"));
        }
        seen.sort_by(f64::total_cmp);
        seen[seen.len() / 2]
    }

    #[test]
    fn leaves_the_latencies_of_all_others_as_they_were() {
        let pair = pair("20ms");
        for name in OTHERS {
            let mut rounds = Vec::new();
            while rounds.len() < ROUNDS && !rounds.last().is_some_and(|(without, with)| with <= &(without * 1.5 + 1.0))
            {
                rounds.push((latency(pair.without(), name), latency(pair.with(), name)));
            }
            println!("{name}: milliseconds without and with: {rounds:?}");
            let (without, with) = rounds.last().expect("a round");
            assert!(*with <= without * 1.5 + 1.0, "{name}: milliseconds without and with: {rounds:?}");
        }
        assert_eq!(check_status(pair.with(), "stuck"), "unknown", "its only try is still under way");
    }

    #[test]
    fn takes_no_turn_from_the_others() {
        let pair = pair("20ms");
        for name in OTHERS {
            // The same time for both: that in which one of them is tried fifty times.
            let begin = (tries(pair.without(), name), tries(pair.with(), name));
            wait_for("fifty tries", || tries(pair.without(), name) >= begin.0 + 50.0);
            let with = tries(pair.with(), name) - begin.1;
            assert!(with >= 25.0, "{name}: {with} tries instead of fifty");
        }
    }

    /// The slowest but ten of 1000 requests, one every 3 ms. Those that were due while one had to wait would have waited
    /// for the rest of that: they count, though nobody sent them. Without them a server that is held up now and then
    /// would be one late answer, as it holds up those who ask as well.
    fn p99(port: u16, path: &str) -> Duration {
        let interval = Duration::from_millis(3);
        let mut took = Vec::new();
        while took.len() < 1000 {
            let begin = Instant::now();
            let (status, _, body) = get(port, path, DEADLINE).expect("an answer");
            assert_eq!(status, 200, "{body}");
            let whole = begin.elapsed();
            took.extend((0..).map_while(|missed| whole.checked_sub(interval * missed)));
            std::thread::sleep(interval.saturating_sub(whole));
        }
        took.sort();
        took[took.len() - 1 - took.len() / 100]
    }

    #[test]
    fn leaves_readyz_under_5_ms() {
        let pair = pair("100ms");
        let targets = [(pair.web, "/"), (pair.without(), "/readyz"), (pair.with(), "/readyz")];
        // More than this only where the machine has no time for anybody: another small server beside them shows that.
        let limit = |other: Duration| (2 * other).max(Duration::from_millis(5));
        let is_good = |round: &[Duration; 3]| round[1].max(round[2]) < limit(round[0]);
        let mut rounds: Vec<[Duration; 3]> = Vec::new();
        while rounds.len() < ROUNDS && !rounds.last().is_some_and(is_good) {
            rounds.push(std::thread::scope(|scope| {
                let asking = targets.map(|(port, path)| scope.spawn(move || p99(port, path)));
                asking.map(|asking| asking.join().expect("every answer is right"))
            }));
        }
        println!("p99 of another server, without and with: {rounds:?}");
        assert!(rounds.last().is_some_and(is_good), "p99 of another server, without and with: {rounds:?}");
    }
}

mod the_breaker {
    use super::*;

    /// A check's status and its breaker, on a page of metrics.
    fn seen(port: u16) -> (f64, f64) {
        let page = metrics(port);
        let gauge = |name: &str| value(&page, &format!("graceful_check_{name}{{check=\"db\"}}"));
        let found = gauge("status").zip(gauge("breaker_open"));
        found.unwrap_or_else(|| panic!("no check db in {page}"))
    }

    /// Reads the metrics until they say this; all that they said, without repetitions.
    fn history_until(port: u16, last: (f64, f64)) -> Vec<(f64, f64)> {
        let history = std::cell::RefCell::new(Vec::new());
        wait_for(&format!("status and breaker {last:?}"), || {
            let now = seen(port);
            let mut history = history.borrow_mut();
            if history.last() != Some(&now) {
                history.push(now);
            }
            now == last
        });
        history.into_inner()
    }

    #[test]
    fn is_seen_opening_and_closing() {
        let _alone = alone();
        let (port, database) = (free_port(), Dependency::answering(free_port()));
        // Longer than from one look to the next on a busy machine, which is to see it open before it is half-open.
        let file = tcp_check(
            "db",
            database.port(),
            "interval = \"100ms\"\nfailure_threshold = 2\nbreaker_after = 2\nbreaker_reset = \"2s\"",
        );
        let run = start(port, &file, &[], &idle());
        wait_for("the first result", || check_status_of(port) == "healthy");
        history_until(port, (1.0, 0.0));
        assert_eq!(get(port, "/readyz", DEADLINE).expect("an answer").0, 200);

        let database_port = database.port();
        drop(database);
        let opening = history_until(port, (0.0, 1.0));
        // One failure is one too few, which a slow machine may not show.
        let expected = [(1.0, 0.0), (0.5, 0.0), (0.0, 1.0)];
        assert!(opening.iter().all(|now| expected.contains(now)), "{opening:?}");
        assert_eq!(get(port, "/readyz", DEADLINE).expect("an answer").0, 503);
        run.wait_line("check db: unhealthy: connection refused", DEADLINE);

        let _database = Dependency::answering(database_port);
        let closing = history_until(port, (1.0, 0.0));
        // Half-open for a moment, and open again if that try came too early.
        let expected = [(0.0, 1.0), (0.0, 0.5), (1.0, 0.0)];
        assert!(closing.iter().all(|now| expected.contains(now)), "{closing:?}");
        assert_eq!(get(port, "/readyz", DEADLINE).expect("an answer").0, 200);
        run.wait_line("check db: healthy again", DEADLINE);
    }

    fn check_status_of(port: u16) -> String {
        match get(port, "/livez", DEADLINE) {
            Ok(_) => check_status(port, "db"),
            Err(_) => String::new(),
        }
    }

    #[test]
    fn keeps_everything_away_while_it_is_open() {
        let _alone = alone();
        let (port, database_port) = (free_port(), free_port());
        let other = Dependency::answering(free_port());
        let open = "breaker_after = 2\nbreaker_reset = \"1h\"";
        let file = tcp_check("db", database_port, open) + &tcp_check("other", other.port(), "");
        let run = start(port, &file, &[], &idle());
        run.wait_line("check db: unhealthy", DEADLINE);
        history_until(port, (0.0, 1.0));
        let database = Dependency::answering(database_port);
        // Another check is the clock.
        let begin = other.connections();
        wait_for("twenty tries of the other", || other.connections() >= begin + 20);
        assert_eq!((database.connections(), seen(port)), (0, (0.0, 1.0)), "{}", run.dump());
    }
}

/// Servers that send without an end what is no message yet.
mod an_endless_dependency {
    use super::*;
    use std::io::{Read, Write};

    const CHUNK: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// Says the first once and the second until the client hangs up, to everybody.
    fn endless(first: &'static str, then: &'static str) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    _ = stream.read(&mut [0; 1024]);
                    let then = then.repeat(4096);
                    _ = stream.write_all(first.as_bytes());
                    while stream.write_all(then.as_bytes()).is_ok() {}
                });
            }
        });
        port
    }

    #[test]
    fn fails_its_check_and_holds_up_no_probe() {
        let _alone = alone();
        let (port, size, hints) = (free_port(), endless(CHUNK, "0"), endless("", "HTTP/1.1 100 Continue\r\n\r\n"));
        let file = [("size", size), ("hints", hints)].map(|(name, port)| {
            a_check(name, &format!("http://127.0.0.1:{port}/"), "interval = \"50ms\"\nfailure_threshold = 1")
        });
        let run = start(port, &file.concat(), &[], &idle());
        // Without an end of their own they would last as long as their timeout.
        run.wait_line("check size: unhealthy: 200, but more than 256 KiB came", DEADLINE);
        run.wait_line("check hints: unhealthy: more than 256 KiB came before the answer was complete", DEADLINE);
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(get(port, "/livez", DEADLINE).expect("an answer").0, 200);
                start.elapsed()
            })
            .collect();
        times.sort();
        assert!(times[10] < Duration::from_millis(500), "{times:?}");
    }

    /// The names of graceful's helper threads for HTTP.
    fn threads(run: &Run) -> Vec<String> {
        let folder = std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("it runs");
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let names = folder.flatten().map(|task| name(task).trim().to_owned());
        let mut names: Vec<_> =
            names.filter(|name| matches!(name.as_str(), "graceful-http" | "graceful-probes")).collect();
        names.sort();
        names
    }

    #[test]
    fn is_asked_on_another_thread_than_the_one_that_answers() {
        let (port, other) = (free_port(), free_port());
        let both = start(port, &http_check(other), &[], &idle());
        wait_for("an answer", || get(port, "/livez", DEADLINE).is_ok());
        wait_for("both threads", || threads(&both) == ["graceful-http", "graceful-probes"]);
        // Where nothing is asked there is no thread for it.
        let port = free_port();
        let one = start(port, "", &[], &idle());
        wait_for("an answer", || get(port, "/livez", DEADLINE).is_ok());
        assert_eq!(threads(&one), ["graceful-probes"]);
    }

    /// What it needs to answer is built for the first client; and a log line to a pipe needs no thread at all (from Linux
    /// 6.4 on).
    #[test]
    fn costs_nothing_before_the_first_client() {
        let port = free_port();
        let run = start(port, "", &[], &idle());
        run.wait_line("probes and metrics are answered on", DEADLINE);
        // What it sleeps in: ppoll(2), and later the runtime's epoll(7).
        let sleeps = |call: libc::c_long| {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("it runs").flatten();
            let calls = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("syscall")).ok());
            let calls: Vec<String> = calls.collect();
            calls.iter().filter(|is| is.split(' ').next() == Some(&call.to_string())).count()
        };
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
        let mut version = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (version.next(), version.next());
        let tasks = || std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("it runs").count();
        // The main loop does as well.
        wait_for("both asleep", || sleeps(libc::SYS_ppoll) == 2);
        assert_eq!(threads(&run), ["graceful-probes"]);
        assert!(tasks() == 2 || version < (Some(6), Some(4)), "{} threads", tasks());
        // No signal can end it: not in any of its threads, and none of all 64 but SIGKILL and SIGSTOP.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", run.pid())).expect("it runs").flatten();
        for task in tasks {
            let status = std::fs::read_to_string(task.path().join("status")).expect("it is there");
            assert!(status.contains("SigBlk:\tfffffffffffbfeff"), "{status}");
        }
        assert_eq!(get(port, "/livez", DEADLINE).expect("an answer").0, 200);
        wait_for("it to wait for more", || sleeps(libc::SYS_ppoll) == 1);
        // Readiness has come once, although nobody had asked when it did.
        let page = get(port, "/metrics", DEADLINE).expect("an answer").2;
        assert!(page.contains("graceful_readiness_changes_total{to=\"ready\"} 1"), "{page}");
    }
}

/// Docker's retries and Kubernetes' failureThreshold: so many failures in a row, and no fewer, are unhealthy.
mod the_threshold {
    use super::*;

    fn readiness(port: u16) -> u16 {
        get(port, "/readyz", DEADLINE).expect("an answer").0
    }

    fn status_now(port: u16) -> f64 {
        value(&metrics(port), "graceful_check_status{check=\"db\"}").expect("a check")
    }

    #[test]
    fn fewer_failures_only_degrade() {
        let _alone = alone();
        let (port, database) = (free_port(), Dependency::answering(free_port()));
        // One failure more than there will be.
        let run = start(port, &tcp_check("db", database.port(), "failure_threshold = 1000000"), &[], &idle());
        wait_for("the first result", || get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
        drop(database);
        let tried = tries(port, "db");
        wait_for("twenty failures", || tries(port, "db") >= tried + 20.0);
        assert_eq!((readiness(port), status_now(port)), (200, 0.5), "{}", run.dump());
        run.wait_line("check db: degraded: 1 of 1000000 failures: connection refused", DEADLINE);
    }

    #[test]
    fn so_many_in_a_row_are_unhealthy_and_one_success_ends_it() {
        let _alone = alone();
        let (port, database) = (free_port(), Dependency::answering(free_port()));
        let run = start(port, &tcp_check("db", database.port(), "interval = \"50ms\""), &[], &idle());
        wait_for("the first result", || get(port, "/readyz", DEADLINE).is_ok_and(|(status, ..)| status == 200));
        let database_port = database.port();
        drop(database);
        wait_for("503", || readiness(port) == 503);
        run.wait_line("check db: unhealthy: connection refused", DEADLINE);
        let lines: Vec<String> = run.lines().into_iter().map(|line| line.text).collect();
        let line = |text: &str| lines.iter().position(|line| line.contains(text));
        let (degraded, unhealthy) = (line("check db: degraded: 1 of 3 failures"), line("check db: unhealthy"));
        assert!(degraded.is_some() && degraded < unhealthy, "{}", run.dump());
        // No breaker keeps it away.
        let tried = tries(port, "db");
        wait_for("tries go on", || tries(port, "db") >= tried + 10.0);
        let _database = Dependency::answering(database_port);
        wait_for("200", || readiness(port) == 200);
        run.wait_line("check db: healthy again (answered as expected)", DEADLINE);
    }
}

#[test]
fn after_the_drain_begins_only_readiness_is_asked() {
    let _alone = alone();
    let (port, web) = (free_port(), free_port());
    let database = Dependency::answering(free_port());
    let tries = folder();
    let file = tries.path().join("tries");
    let config = tcp_check("tcp", database.port(), "")
        + &http_check(web)
        + &a_check("command", &format!("exec:sh -c 'echo x >>{}'", file.display()), "");
    let url = format!("http://127.0.0.1:{web}/ready");
    let options = ["--grace-period", "120s", "--pre-stop-delay", "60s", "--ready-url", &url];
    let options = [&options[..], &["--ready-interval", "20ms"]].concat();
    // It has been told and lingers.
    let server = words(&[&python3(), &app("ready.py"), &web.to_string(), "--linger", "0"]);
    let run = start(port, &config, &options, &server);
    let requests = |path: &str| {
        let end = format!(" {path}");
        run.lines().iter().filter(|line| line.text.starts_with("GET ") && line.text.ends_with(&end)).count()
    };
    let counts = || {
        let commands = std::fs::read_to_string(&file).unwrap_or_default().lines().count();
        [database.connections(), requests("/"), commands]
    };
    let wait_for_more = |what: &str| {
        let begin = counts();
        wait_for(what, || counts().iter().zip(begin).all(|(now, before)| *now >= before + 3));
    };
    wait_for_more("three tries of each check");
    run.stop_begun(libc::SIGTERM);
    wait_for_more("tries while the app still serves");

    // A person's Ctrl-C ends the delay.
    run.stop(libc::SIGINT);
    wait_for("the app's signal", || run.lines().iter().any(|line| line.text == "SIGTERM"));
    // A try that was under way when the drain began is over when readiness has been asked a few times since.
    let polls = requests("/ready");
    wait_for("polls in the drain", || requests("/ready") >= polls + 3);
    let (polls, before) = (requests("/ready"), counts());
    wait_for("more polls in the drain", || requests("/ready") >= polls + 20);
    assert_eq!(counts(), before, "{}", run.dump());
}
