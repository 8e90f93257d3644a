//! A swarm of three Docker engines on this machine: a network namespace for each, one bridge between them, and for each
//! a PID and a mount namespace of its own, so that nothing is left of an engine when its first process has ended.
//!
//! ```text
//!   bridge 10.213.N.254 ─┬─ node 1  10.213.N.1   manager   dockerd ── containerd ── containers
//!                        ├─ node 2  10.213.N.2   worker    dockerd ── …
//!                        └─ node 3  10.213.N.3   worker    dockerd ── …
//! ```
//!
//! `ip netns exec` would hide the cgroups, which dockerd needs: `nsenter --net` does not. Names, interfaces and the one
//! rule for the bridge carry this process's number, and are removed with the cluster; nothing else is touched.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::docker::{Image, LIMIT, docker, docker_command, stdout_of};
use super::needs;
use super::process::Proc;
use super::procfs;

/// How many engines.
pub(crate) const NODES: usize = 3;
/// An engine, a swarm or a service that is not there after this is broken.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// From one look at what an engine says to the next: it tells of nothing by itself.
const AGAIN: Duration = Duration::from_millis(200);
/// How long an engine may take to stop its containers before its namespaces are ended.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// The whole of it; everything is gone when it is dropped.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    bridge: String,
    subnet: String,
    nodes: Vec<Node>,
}

struct Node {
    namespace: String,
    socket: PathBuf,
    engine: Option<Proc>,
}

impl Cluster {
    /// Three engines that know these images, as one swarm with an overlay network called `mesh`.
    #[track_caller]
    pub(crate) fn start(images: &[&Image]) -> Option<Cluster> {
        let cluster = Cluster::of(NODES, images)?;
        cluster.docker(1, &["swarm", "init", "--advertise-addr", &cluster.address(1)]);
        let token = cluster.docker(1, &["swarm", "join-token", "--quiet", "worker"]);
        for number in 2..=NODES {
            cluster.docker(number, &["swarm", "join", "--token", &token, &format!("{}:2377", cluster.address(1))]);
        }
        cluster.docker(1, &["network", "create", "--driver", "overlay", "--attachable", "mesh"]);
        Some(cluster)
    }

    /// So many engines that know these images, and nothing of each other.
    #[track_caller]
    pub(crate) fn of(nodes: usize, images: &[&Image]) -> Option<Cluster> {
        needs::docker()?;
        needs::root()?;
        needs::cluster_tools()?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(4).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let (bridge, subnet) = (format!("gfb{}", number % 100_000), format!("10.213.{}", number % 250));
        let folder = tempfile::tempdir().expect("a directory");
        std::fs::write(folder.path().join("empty.json"), "{}").expect("written");
        let mut cluster = Cluster { folder, bridge, subnet, nodes: Vec::new() };
        cluster.connect();
        for number in 1..=nodes {
            let node = cluster.add(number);
            cluster.nodes.push(node);
        }
        for node in &cluster.nodes {
            node.wait_up();
        }
        cluster.load(images);
        Some(cluster)
    }

    /// Of the node with this number, from 1.
    pub(crate) fn address(&self, number: usize) -> String {
        format!("{}.{number}", self.subnet)
    }

    /// `docker ARGS` at that node's engine, for a shell.
    pub(crate) fn command_line(&self, number: usize, args: &str) -> String {
        format!("docker --host {} {args}", self.node(number).host())
    }

    /// The stdout of `docker ARGS` at that node's engine, which must succeed.
    #[track_caller]
    pub(crate) fn docker(&self, number: usize, args: &[&str]) -> String {
        self.node(number).docker(args)
    }

    /// A service, up with all of its replicas.
    #[track_caller]
    pub(crate) fn service(&self, name: &str, options: &[&str], image: &Image, args: &[&str]) {
        let fixed = ["service", "create", "--name", name, "--network", "mesh", "--endpoint-mode", "dnsrr"];
        let kept = ["--no-resolve-image", "--detach"];
        self.docker(1, &[&fixed[..], &kept, options, &[&image.name], args].concat());
        self.wait_replicas(name);
    }

    /// Waits until as many run as are wanted.
    #[track_caller]
    pub(crate) fn wait_replicas(&self, name: &str) {
        let filter = format!("name={name}");
        self.wait_for(&format!("all replicas of {name}"), || {
            let text = self.docker(1, &["service", "ls", "--filter", &filter, "--format", "{{.Replicas}}"]);
            text.split_once('/').is_some_and(|(running, wanted)| running == wanted)
        });
    }

    /// Waits until it is so.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + UP_WITHIN;
        while !is_so() {
            assert!(Instant::now() < end, "no {what} within {UP_WITHIN:?}\n{}", self.dump());
            std::thread::sleep(AGAIN);
        }
    }

    /// The engine's own process, for who wants to kill it.
    pub(crate) fn pid(&self, number: usize) -> libc::pid_t {
        self.node(number).engine.as_ref().map(Proc::pid).expect("it is there")
    }

    /// The engine gets this signal, as from a service manager or from a fault of its own, and is started again once it is gone.
    #[track_caller]
    pub(crate) fn restart(&self, number: usize, signal: libc::c_int) {
        let mut descendants = vec![self.pid(number)];
        while let Some(pid) = descendants.pop() {
            let is_engine = || procfs::read(pid, "comm").is_some_and(|name| name.trim_end() == "dockerd");
            if is_engine() {
                super::run::kill(pid, signal);
                let end = Instant::now() + UP_WITHIN;
                while is_engine() {
                    assert!(Instant::now() < end, "the engine does not end\n{}", self.dump());
                    std::thread::sleep(AGAIN);
                }
                return self.node(number).wait_up();
            }
            descendants.extend(procfs::children(pid));
        }
        panic!("no engine runs\n{}", self.dump());
    }

    /// Its namespaces are gone with it: a machine that lost its power.
    pub(crate) fn lose(&mut self, number: usize) {
        self.nodes[number - 1].engine = None;
    }

    /// What a failed test wants to know.
    pub(crate) fn dump(&self) -> String {
        let services = self.try_docker(1, &["service", "ls"]);
        let names = self.try_docker(1, &["service", "ls", "--quiet"]);
        let names: Vec<String> = String::from_utf8_lossy(&names.stdout).lines().map(str::to_owned).collect();
        let tasks = names.iter().map(|name| self.try_docker(1, &["service", "ps", "--no-trunc", name]));
        let outputs: Vec<Output> = std::iter::once(services).chain(tasks).collect();
        outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect()
    }

    fn try_docker(&self, number: usize, args: &[&str]) -> Output {
        self.node(number).try_docker(args)
    }

    fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// The bridge, which may forward from itself to itself: Docker's own rules on this machine drop what they do not know.
    fn connect(&self) {
        ip(&["link", "add", &self.bridge, "type", "bridge"]);
        ip(&["address", "add", &format!("{}.254/24", self.subnet), "dev", &self.bridge]);
        ip(&["link", "set", &self.bridge, "up"]);
        run("iptables", &["--wait", "-I", "FORWARD", "-i", &self.bridge, "-o", &self.bridge, "-j", "ACCEPT"]);
    }

    fn add(&self, number: usize) -> Node {
        let namespace = format!("{}n{number}", self.bridge);
        let veth = format!("{}v{number}", self.bridge);
        ip(&["netns", "add", &namespace]);
        ip(&["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        ip(&["link", "set", &veth, "master", &self.bridge, "up"]);
        let inside = |args: &[&str]| ip(&[&["-n", &namespace], args].concat());
        inside(&["address", "add", &format!("{}/24", self.address(number)), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["link", "set", "lo", "up"]);
        inside(&["route", "add", "default", "via", &format!("{}.254", self.subnet)]);
        let folder = self.folder.path().join(format!("node{number}"));
        std::fs::create_dir(&folder).expect("a directory");
        let socket = folder.join("docker.sock");
        let script = format!(
            "hostname node{number}\nmount -t tmpfs tmpfs /run\n\
             while :; do dockerd --config-file {}/empty.json --data-root {}/data --exec-root /run/docker --pidfile /run/docker.pid \
             --host unix://{} --storage-driver {}; done",
            self.folder.path().display(),
            folder.display(),
            socket.display(),
            storage_driver(),
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("unshare");
        command.args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
        Node { namespace, socket, engine: Some(Proc::spawn_group(&mut command)) }
    }

    /// Into each engine, from the machine's own.
    fn load(&self, images: &[&Image]) {
        let file = self.folder.path().join("images.tar");
        let names: Vec<&str> = images.iter().map(|image| &*image.name).collect();
        let path = file.to_str().expect("a path");
        docker(&[&["save", "--output", path], names.as_slice()].concat());
        for number in 1..=self.nodes.len() {
            self.docker(number, &["load", "--quiet", "--input", path]);
        }
        std::fs::remove_file(&file).expect("removed");
    }
}

impl Node {
    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn try_docker(&self, args: &[&str]) -> Output {
        let host = self.host();
        let all = [&["--host", &*host], args].concat();
        docker_command(LIMIT, &all).output().expect("timeout(1) runs")
    }

    #[track_caller]
    fn docker(&self, args: &[&str]) -> String {
        stdout_of(self.try_docker(args), args)
    }

    #[track_caller]
    fn wait_up(&self) {
        let end = Instant::now() + UP_WITHIN;
        while !self.try_docker(&["info"]).status.success() {
            let log = self.engine.as_ref().map(Proc::dump).unwrap_or_default();
            assert!(Instant::now() < end, "no engine within {UP_WITHIN:?}\n{log}");
            std::thread::sleep(AGAIN);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Services end before their engines: an engine that is ended first leaves the cgroups of its containers behind.
        let services = self.try_docker(1, &["service", "ls", "--quiet"]);
        for service in String::from_utf8_lossy(&services.stdout).lines() {
            self.try_docker(1, &["service", "rm", service]);
        }
        let end = Instant::now() + DOWN_WITHIN;
        let is_empty = |node: &Node| node.try_docker(&["ps", "--quiet"]).stdout.is_empty();
        while self.nodes.iter().any(|node| node.engine.is_some() && !is_empty(node)) && Instant::now() < end {
            std::thread::sleep(AGAIN);
        }
        for node in &mut self.nodes {
            node.engine = None;
            quietly("ip", &["netns", "del", &node.namespace]);
        }
        quietly("iptables", &["--wait", "-D", "FORWARD", "-i", &self.bridge, "-o", &self.bridge, "-j", "ACCEPT"]);
        quietly("ip", &["link", "del", &self.bridge]);
    }
}

/// What the machine's own engine uses works for the others, too.
fn storage_driver() -> String {
    docker(&["info", "--format", "{{.Driver}}"])
}

#[track_caller]
fn ip(args: &[&str]) {
    run("ip", args);
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    let output = output(program, args).expect("it can be run");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn quietly(program: &str, args: &[&str]) {
    _ = output(program, args);
}

fn output(program: &str, args: &[&str]) -> io::Result<Output> {
    Command::new(program).args(args).stdin(Stdio::null()).output()
}

/// Writes HAProxy's configuration: the router before the replicas of a service called `web`.
pub(crate) fn haproxy_config(to: &Path) {
    // It learns of a stop by health checks alone: the engine's name server forgets a task at once, and Swarm waits for two
    // seconds then, which would hide every fault.
    let config = "\
resolvers engine
  nameserver dns 127.0.0.11:53
  timeout resolve 500ms
  timeout retry 500ms
  hold valid 500ms
  hold nx 500ms
  hold obsolete 20s
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 5s
listen web
  bind :8080
  option httpchk GET /readyz
  server-template web 20 tasks.web:8000 check port 9090 inter 200ms fall 1 rise 1 resolvers engine init-addr none
";
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    std::fs::write(to, config).expect("written");
}
