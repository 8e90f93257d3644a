//! The drill's word, request by request: a passive observer reads the same drill from the loopback, and every record of the
//! drill is what passed there: its outcome, its status, its connection, when it was sent and when it was over.
//!
//! Each server is stopped in four ways: bare, under tini, under dumb-init and under graceful.

use crate::support::observer::{Observed, observed};
use crate::support::run::words;
use crate::support::stopping::Site;
use crate::support::{address, app, apps, free_port, graceful, python3, sites};

/// Some are under way at the stop, and end after it.
const SLOW_SECONDS: &str = "0.8";
/// The load before the stop and after it.
const LOAD: &str = "--rate 60 --before 700ms --lb-lag 700ms --timeout 1s";

/// One server.
struct Server {
    site: fn(behind: u16) -> Option<Site>,
    /// Before a server of its own that is not stopped.
    is_proxy: bool,
    slow: &'static str,
    /// What some of the requests come to when it is stopped bare.
    comes_to: &'static [&'static str],
}

const fn server(site: fn(u16) -> Option<Site>, comes_to: &'static [&'static str]) -> Server {
    Server { site, is_proxy: false, slow: "/slow?seconds=", comes_to }
}

const fn proxy(site: fn(u16) -> Option<Site>, comes_to: &'static [&'static str]) -> Server {
    Server { is_proxy: true, ..server(site, comes_to) }
}

impl Server {
    /// The drill with these options, of the server under whatever is before it.
    fn observed(&self, options: &str, before: &[&str]) -> Option<Observed> {
        let behind = free_port();
        let site = (self.site)(behind)?;
        let beside =
            if self.is_proxy { words(&[&python3(), &app("bare.py"), &behind.to_string()]) } else { Vec::new() };
        let url = format!("http://127.0.0.1:{}/", site.port);
        let slow = format!("http://127.0.0.1:{}{}{SLOW_SECONDS}", site.port, self.slow);
        let mut all = words(&["--url", &url, "--slow-target", &slow, "--mix", "new=2,hot=2,idle=2,slow=2,stream=0"]);
        all.extend(LOAD.split(' ').chain(options.split(' ')).map(str::to_owned));
        Some(observed(site.port, &beside, &all, &[words(before), site.server.clone()].concat()))
    }

    /// Side by side: most of the time they wait.
    fn is_seen_as_the_drill_says(&self) {
        let (Some(tini), Some(dumb_init)) = (crate::support::tini(), crate::support::dumb_init()) else { return };
        let [tini, dumb_init] = [tini, dumb_init].map(|path| path.to_string_lossy().into_owned());
        let ways: [(&str, &[&str]); 4] = [
            ("--bare", &[]),
            ("--bare", &[&tini, "-s", "--"]),
            ("--bare", &[&dumb_init, "--"]),
            ("--pre-stop-delay 900ms", &[]),
        ];
        let bare = std::thread::scope(|scope| {
            let drills = ways.map(|(options, before)| scope.spawn(move || self.observed(options, before)));
            let drills = drills.map(|drill| drill.join().expect("no panic"));
            let drills = drills.into_iter().zip(ways).map(|(drill, (options, before))| {
                // A stall of the machine is not there twice; a clock that is wrong is.
                let again = drill.as_ref().is_some_and(Observed::differs_in_time_alone);
                let drill = if again { self.observed(options, before) } else { drill };
                drill.iter().for_each(Observed::agrees);
                drill
            });
            drills.collect::<Vec<_>>().into_iter().next().flatten()
        });
        if let Some(bare) = bare {
            bare.has(self.comes_to);
        }
    }
}

/// A program of the virtual environment; PORT is its port.
fn python(program: &str, arguments: &str) -> Option<Site> {
    let port = free_port();
    let arguments = arguments.replace("PORT", &port.to_string());
    let mut server = words(&["env", &format!("PYTHONPATH={}", apps()), &crate::support::venv()?.program(program)]);
    server.extend(arguments.split(' ').map(str::to_owned));
    Some(Site::alone(port, server))
}

fn node(script: &str) -> Option<Site> {
    let (node, port) = (crate::support::node()?, free_port());
    Some(Site::alone(port, words(&[&node.to_string_lossy(), &app(script), &port.to_string()])))
}

fn odd(options: &[&str]) -> Option<Site> {
    let port = free_port();
    Some(Site::alone(port, [words(&[&python3(), &app("odd.py"), &port.to_string()]), words(options)].concat()))
}

macro_rules! servers {
    ($($name:ident: $server:expr;)*) => {$(
        #[test]
        fn $name() {
            $server.is_seen_as_the_drill_says();
        }
    )*};
}

servers! {
    uvicorn: server(|_| python("uvicorn", "--port PORT --log-level warning fastapi_app:app"), &["ok-close", "refused"]);
    gunicorn: server(
        |_| python("gunicorn", "--bind 127.0.0.1:PORT --no-control-socket --workers 8 wsgi_app:app"),
        &["ok-close", "reset"]
    );
    hypercorn: server(|_| python("hypercorn", "--bind 127.0.0.1:PORT fastapi_app:app"), &["ok", "reset"]);
    flask: server(|_| python("flask", "--app flask_app run --port PORT"), &["ok-close", "reset", "refused"]);
    waitress: server(|_| python("waitress-serve", "--listen 127.0.0.1:PORT wsgi_app:app"), &["ok", "reset"]);
    tornado: server(|_| python("python", &format!("{} PORT", app("tornado_app.py"))), &["ok", "reset", "refused"]);
    aiohttp: server(|_| python("python", &format!("{} PORT", app("aiohttp_app.py"))), &["ok", "refused"]);
    pythons_own: server(
        |_| {
            let port = free_port();
            Some(Site::alone(port, words(&[&python3(), &app("bare.py"), &port.to_string()])))
        },
        &["ok", "reset", "refused"]
    );
    node_without_a_handler: server(|_| node("node_bare.js"), &["ok", "reset", "refused"]);
    node_with_a_handler: server(|_| node("node_handler.js"), &["ok", "refused"]);
    go_without_a_handler: server(|_| sites::go(&[]), &["ok", "reset", "refused"]);
    go_with_shutdown: server(|_| sites::go(&["-shutdown"]), &["ok", "refused"]);
    puma: server(|_| sites::puma(&[], ""), &["ok", "refused"]);
    unicorn: server(|_| sites::unicorn(""), &["reset", "refused"]);
    java: server(|_| sites::java(), &["ok", "reset", "refused"]);
    // Its workers outlive it, and serve on.
    php: server(|_| sites::php_builtin(), &["ok-close"]);
    nginx: proxy(|behind| sites::nginx_before(behind, ""), &["ok", "reset", "refused"]);
    httpd: proxy(|behind| sites::httpd_before(behind, ""), &["ok", "reset", "refused"]);
    haproxy: proxy(|behind| sites::haproxy_before(behind, "", &[]), &["ok", "reset", "refused"]);
    demo: Server {
        slow: "/slow?ms=800&seconds=",
        ..server(
            |_| {
                let port = free_port();
                let own = graceful().to_string_lossy().into_owned();
                Some(Site::alone(port, words(&[&own, "demo-app", &address(port).to_string()])))
            },
            &["ok", "refused"]
        )
    };
    // What servers do less often.
    one_that_cuts_its_answers_off: server(|_| odd(&["--stop", "truncate"]), &["truncated"]);
    one_that_answers_503: server(|_| odd(&["--stop", "503", "--serve-on", "1"]), &["status"]);
    one_that_accepts_nothing_more: server(|_| odd(&["--stop", "hole", "--serve-on", "3"]), &["black-hole"]);
    one_whose_answers_have_no_length: server(|_| odd(&["--stop", "die", "--until-eof"]), &["ok-close", "untold"]);
}
