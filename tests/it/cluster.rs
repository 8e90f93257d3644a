//! A cluster: three Docker engines as one swarm, HAProxy before the replicas, and the drill as the client that notices.
//!
//! The router learns of a stop by health checks alone. Each operation that a team does to a service by day is one drill
//! with its command as the stop; nothing may be dropped. The control has tini in the place of graceful and all else equal.
//! `tests/run cluster` does all of it, with the servers that people bring; `cargo test` one update and one drained node.

use crate::support::cluster::{Cluster, NODES, haproxy_config};
use crate::support::docker::{Image, copy, copy_libraries, copy_program, image_with, under};
use crate::support::examples::example;
use crate::support::run::folder;
use crate::support::{Proc, graceful_command, haproxy, node, tini, venv};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// The longest operation, on a machine with much else to do.
const OPERATION: Duration = Duration::from_secs(400);
/// From the loss of a node on its checks fail, after a timeout, and nothing more is sent to it.
const LOST_WITHIN_S: f64 = 8.0;
/// Requests a second.
const RATE: &str = "100";

/// The tests' image with what a cluster needs.
#[track_caller]
fn image() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let (haproxy, tini) = (haproxy()?, tini()?);
    image_with(&IMAGE, |root| {
        for program in [&haproxy, &tini] {
            copy_program(root, program, under(root, program));
        }
        haproxy_config(&root.join("etc/haproxy.cfg"));
        for (name, args, starts) in STAND_INS {
            let file = root.join("usr/local/bin").join(name);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(&file, format!("#!/bin/sh\n[ \"$*\" = '{args}' ] && exec python3 {starts}\n"))
                .expect("written");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
    })
}

/// What examples/swarm starts, how it does, and what runs instead: the servers themselves are in the long form.
const STAND_INS: [(&str, &str, &str); 2] = [
    ("gunicorn", "--bind :8000 --graceful-timeout 10 shop:app", "/apps/bare.py 8000 0.0.0.0"),
    ("celery", "-A shop worker", "/apps/signals.py"),
];

/// The same with the servers that people bring.
#[track_caller]
fn image_of_servers() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let (haproxy, node, venv) = (haproxy()?, node()?, venv()?);
    image_with(&IMAGE, |root| {
        let python = std::path::PathBuf::from("/usr/lib/python3.11");
        let modules = venv.modules();
        let native = |folder: &Path| {
            let found = Command::new("find").arg(folder).args(["-name", "*.so*", "-type", "f"]).output();
            let found = String::from_utf8(found.expect("find runs").stdout).expect("paths are UTF-8");
            found.lines().map(std::path::PathBuf::from).collect::<Vec<_>>()
        };
        for folder in [&python, &modules] {
            let to = under(root, folder);
            std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
            let copied = Command::new("cp").arg("-a").arg("-T").arg(folder).arg(&to).status();
            assert!(copied.is_ok_and(|status| status.success()), "{}", folder.display());
        }
        for program in [&haproxy, &node] {
            copy_program(root, program, under(root, program));
        }
        native(&python).iter().chain(&native(&modules)).for_each(|file| copy_libraries(root, file));
        for app in ["fastapi_app.py", "wsgi_app.py", "node_app.js", "node_bare.js"] {
            copy(Path::new(&crate::support::app(app)), &root.join("apps").join(app));
        }
        std::os::unix::fs::symlink(&modules, root.join("modules")).expect("a symbolic link");
        haproxy_config(&root.join("etc/haproxy.cfg"));
    })
}

/// What people bring: its name, and how it is started. A server that closes an idle connection (uvicorn and Node after five
/// seconds, gunicorn after two) while the router sends a request on it loses that request, whether anything is stopped or
/// not; so, as every load balancer's manual asks, they keep them for longer than the router does.
const SERVERS: [(&str, &[&str]); 3] = [
    (
        "FastAPI",
        &[
            "/usr/bin/python3",
            "-m",
            "uvicorn",
            "--host",
            "0.0.0.0",
            "--port",
            "8000",
            "--timeout-keep-alive",
            KEEP_ALIVE_S,
            "fastapi_app:app",
        ],
    ),
    ("Node", &["/usr/bin/node", "/apps/node_bare.js", "8000", "0.0.0.0"]),
    (
        "gunicorn",
        &[
            "/usr/bin/python3",
            "-m",
            "gunicorn",
            "--bind",
            "0.0.0.0:8000",
            "--workers",
            "2",
            "--threads",
            "8",
            "--keep-alive",
            KEEP_ALIVE_S,
            "wsgi_app:app",
        ],
    ),
];
const KEEP_ALIVE_S: &str = "75";

/// `tests/run cluster`: with the servers that people bring, ten times, and what else happens to a cluster.
fn is_whole() -> bool {
    std::env::var_os("GRACEFUL_TEST_CLUSTER").is_some()
}

/// Which of the servers: all, unless some are named.
fn is_wanted(name: &str) -> bool {
    let wanted = std::env::var("GRACEFUL_TEST_CLUSTER").unwrap_or_default();
    wanted == "whole" || wanted.split(',').any(|one| one == name)
}

/// What runs in the service, and how it is asked.
struct Site<'a> {
    cluster: &'a Cluster,
    image: &'a Image,
}

impl Site<'_> {
    /// The service under graceful with so many replicas, and the router before it, which is served by it.
    fn serve(&self, replicas: &str, options: &[&str], server: &[&str]) {
        let probed = ["--replicas", replicas, "--health-cmd", "/graceful probe"];
        let args = [&["--"], server].concat();
        self.cluster.service("web", &[&SERVICE[..], &GRACEFUL, &probed, options].concat(), self.image, &args);
        self.route(("/readyz", 9090));
        self.wait_served();
    }

    /// A node is emptied.
    fn drain(&self) -> String {
        let drain = self.cluster.command_line(1, "node update --availability drain node2");
        let gone = format!("while [ -n \"$({})\" ]; do sleep 0.2; done", self.cluster.command_line(2, "ps --quiet"));
        format!("{drain} && {gone}")
    }

    /// It takes tasks again.
    fn undrain(&self) {
        self.cluster.docker(1, &["node", "update", "--availability", "active", "node2"]);
    }

    /// HAProxy on the first node, on its address. `check`: the path and the port that say whether a replica is ready.
    fn route(&self, check: (&str, u16)) {
        let script = format!(
            "sed -e 's,/readyz,{},' -e 's/port 9090/port {}/' /etc/haproxy.cfg >/tmp/haproxy.cfg && \
             exec haproxy -W -db -f /tmp/haproxy.cfg",
            check.0, check.1
        );
        let options = ["--constraint", "node.hostname==node1", "--entrypoint", "sh -c"];
        let published = ["--publish", "mode=host,published=8080,target=8080", "--env", "PATH=/bin:/usr/bin:/usr/sbin"];
        self.cluster.service("router", &[options, published].concat(), self.image, &[&script]);
    }

    fn remove(&self) {
        for service in ["web", "router"] {
            self.cluster.docker(1, &["service", "rm", service]);
        }
        self.cluster.wait_for("end of the old tasks", || {
            self.cluster.docker(1, &["ps", "--quiet", "--filter", "name=router"]).is_empty()
        });
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:8080{path}", self.cluster.address(1))
    }

    fn wait_served(&self) {
        let url = self.url("/");
        self.cluster.wait_for("answer of the router", || {
            let mut asked = Command::new("curl");
            asked.args(["--fail", "--silent", "--max-time", "2", "--output", "/dev/null", &url]);
            asked.status().is_ok_and(|status| status.success())
        });
    }

    /// The drill of this operation: the JSON of it, and its text.
    fn drill(&self, operation: &str) -> (Value, String) {
        let files = folder();
        let json = files.path().join("drill.json");
        let mut drill = graceful_command();
        drill.args([
            "drill",
            "--rolling",
            "--grace-period",
            "6m",
            "--lb-lag",
            "2s",
            "--timeout",
            "30s",
            "--rate",
            RATE,
            "-v",
        ]);
        drill.args(["--url", &self.url("/"), "--slow-target", &self.url("/slow?seconds=1")]);
        drill.args(["--stop-command", operation]).arg(format!("--output=json={}", json.display()));
        let (_, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(OPERATION);
        let text = format!("{operation}\n{stdout}\n{stderr}\n{}", self.cluster.dump());
        let document = std::fs::read_to_string(json).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let document: Value = serde_json::from_str(&document).expect("JSON");
        (document["drills"][0].clone(), text)
    }

    /// The operation was done, and no client noticed.
    #[track_caller]
    fn nothing_is_dropped(&self, operation: &str) {
        if let Err(text) = self.dropped(operation) {
            panic!("{text}");
        }
    }

    /// How many requests there were, none of which was dropped; else what was seen.
    fn dropped(&self, operation: &str) -> Result<usize, String> {
        let (drill, text) = self.drill(operation);
        let requests = drill["requests"].as_array().map_or(0, Vec::len);
        let ended = drill["timeline"].as_array().is_some_and(|all| {
            all.iter().any(|mark| {
                mark["words"].as_str().is_some_and(|words| words.contains("the stop command ends: exit status 0"))
            })
        });
        if requests > 500 && drill["dropped"] == 0 && ended { Ok(requests) } else { Err(text) }
    }
}

/// As its README says, with this image in the place of `example.org/shop`.
fn the_example_is_deployed(cluster: &Cluster, image: &Image) {
    let (stack, from) = (example("swarm/stack.yml"), "image: example.org/shop:1");
    assert_eq!(stack.matches(from).count(), 2, "{stack}");
    let files = folder();
    let file = files.path().join("stack.yml");
    std::fs::write(&file, stack.replace(from, &format!("image: {}", image.name))).expect("written");
    let file = file.to_str().expect("a path");
    cluster.docker(1, &["stack", "deploy", "--resolve-image", "never", "-c", file, "shop"]);
    for service in ["shop_web", "shop_worker"] {
        cluster.wait_replicas(service);
    }
    // What a neighbour gets; the published port is Swarm's own affair, and needs IPVS of the kernel.
    let web = cluster.docker(1, &["ps", "--quiet", "--filter", "name=shop_web", "--last", "1"]);
    cluster.docker(1, &["exec", &web, "wget", "-q", "-O", "/dev/null", "http://tasks.web:8000/"]);
    cluster.docker(1, &["stack", "rm", "shop"]);
    let tasks = ["ps", "--quiet", "--filter", "name=shop"];
    cluster.wait_for("end of the stack", || (1..=NODES).all(|node| cluster.docker(node, &tasks).is_empty()));
}

/// What an init container does elsewhere: the binary copies itself into a volume, and the service starts from there.
fn graceful_comes_by_a_volume(cluster: &Cluster, image: &Image) {
    let volume = "graceful:/opt/graceful";
    cluster.docker(1, &["run", "--rm", "--volume", volume, &image.name, "install", "/opt/graceful"]);
    let mount = ["--mount", "type=volume,source=graceful,target=/opt/graceful", "--constraint", "node.hostname==node1"];
    let options = [&mount[..], &["--entrypoint", "/opt/graceful/graceful"], &GRACEFUL].concat();
    cluster.service("wrapped", &options, image, &[&["--"], &APP[..]].concat());
    let task = cluster.docker(1, &["ps", "--quiet", "--filter", "name=wrapped", "--last", "1"]);
    let started = cluster.docker(1, &["exec", &task, "sh", "-c", "readlink /proc/1/exe"]);
    assert_eq!(started.trim(), "/opt/graceful/graceful");
    cluster.docker(1, &["service", "rm", "wrapped"]);
    let tasks = ["ps", "--quiet", "--filter", "name=wrapped"];
    cluster.wait_for("end of the service", || cluster.docker(1, &tasks).is_empty());
}

/// All replicas are replaced, and the command waits for that.
const UPDATE: &str = "service update --quiet --force web";
/// Where the servers' modules and apps are in their image; and two of the six at a time, which is half the time.
const MODULES: [&str; 6] =
    ["--env", "PYTHONPATH=/apps:/modules", "--env", "KEEP_ALIVE_MS=75000", "--update-parallelism", "2"];
/// A service's options that are the same with graceful and with tini.
const SERVICE: [&str; 14] = [
    "--health-interval",
    "1s",
    "--health-start-period",
    "30s",
    "--stop-grace-period",
    "20s",
    "--update-order",
    "start-first",
    "--update-parallelism",
    "1",
    "--update-delay",
    "0s",
    "--update-monitor",
    "1s",
];
const GRACEFUL: [&str; 8] = [
    "--env",
    "GRACEFUL_GRACE_PERIOD=20s",
    "--env",
    "GRACEFUL_PRE_STOP_DELAY=2s",
    "--env",
    "GRACEFUL_PROBE_LISTEN=:9090",
    "--env",
    "GRACEFUL_READY_URL=tcp://127.0.0.1:8000",
];
/// Without a handler for SIGTERM.
const APP: [&str; 4] = ["/usr/bin/python3", "/apps/bare.py", "8000", "0.0.0.0"];

#[test]
fn an_update_and_a_drained_node_drop_nothing_and_with_tini_they_do() {
    if is_whole() && !SERVERS.iter().all(|(name, _)| is_wanted(name)) {
        return all_else_drops_nothing();
    }
    let Some(image) = image() else { return };
    let Some(cluster) = Cluster::start(&[&image]) else { return };
    let site = Site { cluster: &cluster, image: &image };
    site.serve("3", &[], &APP);
    site.nothing_is_dropped(&cluster.command_line(1, UPDATE));
    site.nothing_is_dropped(&site.drain());
    site.undrain();
    site.remove();
    the_example_is_deployed(&cluster, &image);
    graceful_comes_by_a_volume(&cluster, &image);

    let tini = tini().expect("it was there a moment ago");
    let asked = ["--replicas", "3", "--health-cmd", "wget -q -O /dev/null http://127.0.0.1:8000/"];
    let entrypoint = ["--entrypoint", tini.to_str().expect("a path")];
    cluster.service("web", &[&SERVICE[..], &asked, &entrypoint].concat(), &image, &[&["--"], &APP[..]].concat());
    site.route(("/", 8000));
    site.wait_served();
    let (drill, text) = site.drill(&cluster.command_line(1, UPDATE));
    assert!(drill["dropped"].as_u64().is_some_and(|dropped| dropped > 0), "tini drops nothing?\n{text}");
    drop(cluster);
    if is_whole() {
        all_else_drops_nothing();
    }
}

/// The better part of an hour: ten updates each of what people bring, and what else a team does to a service by day. All of
/// it is tried, and what failed is told at the end.
fn all_else_drops_nothing() {
    let Some(image) = image_of_servers() else { return };
    let Some(mut cluster) = Cluster::start(&[&image]) else { return };
    let mut failures = Vec::new();
    for (name, server) in SERVERS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let site = Site { cluster: &cluster, image: &image };
        let manager = |args: &str| cluster.command_line(1, args);
        site.serve("6", &MODULES, server);
        let scaled = |to: u32| manager(&format!("service scale web={to}"));
        let (first, second) = (manager("service update --detach --force web"), manager(UPDATE));
        let fails = manager(
            "service update --quiet --update-failure-action rollback --update-max-failure-ratio 0 --args '-- /no/such/app' web",
        );
        let hup = format!(
            "for i in 1 2 3 4 5 6 7 8 9 10; do for c in $({}); do {} $c; done; sleep 1; done",
            cluster.command_line(1, "ps --quiet --filter name=web"),
            cluster.command_line(1, "kill --signal HUP")
        );
        let updates = (1..=10).map(|number| (format!("update {number}"), manager(UPDATE)));
        let others = [
            ("a drained node", site.drain()),
            ("two of six, and six again", format!("{} && {} && sleep 5", scaled(2), scaled(6))),
            ("an update in the middle of an update", format!("{first} && sleep 6 && {second}")),
            ("an update that fails and rolls back", format!("{fails}; true")),
        ];
        let others = others.map(|(what, operation)| (what.to_owned(), operation));
        let reload = (name == "gunicorn").then(|| ("HUP, ten times".to_owned(), hup));
        for (what, operation) in updates.chain(others).chain(reload) {
            let begin = std::time::Instant::now();
            match site.dropped(&operation) {
                Ok(requests) => println!("{name}: {what}: {requests} requests, none dropped, {:.0?}", begin.elapsed()),
                Err(text) => {
                    println!("{name}: {what}: FAILED\n{text}");
                    failures.push(format!("{name}: {what}"));
                }
            }
            site.undrain();
            cluster.wait_replicas("web");
        }
        site.remove();
    }
    // A node that is gone takes its own connections along, and nothing else: what fails was sent before its checks failed.
    let (_, server) = SERVERS[0];
    let site = Site { cluster: &cluster, image: &image };
    site.serve("6", &MODULES, server);
    let (drill, text) = site.drill(&format!("kill -KILL {} && sleep 20", cluster.pid(3)));
    cluster.lose(3);
    let requests = drill["requests"].as_array().expect("a list");
    let lost: Vec<f64> = requests
        .iter()
        .filter(|request| !request["outcome"].as_str().is_some_and(|o| o.starts_with("ok")))
        .filter_map(|request| request["sent_s"].as_f64())
        .collect();
    println!("a node is lost: {} of {} requests", lost.len(), requests.len());
    assert!(lost.iter().all(|at| *at < LOST_WITHIN_S), "{lost:?}\n{text}");
    assert!(failures.is_empty(), "{failures:#?}");
}
