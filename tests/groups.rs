//! Process groups and deaths: whom a signal reaches that was meant for a group, and what whoever started graceful sees of
//! how the app ended.
//!
//! Every app here that signals a group runs in a session of its own, whoever its init is: nothing else can be hit.

mod common;

use common::run::{self, Run, kill, python, shell, signals_sent, words};
use common::{DEADLINE, Exit, Place, Proc, dumb_init, graceful, python3, tini};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// `argv` in a session of its own. setsid(1) does not fork here, since it leads no group: the pid is that of the command.
fn in_session<S: AsRef<std::ffi::OsStr>>(argv: impl IntoIterator<Item = S>) -> Proc {
    Proc::spawn(Command::new("setsid").args(argv))
}

fn wrapper(options: &[&str], app: &[String]) -> Vec<String> {
    let mut argv = vec![graceful().to_string_lossy().into_owned()];
    argv.extend(options.iter().map(|&option| option.to_owned()));
    argv.push("--".to_owned());
    argv.extend(app.iter().cloned());
    argv
}

mod of_the_app {
    use super::*;

    /// Replaces its workers, as some do: everything in its group gets SIGTERM, but the app ignores it.
    const REPLACES: &str = "sleep 1000 & trap '' TERM; kill -TERM 0; wait $!; echo \"worker ended with $?\"; exit 5";

    fn is_not_stopped_by_it(process: &Proc) {
        let (exit, stdout, stderr) = process.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(5), "{}", process.dump());
        assert_eq!(stdout, "worker ended with 143\n");
        assert!(!stderr.contains("stopping"), "{stderr}");
    }

    #[test]
    fn a_signal_to_its_own_group_is_none_to_graceful() {
        is_not_stopped_by_it(&in_session(wrapper(&[], &shell(REPLACES))));
        is_not_stopped_by_it(&Place::Pid1.spawn(wrapper(&[], &shell(REPLACES))));
    }

    #[test]
    fn control_other_inits_keep_out_of_it_too() {
        let (Some(tini), Some(dumb_init)) = (tini(), dumb_init()) else { return };
        for init in [tini, dumb_init] {
            let init = init.to_string_lossy().into_owned();
            let argv = [words(&[&init, "--"]), shell(REPLACES)].concat();
            is_not_stopped_by_it(&Place::Pid1.spawn(argv));
        }
    }

    #[test]
    fn its_pid_is_that_of_its_group() {
        let app = python("import os\nos.killpg(os.getpid(), 0)\nos.setpgid(0, 0)\nprint('leads', flush=True)");
        let process = in_session(wrapper(&[], &app));
        process.wait_line("leads", DEADLINE);
        assert_eq!(process.wait(DEADLINE), Exit::Code(0), "{}", process.dump());
    }
}

mod of_graceful {
    use super::*;

    /// timeout(1) and supervisord's stopasgroup signal the group: graceful alone is in it, and the app keeps its delay.
    #[test]
    fn a_signal_to_gracefuls_group_reaches_the_app_after_the_delay() {
        let run = Run::signals(&["--pre-stop-delay", "700ms", "--hold", "never"], &["--exit-on", "TERM=7"]);
        let t0 = Instant::now();
        kill(-run.pid(), libc::SIGTERM);
        let report = run.ends(Exit::Code(7));
        assert!(run.exited_at().expect("it ended") - t0 >= Duration::from_millis(700), "{}", run.dump());
        assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
        assert_eq!(report["app"]["ended_before_signal"], false, "{report:#}");
    }
}

mod endings {
    use super::*;

    /// What Python sees of a command, as subprocess has it.
    fn call(argv: &[String]) -> String {
        let script = "import subprocess, sys; print(subprocess.call(sys.argv[1:]))";
        let process = Proc::spawn_group(Command::new(python3()).args(["-c", script]).args(argv));
        let (exit, stdout, _) = process.wait_output(DEADLINE);
        assert_eq!(exit, Exit::Code(0), "{}", process.dump());
        stdout.trim_end().to_owned()
    }

    #[test]
    fn a_wrapper_dies_as_the_app_died() {
        for (script, seen) in [("kill $$", "-15"), ("kill -KILL $$", "-9"), ("exit 143", "143"), ("exit 0", "0")] {
            assert_eq!(call(&wrapper(&[], &shell(script))), seen, "{script}");
            assert_eq!(call(&shell(script)), seen, "the control: without graceful, {script}");
        }
    }

    #[test]
    fn a_death_that_counts_as_success_is_exit_0() {
        for list in ["143", "TERM"] {
            assert_eq!(call(&wrapper(&["--success-exit-status", list], &shell("kill $$"))), "0", "{list}");
        }
        assert_eq!(call(&wrapper(&["--success-exit-status", "INT"], &shell("kill $$"))), "-15");
    }

    /// One who ignores a signal, as nohup's children do, must not keep graceful from dying of it.
    #[test]
    fn an_inherited_disposition_or_mask_changes_nothing() {
        let resets = "import os, signal; signal.signal(signal.SIGHUP, 0); signal.pthread_sigmask(2, []); os.kill(os.getpid(), 1)";
        for how in ["--ignore-signal=HUP", "--block-signal=HUP"] {
            let argv = [words(&["env", how]), wrapper(&[], &python(resets))].concat();
            assert_eq!(call(&argv), "-1", "{how}");
        }
    }

    /// A core of graceful's own would be written over the app's, or fill a disk.
    #[test]
    fn the_app_leaves_a_core_and_graceful_none() {
        let folder = run::folder();
        let script = "import os, resource, sys\nresource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))\n\
                      pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])\n_, status = os.waitpid(pid, 0)\n\
                      print(os.WTERMSIG(status), os.WCOREDUMP(status))";
        let seen = |argv: Vec<String>| {
            let mut command = Command::new(python3());
            command.args(["-c", script]).args(argv).current_dir(folder.path());
            let process = Proc::spawn_group(&mut command);
            process.wait_output(DEADLINE).1
        };
        let app = words(&["/bin/sh", "-c", "kill -SEGV $$"]);
        assert_eq!(seen(wrapper(&[], &app)), "11 False\n");
        // The control: what it would have been.
        let alone = seen(app);
        assert!(alone.starts_with("11 "), "{alone}");
        assert!(!Path::new("/core").exists(), "graceful's own directory is /");
    }
}
