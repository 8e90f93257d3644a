//! Web servers and proxies. Their images declare the graceful signal as STOPSIGNAL, so that it begins the stop, too.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Profile, Source, any};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "nginx",
        known_by: &[any("nginx"), any("openresty"), any("angie"), any("freenginx")],
        stop_signal: Some(Signal::QUIT),
        stop_on: &[Signal::QUIT],
        drain: Some(OwnDrain {
            file: Some(OwnFile {
                options: &["-c"],
                suffix: None,
                paths: &["/etc/nginx/nginx.conf"],
                keys: &["worker_shutdown_timeout"],
            }),
            ..OwnDrain::NONE
        }),
        foreground: Some("nginx -g 'daemon off;'"),
        advice: "TERM and INT drop requests; worker_shutdown_timeout bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "httpd",
        known_by: &[
            any("httpd"),
            any("apache2"),
            any("apachectl"),
            any("apache2ctl"),
            any("httpd-foreground"),
            any("apache2-foreground"),
        ],
        stop_signal: Some(Signal::WINCH),
        stop_on: &[Signal::WINCH],
        foreground: Some("httpd -DFOREGROUND"),
        advice: "TERM drops requests; GracefulShutdownTimeout (0: for ever), and some 10 s more, bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "php-fpm",
        known_by: &[any("php-fpm")],
        stop_signal: Some(Signal::QUIT),
        stop_on: &[Signal::QUIT],
        foreground: Some("php-fpm -F"),
        advice: "QUIT is only graceful with process_control_timeout set: its default, 0, drops requests",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "haproxy",
        known_by: &[any("haproxy")],
        stop_signal: Some(Signal::USR1),
        stop_on: &[Signal::USR1],
        drain: Some(OwnDrain {
            file: Some(OwnFile { options: &["-f"], suffix: None, paths: &[], keys: &["hard-stop-after"] }),
            default: Limit::Never,
            ..OwnDrain::NONE
        }),
        foreground: Some("haproxy -db, or -W"),
        advice: "TERM drops requests; hard-stop-after bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "caddy",
        known_by: &[any("caddy")],
        stop_signal: Some(Signal::TERM),
        advice: "grace_period (0: for ever) bounds its drain",
        ..Profile::UNKNOWN
    },
    Profile {
        name: "frankenphp",
        known_by: &[any("frankenphp")],
        stop_signal: Some(Signal::TERM),
        advice: "is Caddy: grace_period (0: for ever) bounds its drain",
        ..Profile::UNKNOWN
    },
    Profile {
        name: "traefik",
        known_by: &[any("traefik")],
        stop_signal: Some(Signal::TERM),
        advice: "transport.lifeCycle.graceTimeOut (10 s) of each entry point bounds its drain; \
                 requestAcceptGraceTimeout is its own pre-stop delay: leave one of the two at 0",
        ..Profile::UNKNOWN
    },
    Profile {
        name: "envoy",
        known_by: &[any("envoy")],
        stop_signal: Some(Signal::TERM),
        advice: "TERM drains nothing: the hold waits for its requests; a pre-stop hook that POSTs to /healthcheck/fail \
                 of its admin address tells the load balancers",
        ..Profile::UNKNOWN
    },
];
