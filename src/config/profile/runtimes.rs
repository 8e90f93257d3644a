//! Runtimes, where the app's own code decides what a signal does, and application servers of other languages.

use super::drain::{Limit, OwnDrain, OwnFile};
use super::{Profile, Source, any, with};
use crate::signal::Signal;

pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "node",
        known_by: &[any("node"), any("nodejs"), any("npm"), any("npx"), any("yarn"), any("pnpm")],
        advice: "has no handler of its own, so that only the delay and the hold save requests unless the app has one; \
                 npm dies of the signal without passing it on: start node itself",
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "go",
        advice: "without http.Server.Shutdown only the delay and the hold save its requests",
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "jvm",
        known_by: &[any("java")],
        clean: &[143],
        advice: "a clean stop ends with 143: --success-exit-status 143; Spring Boot needs server.shutdown=graceful, \
                 and spring.lifecycle.timeout-per-shutdown-phase (30 s) bounds its drain",
        source: Source::Measured,
        ..Profile::RUNTIME
    },
    Profile {
        name: "dotnet",
        known_by: &[any("dotnet")],
        advice: "ASP.NET Core stops on TERM, for HostOptions.ShutdownTimeout (30 s) at most; a clean stop ends with 0, \
                 one without a host with 143",
        ..Profile::RUNTIME
    },
    Profile {
        name: "bun",
        known_by: &[any("bun"), any("bunx")],
        advice: "has no handler of its own: only the delay and the hold save requests unless the app has one",
        ..Profile::RUNTIME
    },
    Profile {
        name: "deno",
        known_by: &[any("deno")],
        advice: "has no handler of its own: only the delay and the hold save requests unless the app has one, by \
                 Deno.addSignalListener",
        ..Profile::RUNTIME
    },
    Profile {
        name: "php",
        known_by: &[with("php", &["-S"]), with("artisan", &["serve"])],
        stop_signal: Some(Signal::TERM),
        advice: "the built-in server ends at once on SIGTERM: only the delay and the hold save its requests",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "roadrunner",
        known_by: &[with("rr", &["serve"])],
        stop_signal: Some(Signal::TERM),
        advice: "endure.grace_period (30 s) bounds its drain",
        ..Profile::RUNTIME
    },
    Profile {
        name: "puma",
        known_by: &[any("puma")],
        stop_signal: Some(Signal::TERM),
        drain: Some(OwnDrain {
            file: Some(OwnFile {
                options: &["-C", "--config"],
                suffix: None,
                paths: &["config/puma.rb"],
                keys: &["force_shutdown_after", "worker_shutdown_timeout"],
            }),
            default: Limit::Never,
            ..OwnDrain::NONE
        }),
        clean: &[143],
        advice: "a clean stop ends with 143: --success-exit-status 143; worker_shutdown_timeout (30 s) bounds a \
                 cluster's drain, and only force_shutdown_after that of a single process",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
    Profile {
        name: "unicorn",
        known_by: &[any("unicorn"), any("unicorn_rails")],
        stop_signal: Some(Signal::QUIT),
        stop_on: &[Signal::QUIT],
        drain: Some(OwnDrain {
            file: Some(OwnFile {
                options: &["-c", "--config-file"],
                suffix: None,
                paths: &["config/unicorn.rb"],
                keys: &["timeout"],
            }),
            default: Limit::Seconds(60),
            ..OwnDrain::NONE
        }),
        advice: "TERM and INT drop requests; timeout (60 s) bounds its drain",
        source: Source::Measured,
        ..Profile::UNKNOWN
    },
];
