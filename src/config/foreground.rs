//! How daemons that have no profile are told to stay in the foreground. (A profile says it of its own server.)

/// The program of the command line or the daemon's process, and what to run.
const KNOWN: &[(&str, &str)] = &[
    ("setsid", "without setsid, or with its --wait: the app leads a process group of its own already"),
    ("start-stop-daemon", "without its --background"),
    ("sshd", "sshd -D"),
    ("cron", "cron -f"),
    ("crond", "crond -f (dcron, busybox) or crond -n (cronie)"),
    ("rsyslogd", "rsyslogd -n"),
    ("dnsmasq", "dnsmasq --keep-in-foreground"),
    ("named", "named -f"),
    ("squid", "squid -N"),
    ("lighttpd", "lighttpd -D"),
    ("mysqld", "mysqld without --daemonize"),
    ("mariadbd", "mariadbd, and not its service script"),
    ("postgres", "postgres, and not pg_ctl"),
    ("slapd", "slapd -d 0"),
    ("snmpd", "snmpd -f"),
    ("chronyd", "chronyd -d"),
    ("ntpd", "ntpd -n"),
    ("dovecot", "dovecot -F"),
    ("proftpd", "proftpd --nodaemon"),
    ("vsftpd", "vsftpd -obackground=NO"),
    ("keepalived", "keepalived --dont-fork"),
    ("dbus-daemon", "dbus-daemon --nofork"),
    ("monit", "monit -I"),
    ("unbound", "unbound -d"),
];

/// By the name of the process.
pub(super) fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, how)| *how)
}
