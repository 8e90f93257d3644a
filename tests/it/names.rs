//! Host names as probes resolve them, and as `getent ahosts` does, which is the C library's getaddrinfo(3): the same
//! questions in the same world give the same addresses, and lead to the same servers in the same order. Where they do not,
//! by intent, the test says so and the README too.
//!
//! Each test runs in a network and a mount namespace of its own: /etc/resolv.conf, /etc/hosts and /etc/nsswitch.conf are
//! its own, and so is port 53 of the loopback (`tests/apps/dns.py`).

use crate::support::{app, python3, root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For everything that has to come in the end.
const LONG: Duration = Duration::from_secs(20);

/// Set in the process that runs in the namespaces.
const INNER: &str = "GRACEFUL_TEST_INNER";

/// Runs the test in namespaces of its own.
#[track_caller]
pub(crate) fn in_a_world(test: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return test();
    }
    let Some(()) = root() else { return };
    let name = std::thread::current().name().expect("the harness names its threads").to_owned();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().expect("a path"))
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INNER, "1")
        .env_remove("RES_OPTIONS")
        .env_remove("LOCALDOMAIN")
        .output()
        .expect("unshare runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn run(command: &str) {
    let ended = Command::new("sh").args(["-ec", command]).status().expect("sh runs");
    assert!(ended.success(), "{command}");
}

/// The files and servers of one test. It ends with the test's process.
pub(crate) struct World {
    folder: tempfile::TempDir,
    servers: Child,
}

impl World {
    pub(crate) fn new(resolv_conf: &str, hosts: &[u8], servers: Value) -> World {
        World::with(resolv_conf, hosts, "hosts: files dns\n", servers)
    }

    fn with(resolv_conf: &str, hosts: &[u8], nsswitch: &str, servers: Value) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        // Addresses that are not the loopback's: without them getent asks for no IPv6 (AI_ADDRCONFIG).
        run(
            "ip link set lo up; ip address replace 198.51.100.1/32 dev lo; ip address replace 2001:db8:1::1/128 dev lo nodad",
        );
        let bind = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("room");
            run(&format!("mount --bind {} /etc/{name}", path.display()));
        };
        bind("resolv.conf", resolv_conf.as_bytes());
        bind("hosts", hosts);
        bind("nsswitch.conf", nsswitch.as_bytes());
        let config = folder.path().join("servers.json");
        std::fs::write(&config, servers.to_string()).expect("room");
        std::fs::write(folder.path().join("queries"), "").expect("room");
        let mut command = Command::new(python3());
        command.arg(app("dns.py")).arg(&config).arg(folder.path().join("queries"));
        let mut servers = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 runs");
        let mut ready = String::new();
        BufReader::new(servers.stdout.take().expect("a pipe")).read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n");
        World { folder, servers }
    }

    /// Runs it, and says which servers were asked for which names meanwhile: `127.0.0.1 app.test`, each once, in order.
    fn asked<T>(&self, what: impl FnOnce() -> T) -> (T, Vec<String>) {
        let path = self.folder.path().join("queries");
        let before = read(&path).len();
        let result = what();
        let mut asked = Vec::new();
        for line in read(&path)[before..].lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let query = format!("{} {}", words[0], words[2]);
            if !asked.contains(&query) {
                asked.push(query);
            }
        }
        (result, asked)
    }

    /// Both find exactly these, on the same way.
    #[track_caller]
    fn same(&self, name: &str, expected: &[&str]) {
        let (theirs, their_way) = self.asked(|| getent(name));
        let (ours, our_way) = self.asked(|| resolve(name, LONG));
        assert_eq!(theirs, set(expected), "{name}: getent, by {their_way:?}");
        assert_eq!(ours, theirs, "{name}: by {our_way:?}, getent by {their_way:?}");
        assert_eq!(our_way, their_way, "{name}: the way");
    }

    /// The README says why.
    #[track_caller]
    fn differs(&self, name: &str, ours: &[&str], theirs: &[&str]) {
        assert_eq!(getent(name), set(theirs), "{name}: getent");
        assert_eq!(resolve(name, LONG), set(ours), "{name}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        _ = self.servers.kill();
        _ = self.servers.wait();
        // Another world of this test cannot be put on top of files that are gone.
        run("umount /etc/resolv.conf /etc/hosts /etc/nsswitch.conf");
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| address.to_string()).collect()
}

/// What the C library says; nothing where it finds nothing.
fn getent(name: &str) -> BTreeSet<String> {
    let output = Command::new("getent").args(["ahosts", name]).output().expect("getent runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split_ascii_whitespace().next()).map(str::to_owned).collect()
}

/// What a probe says, within this time.
fn resolve(name: &str, within: Duration) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().expect("a runtime");
    let found = runtime.block_on(graceful::http::resolve(name, within));
    found.map_or_else(|_| BTreeSet::new(), |found| found.iter().map(|address| address.to_string()).collect())
}

const TWO: &str = "nameserver 127.0.0.1\nnameserver 127.0.0.2\n";
const NO_HOSTS: &[u8] = b"";

/// Knows the internal name.
fn internal() -> Value {
    json!({"zone": {"app.internal": ["192.0.2.1", "2001:db8::1"]}})
}

/// Knows everything but that.
fn public() -> Value {
    json!({"zone": {"example.com": ["192.0.2.80"]}})
}

#[test]
fn the_first_server_is_asked_first_however_slow_it_is() {
    in_a_world(|| {
        let mut slow = internal();
        slow["delay"] = json!(0.1);
        let world = World::new(TWO, NO_HOSTS, json!({"127.0.0.1": slow, "127.0.0.2": public()}));
        for _ in 0..20 {
            world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
        }
        // Its no is final, and the second is not asked. (`same` has compared the way.)
        let (found, way) = world.asked(|| resolve("example.com", LONG));
        assert_eq!((found, way), (set(&[]), vec!["127.0.0.1 example.com".to_owned()]));
        world.same("example.com", &[]);
    });
}

#[test]
fn a_command_that_probes_a_name_asks_the_first_server() {
    in_a_world(|| {
        let own = json!({"zone": {"app.internal": ["127.0.0.9"]}, "delay": 0.1});
        let _world = World::new(TWO, NO_HOSTS, json!({"127.0.0.1": own, "127.0.0.2": public()}));
        let listener = std::net::TcpListener::bind("127.0.0.9:8080").expect("an address of its own");
        for target in ["tcp://app.internal:8080", "tcp://app.internal.:8080"] {
            let output = crate::support::graceful_command().args(["probe", target]).output().expect("graceful runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && text.starts_with(&format!("{target}: connected in ")), "{text}");
        }
        drop(listener);
    });
}

/// Nobody ever answers: the command ends by its deadline all the same, and says who was silent.
#[test]
fn a_command_whose_resolvers_are_silent_names_them_within_its_deadline() {
    in_a_world(|| {
        let _world = World::new(TWO, NO_HOSTS, json!({"127.0.0.1": {"silent": true}, "127.0.0.2": {"silent": true}}));
        let targets = ["tcp://app.internal:8080", "http://app.internal:8080/ready"];
        let probes = targets.map(|target| {
            let probe = ["probe", "--timeout", "1200ms", target];
            (target, crate::support::Proc::spawn(crate::support::graceful_command().args(probe)))
        });
        for (target, process) in probes {
            let (exit, stdout, _) = process.wait_output(LONG);
            assert_eq!(exit, crate::support::Exit::Code(1), "{}", process.dump());
            assert_eq!(stdout, format!("{target}: cannot resolve app.internal: no answer from the DNS servers\n"));
        }
    });
}

#[test]
fn a_name_without_an_address_is_one_too() {
    in_a_world(|| {
        let none = json!({"zone": {"app.internal": []}});
        let world = World::new(TWO, NO_HOSTS, json!({"127.0.0.1": none, "127.0.0.2": internal()}));
        world.same("app.internal", &[]);
    });
}

#[test]
fn silence_leads_to_the_next_server() {
    in_a_world(|| {
        let conf = format!("{TWO}options timeout:1 attempts:1\n");
        let servers = json!({"127.0.0.1": {"silent": true}, "127.0.0.2": internal()});
        let world = World::new(&conf, NO_HOSTS, servers);
        world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
    });
}

#[test]
fn every_server_has_its_turn_before_the_deadline() {
    in_a_world(|| {
        // By the file each server is waited for 5 s.
        let conf = format!("{TWO}nameserver 127.0.0.3\n");
        let silent = json!({"silent": true});
        let world =
            World::new(&conf, NO_HOSTS, json!({"127.0.0.1": silent, "127.0.0.2": silent, "127.0.0.3": internal()}));
        let (found, way) = world.asked(|| resolve("app.internal", Duration::from_secs(4)));
        assert_eq!(found, set(&["192.0.2.1", "2001:db8::1"]), "{way:?}");
        assert_eq!(way, ["127.0.0.1 app.internal", "127.0.0.2 app.internal", "127.0.0.3 app.internal"]);
    });
}

#[test]
fn a_server_that_is_slower_than_its_turn_is_heard_all_the_same() {
    in_a_world(|| {
        let mut slow = internal();
        slow["delay"] = json!(1.2);
        let _world = World::new("nameserver 127.0.0.1\n", NO_HOSTS, json!({"127.0.0.1": slow}));
        // Its first turn is a second.
        assert_eq!(resolve("app.internal", Duration::from_secs(2)), set(&["192.0.2.1", "2001:db8::1"]));
    });
}

#[test]
fn a_server_that_refuses_by_icmp_is_not_waited_for() {
    in_a_world(|| {
        // Nobody listens on 127.0.0.1.
        let world = World::new(TWO, NO_HOSTS, json!({"127.0.0.2": internal()}));
        world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
        let start = Instant::now();
        resolve("app.internal", LONG);
        assert!(start.elapsed() < Duration::from_secs(5), "it was waited for");
        drop(world);
        let world = World::new("nameserver 127.0.0.3\n", NO_HOSTS, json!({}));
        world.same("app.internal", &[]);
    });
}

#[test]
fn a_server_that_cannot_say_leads_to_the_next() {
    in_a_world(|| {
        // FORMERR, SERVFAIL, NOTIMP, REFUSED.
        for code in [1, 2, 4, 5] {
            let servers = json!({"127.0.0.1": {"rcode": code}, "127.0.0.2": internal()});
            let world = World::new(TWO, NO_HOSTS, servers);
            match code {
                // glibc takes it for an answer.
                1 => world.differs("app.internal", &["192.0.2.1", "2001:db8::1"], &[]),
                _ => world.same("app.internal", &["192.0.2.1", "2001:db8::1"]),
            }
        }
    });
}

#[test]
fn one_family_that_is_dropped_takes_nothing_from_the_other() {
    in_a_world(|| {
        let conf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
        for (dropped, left) in [("AAAA", "192.0.2.1"), ("A", "2001:db8::1")] {
            let mut server = internal();
            server["silent"] = json!([dropped]);
            let world = World::new(conf, NO_HOSTS, json!({"127.0.0.1": server}));
            match dropped {
                "AAAA" => world.same("app.internal", &[left]),
                // The C library wants an answer to A.
                _ => world.differs("app.internal", &[left], &[]),
            }
            let short = resolve("app.internal", Duration::from_secs(2));
            assert_eq!(short, set(&[left]), "{dropped} is dropped");
        }
    });
}

#[test]
fn search_lists_are_gone_through_in_the_same_order() {
    in_a_world(|| {
        let zone = json!({"127.0.0.1": {"zone": {
            "app.a.test": ["192.0.2.1"], "web.b.test": ["192.0.2.2"], "x.y": ["192.0.2.3"], "x.y.z": ["192.0.2.4"],
            "db.x.b.test": ["192.0.2.5"], "bare": ["192.0.2.6"], "empty.a.test": [],
        }}});
        let names =
            ["app", "web", "x.y", "x.y.z", "db.x", "bare", "empty", "nope", "no.pe", "app.", "app.a.test.", "x.y."];
        let found = |name: &str, ndots: usize| match name {
            "app" | "app.a.test." => vec!["192.0.2.1"],
            "web" => vec!["192.0.2.2"],
            "x.y" | "x.y." => vec!["192.0.2.3"],
            "x.y.z" => vec!["192.0.2.4"],
            "db.x" => vec!["192.0.2.5"],
            "bare" if ndots < 99 => vec!["192.0.2.6"],
            _ => vec![],
        };
        for ndots in [0, 1, 2, 5] {
            let conf = format!("search a.test b.test\nnameserver 127.0.0.1\noptions ndots:{ndots}\n");
            let world = World::new(&conf, NO_HOSTS, zone.clone());
            for name in names {
                world.same(name, &found(name, ndots));
            }
        }
        for conf in ["domain a.test", "search a.test\ndomain b.test", "search .", "search a.test\noptions no-tld-query"]
        {
            let world = World::new(&format!("{conf}\nnameserver 127.0.0.1\n"), NO_HOSTS, zone.clone());
            for name in names {
                let theirs = getent(name);
                world.same(name, &theirs.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn a_failure_in_the_search_is_not_the_end_of_it() {
    in_a_world(|| {
        let conf = "search a.test b.test\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
        let world = World::new(conf, NO_HOSTS, json!({"127.0.0.1": {"rcode": 2}}));
        world.same("app", &[]);
        world.same("app.x", &[]);
        drop(world);
        let world = World::new(conf, NO_HOSTS, json!({"127.0.0.1": {"silent": true}}));
        world.same("app", &[]);
        world.same("app.x", &[]);
    });
}

#[test]
fn a_malformed_search_domain_is_left_out() {
    in_a_world(|| {
        let zone = json!({"127.0.0.1": {"zone": {"app.good.test": ["192.0.2.1"], "x.y": ["192.0.2.2"]}}});
        let long = "x".repeat(64);
        for bad in ["bad..test", long.as_str(), "bad.test.."] {
            let before = World::new(&format!("search good.test {bad}\nnameserver 127.0.0.1\n"), NO_HOSTS, zone.clone());
            before.same("app", &["192.0.2.1"]);
            before.same("x.y", &["192.0.2.2"]);
            drop(before);
            // glibc ends the search there.
            let after = World::new(&format!("search {bad} good.test\nnameserver 127.0.0.1\n"), NO_HOSTS, zone.clone());
            after.differs("app", &["192.0.2.1"], &[]);
            after.same("x.y", &["192.0.2.2"]);
        }
    });
}

#[test]
fn odd_options_break_nothing() {
    in_a_world(|| {
        let options = [
            "timeout:0",
            "timeout:99 attempts:99 ndots:99",
            "timeout:x ndots:-1",
            "rotate single-request single-request-reopen edns0 trust-ad",
            "use-vc",
        ];
        for options in options {
            let conf = format!("# a comment\n; another\nnameserver 127.0.0.1\noptions {options}\nsortlist 10.0.0.0\n");
            let world = World::new(&conf, NO_HOSTS, json!({"127.0.0.1": internal()}));
            world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
        }
        // The C library makes no attempt at all.
        for options in ["attempts:0", "timeout:0 attempts:"] {
            let conf = format!("nameserver 127.0.0.1\noptions {options}\n");
            let world = World::new(&conf, NO_HOSTS, json!({"127.0.0.1": internal()}));
            world.differs("app.internal", &["192.0.2.1", "2001:db8::1"], &[]);
        }
        for conf in
            ["nameserver ::1\n", "nameserver 127.1\n", "nameserver\t127.0.0.1 # x\n", "nameserver 127.0.0.1;x\n"]
        {
            let world = World::new(conf, NO_HOSTS, json!({"127.0.0.1": internal(), "::1": internal()}));
            world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
        }
        let conf = "nameserver 127.0.0.1\noptions rotate\nnameserver 127.0.0.2\n";
        let world = World::new(conf, NO_HOSTS, json!({"127.0.0.1": internal(), "127.0.0.2": internal()}));
        let asked: BTreeSet<_> = (0..8).flat_map(|_| world.asked(|| resolve("app.internal", LONG)).1).collect();
        assert_eq!(asked, set(&["127.0.0.1 app.internal", "127.0.0.2 app.internal"]));
    });
}

#[test]
fn answers_of_every_size_and_length_are_read() {
    in_a_world(|| {
        let many: Vec<String> = (1..=200).map(|number| format!("192.0.2.{number}")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        let conf = "nameserver 127.0.0.1\n";
        let server = json!({"zone": {"app.internal": many}, "truncate": true});
        World::new(conf, NO_HOSTS, json!({"127.0.0.1": server})).same("app.internal", &all);
        let server = json!({"zone": {"app.internal": ["192.0.2.1", "2001:db8::1"]}, "aliases": 12});
        World::new(conf, NO_HOSTS, json!({"127.0.0.1": server})).same("app.internal", &["192.0.2.1", "2001:db8::1"]);
    });
}

#[test]
fn answers_to_other_questions_are_not_believed() {
    in_a_world(|| {
        let mut server = internal();
        server["stranger"] = json!(true);
        let world = World::new("nameserver 127.0.0.1\n", NO_HOSTS, json!({"127.0.0.1": server}));
        world.same("app.internal", &["192.0.2.1", "2001:db8::1"]);
    });
}

#[test]
fn hosts_files_are_read_whatever_is_in_them() {
    in_a_world(|| {
        let hosts = b"127.0.0.1 localhost\n192.0.2.1 caf\xe9 App\n192.0.2.2\tdb db.test # not.this\n\
            2001:db8::2 db\n192.0.2 broken\nnonsense\n192.0.2.3 my_app\n192.0.2.4 dotted.\n";
        let world = World::new("nameserver 127.0.0.1\n", hosts, json!({"127.0.0.1": public()}));
        world.same("app", &["192.0.2.1"]);
        world.same("DB", &["192.0.2.2", "2001:db8::2"]);
        world.same("db.test", &["192.0.2.2"]);
        world.same("my_app", &["192.0.2.3"]);
        for nobody in ["not.this", "broken", "nope", "db.test."] {
            world.same(nobody, &[]);
        }
    });
}

#[test]
fn a_long_hosts_file_is_read_to_its_end() {
    in_a_world(|| {
        let mut hosts: String = (0..200_000).map(|number| format!("0.0.0.0 ads{number}.test\n")).collect();
        hosts.push_str("192.0.2.1 app\n");
        let world = World::new("nameserver 127.0.0.1\n", hosts.as_bytes(), json!({"127.0.0.1": public()}));
        world.same("app", &["192.0.2.1"]);
        world.same("ads199999.test", &["0.0.0.0"]);
    });
}

#[test]
fn addresses_need_nobody() {
    in_a_world(|| {
        let world = World::new("nameserver 127.0.0.1\n", NO_HOSTS, json!({"127.0.0.1": public()}));
        for (name, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            world.same(name, &[address]);
        }
        // A scope is no part of what a URL can name (RFC 3986), nor of a target.
        world.differs("fe80::1%lo", &[], &["fe80::1%1"]);
    });
}

#[test]
fn odd_names_are_asked_for_or_not_as_by_the_c_library() {
    in_a_world(|| {
        let zone = json!({"zone": {"my_app": ["192.0.2.1"], "_sip._tcp.test": ["192.0.2.2"], "a-": ["192.0.2.3"]}});
        let world = World::new("nameserver 127.0.0.1\n", NO_HOSTS, json!({"127.0.0.1": zone}));
        world.same("my_app", &["192.0.2.1"]);
        world.same("MY_APP.", &["192.0.2.1"]);
        world.same("_sip._tcp.test", &["192.0.2.2"]);
        let long = "x".repeat(64);
        let longer = ["x".repeat(60).as_str(); 5].join(".");
        for nobody in ["a..b", ".a", long.as_str(), longer.as_str()] {
            world.same(nobody, &[]);
        }
    });
}

#[test]
fn where_graceful_differs_by_intent() {
    in_a_world(|| {
        // Localhost is this machine (RFC 6761), in a scratch image without a hosts file too.
        let world = World::new("nameserver 127.0.0.1\n", NO_HOSTS, json!({"127.0.0.1": internal()}));
        world.differs("localhost", &["127.0.0.1", "::1"], &[]);
        drop(world);
        // No server is asked that no file names. glibc asks 127.0.0.1.
        let world = World::new("search a.test\n", NO_HOSTS, json!({"127.0.0.1": internal()}));
        world.differs("app.internal", &[], &["192.0.2.1", "2001:db8::1"]);
        drop(world);
        // nsswitch.conf is not read.
        let hosts = b"192.0.2.9 app.internal\n";
        let servers = json!({"127.0.0.1": internal()});
        let world = World::with("nameserver 127.0.0.1\n", hosts, "hosts: dns files\n", servers);
        world.differs("app.internal", &["192.0.2.9"], &["192.0.2.1", "2001:db8::1"]);
    });
}
