//! Containers on the Docker engine, without any registry: the image is made of this machine's own files.
//!
//! The image has graceful as its entrypoint, a busybox, a bash, the system's Python with exactly the modules that the apps
//! import and the libraries that those load, and the apps. Containers, networks and images are named
//! `graceful-test-PID-…`, are removed when dropped, thus also when a test fails, and nothing else is touched. Every
//! docker command has a time limit.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::process::{Exit, Line, Proc};
use super::pty::Terminal;
use super::{DEADLINE, needs};

/// Seconds for a docker command, and for the attached `docker run` of a container.
pub(crate) const LIMIT: &str = "60";
const RUN_LIMIT: &str = "120";

pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("graceful-test-{}-{what}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `docker ARGS` under a time limit, not started yet.
pub(crate) fn docker_command(limit: &str, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=5", limit, "docker"]).args(args);
    // The engine may be without BuildKit, and the client without its plugin.
    command.stdin(Stdio::null()).env("DOCKER_BUILDKIT", "0");
    command
}

/// What `docker ARGS` did.
pub(crate) fn try_docker(args: &[&str]) -> Output {
    docker_command(LIMIT, args).output().expect("timeout(1) runs")
}

/// The stdout of `docker ARGS`, which must succeed.
#[track_caller]
pub(crate) fn docker(args: &[&str]) -> String {
    stdout_of(try_docker(args), args)
}

/// The stdout of this `docker ARGS`, which must have succeeded.
#[track_caller]
pub(crate) fn stdout_of(output: Output, args: &[&str]) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "docker {args:?}: {}\n{stdout}{stderr}", output.status);
    stdout.trim_end().to_owned()
}

/// Whether there is an engine to build images with.
#[track_caller]
pub(crate) fn engine() -> Option<()> {
    needs::docker().map(|_| ())
}

/// An image; removed with its last user.
pub(crate) struct Image {
    pub(crate) name: String,
}

impl Image {
    /// The name for an image to be built.
    pub(crate) fn to_be() -> Image {
        Image { name: unique("image") }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        try_docker(&["rmi", "--force", &self.name]);
    }
}

/// The image for all tests; made by the first, removed with the last container.
#[track_caller]
pub(crate) fn image() -> Option<Arc<Image>> {
    static IMAGE: Mutex<Weak<Image>> = Mutex::new(Weak::new());
    image_with(&IMAGE, |_| {})
}

/// The same with more in its file system; shared by those who name the same place for it.
#[track_caller]
pub(crate) fn image_with(place: &Mutex<Weak<Image>>, add: impl FnOnce(&Path)) -> Option<Arc<Image>> {
    needs::docker()?;
    let busybox = needs::busybox()?;
    let mut shared = place.lock().unwrap_or_else(|error| error.into_inner());
    if let Some(image) = shared.upgrade() {
        return Some(image);
    }
    let root = tempfile::tempdir().expect("a directory");
    lay_out(root.path(), &busybox);
    add(root.path());
    let image = Image::to_be();
    import(root.path(), &image, &[r#"ENTRYPOINT ["/graceful"]"#, "ENV PATH=/usr/local/bin:/usr/bin:/bin"]);
    let image = Arc::new(image);
    *shared = Arc::downgrade(&image);
    Some(image)
}

/// Makes an image of a directory.
pub(crate) fn import(root: &Path, image: &Image, changes: &[&str]) {
    let mut tar = Command::new("tar");
    tar.args(["-c", "--owner=0", "--group=0", "-C"]).arg(root).arg(".");
    let mut tar = tar.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("tar runs");
    let mut args = vec!["import"];
    changes.iter().for_each(|change| args.extend(["--change", change]));
    args.extend(["-", &image.name]);
    let mut import = docker_command(LIMIT, &args);
    let output = import.stdin(tar.stdout.take().expect("piped")).output().expect("timeout(1) runs");
    assert!(tar.wait().expect("tar ends").success());
    assert!(output.status.success(), "docker import: {}", String::from_utf8_lossy(&output.stderr));
}

/// The file system of the tests' image.
pub(crate) fn lay_out(root: &Path, busybox: &Path) {
    strip(&super::graceful(), &root.join("graceful"));
    copy(busybox, &root.join("bin/busybox"));
    let applets = Command::new(busybox).arg("--list").output().expect("busybox runs");
    for applet in String::from_utf8_lossy(&applets.stdout).lines().filter(|applet| *applet != "busybox") {
        link("busybox", &root.join("bin").join(applet));
    }
    let (python, files) = python_closure();
    for file in files.iter().chain([&python]) {
        copy(file, &under(root, file));
    }
    copy_program(root, Path::new("/bin/bash"), "bin/bash");
    link(python.to_str().expect("a path"), &root.join("usr/bin/python3"));
    for app in ["signals.py", "web.py", "bare.py"] {
        copy(Path::new(&super::app(app)), &root.join("apps").join(app));
    }
    std::fs::create_dir_all(root.join("tmp")).expect("a directory");
}

/// Where a file of this machine goes in the image.
pub(crate) fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").expect("an absolute path"))
}

fn link(to: &str, from: &Path) {
    std::fs::create_dir_all(from.parent().expect("a parent")).expect("a directory");
    if !from.exists() {
        std::os::unix::fs::symlink(to, from).expect("a symbolic link");
    }
}

/// With its mode, and with its time, which Python compares its compiled files by.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    let copied = std::fs::copy(from, to);
    copied.unwrap_or_else(|error| panic!("copying {} to {}: {error}", from.display(), to.display()));
    let modified = std::fs::metadata(from).and_then(|metadata| metadata.modified()).expect("a time");
    let file = std::fs::File::options().append(true).open(to).expect("it was just written");
    file.set_modified(modified).expect("it is ours");
}

/// A program to this place in the image, and what it loads to where it looks for it.
pub(crate) fn copy_program(root: &Path, program: &Path, to: impl AsRef<Path>) {
    copy(program, &root.join(to));
    copy_libraries(root, program);
}

/// What a program or a library loads.
pub(crate) fn copy_libraries(root: &Path, file: &Path) {
    libraries_of(file).iter().for_each(|library| copy(library, &under(root, library)));
}

/// A debug build is mostly symbols.
pub(crate) fn strip(from: &Path, to: &Path) {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        copy(from, to);
    }
}

/// The system's Python, and every file that it needs for what the apps import.
fn python_closure() -> (PathBuf, Vec<PathBuf>) {
    const IMPORT: &str = "
import argparse, contextlib, functools, http.server, os, runpy, signal, ssl, sys, threading, time, urllib.parse, encodings.idna, encodings.latin_1
import encodings.ascii, encodings.cp437, json, linecache, traceback
print(os.path.realpath(sys.executable))
for module in list(sys.modules.values()):
    for file in (getattr(module, '__file__', None), getattr(module, '__cached__', None)):
        if file and os.path.exists(file):
            print(file)
";
    let output = Command::new(super::python3()).args(["-I", "-c", IMPORT]).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    let libraries: Vec<PathBuf> = files.iter().flat_map(|file| libraries_of(file)).collect();
    files.extend(libraries);
    files.sort();
    files.dedup();
    (PathBuf::from(text.lines().next().expect("the interpreter")), files)
}

/// The shared libraries that a program or a library loads, its loader included.
pub(crate) fn libraries_of(file: &Path) -> Vec<PathBuf> {
    if file.extension().is_some_and(|extension| extension == "py" || extension == "pyc") {
        return Vec::new();
    }
    let output = Command::new("ldd").arg(file).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(|path| PathBuf::from(path.trim_end_matches(':'))).filter(|path| path.is_file()).collect()
}

/// A network of its own, with Docker's name server.
pub(crate) struct Network {
    pub(crate) name: String,
}

impl Network {
    pub(crate) fn new() -> Network {
        let network = Network { name: unique("net") };
        docker(&["network", "create", &network.name]);
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        try_docker(&["network", "rm", &self.name]);
    }
}

/// A container and the `docker run` that is attached to it.
pub(crate) struct Container {
    pub(crate) name: String,
    run: Proc,
    _image: Arc<Image>,
}

impl Container {
    /// `docker run OPTIONS IMAGE ARGS`, attached, without a terminal. What is in `args` goes to the entrypoint.
    pub(crate) fn run(image: &Arc<Image>, options: &[&str], args: &[&str]) -> Container {
        let name = unique("c");
        let fixed = ["run", "--name", &name];
        let run = Proc::spawn(&mut docker_command(RUN_LIMIT, &[&fixed, options, &[&image.name], args].concat()));
        Container { name, run, _image: Arc::clone(image) }
    }

    /// The same with another program than graceful as PID 1.
    pub(crate) fn bare(image: &Arc<Image>, options: &[&str], command: &[&str]) -> Container {
        let (program, args) = command.split_first().expect("a program");
        Container::run(image, &[options, &["--entrypoint", program]].concat(), args)
    }

    /// Waits for a line of the container on either stream.
    #[track_caller]
    pub(crate) fn wait_line(&self, needle: &str) -> Line {
        self.run.wait_line(needle, DEADLINE)
    }

    #[track_caller]
    pub(crate) fn wait_lines(&self, needle: &str, count: usize) -> Vec<Line> {
        self.run.wait_lines(needle, count, DEADLINE)
    }

    /// `docker stop`; how long it took.
    #[track_caller]
    pub(crate) fn stop(&self, seconds: u32) -> Duration {
        let begin = Instant::now();
        docker(&["stop", "--time", &seconds.to_string(), &self.name]);
        begin.elapsed()
    }

    /// Waits for the end: the status that `docker run` exits with, the container's stdout and stderr.
    #[track_caller]
    pub(crate) fn end(&self) -> (i32, String, String) {
        let (exit, stdout, stderr) = self.run.wait_output(DEADLINE);
        match exit {
            Exit::Code(code) => (code, stdout, stderr),
            Exit::Signal(signal) => panic!("docker run died of signal {signal}\n{}", self.dump()),
        }
    }

    /// A field of `docker inspect`.
    #[track_caller]
    pub(crate) fn inspect(&self, field: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), &self.name])
    }

    /// What its HEALTHCHECK says: starting, healthy, unhealthy; empty when the engine does not tell.
    pub(crate) fn health(&self) -> String {
        let output = try_docker(&["inspect", "--format", "{{.State.Health.Status}}", &self.name]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits for this from its HEALTHCHECK.
    #[track_caller]
    pub(crate) fn wait_health(&self, status: &str) {
        let end = Instant::now() + DEADLINE;
        while self.health() != status {
            assert!(self.run.exit().is_none(), "it has ended\n{}", self.dump());
            assert!(Instant::now() < end, "{:?} and not {status}\n{}", self.health(), self.dump());
            std::thread::sleep(Duration::from_millis(100)); // The engine tells of it only when asked.
        }
    }

    /// Its address on the default network.
    #[track_caller]
    pub(crate) fn address(&self, port: u16) -> std::net::SocketAddr {
        let ip = self.inspect(".NetworkSettings.IPAddress");
        std::net::SocketAddr::new(ip.parse().unwrap_or_else(|_| panic!("{ip:?} is no address")), port)
    }

    /// `docker exec`: exit status, and both outputs as one text.
    pub(crate) fn exec(&self, command: &[&str]) -> (Option<i32>, String) {
        let output = try_docker(&[&["exec", self.name.as_str()], command].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// `docker exec` that runs beside.
    pub(crate) fn exec_beside(&self, command: &[&str]) -> Proc {
        Proc::spawn(&mut docker_command(RUN_LIMIT, &[&["exec", self.name.as_str()], command].concat()))
    }

    /// `docker exec -it` on a terminal.
    pub(crate) fn exec_on_terminal(&self, command: &[&str]) -> Terminal {
        Terminal::start(&mut docker_command(RUN_LIMIT, &[&["exec", "-it", self.name.as_str()], command].concat()))
    }

    pub(crate) fn dump(&self) -> String {
        self.run.dump()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", "--volumes", &self.name]);
    }
}

/// A name for a container that a test starts by itself; removed when dropped.
pub(crate) struct Reserved {
    pub(crate) name: String,
}

impl Reserved {
    pub(crate) fn new() -> Reserved {
        Reserved { name: unique("c") }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        try_docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
