//! What some tests need beside cargo and a C linker. `tests/run` installs it.
//!
//! Whoever lacks something can still run the rest: the test says "SKIPPED" and why. Where everything has to be
//! there (`CI`, or `STRICT_TESTS=1`, which `tests/run` sets) a missing need fails the test instead.
//!
//! ```ignore
//! let Some(tini) = crate::support::tini() else { return };
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Hands `found` on; when there is nothing, says so loudly, and panics where nothing may be skipped.
#[track_caller]
pub(crate) fn requires<T>(what: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        assert!(!set("CI") && !set("STRICT_TESTS"), "{what} is missing: tests/run installs it");
        // Not eprintln: the test harness would keep that to itself, as the test passes.
        let line = format!("SKIPPED: {} needs {what}\n", std::thread::current().name().unwrap_or("a test"));
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    found
}

/// tini, dynamically linked.
#[track_caller]
pub(crate) fn tini() -> Option<PathBuf> {
    requires("tini", program("tini"))
}

#[track_caller]
pub(crate) fn dumb_init() -> Option<PathBuf> {
    requires("dumb-init", program("dumb-init"))
}

#[track_caller]
pub(crate) fn catatonit() -> Option<PathBuf> {
    requires("catatonit", program("catatonit"))
}

#[track_caller]
pub(crate) fn node() -> Option<PathBuf> {
    requires("node", program("node"))
}

/// Node's package manager; Debian has it in a package of its own.
#[track_caller]
pub(crate) fn npm() -> Option<PathBuf> {
    requires("npm", program("npm"))
}

/// su of util-linux.
#[track_caller]
pub(crate) fn su() -> Option<PathBuf> {
    let is_busybox = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path.ends_with("busybox"));
    requires("su (util-linux)", program("su").filter(|path| !is_busybox(path)))
}

/// uWSGI with the plugin for Python.
#[track_caller]
pub(crate) fn uwsgi() -> Option<PathBuf> {
    let plugins = std::fs::read_dir("/usr/lib/uwsgi/plugins").into_iter().flatten().flatten();
    let has_plugin = plugins.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("python3"));
    requires("uwsgi with its plugin for Python 3", program("uwsgi").filter(|_| has_plugin))
}

/// QEMU's emulator of this machine's own kind of program, where CLONE_VM and CLONE_VFORK become a fork.
#[track_caller]
pub(crate) fn qemu() -> Option<PathBuf> {
    let name = format!("qemu-{}", std::env::consts::ARCH);
    requires("qemu-user", program(&name))
}

#[track_caller]
pub(crate) fn strace() -> Option<PathBuf> {
    requires("strace", program("strace"))
}

#[track_caller]
pub(crate) fn redis_server() -> Option<PathBuf> {
    requires("redis-server", program("redis-server"))
}

#[track_caller]
pub(crate) fn chromium() -> Option<PathBuf> {
    requires("chromium", program("chromium"))
}

#[track_caller]
pub(crate) fn haproxy() -> Option<PathBuf> {
    requires("haproxy", program("haproxy"))
}

#[track_caller]
pub(crate) fn nginx() -> Option<PathBuf> {
    requires("nginx", program("nginx"))
}

/// Apache httpd, as Debian calls it.
#[track_caller]
pub(crate) fn apache2() -> Option<PathBuf> {
    requires("apache2", program("apache2"))
}

/// PHP-FPM of the newest version: Debian has the version in its name.
#[track_caller]
pub(crate) fn php_fpm() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let files = std::env::split_paths(&folders).filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let named = files.map(|file| file.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("php-fpm").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    });
    requires("php-fpm", named.max())
}

#[track_caller]
pub(crate) fn puma() -> Option<PathBuf> {
    requires("puma", program("puma"))
}

#[track_caller]
pub(crate) fn sidekiq() -> Option<PathBuf> {
    requires("sidekiq", program("sidekiq"))
}

#[track_caller]
pub(crate) fn unicorn() -> Option<PathBuf> {
    requires("unicorn", program("unicorn"))
}

/// A JDK: `java` alone runs a source file with it.
#[track_caller]
pub(crate) fn java() -> Option<PathBuf> {
    requires("java (with javac)", program("java").filter(|_| program("javac").is_some()))
}

#[track_caller]
pub(crate) fn go() -> Option<PathBuf> {
    requires("go", program("go"))
}

/// What checks systemd's units; no systemd has to run.
#[track_caller]
pub(crate) fn systemd_analyze() -> Option<PathBuf> {
    requires("systemd-analyze", program("systemd-analyze"))
}

/// The Compose of its own, which needs no plugin of the Docker client.
#[track_caller]
pub(crate) fn docker_compose() -> Option<PathBuf> {
    requires("docker-compose", program("docker-compose"))
}

/// PHP's command line, with the built-in web server.
#[track_caller]
pub(crate) fn php() -> Option<PathBuf> {
    requires("php", program("php"))
}

#[track_caller]
pub(crate) fn nats_server() -> Option<PathBuf> {
    requires("nats-server", program("nats-server"))
}

#[track_caller]
pub(crate) fn mosquitto() -> Option<PathBuf> {
    requires("mosquitto", program("mosquitto"))
}

#[track_caller]
pub(crate) fn memcached() -> Option<PathBuf> {
    requires("memcached", program("memcached"))
}

#[track_caller]
pub(crate) fn supervisord() -> Option<PathBuf> {
    requires("supervisord", program("supervisord"))
}

/// RabbitMQ's own start script. What Debian has in the PATH is a wrapper that changes the user by su(1).
#[track_caller]
pub(crate) fn rabbitmq_server() -> Option<PathBuf> {
    let script = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    requires("rabbitmq-server", script.is_file().then_some(script))
}

/// MariaDB's server.
#[track_caller]
pub(crate) fn mariadbd() -> Option<PathBuf> {
    let server =
        program("mariadbd").or_else(|| Some(PathBuf::from("/usr/sbin/mariadbd")).filter(|path| path.is_file()));
    requires("mariadbd", server)
}

/// The folder with PostgreSQL's own programs, of the newest version that has them all. Debian keeps it out of the PATH:
/// what is there are scripts that look for a version first.
#[track_caller]
pub(crate) fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let whole = |bin: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| bin.join(name).is_file());
    let version = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    requires("postgresql", folders.filter(whole).max_by_key(version))
}

/// Prometheus; promtool is beside it.
#[track_caller]
pub(crate) fn prometheus() -> Option<PathBuf> {
    let has_tool = |path: &PathBuf| path.with_file_name("promtool").is_file();
    requires("prometheus", program("prometheus").filter(has_tool))
}

/// A busybox that runs in an empty image.
#[track_caller]
pub(crate) fn busybox() -> Option<PathBuf> {
    let is_static = |path: &PathBuf| {
        // What is dynamically linked names its loader.
        std::fs::read(path).is_ok_and(|bytes| !bytes.windows(10).any(|window| window == b"/ld-linux-"))
    };
    requires("a static busybox (busybox-static)", program("busybox").filter(is_static))
}

/// Root: for other users, setuid files and mounts of one's own.
#[track_caller]
pub(crate) fn root() -> Option<()> {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    requires("root", (unsafe { libc::geteuid() } == 0).then_some(()))
}

/// What makes a cluster of engines on one machine.
#[track_caller]
pub(crate) fn cluster_tools() -> Option<()> {
    let missing = ["dockerd", "ip", "iptables", "nsenter", "unshare"].into_iter().find(|name| program(name).is_none());
    requires(missing.unwrap_or("the tools of a cluster"), missing.is_none().then_some(()))
}

/// The Docker client, if its engine answers.
#[track_caller]
pub(crate) fn docker() -> Option<PathBuf> {
    static DOCKER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = DOCKER.get_or_init(|| {
        let docker = program("docker")?;
        let mut info = Command::new(&docker);
        info.args(["info", "--format", "{{.ServerVersion}}"]);
        info.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        info.status().is_ok_and(|status| status.success()).then_some(docker)
    });
    requires("a running Docker engine", found.clone())
}

/// The virtual environment with the Python servers (`tests/apps/requirements.txt`).
pub(crate) struct Venv {
    bin: PathBuf,
}

impl Venv {
    /// A program of the environment: `python`, `uvicorn`, `gunicorn`.
    pub(crate) fn program(&self, name: &str) -> String {
        self.bin.join(name).to_string_lossy().into_owned()
    }

    /// Where its modules are.
    pub(crate) fn modules(&self) -> PathBuf {
        let lib = self.bin.parent().expect("a folder").join("lib");
        let python = std::fs::read_dir(lib).expect("a folder").flatten().next().expect("one version of Python");
        python.path().join("site-packages")
    }
}

#[track_caller]
pub(crate) fn venv() -> Option<Venv> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    // The stamp is written last: without it the installation was broken off.
    let found = root.join("installed").is_file().then(|| Venv { bin: root.join("bin") });
    requires("target/venv", found)
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
