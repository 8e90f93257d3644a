//! Process managers inside a container: they hand the stop on to programs of their own, and wait for each as long as
//! their configuration says.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Profile, Source, any};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "supervisord",
        known_by: &[any("supervisord")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            file: Some(OwnFile {
                options: &["-c", "--configuration"],
                suffix: None,
                paths: &[
                    "supervisord.conf",
                    "etc/supervisord.conf",
                    "/etc/supervisor/supervisord.conf",
                    "/etc/supervisord.conf",
                ],
                keys: &["stopwaitsecs"],
            }),
            default: Limit::Seconds(10),
            ..OwnDrain::NONE
        }),
        foreground: Some("supervisord -n, or nodaemon=true"),
        advice: "stops its programs one priority after the other, each for stopwaitsecs (10 s) at most, and sends \
                 SIGKILL then: the grace period must be longer than all of them together",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "pm2",
        known_by: &[any("pm2-runtime")],
        advice: "sends SIGINT to its apps, and SIGKILL after --kill-timeout (1600 ms): raise it above the longest \
                 request, or start node itself",
        ..Profile::RUNTIME
    },
];
