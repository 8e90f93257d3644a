//! `--profile` on brokers, stores and process managers: real servers with clients that wait for nothing or for an answer, and
//! what a stop of each comes to. Each is known by its command line.

use crate::support::run::{Run, folder, words};
use crate::support::{DEADLINE, Exit, free_port};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const OPTIONS: [&str; 4] = ["--grace-period", "30s", "--pre-stop-delay", "0s"];
/// What starts a virtual machine of its own, or makes a data folder first.
const SLOW_START: Duration = Duration::from_secs(90);

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(crate::support::address(port)).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

fn program(path: impl AsRef<Path>) -> String {
    path.as_ref().to_string_lossy().into_owned()
}

/// A client that subscribes and stays. What it hears until the server closes.
fn nats_client(port: u16) -> std::thread::JoinHandle<Vec<String>> {
    let mut stream = connect(port);
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("INFO");
    stream.write_all(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB a 1\r\nPING\r\n").expect("sent");
    while !line.starts_with("PONG") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("an answer") > 0, "closed before PONG");
    }
    std::thread::spawn(move || lines.lines().map_while(Result::ok).collect())
}

fn nats(options: &[&str], folder: &Path) -> Option<(Run, u16)> {
    let (server, port) = (program(crate::support::nats_server()?), free_port());
    // The shortest that it takes.
    let settings = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"\n";
    let config = file(folder, "nats.conf", &format!("listen: \"127.0.0.1:{port}\"\n{settings}"));
    let run = Run::start(
        &[&["--grace-period", "40s", "--pre-stop-delay", "0s"], options].concat(),
        &words(&[&server, "-c", &config]),
    );
    run.wait_line("Server is ready", DEADLINE);
    Some((run, port))
}

/// A subscriber waits for hours, and nothing is held for it; it is told to go elsewhere before it is let go.
#[test]
fn nats_tells_its_clients_to_go_elsewhere() {
    let files = folder();
    let Some((run, port)) = nats(&[], files.path()) else { return };
    let client = nats_client(port);
    run.stop(libc::SIGTERM);
    let report = run.ends(Exit::Code(0));
    let heard = client.join().expect("no panic");
    assert!(heard.iter().any(|line| line.starts_with("INFO") && line.contains("\"ldm\":true")), "{heard:?}");
    assert!(report["signals"].to_string().contains("SIGUSR2"), "{report}");
    run.wait_line("profile nats", DEADLINE);
    assert!(!run.stderr_so_far().contains("holding"), "{}", run.dump());
}

#[test]
fn control_nats_without_its_profile_tells_nobody_and_fails() {
    let files = folder();
    let Some((run, port)) = nats(&["--profile", "none", "--hold", "never"], files.path()) else { return };
    let client = nats_client(port);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(1));
    let heard = client.join().expect("no panic");
    assert!(!heard.iter().any(|line| line.contains("\"ldm\":true")), "{heard:?}");
}

/// Its own limit, by its configuration file, against a budget that does not have that time.
#[test]
fn a_limit_in_the_file_of_nats_that_does_not_fit_is_told_at_the_start() {
    let files = folder();
    let Some(server) = crate::support::nats_server() else { return };
    let config = file(files.path(), "nats.conf", &format!("port: {}\nlame_duck_duration: \"45s\"\n", free_port()));
    let run = Run::start(&OPTIONS, &words(&[&program(server), "-a", "127.0.0.1", "-c", &config]));
    let line = run.wait_line("profile nats", DEADLINE).text;
    assert!(line.contains("45s") && line.contains("lame_duck_duration in"), "{line}");
    run.wait_line("Server is ready", DEADLINE);
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
}

fn mqtt(port: u16, id: &str) -> TcpStream {
    let mut stream = connect(port);
    let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4];
    // Level 4, a clean session, no keep-alive.
    packet.extend(b"MQTT\x04\x02\x00\x00");
    packet.extend([0, id.len() as u8]);
    packet.extend(id.bytes());
    stream.write_all(&packet).expect("CONNECT");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("CONNACK");
    assert_eq!(answer, [0x20, 2, 0, 0]);
    stream
}

/// A client that waits for the topic `a`.
fn mqtt_subscriber(port: u16) -> TcpStream {
    let mut stream = mqtt(port, "s");
    stream.write_all(b"\x82\x06\x00\x01\x00\x01a\x00").expect("SUBSCRIBE");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("SUBACK");
    stream
}

/// The payload of one letter that comes next.
fn mqtt_receive(stream: &mut TcpStream) -> std::io::Result<char> {
    let mut packet = [0; 6];
    stream.read_exact(&mut packet)?;
    Ok(char::from(packet[5]))
}

fn mosquitto(folder: &Path, port: u16) -> Option<Run> {
    let server = program(crate::support::mosquitto()?);
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\n",
        folder.display()
    );
    let config = file(folder, "mosquitto.conf", &config);
    let run = Run::start(&OPTIONS, &words(&[&server, "-c", &config]));
    run.wait_line("running", DEADLINE);
    Some(run)
}

/// A retained message that everybody has seen, then this signal to the server; what a new subscriber gets after a restart.
fn what_mosquitto_keeps(stop: impl FnOnce(&Run)) -> Option<std::io::Result<char>> {
    let (files, port) = (folder(), free_port());
    let run = mosquitto(files.path(), port)?;
    let mut subscriber = mqtt_subscriber(port);
    mqtt(port, "p").write_all(b"\x31\x04\x00\x01ak").expect("PUBLISH");
    assert_eq!(mqtt_receive(&mut subscriber).expect("it is passed on"), 'k');
    stop(&run);
    let again = mosquitto(files.path(), port)?;
    let mut subscriber = mqtt_subscriber(port);
    subscriber.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
    let kept = mqtt_receive(&mut subscriber);
    again.stop(libc::SIGTERM);
    again.ends(Exit::Code(0));
    Some(kept)
}

#[test]
fn mosquitto_keeps_its_messages_and_its_subscribers_hold_nothing_up() {
    let stop = |run: &Run| {
        run.stop(libc::SIGTERM);
        run.ends(Exit::Code(0));
        assert!(!run.stderr_so_far().contains("holding"), "{}", run.dump());
    };
    let Some(kept) = what_mosquitto_keeps(stop) else { return };
    assert_eq!(kept.expect("it was saved"), 'k');
}

#[test]
fn control_mosquitto_that_is_killed_loses_its_messages() {
    let kill = |run: &Run| {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.pid())).expect("children");
        let server = children.split_whitespace().next().expect("mosquitto").parse().expect("a pid");
        crate::support::run::kill(server, libc::SIGKILL);
        run.wait(DEADLINE);
    };
    let Some(kept) = what_mosquitto_keeps(kill) else { return };
    assert!(kept.is_err(), "{kept:?}");
}

/// It closes in order, however long its client waits, and the daemon that it has left behind ends with it.
#[test]
fn rabbitmq_closes_in_order_and_leaves_no_daemon_behind() {
    let Some(server) = crate::support::rabbitmq_server() else { return };
    let (files, port, epmd) = (folder(), free_port(), free_port());
    let path = files.path().display();
    let command = words(&[
        "env",
        &format!("HOME={path}"),
        &format!("RABBITMQ_MNESIA_BASE={path}/data"),
        &format!("RABBITMQ_LOG_BASE={path}/log"),
        &format!("RABBITMQ_ENABLED_PLUGINS_FILE={path}/plugins"),
        "RABBITMQ_CONF_ENV_FILE=/dev/null",
        &format!("RABBITMQ_NODENAME=graceful-{port}@localhost"),
        "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
        &format!("RABBITMQ_NODE_PORT={port}"),
        &format!("RABBITMQ_DIST_PORT={}", free_port()),
        &format!("ERL_EPMD_PORT={epmd}"),
        &program(server),
    ]);
    let run = Run::start(&["--grace-period", "90s", "--pre-stop-delay", "0s"], &command);
    run.wait_line("completed with", SLOW_START);
    let mut client = connect(port);
    client.write_all(b"AMQP\x00\x00\x09\x01").expect("sent");
    client.read_exact(&mut [0; 7]).expect("Connection.Start");
    assert!(TcpStream::connect(crate::support::address(epmd)).is_ok(), "the daemon is there");
    run.stop(libc::SIGTERM);
    assert_eq!(run.wait(SLOW_START), Exit::Code(0), "{}", run.dump());
    let log = run.stderr_so_far();
    assert!(!log.contains("holding") && !log.contains("SIGKILL to"), "{}", run.dump());
    assert!(TcpStream::connect(crate::support::address(epmd)).is_err(), "{}", run.dump());
}

/// A connection of the MySQL protocol that is logged in as root, for one statement.
struct Sql(TcpStream);

impl Sql {
    fn connect(port: u16) -> Sql {
        let mut sql = Sql(connect(port));
        sql.receive().expect("a handshake");
        // CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION; the largest packet, utf8, and no password.
        let mut login = 0x8200_u32.to_le_bytes().to_vec();
        login.extend(0x00ff_ffff_u32.to_le_bytes());
        login.push(33);
        login.extend([0; 23]);
        login.extend(b"root\0\0");
        sql.send(1, &login);
        assert_eq!(sql.receive().expect("an answer").first(), Some(&0), "logged in");
        sql
    }

    fn send(&mut self, number: u8, body: &[u8]) {
        let [first, second, third, _] = (body.len() as u32).to_le_bytes();
        let packet = [&[first, second, third, number], body].concat();
        self.0.write_all(&packet).expect("sent");
    }

    fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.0.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    /// Whether the statement, which takes three seconds, has a result of one column.
    fn sleeps(mut self) -> bool {
        self.send(0, b"\x03SELECT SLEEP(3)");
        self.receive().is_ok_and(|body| body == [1])
    }
}

/// A stop one moment after a statement has begun; whether it was answered.
fn mariadb_answers(options: &[&str]) -> Option<bool> {
    let server = crate::support::mariadbd()?;
    let (files, port) = (folder(), free_port());
    let data = files.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let command = words(&[
        &program(server),
        "--no-defaults",
        "--user=root",
        "--skip-grant-tables",
        &format!("--datadir={}", data.display()),
        &format!("--port={port}"),
        "--bind-address=127.0.0.1",
        &format!("--socket={}/socket", files.path().display()),
    ]);
    let run = Run::start(&[&OPTIONS, options].concat(), &command);
    run.wait_line("ready for connections", SLOW_START);
    let (waits, works) = (Sql::connect(port), Sql::connect(port));
    let answer = std::thread::spawn(move || works.sleeps());
    crate::support::run::wait_for("the statement runs", || {
        let mut asks = Sql::connect(port);
        let statement = b"\x03SELECT 1 FROM information_schema.processlist WHERE info = 'SELECT SLEEP(3)'";
        asks.send(0, statement);
        // The head of the column, an end, the row, an end; without a row the third is the end already.
        let packets: Vec<Vec<u8>> = (0..4).map_while(|_| asks.receive().ok()).collect();
        packets.get(3).is_some_and(|packet| packet.first() != Some(&0xfe))
    });
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    drop(waits);
    Some(answer.join().expect("no panic"))
}

/// The idle connection of a pool holds nothing, the statement that runs is answered.
#[test]
fn mariadb_answers_the_statement_that_it_works_on() {
    let Some(answered) = mariadb_answers(&[]) else { return };
    assert!(answered);
}

#[test]
fn control_mariadb_breaks_a_statement_off_where_nothing_is_held() {
    let Some(answered) = mariadb_answers(&["--hold", "never"]) else { return };
    assert!(!answered);
}

#[test]
fn memcached_ends_at_once_and_its_clients_hold_nothing_up() {
    let Some(server) = crate::support::memcached() else { return };
    let port = free_port();
    let command = words(&[&program(server), "-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
    let run = Run::start(&OPTIONS, &command);
    crate::support::run::wait_for("it listens", || TcpStream::connect(crate::support::address(port)).is_ok());
    let mut client = connect(port);
    client.write_all(b"set k 0 0 1\r\nx\r\n").expect("sent");
    client.read_exact(&mut [0; 8]).expect("STORED");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert!(!run.stderr_so_far().contains("unanswered"), "{}", run.dump());
}

/// supervisord over one program that needs two seconds to end well.
fn supervised(options: &[&str], seconds: u32) -> Option<Run> {
    let supervisord = program(crate::support::supervisord()?);
    let files = folder();
    let app = format!(
        "{} -c \"import signal,sys,time; signal.signal(signal.SIGTERM, lambda *a: (time.sleep(2), print('drained', flush=True), \
         sys.exit(0))); print('program is up', flush=True); time.sleep(60)\"",
        crate::support::python3()
    );
    let path = files.path().display();
    let config = format!(
        "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={path}/pid\n\
         [program:slow]\ncommand={app}\nstdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nstopwaitsecs={seconds}\n"
    );
    let config = file(files.path(), "supervisord.conf", &config);
    let run = Run::start_in(files, &[&OPTIONS, options].concat(), &words(&[&supervisord, "-c", &config]));
    run.wait_line("program is up", DEADLINE);
    Some(run)
}

#[test]
fn supervisord_lets_its_programs_end() {
    let Some(run) = supervised(&[], 10) else { return };
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert!(run.stdout_so_far().contains("drained"), "{}", run.dump());
    assert!(!run.stderr_so_far().contains("warning: profile"), "{}", run.dump());
}

#[test]
fn control_supervisord_kills_a_program_that_needs_longer_than_its_limit() {
    let Some(run) = supervised(&[], 1) else { return };
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
    assert!(!run.stdout_so_far().contains("drained"), "{}", run.dump());
}

#[test]
fn a_limit_of_supervisord_that_does_not_fit_is_told_at_the_start() {
    let Some(run) = supervised(&["--hold", "never"], 60) else { return };
    let line = run.wait_line("profile supervisord", DEADLINE).text;
    assert!(line.contains("stopwaitsecs in") && line.contains("1m"), "{line}");
    run.stop(libc::SIGTERM);
    run.ends(Exit::Code(0));
}
