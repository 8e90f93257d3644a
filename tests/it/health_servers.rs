//! Health with the real servers of others: HAProxy that asks /readyz, and a dependency (Redis, PostgreSQL) that goes away
//! and comes back under a container with a HEALTHCHECK.

use crate::support::{DEADLINE, Exit, Proc, address, app, free_port, python3};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// HAProxy in front of two instances of a server that knows nothing of health or signals, each of them restarted in
/// turn, under load. Nothing is tried twice, by HAProxy or by a client.
mod rolling_restarts {
    use super::*;
    use crate::support::load::{KeptAlive, Load, Outcome, Results};
    use crate::support::run::{folder, wait_for, words};
    use crate::support::{Place, graceful, haproxy};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use tempfile::TempDir;

    const RESTARTS: usize = 10;
    /// Requests a second on new connections, and on each of the kept ones.
    const RATE: u32 = 40;
    const CLIENTS: usize = 4;
    const CLIENT_RATE: u32 = 10;

    /// What stands before the server, and so what HAProxy can ask.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Way {
        Graceful,
        Tini,
    }

    #[test]
    fn under_graceful_not_one_request_fails() {
        let Some(done) = restart_in_turn(Way::Graceful) else { return };
        let what = done.describe();
        assert_eq!((done.fresh.dropped(), done.kept.dropped()), (0, 0), "requests failed\n{what}");
        assert_eq!(done.restarts.len(), RESTARTS);
        for Restart { exit, begin, up, known, .. } in &done.restarts {
            assert!(known, "HAProxy did not know of the stop\n{what}");
            assert_eq!(*exit, Exit::Signal(libc::SIGTERM), "no handler: SIGTERM ended it\n{what}");
            for (name, results) in [("new", &done.fresh), ("kept", &done.kept)] {
                let during = results.records.iter().filter(|record| record.sent >= *begin && record.sent < *up);
                let (count, rate) = (during.count() as f64, f64::from(RATE));
                // A busy machine may send later than it should, or make the whole restart slower.
                let least = (*up - *begin).as_secs_f64() * rate / 2.0;
                assert!(count >= least, "only {count} requests on {name} connections in a restart\n{what}");
            }
        }
        // Nor did HAProxy hide one by a second try.
        for server in NAMES {
            for column in ["wretr", "wredis", "econ", "eresp"] {
                assert_eq!(done.balancer.stat(server, column), "0", "{column} of {server}\n{what}");
            }
            let served: usize = done.balancer.stat(server, "stot").parse().expect("a number");
            assert!(served > done.fresh.records.len() / 10, "{server} served {served} only\n{what}");
        }
    }

    #[test]
    fn control_under_tini_requests_fail() {
        let Some(done) = restart_in_turn(Way::Tini) else { return };
        let what = done.describe();
        assert!(done.restarts.iter().all(|restart| restart.exit == Exit::Code(143)), "{what}");
        let lost = |results: &Results| results.dropped() - results.count(Outcome::Client);
        assert!(lost(&done.fresh) + lost(&done.kept) > 0, "nothing failed\n{what}");
    }

    const NAMES: [&str; 2] = ["a", "b"];

    /// One instance: what runs, and the ports that it is started with again and again.
    struct Instance {
        name: &'static str,
        port: u16,
        /// Where HAProxy asks.
        probe_port: u16,
        place: Place,
        command: Vec<String>,
        process: Proc,
    }

    struct Restart {
        begin: Instant,
        exit: Exit,
        /// HAProxy had taken it out by then.
        known: bool,
        /// HAProxy had it again.
        up: Instant,
        dump: String,
    }

    struct Done {
        restarts: Vec<Restart>,
        fresh: Results,
        kept: Results,
        balancer: Balancer,
    }

    fn restart_in_turn(way: Way) -> Option<Done> {
        let haproxy = haproxy()?;
        let config = folder();
        let mut instances = vec![Instance::new(0, way, config.path())?, Instance::new(1, way, config.path())?];
        let balancer = Balancer::start(&haproxy, way, &instances);
        // HAProxy takes a server for up until a check says otherwise.
        for name in NAMES {
            wait_for("the first checks", || balancer.stat(name, "check_status") == "L7OK");
        }

        let server = address(balancer.port);
        let fresh = Load::start(server, "/", RATE);
        let kept = KeptAlive::start(server, "/", CLIENTS, CLIENT_RATE);
        fresh.wait_answered(10, DEADLINE);
        let mut restarts = Vec::new();
        for nth in 0..RESTARTS {
            restarts.push(instances[nth % NAMES.len()].restart(&balancer));
        }
        let end = Instant::now();
        Some(Done { restarts, fresh: fresh.finish(end), kept: kept.finish(end), balancer })
    }

    /// The two ways to say that a server without any endpoint is ready when it takes connections. It is asked often, so
    /// that a new instance is soon in use.
    const READY: [&str; 2] = [
        "ready_url = \"tcp://127.0.0.1:$PORT\"\n\
         ready_interval = \"50ms\"",
        "[[check]]\n\
         name = \"app\"\n\
         target = \"tcp://127.0.0.1:$PORT\"\n\
         interval = \"50ms\"\n\
         timeout = \"1s\"",
    ];
    const BUDGET: &str = "grace_period = \"20s\"\npre_stop_delay = \"1500ms\"\n";

    impl Instance {
        /// Number `nth` of the two, started.
        fn new(nth: usize, way: Way, folder: &Path) -> Option<Instance> {
            let port = free_port();
            let (probe_port, command) = match way {
                Way::Tini => (port, words(&[crate::support::tini()?.to_str()?, "--"])),
                Way::Graceful => {
                    let probe_port = free_port();
                    let file = folder.join(format!("{nth}.toml"));
                    let text = format!("{BUDGET}{}", READY[nth].replace("$PORT", &port.to_string()));
                    std::fs::write(&file, text).expect("room");
                    let listen = address(probe_port).to_string();
                    let options = ["--probe-listen", &listen, "--config", file.to_str()?, "--"];
                    (probe_port, words(&[&[graceful().to_str()?], &options[..]].concat()))
                }
            };
            let place = if way == Way::Tini { Place::Pid1 } else { Place::Wrapper };
            let server = words(&[&python3(), &app("plain.py"), &port.to_string()]);
            let command = [command, server].concat();
            let process = place.spawn(&command);
            process.wait_line("listening", DEADLINE);
            Some(Instance { name: NAMES[nth], port, probe_port, place, command, process })
        }

        /// It ends, and another takes its place and its ports.
        fn restart(&mut self, balancer: &Balancer) -> Restart {
            let begin = Instant::now();
            self.process.signal(libc::SIGTERM);
            let exit = self.process.wait(DEADLINE);
            let known = balancer.stat(self.name, "status") == "DOWN";
            let old = std::mem::replace(&mut self.process, self.place.spawn(&self.command));
            // Without any readiness that is all there is to wait for; HAProxy may not even know that it was away.
            if self.place == Place::Pid1 {
                self.process.wait_line("listening", DEADLINE);
            }
            wait_for("a server that is up", || balancer.stat(self.name, "status") == "UP");
            Restart { begin, exit, known, up: Instant::now(), dump: old.dump() }
        }
    }

    impl Done {
        fn describe(&self) -> String {
            let mut text = String::new();
            for (nth, restart) in self.restarts.iter().enumerate() {
                let took = (restart.up - restart.begin).as_secs_f64();
                text += &format!("restart {nth}: {:?}, {took:.3} s\n{}", restart.exit, restart.dump);
            }
            let begin = self.restarts[0].begin;
            text += &format!("new connections, from the first signal on\n{}", self.fresh.table(begin));
            text += &format!("kept connections\n{}{}", self.kept.table(begin), self.balancer.process.dump());
            println!("{text}");
            text
        }
    }

    struct Balancer {
        process: Proc,
        port: u16,
        folder: TempDir,
    }

    impl Balancer {
        fn start(haproxy: &Path, way: Way, instances: &[Instance]) -> Balancer {
            let (folder, port) = (folder(), free_port());
            let socket = folder.path().join("stats");
            // An app without a readiness endpoint can only be asked for something else.
            let path = if way == Way::Graceful { "/readyz" } else { "/" };
            let servers = instances.iter().map(|Instance { name, port, probe_port, .. }| {
                format!("server {name} 127.0.0.1:{port} check port {probe_port} inter 100ms fall 1 rise 1\n")
            });
            let text = format!(
                "global\n\
                 stats socket {} mode 600 level user\n\
                 defaults\n\
                 mode http\n\
                 timeout connect 5s\n\
                 timeout client 60s\n\
                 timeout server 60s\n\
                 timeout check 2s\n\
                 retries 0\n\
                 no option redispatch\n\
                 listen web\n\
                 bind 127.0.0.1:{port}\n\
                 balance roundrobin\n\
                 option httpchk GET {path}\n\
                 {}",
                socket.display(),
                servers.collect::<String>()
            );
            let config = folder.path().join("haproxy.cfg");
            std::fs::write(&config, text).expect("room");
            let process = Proc::spawn_group(Command::new(haproxy).arg("-db").arg("-f").arg(&config));
            wait_for("HAProxy's socket", || UnixStream::connect(&socket).is_ok());
            Balancer { process, port, folder }
        }

        /// A column of `show stat` for a server (HAProxy's management guide, "CSV format").
        fn stat(&self, server: &str, column: &str) -> String {
            let ask = || -> std::io::Result<String> {
                let mut stream = UnixStream::connect(self.folder.path().join("stats"))?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.write_all(b"show stat\n")?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text)
            };
            let text = ask().unwrap_or_else(|error| panic!("HAProxy: {error}\n{}", self.process.dump()));
            let mut rows = text.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
            let header = rows.next().expect("a header");
            let index = header.iter().position(|name| *name == column).expect("such a column");
            let row = rows.find(|row| row[..2] == ["web", server]).unwrap_or_else(|| panic!("no {server} in {text}"));
            row[index].to_owned()
        }
    }
}

/// A container made from scratch whose HEALTHCHECK is `graceful probe`, and a dependency of it on this machine.
mod dependencies {
    use super::*;
    use crate::support::docker::{Container, Image, copy, copy_program, docker, engine, strip};
    use crate::support::health::check_status;
    use crate::support::run::{ended, folder, wait_for};
    use crate::support::{busybox, graceful, postgresql, redis_server};
    use std::sync::Arc;
    use tempfile::TempDir;

    /// As short as they make a test quick; else it is what users write. There is no shell, no curl, nothing but the
    /// binary and, as the app, a busybox.
    const DOCKERFILE: &str = r#"
FROM scratch
COPY root /
ENV PATH=/usr/bin:/bin
HEALTHCHECK --interval=500ms --timeout=5s --retries=2 CMD ["/graceful", "probe"]
ENTRYPOINT ["/graceful", "--config", "/etc/graceful.toml", "--"]
CMD ["sleep", "1000"]
"#;

    /// The image with this configuration and with more programs of this machine under /usr/bin.
    fn build(config: &str, programs: &[&Path]) -> Option<Arc<Image>> {
        engine()?;
        let (busybox, context, image) = (busybox()?, folder(), Image::to_be());
        let root = context.path().join("root");
        for folder in ["etc", "run", "bin"] {
            std::fs::create_dir_all(root.join(folder)).expect("a directory");
        }
        strip(&graceful(), &root.join("graceful"));
        copy(&busybox, &root.join("bin/sleep"));
        for program in programs {
            copy_program(&root, program, Path::new("usr/bin").join(program.file_name().expect("a name")));
        }
        std::fs::write(root.join("etc/graceful.toml"), config).expect("room");
        std::fs::write(context.path().join("Dockerfile"), DOCKERFILE).expect("room");
        docker(&["build", "--quiet", "--tag", &image.name, context.path().to_str().expect("a path")]);
        Some(Arc::new(image))
    }

    /// In this machine's network: the dependency listens on the loopback alone.
    fn run(image: &Arc<Image>, options: &[&str]) -> Container {
        Container::run(image, &[&["--network", "host"], options].concat(), &[])
    }

    /// What its last health checks printed, for `docker inspect`.
    fn said(container: &Container) -> String {
        docker(&["inspect", "--format", "{{range .State.Health.Log}}{{.Output}}{{end}}", &container.name])
    }

    fn start_redis(program: &Path, port: u16, folder: &TempDir) -> Proc {
        let mut redis = Command::new(program);
        redis.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        let redis = Proc::spawn_group(redis.arg("--dir").arg(folder.path()));
        redis.wait_line("Ready to accept connections", DEADLINE);
        redis
    }

    #[test]
    fn a_container_is_as_healthy_as_its_redis() {
        let Some(program) = redis_server() else { return };
        let (port, folder) = (free_port(), folder());
        let config = format!(
            r#"
            probe_listen = "unix:/run/graceful.sock"
            [[check]]
            name = "redis"
            target = "tcp://127.0.0.1:{port}"
            send = "PING\r\n"
            expect = "+PONG"
            interval = "100ms"
            timeout = "500ms"
            breaker_after = 3
            breaker_reset = "300ms"
            "#
        );
        let Some(image) = build(&config, &[]) else { return };
        let redis = start_redis(&program, port, &folder);
        let container = run(&image, &[]);
        container.wait_health("healthy");

        redis.signal(libc::SIGTERM);
        assert_eq!(redis.wait(DEADLINE), Exit::Code(0), "{}", redis.dump());
        container.wait_health("unhealthy");
        container.wait_line("check redis: unhealthy: connection refused");
        assert!(said(&container).contains("redis failed: connection refused"), "{}", said(&container));
        let redis = start_redis(&program, port, &folder);
        container.wait_health("healthy");
        container.wait_line("check redis: healthy again");

        // Frozen it still accepts: the kernel does.
        redis.signal(libc::SIGSTOP);
        container.wait_health("unhealthy");
        redis.signal(libc::SIGCONT);
        container.wait_health("healthy");
        // The app ran on all the while.
        assert_eq!(container.inspect(".State.Status"), "running", "{}", container.dump());
        assert!(!container.dump().contains("stopping"), "{}", container.dump());
    }

    /// A PostgreSQL with data of its own, as the user postgres where the tests run as root: it refuses to be root.
    struct Postgres {
        bin: PathBuf,
        port: u16,
        folder: TempDir,
        process: Option<Proc>,
    }

    impl Postgres {
        fn new(bin: PathBuf) -> Postgres {
            let postgres = Postgres { bin, port: free_port(), folder: folder(), process: None };
            if is_root() {
                let user = nix::unistd::User::from_name("postgres").expect("users").expect("Debian's user postgres");
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                std::os::unix::fs::chown(postgres.folder.path(), Some(uid), Some(gid)).expect("it is ours");
            }
            let mut initdb = postgres.command("initdb");
            initdb.args(["--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8", "--no-sync"]);
            let (exit, stdout, stderr) = ended(&mut initdb);
            assert_eq!(exit, Exit::Code(0), "{stdout}{stderr}");
            postgres
        }

        fn command(&self, program: &str) -> Command {
            let path = self.bin.join(program);
            let mut command = Command::new("setpriv");
            if is_root() {
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            }
            command.arg("--").arg(path).arg("-D").arg(self.folder.path().join("data")).current_dir(self.folder.path());
            command
        }

        fn start(&mut self, options: &[&str]) {
            let mut command = self.command("postgres");
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p", &self.port.to_string()]);
            command.arg("-k").arg(self.folder.path()).args(options);
            self.process = Some(Proc::spawn_group(&mut command));
        }

        /// Its "fast shutdown".
        fn stop(&mut self) {
            let process = self.process.take().expect("it was started");
            process.signal(libc::SIGINT);
            assert_eq!(process.wait(DEADLINE), Exit::Code(0), "{}", process.dump());
        }

        /// Says whether it starts as a standby, which refuses all queries with hot_standby=off.
        fn standby(&self, standby: bool) {
            let file = self.folder.path().join("data/standby.signal");
            let done = if standby { std::fs::write(&file, "") } else { std::fs::remove_file(&file) };
            done.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    impl Drop for Postgres {
        fn drop(&mut self) {
            // By SIGKILL it would leave its shared memory behind.
            if let Some(process) = self.process.take().filter(|process| process.exit().is_none()) {
                process.signal(libc::SIGINT);
                process.wait(DEADLINE);
            }
        }
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn a_container_is_as_healthy_as_its_postgresql() {
        let Some(bin) = postgresql() else { return };
        let isready = bin.join("pg_isready");
        let mut postgres = Postgres::new(bin);
        let (port, probe_port) = (postgres.port, free_port());
        // pg_isready(1): 0 accepting, 1 rejecting connections (during startup, say), 2 no response.
        let config = format!(
            r#"
            [[check]]
            name = "postgres"
            target = "exec:pg_isready -h 127.0.0.1 -p {port} -U postgres"
            degraded_status = [1]
            interval = "100ms"
            timeout = "5s"
            breaker_after = 3
            breaker_reset = "300ms"
            "#
        );
        let Some(image) = build(&config, &[&isready]) else { return };
        postgres.start(&[]);
        let listen = format!("GRACEFUL_PROBE_LISTEN={}", address(probe_port));
        let container = run(&image, &["-e", &listen]);
        container.wait_health("healthy");
        assert_eq!(check_status(probe_port, "postgres"), "healthy");

        postgres.stop();
        container.wait_health("unhealthy");
        container.wait_line("check postgres: unhealthy: exit status 2");

        postgres.standby(true);
        postgres.start(&["-c", "hot_standby=off"]);
        container.wait_line("check postgres: degraded: exit status 1");
        container.wait_health("healthy");
        assert_eq!(check_status(probe_port, "postgres"), "degraded");

        postgres.stop();
        container.wait_health("unhealthy");
        postgres.standby(false);
        postgres.start(&[]);
        container.wait_health("healthy");
        wait_for("a healthy check", || check_status(probe_port, "postgres") == "healthy");
    }
}
