//! A rolling restart behind nginx, as `drill_servers` has one behind HAProxy.
//!
//! nginx open source has no active health checks: it learns that a server is gone from the requests that fail there, asks the
//! next one instead (`proxy_next_upstream`), and so hides a stop from whoever sends GET. What is not idempotent it does not
//! send twice (`non_idempotent`): of a POST that an app had and did not answer, the client gets 502.
//!
//! What is shown: two instances that die of SIGTERM drop POSTs behind nginx; the same two under graceful drop nothing. A
//! pre-stop hook takes the instance out of nginx's upstream and reloads nginx, the pre-stop delay lets it serve until the
//! reload is done, the hold keeps the signal back from what is under way, and a hook at `ready` brings it in again.
//!
//! Not shown: clients that keep their connections. A reload closes those that are idle, whatever is behind.

use crate::support::run::{folder, kill, wait_for};
use crate::support::{Exit, Proc, address, app, free_port, graceful, graceful_command, nginx, python3};
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Two stops, on a machine that has other things to do.
const DRILL: Duration = Duration::from_secs(120);
/// What a drill shows of a machine that stands still is nothing.
const TRIES: u32 = 5;

/// Two instances, nginx before them, and what restarts them.
struct Deployment {
    files: tempfile::TempDir,
    port: u16,
    ports: [u16; 2],
    probes: [u16; 2],
    under_graceful: bool,
    front: Option<Proc>,
}

impl Deployment {
    fn start(nginx: &Path, under_graceful: bool) -> Deployment {
        let (port, ports, probes) = (free_port(), [free_port(), free_port()], [free_port(), free_port()]);
        let mut all = Deployment { files: folder(), port, ports, probes, under_graceful, front: None };
        all.write_nginx();
        // Of an instance that is asked to stop: no more requests for it, or again some.
        for (name, from, to) in [("out.sh", ";", " down;"), ("in.sh", " down;", ";")] {
            let (upstream, pid) = (all.path("upstream.conf"), all.path("nginx.pid"));
            let (upstream, pid) = (upstream.display(), pid.display());
            let text = format!(
                "sed -i \"s/^server 127.0.0.1:$1{from}/server 127.0.0.1:$1{to}/\" {upstream}\n\
                 [ ! -e {pid} ] || kill -HUP $(cat {pid})\n"
            );
            std::fs::write(all.path(name), text).expect("written");
        }
        let both = format!("{}\n{}\n{}\n{}", all.launch(0), all.launch(1), all.is_back(0), all.is_back(1));
        assert!(limited(&both).success(), "{}", all.logs());
        let mut command = Command::new(nginx);
        let front = command.args(["-e", "stderr", "-p"]).arg(all.files.path()).arg("-c").arg(all.path("nginx.conf"));
        all.front = Some(Proc::spawn_group(front));
        wait_for("nginx", || TcpStream::connect(address(port)).is_ok());
        all
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write_nginx(&self) {
        let folder = self.files.path().display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temp: String = temp.iter().map(|kind| format!("{kind}_temp_path {folder}/{kind};\n")).collect();
        // Nobody else may enter the folder.
        // SAFETY: geteuid(2) has no preconditions and cannot fail.
        let user = if unsafe { libc::geteuid() } == 0 { "user root root;\n" } else { "" };
        let config = format!(
            "{user}daemon off;\npid {folder}/nginx.pid;\nerror_log stderr;\nworker_processes 2;\n\
             events {{ worker_connections 512; }}\n\
             http {{\naccess_log off;\n{temp}include {folder}/upstream.conf;\n\
             server {{\nlisten 127.0.0.1:{};\nlocation / {{ proxy_pass http://web; }}\n}}\n}}\n",
            self.port
        );
        std::fs::write(self.path("nginx.conf"), config).expect("written");
        let [one, other] = self.ports;
        let upstream = format!("upstream web {{\nserver 127.0.0.1:{one};\nserver 127.0.0.1:{other};\n}}\n");
        std::fs::write(self.path("upstream.conf"), upstream).expect("written");
    }

    /// Starts it in the background, and leaves its pid.
    fn launch(&self, nth: usize) -> String {
        let (port, probes) = (self.ports[nth], self.probes[nth]);
        let server = format!("{} {} {port}", python3(), app("bare.py"));
        let hook = |stage: &str, script: &str| format!("--hook \"{stage}=sh {} {port}\"", self.path(script).display());
        let command = match self.under_graceful {
            true => format!(
                "{} --grace-period 20s --pre-stop-delay 2s --probe-listen 127.0.0.1:{probes} --ready-url tcp://127.0.0.1:{port} \
                 --ready-interval 50ms {} {} -- {server}",
                graceful().display(),
                hook("pre-stop", "out.sh"),
                hook("ready", "in.sh"),
            ),
            false => server,
        };
        let (log, pid) = (self.path(&format!("log{nth}")), self.path(&format!("pid{nth}")));
        format!("setsid {command} >>{} 2>&1 & echo $! >{}", log.display(), pid.display())
    }

    /// Waits until it serves, and nginx may send to it.
    fn is_back(&self, nth: usize) -> String {
        let upstream = self.path("upstream.conf");
        format!(
            "until {} probe tcp://127.0.0.1:{port}; do sleep 0.05; done >/dev/null 2>&1\n\
             while grep -q ':{port} down;' {}; do sleep 0.05; done",
            graceful().display(),
            upstream.display(),
            port = self.ports[nth],
        )
    }

    /// The script of a deploy: one after the other.
    fn restart(&self) -> String {
        let one = |nth: usize| {
            let pid = self.path(&format!("pid{nth}"));
            let pid = pid.display();
            format!(
                "kill -TERM $(cat {pid})\nwhile kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.05; done\n{}\n{}\n",
                self.launch(nth),
                self.is_back(nth)
            )
        };
        format!("{}{}", one(0), one(1))
    }

    /// Both restarted under POSTs and GETs, some of them slow.
    fn drill(&self) -> (Exit, Value, String) {
        let (script, json) = (self.path("restart.sh"), self.path("drill.json"));
        std::fs::write(&script, self.restart()).expect("written");
        let url = format!("http://127.0.0.1:{}/", self.port);
        let mut drill = graceful_command();
        drill.args(["drill", "--rate=40", "--mix=new=2,hot=0,idle=0,slow=3,stream=0", "--rolling", "--lb-lag=500ms"]);
        drill.args(["--target", &format!("POST {url} x=1"), "--target", &format!("GET {url}")]);
        drill.args(["--slow-target", &format!("POST {url}slow?seconds=0.8 x=1")]);
        drill.arg("--stop-command").arg(format!("sh {}", script.display()));
        drill.arg(format!("--output=json={}", json.display()));
        let (exit, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(DRILL);
        let document = std::fs::read_to_string(json).unwrap_or_default();
        let document = serde_json::from_str(&document).unwrap_or_default();
        (exit, document, format!("{stdout}\n{stderr}\n{}", self.logs()))
    }

    fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        let front = self.front.as_ref().map(Proc::dump).unwrap_or_default();
        format!("{front}\n{}\n{}", read("log0"), read("log1"))
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for nth in 0..2 {
            let text = std::fs::read_to_string(self.path(&format!("pid{nth}"))).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<i32>() {
                // setsid made it a group of its own; the app under graceful has another, and ends with its parent.
                kill(pid, libc::SIGKILL);
                kill(-pid, libc::SIGKILL);
            }
        }
    }
}

fn limited(script: &str) -> std::process::ExitStatus {
    Command::new("timeout").args(["--kill-after=5", "60", "sh", "-c", script]).status().expect("timeout(1) runs")
}

/// The first drill that tells something, each of a deployment of its own.
fn told(nginx: &Path, under_graceful: bool) -> (Exit, Value, String) {
    let mut tries = (0..TRIES).map(|_| Deployment::start(nginx, under_graceful).drill());
    tries.find(|(_, _, text)| !text.contains("the target is slower than the rate")).expect("the machine stands still")
}

#[test]
fn a_rolling_restart_behind_nginx_drops_nothing() {
    let Some(nginx) = nginx() else { return };
    let (exit, document, text) = told(&nginx, true);
    assert_eq!(exit, Exit::Code(0), "{text}");
    let drill = &document["drills"][0];
    assert_eq!((&drill["dropped"], &drill["verdict"]), (&Value::from(0), &Value::from("passed")), "{text}");
    // From the command's begin to its end: two stops of 2 s at least.
    assert!(drill["lb_lag_s"].as_f64().is_some_and(|lag| lag > 4.5), "{text}");
    assert!(drill["requests"].as_array().is_some_and(|requests| requests.len() > 200), "{text}");
}

#[test]
fn control_without_graceful_nginx_answers_502_to_posts() {
    let Some(nginx) = nginx() else { return };
    let (exit, document, text) = told(&nginx, false);
    assert_eq!(exit, Exit::Code(1), "{text}");
    let drill = &document["drills"][0];
    let requests = drill["requests"].as_array().expect("a list");
    let got_502 = requests.iter().filter(|request| request["status"] == 502 && request["kind"] == "slow").count();
    assert!(got_502 > 0, "{text}");
    let findings = drill["findings"].as_array().expect("a list");
    let told = findings.iter().find(|finding| finding["cause"] == "router-not-told");
    let told = told.unwrap_or_else(|| panic!("{findings:#?}\n{text}"));
    assert!(told["fix"].as_str().is_some_and(|fix| fix.contains("let its readiness fail")), "{told}");
}
