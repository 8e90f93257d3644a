//! Process groups and deaths: whom a signal reaches that was meant for a group, and what whoever started graceful sees of
//! how the app ended.
//!
//! Every app here that signals a group runs in a session of its own, whoever its init is: nothing else can be hit.

use crate::support::run::{self, Run, kill, python, shell, signals_sent, words};
use crate::support::{DEADLINE, Exit, Place, Proc, dumb_init, graceful, python3, supervisord, tini};
use serde_json::Value;
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

    const DELAY: Duration = Duration::from_millis(700);
    const OPTIONS: [&str; 4] = ["--pre-stop-delay", "700ms", "--hold", "never"];

    /// timeout(1) and supervisord's stopasgroup signal the group: graceful alone is in it, and the app keeps its delay.
    #[test]
    fn a_signal_to_gracefuls_group_reaches_the_app_after_the_delay() {
        let run = Run::signals(&OPTIONS, &["--exit-on", "TERM=7"]);
        let t0 = Instant::now();
        kill(-run.pid(), libc::SIGTERM);
        let report = run.ends(Exit::Code(7));
        assert!(run.exited_at().expect("it ended") - t0 >= DELAY, "{}", run.dump());
        keeps_its_delay(&report);
    }

    #[track_caller]
    fn keeps_its_delay(report: &Value) {
        assert_eq!(signals_sent(report), ["SIGTERM stop"], "{report:#}");
        assert_eq!(report["app"]["ended_before_signal"], false, "{report:#}");
        // The delay counts from the stop signal on, and the phase from when its first step was done.
        assert!(run::phase_ended(report, "pre-stop") >= DELAY, "{report:#}");
    }

    /// Who starts graceful, and other inits, in a group that gets the stop signal as a whole.
    struct Launcher {
        /// Starts this command; a script that stands for it is in the folder.
        start: fn(&Path, &[String]) -> Proc,
        /// What makes the launcher signal the group.
        signal: i32,
    }

    impl Launcher {
        /// A delay as an entry point in shell keeps it: the shell traps the signal, and the app in its group has it at once.
        const SHELL: &str = "trap 'sleep 2; echo delay over' TERM; \"$@\" & wait $!; wait $!";

        /// Everyone side by side: the app tells its signals and ends with 7. `right` is told what graceful and tini are.
        fn each(&self, right: impl Fn(&Proc)) {
            let folder = run::folder();
            let start = |name: &str, init: &[String]| {
                let below = folder.path().join(name);
                std::fs::create_dir(&below).expect("a folder of our own");
                let process =
                    (self.start)(&below, &[init, &crate::support::signals(&["--exit-on", "TERM=7"])].concat());
                (process, below.join("report.json"))
            };
            let report = folder.path().join("graceful/report.json");
            let report = report.to_string_lossy();
            let options = [&OPTIONS[..], &["--report", &report]].concat();
            let graceful = start("graceful", &wrapper(&options, &[]));
            let tini = tini().map(|tini| start("tini", &words(&[&tini.to_string_lossy(), "-s", "--"])));
            let shell = start("shell", &words(&["sh", "-c", Launcher::SHELL, "sh"]));
            for process in
                [Some(&graceful), tini.as_ref(), Some(&shell)].into_iter().flatten().map(|(process, _)| process)
            {
                process.wait_line("ready pid=", DEADLINE);
                process.signal(self.signal);
            }
            let told = |process: &Proc| process.stdout_so_far().lines().filter(|line| *line == "SIGTERM").count();
            let (process, report) = graceful;
            right(&process);
            assert_eq!(told(&process), 1, "{}", process.dump());
            let report = std::fs::read_to_string(report).expect("a report");
            keeps_its_delay(&serde_json::from_str(&report).expect("the report is JSON"));
            if let Some((process, _)) = tini {
                right(&process);
            }
            // The fault, told on one pipe: a delay that is void.
            let (process, _) = shell;
            let (_, stdout, _) = process.wait_output(DEADLINE);
            let heard = stdout.find("SIGTERM\n").unwrap_or_else(|| panic!("{}", process.dump()));
            assert!(stdout[heard..].contains("delay over"), "{}", process.dump());
        }
    }

    /// Coreutils' own signals its child, and then its whole group. SIGALRM is what its timer sends it.
    #[test]
    fn timeout_voids_no_delay_and_has_the_status() {
        for (start, expected) in [
            (
                (|_, command| Proc::spawn_group(Command::new("timeout").arg("60").args(command)))
                    as fn(&Path, &[String]) -> Proc,
                124,
            ),
            (
                |_, command| Proc::spawn_group(Command::new("timeout").args(["--preserve-status", "60"]).args(command)),
                7,
            ),
        ] {
            Launcher { start, signal: libc::SIGALRM }.each(|process| {
                assert_eq!(process.wait_output(DEADLINE).0, Exit::Code(expected), "{}", process.dump());
            });
        }
    }

    #[test]
    fn supervisords_stopasgroup_voids_no_delay_and_sees_the_status() {
        let Some(_) = supervisord() else { return };
        Launcher { start: under_supervisord, signal: libc::SIGTERM }.each(|process| {
            process.wait_line("stopped: app (exit status 7)", DEADLINE);
            assert_eq!(process.wait_output(DEADLINE).0, Exit::Code(0), "{}", process.dump());
        });
    }

    fn under_supervisord(folder: &Path, command: &[String]) -> Proc {
        let folder = folder.display();
        // In its configuration a semicolon begins a comment.
        let script = format!("exec {}", shell_words::join(command));
        std::fs::write(format!("{folder}/start"), script).expect("a folder of our own");
        let configuration = format!(
            "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={folder}/pid\n\
             childlogdir={folder}\n[program:app]\ncommand=/bin/sh {folder}/start\nstopasgroup=true\nkillasgroup=true\n\
             stopwaitsecs=60\nautorestart=false\nredirect_stderr=true\nstdout_logfile=/dev/fd/1\n\
             stdout_logfile_maxbytes=0\n"
        );
        let path = format!("{folder}/supervisord.conf");
        std::fs::write(&path, configuration).expect("a folder of our own");
        Proc::spawn_group(Command::new(supervisord().expect("it was there")).args(["--configuration", &path]))
    }

    /// A terminal hangs up its whole group. What nohup(1) has started lives on, and stops as ever.
    #[test]
    fn nohup_holds_for_the_app_too() {
        let app = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
        let start = |init: &[String]| {
            let process = Proc::spawn_group(Command::new("nohup").args(init).args(&app));
            process.wait_line("up", DEADLINE);
            kill(-process.pid(), libc::SIGHUP);
            process
        };
        let folder = run::folder();
        let report = folder.path().join("report.json");
        let path = report.to_string_lossy();
        let options = [&OPTIONS[..], &["--report", &path]].concat();
        let graceful = start(&wrapper(&options, &[]));
        let tini = tini().map(|tini| start(&words(&[&tini.to_string_lossy(), "-s", "--"])));
        let dumb_init = dumb_init().map(|dumb_init| start(&words(&[&dumb_init.to_string_lossy(), "--"])));
        for process in [Some(&graceful), tini.as_ref()].into_iter().flatten() {
            process.signal(libc::SIGTERM);
            assert_eq!(process.wait(DEADLINE), Exit::Code(7), "{}", process.dump());
        }
        let report: Value = serde_json::from_str(&std::fs::read_to_string(report).expect("a report")).expect("JSON");
        assert_eq!(signals_sent(&report).last().map(String::as_str), Some("SIGTERM stop"), "{report:#}");
        // The fault: an init that puts the signal back to what kills.
        if let Some(process) = dumb_init {
            assert_eq!(process.wait(DEADLINE), Exit::Code(128 + libc::SIGHUP), "{}", process.dump());
        }
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

mod stop_to {
    use super::*;

    /// An entry point as many are: bash traps the signal, and looks at it when what it waits for has ended.
    fn trapping(inner: &str) -> Vec<String> {
        words(&["bash", "-c", &format!("trap 'echo trapped; exit 0' TERM; {inner}; echo over")])
    }

    /// It says what it gets and ends.
    fn telling() -> String {
        crate::support::signals(&["--exit-on", "TERM=0"]).join(" ")
    }

    const AT_ONCE: [&str; 4] = ["--pre-stop-delay", "0s", "--hold", "never"];
    /// No SIGKILL that a busy machine could be late for.
    const LONG: [&str; 2] = ["--grace-period", "120s"];
    /// SIGKILL is to come.
    const SHORT: [&str; 4] = ["--grace-period", "6s", "--kill-margin", "3s"];

    fn start(options: &[&str], command: &[String]) -> Run {
        start_within(&LONG, options, command)
    }

    fn start_within(budget: &[&str], options: &[&str], command: &[String]) -> Run {
        let run = Run::start(&[&AT_ONCE, budget, options].concat(), command);
        run.wait_line("ready pid=", DEADLINE);
        run
    }

    #[test]
    fn the_group_and_the_tree_hear_of_the_stop() {
        for whom in ["group", "tree"] {
            let run = start(&["--stop-to", whom], &trapping(&telling()));
            run.stop(libc::SIGTERM);
            let report = run.ends(Exit::Code(0));
            assert_eq!(report["sigkill"], false, "{report:#}");
            let (_, stdout, _) = run.wait_output(DEADLINE);
            assert!(stdout.contains("\nSIGTERM\n") && stdout.ends_with("trapped\n"), "{stdout}");
            run.wait_line(&format!("SIGTERM to 1 process more of the app's {whom}"), DEADLINE);
        }
    }

    #[test]
    fn control_tini_for_the_group_and_dumb_init_do_the_same() {
        let (Some(tini), Some(dumb_init)) = (tini(), dumb_init()) else { return };
        for init in [words(&[&tini.to_string_lossy(), "-g", "--"]), words(&[&dumb_init.to_string_lossy(), "--"])] {
            let process = Place::Pid1.spawn([init, trapping(&telling())].concat());
            process.wait_line("ready pid=", DEADLINE);
            process.signal(libc::SIGTERM);
            let (exit, stdout, _) = process.wait_output(DEADLINE);
            assert_eq!(exit, Exit::Code(0), "{}", process.dump());
            assert!(stdout.ends_with("trapped\n"), "{stdout}");
        }
    }

    /// By default it is the app alone; what would be expected said when SIGKILL had to come.
    #[test]
    fn the_app_alone_is_killed_and_the_log_says_what_would_help() {
        let run = start_within(&SHORT, &[], &trapping(&telling()));
        run.stop(libc::SIGTERM);
        run.wait_line("the app is a shell (bash) that was waiting for python3 (pid ", DEADLINE);
        run.wait_line("--stop-to tree", DEADLINE);
        assert_eq!(run.ends(Exit::Signal(libc::SIGKILL))["sigkill"], true);
    }

    /// A group is left with setsid(2), a tree is not.
    #[test]
    fn who_has_left_the_group_is_in_the_tree() {
        let inner = format!("setsid --wait {}", telling());
        let run = start(&["--stop-to", "tree"], &trapping(&inner));
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        let run = start_within(&SHORT, &["--stop-to", "group"], &trapping(&inner));
        run.stop(libc::SIGTERM);
        run.wait_line("budget spent", DEADLINE);
        run.ends(Exit::Signal(libc::SIGKILL));
    }

    #[test]
    fn escalations_and_repeated_signals_go_to_the_same() {
        let app = crate::support::signals(&["--exit-on", "USR1=0"]).join(" ");
        let run = start(&["--stop-to", "tree", "--escalate", "1s:USR1"], &trapping(&app));
        run.stop(libc::SIGTERM);
        run.wait_line("SIGTERM to 1 process more", DEADLINE);
        run.signal(libc::SIGTERM);
        run.wait_lines("SIGTERM to 1 process more", 2, DEADLINE);
        run.wait_line("SIGUSR1 to 1 process more", DEADLINE);
        let (_, stdout, _) = run.wait_output(DEADLINE);
        assert!(stdout.contains("SIGUSR1\n"), "{stdout}");
    }

    /// Hooks are graceful's own, wherever they are in the tree.
    #[test]
    fn graceful_s_own_commands_are_spared() {
        let hook = "post-start=sh -c \"trap 'echo hooked' TERM; echo hook up; sleep 1.5; echo hook ends\"";
        let run = start(
            &["--stop-to", "tree", "--hook", hook],
            &crate::support::signals(&["--exit-on", "TERM=0", "--delay", "2"]),
        );
        run.wait_line("hook up", DEADLINE);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        assert!(!run.stderr_so_far().contains("hooked"), "{}", run.dump());
    }

    /// In the foreground of a terminal the group is graceful's own, and a neighbour in a pipeline is in it.
    #[test]
    fn on_a_terminal_neighbours_of_the_pipeline_are_spared() {
        let shell = crate::support::pty::Terminal::interactive_bash();
        let graceful = wrapper(&[&AT_ONCE[..], &LONG, &["--stop-to", "group"]].concat(), &[]).join(" ");
        shell.type_line(&format!(
            "{graceful} sh -c 'trap \"echo trapped; exit 3\" TERM; {}' | (trap 'echo neighbour hit' TERM; cat)",
            telling()
        ));
        shell.expect("ready pid=");
        let found = shell.wait_member("graceful", |member| member.name == "graceful" && member.state != 'Z');
        kill(found.pid, libc::SIGTERM);
        shell.expect("SIGTERM to 1 process more of the app's group");
        shell.expect("prompt> ");
        let output = shell.output();
        assert!(output.contains("trapped") && !output.contains("neighbour hit"), "{output}");
    }
}

mod background {
    use super::*;

    /// Forks twice and leads a session of its own, as daemons do, and does not leave before it is up.
    const DAEMON: &str = "
import os, signal, sys, time
def stop(number, frame):
    print('daemon told', flush=True)
    os._exit(6)
ready, up = os.pipe()
if os.fork():
    os.read(ready, 1)
    os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, lambda *_: print('daemon reloads', flush=True))
print('daemon up', os.getpid(), flush=True)
os.write(up, b'x')
end = time.time() + 60
while time.time() < end and not os.path.exists(sys.argv[1]): time.sleep(0.02)
os._exit(4)
";

    fn start(options: &[&str], folder: &Path) -> Run {
        let quick = ["--pre-stop-delay", "0s", "--hold", "never"];
        let end = folder.join("end").to_string_lossy().into_owned();
        Run::start(&[&quick, options].concat(), &[python3(), "-c".to_owned(), DAEMON.to_owned(), end])
    }

    #[test]
    fn an_app_that_goes_into_the_background_is_told_what_it_did() {
        let folder = run::folder();
        let run = start(&[], folder.path());
        run.wait_line("warning: the app put itself into the background (python3, pid ", DEADLINE);
        run.wait_line("--leftovers wait", DEADLINE);
        let report = run.ends(Exit::Code(0));
        assert!(run::warnings(&report).contains("put itself into the background"), "{report:#}");
    }

    /// What was left in graceful's own session is a job of a script, and no daemon.
    #[test]
    fn control_a_script_that_leaves_a_job_is_not() {
        let run = Run::start(&["--pre-stop-delay", "0s"], &shell("sleep 1000 & exit 0"));
        run.ends(Exit::Code(0));
        run.wait_line("the app is gone, 1 other process is still there: SIGTERM", DEADLINE);
        assert!(!run.stderr_so_far().contains("background"), "{}", run.dump());
    }

    #[test]
    fn followed_it_runs_on_hears_signals_and_gives_its_status() {
        let folder = run::folder();
        let run = start(&["--leftovers", "wait"], folder.path());
        run.wait_line("is followed there", DEADLINE);
        let up = run.wait_line("daemon up", DEADLINE);
        let daemon = run::number_after(&up.text, "daemon up ");
        run.wait_line(&format!("(python3, pid {daemon}) and is followed there"), DEADLINE);
        run.signal(libc::SIGHUP);
        run.wait_line("daemon reloads", DEADLINE);
        std::fs::write(folder.path().join("end"), "").expect("our own");
        let report = run.ends(Exit::Code(4));
        assert_eq!(report["app"]["pid"], daemon);
        assert!(!run.stdout_so_far().contains("told"), "no signal came before its end\n{}", run.dump());
    }

    #[test]
    fn followed_it_gets_the_whole_stop() {
        let folder = run::folder();
        let run = start(&["--leftovers", "wait", "--hook", "pre-stop=echo hook"], folder.path());
        let up = run.wait_line("daemon up", DEADLINE);
        let daemon = run::number_after(&up.text, "daemon up ");
        run.wait_line(&format!("(python3, pid {daemon}) and is followed there"), DEADLINE);
        run.stop(libc::SIGTERM);
        let report = run.ends(Exit::Code(6));
        run.wait_line("daemon told", DEADLINE);
        assert_eq!(signals_sent(&report), ["SIGTERM stop"]);
        assert_eq!(run::phases(&report)[..3], ["running", "pre-stop", "drain"]);
    }

    #[test]
    fn as_pid_1_too() {
        let folder = run::folder();
        let end = folder.path().join("end").to_string_lossy().into_owned();
        let app = [python3(), "-c".to_owned(), DAEMON.to_owned(), end];
        let run = Run::start_pid1(&["--leftovers", "wait", "--pre-stop-delay", "0s", "--hold", "never"], &app);
        let up = run.wait_line("daemon up", DEADLINE);
        let daemon = run::number_after(&up.text, "daemon up ");
        run.wait_line(&format!("(python3, pid {daemon}) and is followed there"), DEADLINE);
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(6));
    }

    /// nginx without `daemon off`, whose profile knows better.
    #[test]
    fn nginx_is_told_its_own_option() {
        let Some(nginx) = crate::support::nginx() else { return };
        let folder = run::folder();
        let config = format!(
            "pid {0}/pid; error_log {0}/error.log; events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{1}; }} }}",
            folder.path().display(),
            crate::support::free_port()
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).expect("our own");
        // A worker that is signalled while it starts may never end by itself.
        let options = ["--pre-stop-delay", "0s", "--grace-period", "8s"];
        let run = Run::start(&options, &words(&[&nginx.to_string_lossy(), "-c", &path.to_string_lossy()]));
        run.wait_line("the app put itself into the background (nginx, pid ", DEADLINE);
        run.wait_line("run it in the foreground (nginx -g 'daemon off;')", DEADLINE);
        run.ends(Exit::Code(0));
    }

    /// setsid(1) forks where it leads a process group, and exits: under graceful as under every init, and as PID 1.
    #[test]
    fn setsid_as_the_app_is_one_that_goes_into_the_background() {
        let run = Run::start(&["--pre-stop-delay", "0s"], &words(&["setsid", "sleep", "1000"]));
        run.wait_line("run it in the foreground (without setsid, or with its --wait", DEADLINE);
        run.ends(Exit::Code(0));
        let run = Run::start(&["--pre-stop-delay", "0s"], &words(&["setsid", "--wait", "sh", "-c", "exit 5"]));
        run.ends(Exit::Code(5));
    }
}
