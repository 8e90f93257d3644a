//! Servers of Debian's, each with a configuration of its own, ready to be started.

use super::run::{folder, words};
use super::stopping::{Beside, Site};
use super::{DEADLINE, Proc, address, app, free_port, python3, wait_http};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the proxies stand before. It is not stopped, and says when a slow request has reached it.
fn upstream() -> (u16, Proc) {
    let port = free_port();
    let server = words(&[&app("bare.py"), &port.to_string()]);
    let process = Proc::spawn_group(Command::new(python3()).args(server));
    // httpd asks no more for a minute where it was refused once.
    wait_http(port, "/", DEADLINE);
    (port, process)
}

/// A proxy with one file as its configuration.
fn proxy(program: &Path, config: impl Fn(&Path, u16) -> String, arguments: &[&str]) -> Site {
    let (folder, port) = (folder(), free_port());
    let file = folder.path().join("server.conf");
    std::fs::write(&file, config(folder.path(), port)).expect("written");
    let mut server = words(&[&text(program)]);
    server.extend(arguments.iter().map(|argument| argument.replace("FOLDER", &text(folder.path()))));
    Site { _folder: Some(folder), ..Site::alone(port, server) }
}

/// The proxy before an upstream that runs.
fn before_upstream(proxy: impl FnOnce(u16) -> Option<Site>) -> Option<Site> {
    let (behind, upstream) = upstream();
    Some(Site { beside: Beside::Upstream(upstream), ..proxy(behind)? })
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

pub(crate) fn nginx(settings: &str) -> Option<Site> {
    before_upstream(|behind| nginx_before(behind, settings))
}

pub(crate) fn nginx_before(behind: u16, settings: &str) -> Option<Site> {
    let config = |folder: &Path, port| {
        settings.to_owned() + &nginx_config(folder, port, &format!("proxy_pass http://127.0.0.1:{behind};"))
    };
    Some(proxy(&super::nginx()?, config, &NGINX_ARGUMENTS))
}

pub(crate) fn httpd(settings: &str) -> Option<Site> {
    before_upstream(|behind| httpd_before(behind, settings))
}

pub(crate) fn httpd_before(behind: u16, settings: &str) -> Option<Site> {
    let program = super::apache2()?;
    let config = |folder: &Path, port| {
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

pub(crate) fn haproxy(settings: &str, options: &[&str]) -> Option<Site> {
    before_upstream(|behind| haproxy_before(behind, settings, options))
}

pub(crate) fn haproxy_before(behind: u16, settings: &str, options: &[&str]) -> Option<Site> {
    let config = |_: &Path, port| {
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
    Some(proxy(&super::haproxy()?, config, &[options, &["-db", "-f", "FOLDER/server.conf"]].concat()))
}

/// PHP-FPM behind nginx. The timeout is process_control_timeout, in seconds.
pub(crate) fn php_fpm(timeout: u32) -> Option<Site> {
    let (program, front) = (super::php_fpm()?, super::nginx()?);
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
    Some(Site { port, server, beside: Beside::Front(front), _folder: Some(folder) })
}

/// PHP's built-in server, as `php artisan serve` and many a development image run it.
pub(crate) fn php_builtin() -> Option<Site> {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let server =
        words(&["env", "PHP_CLI_SERVER_WORKERS=8", &text(super::php()?), "-n", "-S", &address, &app("slow.php")]);
    Some(Site::alone(port, server))
}

/// The server of the JDK, without a shutdown hook.
pub(crate) fn java() -> Option<Site> {
    let port = free_port();
    Some(Site::alone(port, words(&[&text(super::java()?), &app("Slow.java"), &port.to_string()])))
}

pub(crate) fn puma(options: &[&str], settings: &str) -> Option<Site> {
    let (folder, port) = (folder(), free_port());
    let config = folder.path().join("puma.rb");
    std::fs::write(&config, settings).expect("written");
    let listen = format!("tcp://127.0.0.1:{port}");
    let mut server = words(&[&text(super::puma()?), "--config", &text(&config), "--bind", &listen, "--threads", "8:8"]);
    server.extend(words(options));
    server.push(app("slow.ru"));
    Some(Site { _folder: Some(folder), ..Site::alone(port, server) })
}

/// Each of its workers serves one request at a time.
pub(crate) fn unicorn(settings: &str) -> Option<Site> {
    let (folder, port) = (folder(), free_port());
    let config = folder.path().join("unicorn.rb");
    std::fs::write(&config, format!("worker_processes 8\n{settings}\n")).expect("written");
    let listen = address(port).to_string();
    let server = words(&[&text(super::unicorn()?), "-l", &listen, "-c", &text(config), &app("slow.ru")]);
    Some(Site { _folder: Some(folder), ..Site::alone(port, server) })
}

pub(crate) fn go(options: &[&str]) -> Option<Site> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let go = super::go()?;
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
