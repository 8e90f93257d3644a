//! `graceful drill --stop-command` of what people stop their containers with: `docker stop` and docker-compose, on the
//! Docker engine.
//!
//! The app is Node without a handler. As PID 1 of a container it gets no SIGTERM at all: the kernel keeps signals without a
//! handler from the first process of a namespace (pid_namespaces(7)), and the platform sends SIGKILL when it has waited long
//! enough. The same app under graceful, in the same image and under the same drill, is the control.
//!
//! Requests come through the engine's published ports, and so, on loopback, through docker-proxy.

use crate::support::docker::{Container, Image, copy, copy_program, image_with};
use crate::support::run::folder;
use crate::support::{DEADLINE, Exit, Proc, app, docker_compose, free_port, graceful_command, node, wait_http};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Docker waits for ten seconds, on a machine that has other things to do.
const DRILL: Duration = Duration::from_secs(90);
/// What a drill shows of a machine that stands still is nothing.
const TRIES: u32 = 5;
const NODE: [&str; 4] = ["/usr/bin/node", "/apps/node_bare.js", "8080", "0.0.0.0"];

/// The image of the other tests, and Node.
fn node_image() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let node = node()?;
    image_with(&IMAGE, |root| {
        let program = node.canonicalize().expect("it is there");
        copy_program(root, &program, "usr/bin/node");
        for file in ["node_app.js", "node_bare.js"] {
            copy(Path::new(&app(file)), &root.join("apps").join(file));
        }
    })
}

/// Where the app and graceful's probes are reached from outside.
struct Ports {
    app: u16,
    probes: u16,
}

impl Ports {
    fn new() -> Ports {
        Ports { app: free_port(), probes: free_port() }
    }

    fn published(&self) -> [String; 2] {
        [format!("127.0.0.1:{}:8080", self.app), format!("127.0.0.1:{}:9090", self.probes)]
    }

    fn ready_url(&self) -> String {
        format!("--ready-url=http://127.0.0.1:{}/readyz", self.probes)
    }

    /// Until both are reached from outside: the engine opens the ports before the container runs.
    fn wait(&self, with_probes: bool) {
        wait_http(self.app, "/", DEADLINE);
        if with_probes {
            wait_http(self.probes, "/readyz", DEADLINE);
        }
    }
}

/// A drill that is over.
struct Drilled {
    code: Exit,
    document: Value,
    text: String,
}

/// The drill of what is published here, stopped by this command.
fn drill(ports: &Ports, stop: &str, options: &[&str]) -> Drilled {
    drill_at(60, ports, stop, options)
}

/// So many requests a second, and some that are slow.
fn drill_at(rate: u32, ports: &Ports, stop: &str, options: &[&str]) -> Drilled {
    let folder = folder();
    let json = folder.path().join("drill.json");
    let url = format!("http://127.0.0.1:{}/", ports.app);
    let load = ["--before=1500ms", "--mix=new=2,hot=2,idle=1,slow=3,stream=0", "--slow-target=/slow?seconds=1.2"];
    let mut drill = graceful_command();
    drill.args(["drill", "-v", "--url", &url, "--stop-command", stop]).args(load).args(options);
    drill.arg(format!("--rate={rate}")).arg(format!("--output=json={}", json.display()));
    let (code, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(DRILL);
    let document = std::fs::read_to_string(&json).unwrap_or_default();
    let text = format!("{stop}: {code:?}\n{stdout}\n{stderr}");
    Drilled { code, document: serde_json::from_str(&document).unwrap_or_default(), text }
}

impl Drilled {
    fn has_told(&self) -> bool {
        !self.text.contains("the target is slower than the rate")
    }

    fn drill(&self) -> &Value {
        &self.document["drills"][0]
    }

    fn list(&self, key: &str) -> &[Value] {
        self.drill()[key].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn finding(&self, cause: &str) -> Option<&Value> {
        self.list("findings").iter().find(|finding| finding["cause"] == cause)
    }

    fn causes(&self) -> Vec<&str> {
        self.list("findings").iter().filter_map(|finding| finding["cause"].as_str()).collect()
    }

    /// All flags that are advised, each once.
    fn flags(&self) -> Vec<String> {
        let flags = self.list("findings").iter().flat_map(|finding| finding["flags"].as_array().into_iter().flatten());
        let mut all: Vec<String> = flags.map(|flag| flag.as_str().expect("a flag").to_owned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn check(&self, name: &str) -> (&str, &str) {
        let check = self.list("checks").iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no check {name}\n{}", self.text));
        (check["result"].as_str().unwrap_or_default(), check["evidence"].as_str().unwrap_or_default())
    }

    /// When this came first, in seconds since the command's start.
    fn at(&self, what: &str) -> Option<f64> {
        self.list("timeline").iter().find(|mark| mark["what"] == what).and_then(|mark| mark["at_s"].as_f64())
    }

    fn second(&self, key: &str) -> f64 {
        self.drill()[key].as_f64().expect("a number")
    }

    #[track_caller]
    fn passes(&self) {
        let seen = (self.code, &self.document["verdict"], &self.drill()["dropped"]);
        assert_eq!(seen, (Exit::Code(0), &Value::from("passed"), &Value::from(0)), "{}", self.text);
    }

    #[track_caller]
    fn fails(&self) {
        assert_eq!((self.code, &self.document["verdict"]), (Exit::Code(1), &Value::from("failed")), "{}", self.text);
        assert!(self.drill()["dropped"].as_u64() > Some(0), "{}", self.text);
    }
}

mod docker_stop {
    use super::*;

    fn node(ports: &Ports, image: &Arc<Image>, options: &[&str], graceful: Option<&[String]>) -> Container {
        let [app, probes] = ports.published();
        let options = [options, &["-p", &app, "-p", &probes]].concat();
        let container = match graceful {
            None => Container::bare(image, &options, &NODE),
            Some(flags) => {
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                Container::run(image, &options, &[&flags[..], &["--"], &NODE].concat())
            }
        };
        container.wait_line("worker ready");
        ports.wait(graceful.is_some());
        container
    }

    #[test]
    fn of_node_as_pid_1_fails_by_dockers_sigkill_and_the_fix_that_is_printed_passes() {
        let Some(image) = node_image() else { return };
        let ports = Ports::new();
        let seen = told(|| {
            let container = node(&ports, &image, &[], None);
            let seen = drill(&ports, &format!("docker stop {}", container.name), &["--lb-lag=1s"]);
            assert_eq!(container.inspect(".State.ExitCode"), "137", "Docker has not killed it\n{}", seen.text);
            seen
        });
        seen.fails();
        let killed = seen.finding("killed-by-platform").unwrap_or_else(|| panic!("not named\n{}", seen.text));
        assert_eq!(seen.causes()[0], "killed-by-platform", "the others follow from it\n{}", seen.text);
        let words = killed["words"].as_str().expect("words");
        assert!(words.contains("SIGKILL from the platform") && words.contains("docker stop"), "{words}");
        let fails = killed["checks"].as_array().expect("a list");
        assert!(fails.contains(&"exit-in-time".into()) && fails.contains(&"in-flight".into()), "{}", seen.text);
        let (result, evidence) = seen.check("exit-in-time");
        assert!(result == "fail" && evidence.contains("Docker, for one, sends SIGKILL after 10 s"), "{evidence}");
        let fix = killed["fix"].as_str().expect("a fix");
        assert!(fix.contains("graceful --grace-period 10s") && fix.contains("PID 1"), "{fix}");
        // What came after the kill is not the fault of how the app stops, and that it got nothing to stop by is told first.
        for cause in seen.causes() {
            let follows = ["killed-by-platform", "refused-after-exit", "proxy-reset"];
            assert!(follows.contains(&cause), "{cause}\n{}", seen.text);
        }
        // To the letter.
        let flags = seen.flags();
        assert!(flags.iter().any(|flag| flag == "--pre-stop-delay=1100ms"), "no delay of 10 s: {flags:?}");
        told(|| {
            let ports = Ports::new();
            let container = node(&ports, &image, &[], Some(&flags));
            let stop = format!("docker stop {}", container.name);
            let seen = drill(&ports, &stop, &["--lb-lag=1s", &ports.ready_url()]);
            assert_eq!(container.inspect(".State.ExitCode"), "143", "{}\n{}", seen.text, container.dump());
            seen
        })
        .passes();
    }

    /// With an init that forwards the signal Node dies at once, and for some time docker-proxy takes connections for it.
    #[test]
    fn what_docker_proxy_resets_is_not_the_apps_to_finish() {
        let Some(image) = node_image() else { return };
        let was_reset_after = |seen: &Drilled| {
            let number = |request: &Value, key: &str| request[key].as_f64().expect("a number");
            let requests = seen.list("requests");
            let served = requests.iter().filter(|request| {
                request["kind"] == "new" && request["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("ok"))
            });
            let last = served.map(|request| number(request, "sent_s")).fold(0.0, f64::max);
            let is_reset = |request: &&Value| {
                let is_new = request["outcome"] == "reset" && request["reused"] == false;
                is_new
                    && number(request, "sent_s") > last
                    && number(request, "ended_s") - number(request, "sent_s") < 0.1
            };
            requests.iter().filter(is_reset).count()
        };
        let tries = (0..TRIES).map(|_| {
            let ports = Ports::new();
            let container = node(&ports, &image, &["--init"], None);
            drill_at(300, &ports, &format!("docker stop {}", container.name), &["--lb-lag=1s"])
        });
        let mut tries = tries.filter(|seen| seen.has_told() && was_reset_after(seen) > 0);
        let seen = tries.next().expect("docker-proxy is seen");
        seen.fails();
        let count = was_reset_after(&seen);
        let resets = seen.finding("proxy-reset").unwrap_or_else(|| panic!("{count} resets\n{}", seen.text));
        assert_eq!(resets["dropped"].as_u64(), Some(count as u64), "{}", seen.text);
        let (words, fix) = (resets["words"].as_str().expect("words"), resets["fix"].as_str().expect("a fix"));
        assert!(words.contains("docker-proxy") && fix.contains("--pre-stop-delay 1"), "{words}; {fix}");
        assert!(!fix.contains("finish what is in flight"), "{fix}");
        // The neighbour: what the app had taken and did not finish.
        let cut = seen.finding("cut-while-stopping").unwrap_or_else(|| panic!("slow requests\n{}", seen.text));
        assert!(cut["fix"].as_str().is_some_and(|fix| fix.contains("finish what is in flight")), "{cut}");
        assert_eq!(seen.check("exit-in-time").0, "skipped", "Docker did not wait for it\n{}", seen.text);
    }
}

/// The first of these drills that tells something.
fn told(drill: impl Fn() -> Drilled) -> Drilled {
    (0..TRIES).map(|_| drill()).find(Drilled::has_told).expect("the machine stands still")
}

mod compose {
    use super::*;

    /// A project of one service, brought down when dropped.
    struct Project {
        program: PathBuf,
        name: String,
        files: tempfile::TempDir,
        ports: Ports,
        image: Arc<Image>,
    }

    impl Project {
        fn up(program: &Path, image: &Arc<Image>, settings: &[&str], command: &[&str]) -> Project {
            let (ports, files) = (Ports::new(), folder());
            let name = format!("{}-{}", image.name, ports.app);
            let project = Project { program: program.to_owned(), name, files, ports, image: Arc::clone(image) };
            project.write(settings, command);
            project.compose("up -d");
            project.ports.wait(command.contains(&"--probe-listen=:9090"));
            project
        }

        fn file(&self) -> PathBuf {
            self.files.path().join("docker-compose.yml")
        }

        fn write(&self, settings: &[&str], command: &[&str]) {
            let json = |words: &[String]| serde_json::to_string(words).expect("JSON");
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            let lines = [
                format!("image: {}", self.image.name),
                format!("command: {}", json(&command)),
                format!("ports: {}", json(&self.ports.published())),
                // The engine's default network, and none to be made and removed.
                "network_mode: bridge".to_owned(),
            ];
            let all = lines.iter().map(String::as_str).chain(settings.iter().copied());
            let text: String = all.map(|line| format!("    {line}\n")).collect();
            std::fs::write(self.file(), format!("version: '2.4'\nservices:\n  web:\n{text}")).expect("written");
        }

        /// As a user types it.
        fn command(&self, args: &str) -> String {
            format!("{} -p {} -f {} {args}", self.program.display(), self.name, self.file().display())
        }

        #[track_caller]
        fn compose(&self, args: &str) {
            let output = limited(&self.command(args));
            assert!(output.status.success(), "{args}\n{}", String::from_utf8_lossy(&output.stderr));
        }

        fn drill(&self, args: &str, options: &[&str]) -> Drilled {
            drill(&self.ports, &self.command(args), options)
        }
    }

    impl Drop for Project {
        fn drop(&mut self) {
            limited(&self.command("down --timeout 1"));
        }
    }

    fn limited(command: &str) -> std::process::Output {
        let mut limited = Command::new("timeout");
        limited.args(["--kill-after=5", "90", "sh", "-c", command]).output().expect("timeout(1) runs")
    }

    /// Node under docker-init, which dies of the signal: PID 1 it is not.
    const INIT: [&str; 2] = ["init: true", "entrypoint: []"];

    fn under_graceful() -> Vec<&'static str> {
        [&["--grace-period=10s", "--pre-stop-delay=2s", "--probe-listen=:9090", "--"], &NODE[..]].concat()
    }

    /// docker-compose is slow to send the signal, and all that comes before it says nothing of the stop.
    #[test]
    fn stop_passes_under_graceful_and_the_lag_begins_when_the_stop_can_be_seen() {
        let (Some(program), Some(image)) = (docker_compose(), node_image()) else { return };
        let seen = told(|| {
            let project = Project::up(&program, &image, &[], &under_graceful());
            project.drill("stop web", &["--lb-lag=700ms", &project.ports.ready_url()])
        });
        seen.passes();
        let failing = seen.at("not-ready").expect("readiness fails");
        assert!(failing > 0.1, "the signal came at once\n{}", seen.text);
        let lag = seen.second("lb_lag_s");
        assert!(lag >= failing + 0.6, "the lag was over {lag} s after the command's start\n{}", seen.text);
        let is_later = |request: &&Value| request["intended_s"].as_f64().is_some_and(|at| at > failing);
        assert!(seen.list("requests").iter().filter(is_later).count() > 10, "{}", seen.text);
        assert_eq!(seen.check("served-in-window").0, "pass", "{}", seen.text);
    }

    #[test]
    fn stop_fails_without_it_though_the_lag_is_shorter_than_compose_takes_to_begin() {
        let (Some(program), Some(image)) = (docker_compose(), node_image()) else { return };
        // Where docker-compose itself takes as long as Docker waits, what came of which cannot be told.
        let is_soon = |seen: &Drilled| seen.second("lb_lag_s") < 9.0;
        let mut tries = (0..TRIES).map(|_| {
            let project = Project::up(&program, &image, &INIT, &NODE);
            project.drill("stop web", &["--lb-lag=300ms"])
        });
        let seen = tries.find(|seen| seen.has_told() && is_soon(seen)).expect("the machine stands still");
        seen.fails();
        let refused = seen.at("refused").expect("it is refused");
        assert!(seen.second("lb_lag_s") >= refused, "{}", seen.text);
        let window = seen.check("served-in-window");
        assert!(window.0 == "fail", "{window:?}\n{}", seen.text);
        // The delay is the lag's, and not the time that docker-compose takes.
        let flags = seen.flags();
        let delay =
            flags.iter().find_map(|flag| flag.strip_prefix("--pre-stop-delay=")?.strip_suffix("ms")?.parse().ok());
        assert!(delay.is_some_and(|delay: u32| (400..=1000).contains(&delay)), "{flags:?}\n{}", seen.text);
        for cause in seen.causes() {
            let all = ["stopped-listening", "proxy-reset", "cut-while-stopping"];
            assert!(all.contains(&cause), "{cause}\n{}", seen.text);
        }
    }

    /// However well an app stops, nobody serves while the only instance is started again.
    #[test]
    fn restart_and_up_of_the_only_instance_fail_even_under_graceful() {
        let (Some(program), Some(image)) = (docker_compose(), node_image()) else { return };
        let project = Project::up(&program, &image, &[], &under_graceful());
        for args in ["restart web", "up -d"] {
            // Another configuration is a reason to make the container anew.
            project.write(&[&format!("labels: ['round={args}']")], &under_graceful());
            let seen = told(|| {
                project.ports.wait(true);
                project.drill(args, &["--lb-lag=500ms", "--rolling"])
            });
            seen.fails();
            let fix = |finding: &&Value| finding["fix"].as_str().is_some_and(|fix| fix.contains("another instance"));
            let named = seen.list("findings").iter().find(fix).unwrap_or_else(|| panic!("{}", seen.text));
            assert!(
                ["stopped-listening", "proxy-reset"].contains(&named["cause"].as_str().unwrap_or_default()),
                "{named}"
            );
            assert!(seen.flags().iter().all(|flag| !flag.contains("delay")), "no delay saves that\n{}", seen.text);
        }
    }
}
