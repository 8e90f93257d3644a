//! `--profile` on real servers: what each does when it is told to stop with requests in flight.
//!
//! Each server is one row ([`Server`]). Under graceful's defaults, found by its command line, it drops nothing. With
//! neither delay nor hold the profile's signal alone ends its slow requests well. The control: the signal that images and
//! platforms send where nobody says otherwise loses some of the same requests. And the server's own limit for its stop,
//! of which the profile tells, cuts off what takes longer. Every request is seen to have begun before the signal.
//!
//! What differs here from the table in `src/config/profile.rs` is wrong there.

mod common;

use common::run::{folder, words};
use common::stopping::{Beside, SLOW, Site};
use common::{DEADLINE, Exit, Proc, address, app, free_port, python3, wait_http};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Neither delay nor hold: the signal goes out at once.
const AT_ONCE: [&str; 6] = ["--grace-period", "30s", "--hold", "never", "--pre-stop-delay", "0s"];

/// One server, and how it ends.
struct Server {
    profile: &'static str,
    /// What in the command line tells; none where nothing can.
    word: Option<&'static str>,
    site: fn() -> Option<Site>,
    exit: Exit,
}

const NGINX: Server = Server { profile: "nginx", word: Some("nginx"), site: || nginx(""), exit: Exit::Code(0) };
const HTTPD: Server = Server { profile: "httpd", word: Some("apache2"), site: || httpd(""), exit: Exit::Code(0) };
const HAPROXY: Server =
    Server { profile: "haproxy", word: Some("haproxy"), site: || haproxy("", &[]), exit: Exit::Code(0) };
/// As in its image.
const HAPROXY_MASTER: Server = HAPROXY.with(|| haproxy("", &["-W"]));
const PHP_FPM: Server = Server { profile: "php-fpm", word: Some("php-fpm"), site: || php_fpm(20), exit: Exit::Code(0) };
/// As it is when nobody has set process_control_timeout.
const PHP_FPM_DEFAULT: Server = PHP_FPM.with(|| php_fpm(0));
const PUMA: Server = Server { profile: "puma", word: Some("puma"), site: || puma(&[], ""), exit: Exit::Code(143) };
const PUMA_CLUSTER: Server = PUMA.with(|| puma(&["--workers", "2"], ""));
const UNICORN: Server = Server { profile: "unicorn", word: Some("unicorn"), site: || unicorn(""), exit: Exit::Code(0) };
/// The name of a Go program says nothing.
const GO: Server = Server { profile: "go", word: None, site: || go(&["-shutdown"]), exit: Exit::Code(0) };
const GO_BARE: Server = Server { profile: "go", word: None, site: || go(&[]), exit: Exit::Code(143) };

/// With the server's own limit for its stop, as short as it can be.
const NGINX_TIMEOUT: Server = NGINX.with(|| nginx("worker_shutdown_timeout 1s;\n"));
/// After it httpd takes some ten seconds more to send SIGTERM, and at last SIGKILL, to its children.
const HTTPD_TIMEOUT: Server = HTTPD.with(|| httpd("GracefulShutdownTimeout 1"));
const HAPROXY_TIMEOUT: Server = HAPROXY.with(|| haproxy("global\nhard-stop-after 1s", &[]));
const PHP_FPM_TIMEOUT: Server = PHP_FPM.with(|| php_fpm(1));
const PUMA_CLUSTER_TIMEOUT: Server = PUMA.with(|| puma(&["--workers", "2"], "worker_shutdown_timeout 1"));
const PUMA_TIMEOUT: Server = PUMA.with(|| puma(&[], "force_shutdown_after 1"));
/// A cluster's, without a cluster.
const PUMA_OTHER_TIMEOUT: Server = PUMA.with(|| puma(&[], "worker_shutdown_timeout 1"));
const UNICORN_TIMEOUT: Server = UNICORN.with(|| unicorn("timeout 3"));

impl Server {
    const fn with(self, site: fn() -> Option<Site>) -> Server {
        Server { site, ..self }
    }

    /// Known by its command line where it can be, under graceful's defaults: nothing is lost.
    fn drops_nothing(&self) {
        let Some(site) = (self.site)() else { return };
        let named = if self.word.is_some() { "auto" } else { self.profile };
        let seen = site.drops_nothing(&["--profile", named], self.exit);
        let (line, how) = (format!("profile {}", self.profile), ", by \"");
        match self.word {
            Some(word) => seen.process.wait_line(&format!("{line}{how}{word}"), DEADLINE),
            None => seen.process.wait_line(&format!("{line}: "), DEADLINE),
        };
    }

    /// The slow requests that were lost when the signal went out at once.
    fn lost_at_once(&self, options: &[&str], seconds: f64) -> Option<(usize, String)> {
        let site = (self.site)()?;
        let seen = site.stop_with_slow_requests(site.under_graceful(&[&AT_ONCE, options].concat()), seconds);
        assert_eq!(seen.slow.records.len(), SLOW);
        Some((seen.dropped(), seen.table()))
    }

    fn its_signal_alone_is_enough(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--profile", self.profile], 1.5) else { return };
        assert_eq!(lost, 0, "{what}");
    }

    fn its_signal_alone_loses_some(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--profile", self.profile], 1.5) else { return };
        assert!(lost > 0, "{what}");
    }

    /// With the server's own limit set to few seconds, requests of many are lost, long before SIGKILL.
    fn its_own_timeout_cuts_off(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--profile", self.profile], 14.0) else { return };
        assert!(lost > 0, "{what}");
    }

    fn its_own_timeout_is_none(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--profile", self.profile], 4.0) else { return };
        assert_eq!(lost, 0, "{what}");
    }

    fn sigint_loses_some(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--stop-signal", "INT"], 1.5) else { return };
        assert!(lost > 0, "{what}");
    }

    fn sigterm_loses_some(&self) {
        let Some((lost, what)) = self.lost_at_once(&["--stop-signal", "TERM"], 1.5) else { return };
        assert!(lost > 0, "{what}");
    }
}

macro_rules! servers {
    ($($name:ident: $server:expr, $($way:ident)*;)*) => {$(
        mod $name {
            use super::*;
            $(
                #[test]
                fn $way() {
                    $server.$way();
                }
            )*
        }
    )*};
}

servers! {
    nginx_server: NGINX, drops_nothing its_signal_alone_is_enough sigterm_loses_some sigint_loses_some;
    nginx_with_a_timeout: NGINX_TIMEOUT, its_own_timeout_cuts_off;
    httpd_server: HTTPD, drops_nothing its_signal_alone_is_enough sigterm_loses_some;
    httpd_with_a_timeout: HTTPD_TIMEOUT, its_own_timeout_cuts_off;
    haproxy_server: HAPROXY, drops_nothing its_signal_alone_is_enough sigterm_loses_some;
    haproxy_master: HAPROXY_MASTER, drops_nothing its_signal_alone_is_enough sigterm_loses_some;
    haproxy_with_a_timeout: HAPROXY_TIMEOUT, its_own_timeout_cuts_off;
    php_fpm_server: PHP_FPM, drops_nothing its_signal_alone_is_enough sigterm_loses_some;
    php_fpm_with_a_timeout: PHP_FPM_TIMEOUT, its_own_timeout_cuts_off;
    // The hold waits for what the signal would cut off.
    php_fpm_by_default: PHP_FPM_DEFAULT, drops_nothing its_signal_alone_loses_some;
    // SIGTERM is the right one.
    puma_server: PUMA, drops_nothing its_signal_alone_is_enough;
    puma_with_a_timeout: PUMA_TIMEOUT, its_own_timeout_cuts_off;
    puma_with_a_timeout_of_clusters: PUMA_OTHER_TIMEOUT, its_own_timeout_is_none;
    puma_cluster: PUMA_CLUSTER, drops_nothing its_signal_alone_is_enough;
    puma_cluster_with_a_timeout: PUMA_CLUSTER_TIMEOUT, its_own_timeout_cuts_off;
    unicorn_server: UNICORN, drops_nothing its_signal_alone_is_enough sigterm_loses_some sigint_loses_some;
    unicorn_with_a_timeout: UNICORN_TIMEOUT, its_own_timeout_cuts_off;
    go_server: GO, drops_nothing its_signal_alone_is_enough;
    go_without_a_handler: GO_BARE, drops_nothing its_signal_alone_loses_some;
}

/// What most images of Go services are: no handler, no profile, one init or the other.
#[test]
fn go_without_a_handler_loses_nothing_unasked() {
    let Some(site) = (GO_BARE.site)() else { return };
    site.drops_nothing(&[], Exit::Code(143));
}

#[test]
fn control_go_without_a_handler_under_tini_loses_requests() {
    let Some(site) = (GO_BARE.site)() else { return };
    site.loses_some_under_tini();
}

/// What the proxies stand before. It is not stopped, and says when a slow request has reached it.
fn upstream() -> (u16, Proc) {
    let port = free_port();
    let server = words(&[&app("bare.py"), &port.to_string()]);
    let process = Proc::spawn_group(Command::new(python3()).args(server));
    // httpd asks no more for a minute where it was refused once.
    wait_http(port, "/", DEADLINE);
    (port, process)
}

/// A proxy with one file as its configuration, before an upstream.
fn proxy(program: &Path, config: impl Fn(&Path, u16, u16) -> String, arguments: &[&str]) -> Site {
    let (folder, port, (behind, upstream)) = (folder(), free_port(), upstream());
    let file = folder.path().join("server.conf");
    std::fs::write(&file, config(folder.path(), port, behind)).expect("written");
    let mut server = words(&[&text(program)]);
    server.extend(arguments.iter().map(|argument| argument.replace("FOLDER", &text(folder.path()))));
    Site { port, server, beside: Beside::Upstream(upstream), folder: Some(folder) }
}

fn text(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

fn is_root() -> bool {
    // SAFETY: geteuid(2) has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// nginx's configuration: in the foreground, all of its files in the folder, one location that goes somewhere.
fn nginx_config(folder: &Path, port: u16, location: &str) -> String {
    let folder = folder.display();
    let temp =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    // Nobody else may enter the folder.
    let user = if is_root() { "user root root;\n" } else { "" };
    format!(
        "{user}daemon off;\n\
         pid {folder}/pid;\n\
         error_log stderr;\n\
         worker_processes 2;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n\
         access_log off;\n\
         {}\
         server {{\n\
         listen 127.0.0.1:{port};\n\
         location / {{ {location} }}\n\
         }}\n\
         }}\n",
        temp.concat(),
    )
}

const NGINX_ARGUMENTS: [&str; 6] = ["-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/server.conf"];

fn nginx(settings: &str) -> Option<Site> {
    let config = |folder: &Path, port, behind| {
        settings.to_owned() + &nginx_config(folder, port, &format!("proxy_pass http://127.0.0.1:{behind};"))
    };
    Some(proxy(&common::nginx()?, config, &NGINX_ARGUMENTS))
}

fn httpd(settings: &str) -> Option<Site> {
    let program = common::apache2()?;
    let config = |folder: &Path, port, behind| {
        let folder = folder.display();
        let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"]
            .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"));
        let user = if is_root() { "User nobody\nGroup nogroup\n" } else { "" };
        format!(
            "{settings}\n\
             ServerRoot {folder}\n\
             ServerName localhost\n\
             DefaultRuntimeDir {folder}\n\
             PidFile {folder}/pid\n\
             ErrorLog /dev/stderr\n\
             Listen 127.0.0.1:{port}\n\
             {}{user}\
             MaxKeepAliveRequests 0\n\
             ProxyPass / http://127.0.0.1:{behind}/ disablereuse=On\n",
            modules.concat(),
        )
    };
    Some(proxy(&program, config, &["-DFOREGROUND", "-f", "FOLDER/server.conf"]))
}

fn haproxy(settings: &str, options: &[&str]) -> Option<Site> {
    let config = |_: &Path, port, behind| {
        format!(
            "{settings}\n\
             defaults\n\
             mode http\n\
             timeout connect 5s\n\
             timeout client 30s\n\
             timeout server 30s\n\
             retries 0\n\
             listen web\n\
             bind 127.0.0.1:{port}\n\
             server app 127.0.0.1:{behind}\n",
        )
    };
    Some(proxy(&common::haproxy()?, config, &[options, &["-db", "-f", "FOLDER/server.conf"]].concat()))
}

/// PHP-FPM behind nginx. The timeout is process_control_timeout, in seconds.
fn php_fpm(timeout: u32) -> Option<Site> {
    let (program, front) = (common::php_fpm()?, common::nginx()?);
    let (folder, port, fastcgi) = (folder(), free_port(), free_port());
    let user = if is_root() { "user = root\ngroup = root\n" } else { "" };
    let config = format!(
        "[global]\n\
         error_log = /dev/stderr\n\
         daemonize = no\n\
         process_control_timeout = {timeout}\n\
         [www]\n\
         {user}\
         listen = 127.0.0.1:{fastcgi}\n\
         pm = static\n\
         pm.max_children = 8\n\
         catch_workers_output = yes\n",
    );
    let file = folder.path().join("fpm.conf");
    std::fs::write(&file, config).expect("written");
    let location = format!(
        "fastcgi_pass 127.0.0.1:{fastcgi};\n\
         fastcgi_param SCRIPT_FILENAME {};\n\
         fastcgi_param REQUEST_METHOD $request_method;\n\
         fastcgi_param QUERY_STRING $query_string;",
        app("slow.php"),
    );
    std::fs::write(folder.path().join("server.conf"), nginx_config(folder.path(), port, &location)).expect("written");
    let arguments = NGINX_ARGUMENTS.map(|argument| argument.replace("FOLDER", &text(folder.path())));
    let front = Proc::spawn_group(Command::new(front).args(arguments));
    let server = words(&[&text(program), "-F", "-R", "-n", "-y", &text(file)]);
    Some(Site { port, server, beside: Beside::Front(front), folder: Some(folder) })
}

fn puma(options: &[&str], settings: &str) -> Option<Site> {
    let (folder, port) = (folder(), free_port());
    let config = folder.path().join("puma.rb");
    std::fs::write(&config, settings).expect("written");
    let listen = format!("tcp://127.0.0.1:{port}");
    let mut server =
        words(&[&text(common::puma()?), "--config", &text(&config), "--bind", &listen, "--threads", "8:8"]);
    server.extend(words(options));
    server.push(app("slow.ru"));
    Some(Site { folder: Some(folder), ..Site::alone(port, server) })
}

/// Each of its workers serves one request at a time.
fn unicorn(settings: &str) -> Option<Site> {
    let (folder, port) = (folder(), free_port());
    let config = folder.path().join("unicorn.rb");
    std::fs::write(&config, format!("worker_processes 8\n{settings}\n")).expect("written");
    let listen = address(port).to_string();
    let server = words(&[&text(common::unicorn()?), "-l", &listen, "-c", &text(config), &app("slow.ru")]);
    Some(Site { folder: Some(folder), ..Site::alone(port, server) })
}

fn go(options: &[&str]) -> Option<Site> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let go = common::go()?;
    let program = BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join("go_server");
        let mut build = Command::new(go);
        build.arg("build").arg("-o").arg(&program).arg(app("go_server.go"));
        build.env("GO111MODULE", "off").env("GOFLAGS", "").env("CGO_ENABLED", "0");
        build.env("GOCACHE", folder.join("go-cache")).env("GOPATH", folder.join("go-path"));
        let output = build.output().expect("go runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    });
    let port = free_port();
    let mut server = words(&[&text(program), "-listen", &address(port).to_string()]);
    server.extend(words(options));
    Some(Site::alone(port, server))
}
