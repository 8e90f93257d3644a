//! What a drill says where there is nothing to find: of a server compared with itself, of one that speaks only TLS, of a run
//! that had no hold.

use crate::support::run::{folder, words};
use crate::support::{Exit, Proc, app, free_port, graceful_command, node, python3};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const DRILL: Duration = Duration::from_secs(60);
/// What a drill shows of a machine that stands still is nothing.
const TRIES: u32 = 5;

/// `graceful drill OPTIONS -- COMMAND` with this in its environment.
fn drill(options: &[&str], variables: &[(&str, &str)], command: &[String]) -> (Exit, String) {
    let mut drill = graceful_command();
    drill.arg("drill").args(options).envs(variables.iter().copied()).arg("--").args(command);
    let (exit, stdout, stderr) = Proc::spawn_group(&mut drill).wait_output(DRILL);
    (exit, format!("{stdout}{stderr}"))
}

/// The same, held again where the machine did not keep up.
fn told(options: &[&str], variables: &[(&str, &str)], command: &[String]) -> (Exit, String) {
    let mut tries = (0..TRIES).map(|_| drill(options, variables, command));
    tries.find(|(_, text)| !text.contains("the target is slower than the rate")).expect("the machine stands still")
}

/// As the terminal's lines have them, without the breaks.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

mod https {
    use super::*;

    const SHORT: [&str; 4] = ["--before=700ms", "--lb-lag=500ms", "--pre-stop-delay=1200ms", "--rate=20"];

    /// Node's https server, or one of only HTTP/2, with a certificate that it has signed itself.
    fn server(script: &str, folder: &Path, port: u16) -> Option<Vec<String>> {
        let node = node()?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("written");
            path.to_string_lossy().into_owned()
        };
        let files = [write("key.pem", made.signing_key.serialize_pem()), write("cert.pem", made.cert.pem())];
        Some(words(&[&node.to_string_lossy(), script, &port.to_string(), &files[0], &files[1]]))
    }

    #[test]
    fn is_recognised_where_nobody_has_said_what_to_ask() {
        let (files, port) = (folder(), free_port());
        let Some(server) = server(&app("node_tls.js"), files.path(), port) else { return };
        let url = format!("https://127.0.0.1:{port}/");
        // Its certificate is its own: that is said at once, with what helps.
        let (exit, text) = told(&[&SHORT[..], &["--wait=60s"]].concat(), &[], &server);
        let said = flowing(&text);
        assert_eq!(exit, Exit::Code(3), "{text}");
        assert!(
            said.contains(&format!("GET {url}: TLS: the certificate is signed by nobody who is trusted here")),
            "{text}"
        );
        assert!(said.contains("--insecure does not verify certificates"), "{text}");
        // With that it is drilled, by https.
        let (exit, text) = told(&[&SHORT[..], &["--insecure"]].concat(), &[], &server);
        assert_eq!(exit, Exit::Code(0), "{text}");
        assert!(text.starts_with("PASSED") && flowing(&text).contains(&format!("GET {url}")), "{text}");
        // A path is asked by https as well.
        let (exit, text) = told(&[&SHORT[..], &["--insecure", "--target=/x"]].concat(), &[], &server);
        assert_eq!(exit, Exit::Code(0), "{text}");
        assert!(flowing(&text).contains(&format!("GET {url}x")), "{text}");
    }

    #[test]
    fn of_a_url_by_http_has_its_hint() {
        let (files, port) = (folder(), free_port());
        let Some(server) = server(&app("node_tls.js"), files.path(), port) else { return };
        let url = format!("--url=http://127.0.0.1:{port}/");
        let (exit, text) = told(&[&SHORT[..], &["--wait=60s", &url]].concat(), &[], &server);
        assert_eq!(exit, Exit::Code(3), "{text}");
        let hint = format!("TLS is spoken there; expected an https URL: https://127.0.0.1:{port}/");
        assert!(flowing(&text).contains(&hint), "{text}");
    }

    #[test]
    fn with_http_2_alone_is_told_from_a_server_that_does_not_answer() {
        let (files, port) = (folder(), free_port());
        let script = files.path().join("h2.js");
        let text = "const fs = require('node:fs');\n\
                    const [port, key, certificate] = process.argv.slice(2);\n\
                    const options = { key: fs.readFileSync(key), cert: fs.readFileSync(certificate) };\n\
                    const server = require('node:http2').createSecureServer({ ...options, allowHTTP1: false });\n\
                    server.on('stream', (stream) => { stream.respond({ ':status': 200 }); stream.end('ok'); });\n\
                    server.listen(Number(port), '127.0.0.1');\n";
        std::fs::write(&script, text).expect("written");
        let Some(server) = server(&script.to_string_lossy(), files.path(), port) else { return };
        for options in [&["--wait=60s"][..], &["--wait=60s", "--insecure"]] {
            let (exit, text) = told(&[&SHORT[..], options].concat(), &[], &server);
            assert_eq!(exit, Exit::Code(3), "{text}");
            let said = flowing(&text);
            assert!(
                said.contains(&format!("GET https://127.0.0.1:{port}/: TLS: HTTP/1.1 is not spoken there")),
                "{text}"
            );
            assert!(said.contains("HTTP/2") && !said.contains("--insecure"), "{text}");
        }
    }
}

mod comparison {
    use super::*;

    /// So many servers are compared with themselves; TEST_COMPARISONS=100 makes it more.
    const COMPARED: usize = 4;

    /// A small load, and so few requests that their p99 is hardly known; of the stop itself nothing is dropped.
    const LOAD: [&str; 5] = [
        "--rate=60",
        "--before=1s",
        "--lb-lag=400ms",
        "--pre-stop-delay=700ms",
        "--mix=new=1,hot=1,idle=0,slow=0,stream=0",
    ];

    #[test]
    fn of_a_server_with_itself_does_not_fail() {
        let count = std::env::var("TEST_COMPARISONS").ok().and_then(|count| count.parse().ok()).unwrap_or(COMPARED);
        let folder = folder();
        let (mut passed, mut unknown) = (0, 0);
        for nth in 0..count {
            let (port, baseline) = (free_port(), folder.path().join(format!("{nth}.json")));
            let command = words(&[&python3(), &app("odd.py"), &port.to_string()]);
            let write = format!("--output=json={}", baseline.display());
            let (_, text) = told(&[&LOAD[..], &[&write]].concat(), &[], &command);
            assert!(baseline.exists(), "{text}");
            let compare = format!("--baseline={}", baseline.display());
            let (exit, text) = told(&[&LOAD[..], &["-v", &compare, "--max-p99-ratio=1.5"]].concat(), &[], &command);
            match exit {
                Exit::Code(0) => passed += 1,
                Exit::Code(3) => unknown += 1,
                other => panic!("comparison {nth} of {count} came to {other:?}\n{text}"),
            }
        }
        println!("{count} comparisons: {passed} passed, {unknown} could not tell, none failed");
    }
}

/// Whether there was a hold is the report's to say: a flag is one of three places where it is set.
#[test]
fn without_a_hold_no_request_was_missed_by_it_wherever_that_was_set() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    std::fs::write(file.path(), "hold = \"never\"\n").expect("written");
    let file = file.path().to_string_lossy().into_owned();
    let by_variable = [("GRACEFUL_HOLD", "never")];
    let by_file = [("GRACEFUL_CONFIG", file.as_str())];
    for (flags, variables) in [(&["--hold=never"][..], &[][..]), (&[], &by_variable), (&[], &by_file)] {
        let (port, folder) = (free_port(), folder());
        let (url, json) = (format!("--url=http://127.0.0.1:{port}/"), folder.path().join("drill.json"));
        let write = format!("--output=json={}", json.display());
        // All answers pause from before the stop until after the signal: to graceful nothing is in flight.
        let load = ["--rate=40", "--before=700ms", "--lb-lag=700ms", "--mix=new=1,hot=0,idle=0,slow=3,stream=0"];
        let slow = ["--slow-target=/slow?seconds=8", "--timeout=20s", "--pre-stop-delay=2s"];
        let command = words(&[&python3(), &app("odd.py"), &port.to_string(), "--stop", "none", "--halves"]);
        let (exit, text) = told(&[&load[..], &slow, &[&url, &write], flags].concat(), variables, &command);
        assert_eq!(exit, Exit::Code(1), "{flags:?} {variables:?}\n{text}");
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("JSON");
        let findings = document["drills"][0]["findings"].as_array().expect("a list");
        let causes: Vec<&str> = findings.iter().filter_map(|finding| finding["cause"].as_str()).collect();
        assert!(causes.contains(&"no-handler") && !causes.contains(&"hold-missed"), "{causes:?}\n{text}");
    }
}
