//! `examples/docker`, `compose` and graceful without a new image, on the Docker engine as their READMEs say.
//!
//! There is no registry here: what their files take from one (`FROM python…`, `image: haproxy…`) is an image made of this machine's own
//! files, and its name is all that is changed in a copy of them. In place of the compilers stand scripts that check what they were
//! given, and hand out what was built before.

use crate::support::docker::{self, Container, Image, Reserved, copy, copy_program, docker, lay_out, unique};
use crate::support::examples::{copy_of, documents, example, examples};
use crate::support::load::Load;
use crate::support::{DEADLINE, busybox, docker_compose, go, graceful, haproxy, venv};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn script(path: &Path, content: &str) {
    std::fs::write(path, content).expect("room");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it is ours");
}

/// An image of the files that this puts into a folder.
fn image_of(fill: impl FnOnce(&Path)) -> Image {
    let root = tempfile::tempdir().expect("a folder");
    fill(root.path());
    let image = Image::to_be();
    docker::import(root.path(), &image, &["ENV PATH=/usr/local/bin:/usr/bin:/bin"]);
    image
}

/// Python and no shell, as in distroless images. Nor has it graceful. Made by the first who asks, gone with the last.
fn python_image() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let busybox = busybox()?;
    Some(shared(&IMAGE, || {
        image_of(|root| {
            lay_out(root, &busybox);
            std::fs::remove_dir_all(root.join("bin")).expect("it was laid out");
            std::fs::remove_file(root.join("graceful")).expect("it was laid out");
        })
    }))
}

fn shared(place: &Mutex<Weak<Image>>, make: impl FnOnce() -> Image) -> Arc<Image> {
    let mut place = place.lock().unwrap_or_else(|error| error.into_inner());
    place.upgrade().unwrap_or_else(|| {
        let image = Arc::new(make());
        *place = Arc::downgrade(&image);
        image
    })
}

/// Builds `folder/dockerfile` with other bases; `context` is what COPY counts from.
fn build(dockerfile: &str, bases: &[(&str, &str)], context: &Path, stages: &[&str]) -> (Image, Vec<Image>) {
    let mut content = example(dockerfile);
    for (from, image) in bases {
        assert!(content.contains(&format!("FROM {from}")), "{dockerfile} has no FROM {from}");
        content = content.replace(&format!("FROM {from}"), &format!("FROM {image}"));
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("room");
    let build = |options: &[&str]| {
        let image = Image::to_be();
        let fixed = ["build", "--force-rm", "--file", text(file.path()), "--tag", &image.name];
        docker(&[&fixed[..], options, &[text(context)]].concat());
        image
    };
    // Each stage has a name, by which it can be removed.
    let stages = stages.iter().map(|stage| build(&["--target", stage])).collect();
    (build(&[]), stages)
}

/// The image of examples/docker/distroless.Dockerfile, and what it was made of.
fn distroless() -> Option<(Arc<Image>, Arc<Image>)> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    let base = python_image()?;
    let image = shared(&IMAGE, || {
        let context = copy_of("docker");
        docker::strip(&graceful(), &context.path().join("docker/graceful"));
        let bases = [("gcr.io/distroless/python3-debian12", base.name.as_str())];
        build("docker/distroless.Dockerfile", &bases, &context.path().join("docker"), &[]).0
    });
    Some((image, base))
}

/// `docker stop` with Docker's own 10 s, and a router that sends for another second.
#[track_caller]
fn stops_without_a_drop(container: &Container) {
    let load = Load::start(container.address(8000), "/", 50);
    load.wait_answered(10, DEADLINE);
    let begin = Instant::now();
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| docker(&["stop", &container.name]));
        load.finish(begin + Duration::from_secs(1))
    });
    sent.assert_nothing_dropped(begin);
    let (code, stdout, stderr) = container.end();
    assert_eq!((code, container.inspect(".State.ExitCode")), (0, "0".to_owned()), "{stdout}{stderr}");
}

const CARGO: &str = "#!/bin/sh
set -e
[ \"$*\" = 'build --release --locked' ]
test -f Cargo.toml -a -f Cargo.lock -a -f src/main.rs -a -f .cargo/config.toml
mkdir -p target/some-triple/release
cp /graceful target/some-triple/release/graceful
";

const GO: &str = "#!/bin/sh
set -e
[ \"$CGO_ENABLED $*\" = '0 build -o /web .' ]
test -f go.mod -a -f web.go
cp /built /web
";

#[test]
fn docker_in_stages_from_scratch() {
    let (Some(()), Some(busybox), Some(go)) = (docker::engine(), busybox(), go()) else { return };
    let source = copy_of("go");
    let mut build_app = Command::new(go);
    build_app.args(["build", "-o", "web", "."]).current_dir(source.path().join("go")).env("CGO_ENABLED", "0");
    build_app.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache")).env("GOFLAGS", "");
    let built = build_app.output().expect("go runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let compilers = image_of(|root| {
        lay_out(root, &busybox);
        script(&root.join("bin/cargo"), CARGO);
        script(&root.join("bin/go"), GO);
        copy(&source.path().join("go/web"), &root.join("built"));
    });
    let bases = [("rust:1.95-slim", compilers.name.as_str()), ("golang:1.23", compilers.name.as_str())];
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (image, _stages) = build("docker/Dockerfile", &bases, top, &["graceful", "app"]);
    let container = Container::run(&Arc::new(image), &[], &[]);
    container.wait_health("healthy");
    stops_without_a_drop(&container);
}

#[test]
fn docker_distroless() {
    let (Some(()), Some((image, _base))) = (docker::engine(), distroless()) else { return };
    let container = Container::run(&image, &[], &[]);
    container.wait_health("healthy");
    stops_without_a_drop(&container);
}

/// A project of docker-compose in a copy of the example; gone when dropped.
struct Project {
    folder: tempfile::TempDir,
    name: String,
    program: PathBuf,
}

impl Project {
    fn new(program: PathBuf) -> Project {
        let folder = copy_of("compose");
        // Where its file would build the image that is at hand.
        std::fs::create_dir(folder.path().join("docker")).expect("a folder");
        Project { folder, name: unique("compose"), program }
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--foreground", "--kill-after=5", "120"]).arg(program).args(args);
        command.current_dir(self.folder.path().join("compose"));
        command.env("COMPOSE_PROJECT_NAME", &self.name).env("GRACEFUL_BINARY", graceful());
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().expect("timeout(1) runs");
        let said = |Output { stdout, stderr, .. }: &Output| {
            [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
        };
        assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    fn compose(&self, args: &[&str]) -> String {
        self.run(&mut self.command(&self.program, args))
    }

    #[track_caller]
    fn inspect(&self, service: &str, field: &str) -> String {
        let labels = [("project", self.name.as_str()), ("service", service)];
        let filters = labels.map(|(label, value)| format!("label=com.docker.compose.{label}={value}"));
        let id = docker(&["ps", "-q", "--filter", &filters[0], "--filter", &filters[1]]);
        docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), &id])
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.command(&self.program, &["logs", "--no-color"]).output().map(|output| output.stdout);
            println!("{}", String::from_utf8_lossy(&logs.unwrap_or_default()));
        }
        let mut down = self.command(&self.program, &["down", "--timeout", "1", "--volumes", "--remove-orphans"]);
        _ = down.output();
    }
}

/// The body of an answer, if there is one.
fn get(server: SocketAddr) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1)?.eq("200").then(|| body.trim().to_owned())
}

#[track_caller]
fn wait_body(server: SocketAddr, expected: &str) {
    let end = Instant::now() + DEADLINE;
    loop {
        let got = get(server);
        if got.as_deref() == Some(expected) {
            return;
        }
        assert!(Instant::now() < end, "{got:?} and not {expected}");
        std::thread::sleep(Duration::from_millis(100)); // A router that finds its servers gives no sign.
    }
}

#[test]
fn compose_updates_two_replicas_behind_haproxy() {
    let (Some(()), Some(program), Some(haproxy)) = (docker::engine(), docker_compose(), haproxy()) else { return };
    let Some((web, _base)) = distroless() else { return };
    let router = image_of(|root| copy_program(root, &haproxy, "usr/bin/haproxy"));
    let project = Project::new(program);
    let file = project.folder.path().join("compose/docker-compose.yml");
    let content = std::fs::read_to_string(&file).expect("a file");
    let changed = content.replace("image: web\n", &format!("image: {}\n", web.name));
    // Nor is the host's port 8000 this test's to take.
    let changed =
        changed.replace("image: haproxy:3.0", &format!("image: {}", router.name)).replace("8000:8000", "8000");
    assert_eq!(content.lines().zip(changed.lines()).filter(|(before, after)| before != after).count(), 3, "{changed}");
    std::fs::write(&file, changed).expect("room");

    project.compose(&["up", "-d"]);
    let networks = project.inspect("proxy", "range .NetworkSettings.Networks}}{{.IPAddress}}{{end");
    let server = SocketAddr::new(networks.parse().unwrap_or_else(|_| panic!("no address: {networks:?}")), 8000);
    wait_body(server, "version 1");
    // Both, before one of them goes.
    for replica in ["web1", "web2"] {
        let end = Instant::now() + DEADLINE;
        while project.inspect(replica, ".State.Health.Status") != "healthy" {
            assert!(Instant::now() < end, "{replica} is not healthy");
        }
    }
    let old = project.inspect("web1", ".Id");
    let load = Load::start(server, "/", 50);
    load.wait_answered(20, DEADLINE);
    let begin = Instant::now();
    let update = project.folder.path().join("compose/update.sh");
    project.run(project.command(&update, &[]).env("VERSION", "2"));
    let sent = load.finish(Instant::now());
    sent.assert_nothing_dropped(begin);
    assert!(sent.records.len() > 200, "{}", sent.records.len());
    assert_ne!(project.inspect("web1", ".Id"), old, "it was not updated");
    for _ in 0..4 {
        assert_eq!(get(server).as_deref(), Some("version 2"));
    }

    // The override puts the host's binary in front.
    let files = ["-f", "docker-compose.yml", "-f", "docker-compose.graceful.yml"];
    project.compose(&[&files[..], &["up", "-d", "--no-deps", "web1"]].concat());
    assert_eq!(project.inspect("web1", ".Path"), "/opt/graceful");
    let end = Instant::now() + DEADLINE;
    while project.inspect("web1", ".State.Health.Status") != "healthy" {
        assert!(Instant::now() < end, "web1 is not healthy");
    }
}

/// The manifest's two containers as kubelet would start them: one after the other, on a folder that stands for the emptyDir.
#[test]
fn an_init_container_puts_graceful_before_an_app_whose_image_does_not_have_it() {
    let (Some(()), Some(venv), Some(python)) = (docker::engine(), venv(), python_image()) else { return };
    let pod = documents(&venv, "kubernetes/init-container.yaml")[0]["spec"]["template"]["spec"].clone();
    let words = |value: &serde_json::Value| -> Vec<String> {
        let list = value.as_array().expect("a list").iter();
        list.map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    // As the README has it: FROM scratch, with one file.
    let dockerfile = "FROM scratch\n    COPY graceful /graceful\n    ENTRYPOINT [\"/graceful\"]";
    assert!(example("kubernetes/README.md").contains(dockerfile));
    let only_graceful = image_of(|root| docker::strip(&graceful(), &root.join("graceful")));

    let empty_dir = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(empty_dir.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
    let init = &pod["initContainers"][0];
    let mount = |container: &serde_json::Value| {
        let found = &container["volumeMounts"][0];
        assert_eq!(found["name"], pod["volumes"][0]["name"]);
        let read_only = if found["readOnly"] == true { ":ro" } else { "" };
        format!("{}:{}{read_only}", text(empty_dir.path()), found["mountPath"].as_str().expect("a path"))
    };
    let user = init["securityContext"]["runAsUser"].to_string();
    let name = Reserved::new();
    let locked = ["run", "--name", &name.name, "--user", &user, "--read-only", "--cap-drop", "ALL"];
    let more = ["--security-opt", "no-new-privileges", "-v", &mount(init), &only_graceful.name];
    let command = words(&init["command"]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let said = docker(&[&locked[..], &more, &command].concat());
    assert!(said.contains(" is /opt/graceful/graceful ("), "{said}");

    let app = &pod["containers"][0];
    let (command, args) = (words(&app["command"]), words(&app["args"]));
    let env = app["env"].as_array().expect("a list").iter();
    let env: Vec<String> = env
        .map(|entry| format!("{}={}", entry["name"].as_str().expect("text"), entry["value"].as_str().expect("text")))
        .collect();
    let mut options = vec!["-v".to_owned(), mount(app), "--entrypoint".to_owned(), command[0].clone()];
    options.extend(env.iter().flat_map(|entry| ["-e".to_owned(), entry.clone()]));
    // The manifest's delay is for a cluster's load balancer, and longer than the 10 s of docker stop.
    options.extend(["-e".into(), "GRACEFUL_PRE_STOP_DELAY=1500ms".into()]);
    options.extend(["-e".into(), "GRACEFUL_SUCCESS_EXIT_STATUS=143".into()]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let rest: Vec<&str> = command[1..].iter().chain(&args).map(String::as_str).collect();
    let container = Container::run(&python, &options, &rest);
    let end = Instant::now() + DEADLINE;
    while container.exec(&["/opt/graceful/graceful", "probe"]).0 != Some(0) {
        assert!(Instant::now() < end, "{}", container.dump());
    }
    stops_without_a_drop(&container);
}

#[test]
fn compose_itself_reads_all_of_them() {
    let Some(program) = docker_compose() else { return };
    let files = [
        &["compose/docker-compose.yml"][..],
        &["compose/docker-compose.yml", "compose/docker-compose.graceful.yml"],
        &["swarm/stack.yml"],
        &["celery/docker-compose.yml"],
        &["nginx-php/docker-compose.yml"],
    ];
    for files in files {
        let mut config = Command::new(&program);
        config.args(files.iter().flat_map(|file| ["-f", file]));
        let output = config.args(["config", "-q"]).current_dir(examples()).output().expect("docker-compose runs");
        assert!(output.status.success(), "{files:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
