//! `--profile` on real servers: what each does when it is told to stop with requests in flight.
//!
//! Each server is one row ([`Server`]). Under graceful's defaults, found by its command line, it drops nothing. With
//! neither delay nor hold the profile's signal alone ends its slow requests well. The control: the signal that images and
//! platforms send where nobody says otherwise loses some of the same requests. And the server's own limit for its stop,
//! of which the profile tells, cuts off what takes longer. Every request is seen to have begun before the signal.
//!
//! What differs here from the table in `src/config/profile` is wrong there.

use crate::support::sites::{go, haproxy, httpd, java, nginx, php_builtin, php_fpm, puma, unicorn};
use crate::support::stopping::{SLOW, Site};
use crate::support::{DEADLINE, Exit};

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
const PUMA: Server =
    Server { profile: "puma", word: Some("puma"), site: || puma(&[], ""), exit: Exit::Signal(libc::SIGTERM) };
const PUMA_CLUSTER: Server = PUMA.with(|| puma(&["--workers", "2"], ""));
const UNICORN: Server = Server { profile: "unicorn", word: Some("unicorn"), site: || unicorn(""), exit: Exit::Code(0) };
/// The name of a Go program says nothing.
const GO: Server = Server { profile: "go", word: None, site: || go(&["-shutdown"]), exit: Exit::Code(0) };
const GO_BARE: Server = Server { profile: "go", word: None, site: || go(&[]), exit: Exit::Signal(libc::SIGTERM) };
const PHP: Server = Server { profile: "php", word: Some("php"), site: php_builtin, exit: Exit::Signal(libc::SIGTERM) };
/// The virtual machine takes the signal and exits with this code.
const JAVA: Server = Server { profile: "jvm", word: Some("java"), site: java, exit: Exit::Code(143) };

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

    /// Requests that take most of the budget. Every signal is caught by the runtime itself, so that nothing proves that the
    /// app has no handler: with a profile the hold lasts until 2 s before SIGKILL, without one to half of what is left.
    fn its_runtime_proves_nothing(&self) {
        const SECONDS: f64 = 6.0;
        let options = ["--grace-period", "11s", "--kill-margin", "1s", "--pre-stop-delay", "0s"];
        for (profile, all_lost) in [("auto", false), ("none", true)] {
            let Some(site) = (self.site)() else { return };
            let process = site.under_graceful(&[&options[..], &["--profile", profile]].concat());
            let seen = site.stop_with_slow_requests(process, SECONDS);
            assert_eq!(seen.slow.records.len(), SLOW);
            assert_eq!(seen.dropped(), if all_lost { SLOW } else { 0 }, "{profile}\n{}", seen.table());
        }
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
    // Without a handler of their own: only the hold saves what is under way.
    php_builtin_server: PHP, drops_nothing its_signal_alone_loses_some;
    java_server: JAVA, drops_nothing its_signal_alone_loses_some its_runtime_proves_nothing;
    go_server: GO, drops_nothing its_signal_alone_is_enough;
    go_without_a_handler: GO_BARE, drops_nothing its_signal_alone_loses_some;
}

/// What most images of Go services are: no handler, no profile, one init or the other.
#[test]
fn go_without_a_handler_loses_nothing_unasked() {
    let Some(site) = (GO_BARE.site)() else { return };
    site.drops_nothing(&[], Exit::Signal(libc::SIGTERM));
}

#[test]
fn control_go_without_a_handler_under_tini_loses_requests() {
    let Some(site) = (GO_BARE.site)() else { return };
    site.loses_some_under_tini();
}
