//! The start: what the app must find in place, and then the app itself, before anything else is built.

use super::control::ControlDesk;
use super::generations::first_environment;
use super::notify::NotifyDesk;
use super::sockets::AppSockets;
use super::threads::Threads;
use crate::config::{CheckConfig, CheckTarget, Config, Hold, Stage};
use crate::files;
use crate::generations::GenerationId;
use crate::output::Sink;
use crate::pid::Pid;
use crate::server::ProbeListener;
use crate::signal::Signal;
use crate::sys::reap::Children;
use crate::sys::signals::Inherited;
use crate::sys::tty::Terminal;
use crate::sys::{self, at, fds, process, spawn};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What must be done before the app is started, and, unless hooks come first, its start: as early as that. What is built after
/// it is built while the app loads on another processor.
pub(super) struct Launch {
    pub(super) inherited: Inherited,
    pub(super) terminal: Terminal,
    pub(super) pid: i32,
    /// PID 1 of its namespace.
    pub(super) init: bool,
    /// The app leads a process group of its own.
    own_group: bool,
    /// Where commands run later are to run.
    pub(super) dir: Option<CString>,
    /// The app's start, until the lifecycle asks for it.
    pub(super) app: Option<Result<Pid, spawn::Error>>,
    /// Told of every process that is started.
    pub(super) children: Rc<Children>,
    /// Descriptors that reports are to be written to (`--report /dev/fd/3`), by the path that names them.
    pub(super) kept: Vec<(PathBuf, File)>,
    /// Who started graceful was gone before the kernel could be told to tell of it: the signal for that.
    pub(super) parent_died: Option<Signal>,
    /// Where probes come in.
    pub(super) listener: Option<ProbeListener>,
    /// What the app accepts on, if graceful binds it.
    pub(super) sockets: AppSockets,
    /// Where the app says that it is ready.
    pub(super) notify: NotifyDesk,
    /// Where `graceful reload` and `graceful status` ask.
    pub(super) control: ControlDesk,
    /// What waits for its work.
    pub(super) threads: Threads,
    /// Why the app must not be started at all.
    pub(super) refused: Option<String>,
}

impl Launch {
    pub(super) fn new(config: &mut Config, inherited: Inherited) -> Launch {
        fds::fill_standard_streams();
        sys::memory::prepare();
        let pid = sys::getpid();
        let init = pid == 1;
        if !init && let Err(error) = spawn::become_subreaper() {
            config.warnings.push(format!("orphans cannot be adopted (PR_SET_CHILD_SUBREAPER): {error}"));
        }
        if let Some(path) = &config.drain_file
            && let Err(error) = files::remove_stale(path)
        {
            config.warnings.push(format!("cannot remove --drain-file {}: {error}", path.display()));
        }
        let terminal = Terminal::look();
        let mut launch = Launch {
            inherited,
            own_group: !terminal.had_foreground() || comes_between(config),
            terminal,
            pid,
            init,
            dir: original_dir(config),
            app: None,
            children: Rc::default(),
            kept: kept(config),
            parent_died: parent_died(config),
            listener: None,
            sockets: AppSockets::default(),
            control: ControlDesk::default(),
            notify: NotifyDesk::default(),
            threads: Threads::default(),
            refused: None,
        };
        if !inherited.blocked {
            launch.refused =
                Some("signals cannot be blocked: rt_sigprocmask is denied (by a seccomp profile?)".to_owned());
        }
        launch.listen(config);
        launch.listen_for_the_app(config);
        launch.bind_control(config);
        launch.open_notify(config);
        launch.start_threads(config);
        let later = config.hooks.iter().any(|hook| hook.stage == Stage::PreStart);
        if launch.refused.is_none() && !later {
            launch.app = Some(launch.spawn(&config.command, &first_environment(config), GenerationId::FIRST));
        }
        launch
    }

    /// Before the app, so that an address that cannot be had is known while the app can still be left alone. An app
    /// whose probes nobody answers would be killed by its orchestrator again and again, without a word why.
    fn listen(&mut self, config: &Config) {
        let Some(listen) = config.probe_listen.as_ref().filter(|_| self.refused.is_none()) else { return };
        match ProbeListener::bind(listen) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => self.refused = Some(format!("cannot listen on --probe-listen {listen}: {error}")),
        }
    }

    /// For the app, which may have less privilege than graceful.
    fn listen_for_the_app(&mut self, config: &mut Config) {
        if self.refused.is_none() && !config.listen.is_empty() {
            match AppSockets::bind(&config.listen, config.has_generations()) {
                Ok((sockets, warnings)) => {
                    self.sockets = sockets;
                    config.warnings.extend(warnings);
                }
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
    }

    /// Whoever deploys by it must be able to.
    fn bind_control(&mut self, config: &Config) {
        if self.refused.is_none() {
            match ControlDesk::bind(config, self.init) {
                Ok(control) => self.control = control,
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
    }

    /// A new run that nobody hears would never be ready.
    fn open_notify(&mut self, config: &mut Config) {
        if self.refused.is_none() {
            match NotifyDesk::open(config) {
                Ok(notify) => self.notify = notify,
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
    }

    /// Before the app as well, and for the same reason.
    fn start_threads(&mut self, config: &Config) {
        if self.refused.is_none() {
            match Threads::start(config, self.listener.as_ref()) {
                Ok(threads) => self.threads = threads,
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
    }

    /// Where what is written under this path goes.
    pub(super) fn sink(&self, path: &Path) -> Sink {
        let kept = self.kept.iter().find(|(named, _)| named == path).and_then(|(_, file)| file.try_clone().ok());
        match kept {
            Some(file) => Sink::Open(path.to_owned(), file),
            None => Sink::Path(path.to_owned()),
        }
    }

    /// The app, where it was started already.
    pub(super) fn started(&self) -> Option<Pid> {
        self.app.as_ref()?.as_ref().ok().copied()
    }

    /// Starts it with these variables on top of the environment that graceful has.
    pub(super) fn spawn(
        &self,
        command: &[OsString],
        added: &[CString],
        generation: GenerationId,
    ) -> Result<Pid, spawn::Error> {
        let argv: Vec<CString> = command
            .iter()
            .map(|part| CString::new(part.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| spawn::Error::Exec(error.into()))?;
        let pid = spawn::spawn(&spawn::SpawnSpec {
            argv: &argv,
            env: None,
            added: &[added, self.notify.variable().as_slice()].concat(),
            inherited: self.inherited,
            output: None,
            errors: None,
            dir: None,
            own_group: self.own_group,
            // As PID 1 the kernel ends the whole namespace with graceful.
            parent_death_signal: (!self.init).then_some(Signal::TERM),
            sockets: self.sockets.passed(generation),
        })?;
        self.children.forked();
        Ok(pid)
    }
}

/// In the foreground of a terminal both share the group: keys and job control are as without graceful. But what the kernel
/// sends to a whole group nobody can hold back or rewrite, so an app for which that was asked, or which a new window
/// size would stop (httpd), is kept out of it. Should it read the terminal after all, it is given its foreground then.
fn comes_between(config: &Config) -> bool {
    let keys = [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH];
    let stop_signal = config.stop_signal.or(config.profile_signal);
    config.rewrite.iter().any(|(from, _)| keys.contains(from))
        || stop_signal.map_or(config.stop_on.contains(Signal::WINCH), |signal| signal == Signal::WINCH)
}

/// `--parent-death-signal`.
fn parent_died(config: &mut Config) -> Option<Signal> {
    let signal = config.parent_death_signal?;
    match process::on_parent_death(signal) {
        Ok(already) => already.then_some(signal),
        Err(error) => {
            config.warnings.push(format!("--parent-death-signal {signal} (PR_SET_PDEATHSIG): {error}"));
            None
        }
    }
}

/// Duplicates of the descriptors that reports go to: those that were inherited are let go of when the app has them.
fn kept(config: &Config) -> Vec<(PathBuf, File)> {
    let paths = [&config.report, &config.termination_log].into_iter().flatten();
    let keep = |path: &PathBuf| Some((path.clone(), at::duplicate(files::descriptor(path)?).ok()?));
    paths.filter_map(keep).collect()
}

/// Commands run later need the directory, and graceful itself leaves it: a supervisor must not keep a disk mounted.
fn original_dir(config: &Config) -> Option<CString> {
    let runs = |check: &CheckConfig| matches!(check.target, CheckTarget::Exec { .. });
    let needed = !config.hooks.is_empty() || matches!(config.hold, Hold::Command(_)) || config.checks.iter().any(runs);
    let dir = needed.then(std::env::current_dir)?.ok()?;
    CString::new(dir.into_os_string().into_vec()).ok()
}
