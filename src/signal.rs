//! Signal numbers with their names. Pure: a name table and a set, no system call.
//!
//! The numbers come from libc's constants, never from memory; real-time signals are counted from glibc's
//! SIGRTMIN (34: the two below it belong to the C library, yet are forwarded like any other).

use std::fmt;

/// A signal number between 1 and 64 (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The first real-time signal that a program may use with glibc (signal(7), "Real-time signals").
const RTMIN: u8 = 34;
/// The last one.
const RTMAX: u8 = 64;

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        impl Signal {
            $(#[doc = concat!("SIG", stringify!($name), ", signal(7).")]
            pub const $name: Signal = Signal(libc_number::$name as u8);)*
        }
        const NAMES: &[(&str, Signal)] = &[$((stringify!($name), Signal::$name)),*];
    };
}

mod libc_number {
    pub(super) use libc::{
        SIGABRT as ABRT, SIGALRM as ALRM, SIGBUS as BUS, SIGCHLD as CHLD, SIGCONT as CONT, SIGFPE as FPE,
        SIGHUP as HUP, SIGILL as ILL, SIGINT as INT, SIGIO as IO, SIGKILL as KILL, SIGPIPE as PIPE, SIGPROF as PROF,
        SIGPWR as PWR, SIGQUIT as QUIT, SIGSEGV as SEGV, SIGSTKFLT as STKFLT, SIGSTOP as STOP, SIGSYS as SYS,
        SIGTERM as TERM, SIGTRAP as TRAP, SIGTSTP as TSTP, SIGTTIN as TTIN, SIGTTOU as TTOU, SIGURG as URG,
        SIGUSR1 as USR1, SIGUSR2 as USR2, SIGVTALRM as VTALRM, SIGWINCH as WINCH, SIGXCPU as XCPU, SIGXFSZ as XFSZ,
    };
}

names!(
    HUP, INT, QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, USR1, SEGV, USR2, PIPE, ALRM, TERM, STKFLT, CHLD, CONT, STOP,
    TSTP, TTIN, TTOU, URG, XCPU, XFSZ, VTALRM, PROF, WINCH, IO, PWR, SYS,
);

impl Signal {
    /// SIGRTMIN+3, on which systemd as PID 1 of a container halts (systemd(1), "Signals").
    pub const RTMIN_3: Signal = Signal(RTMIN + 3);

    /// The signal of this number; `None` outside 1..=64.
    pub const fn new(number: i32) -> Option<Signal> {
        if number >= 1 && number <= RTMAX as i32 { Some(Signal(number as u8)) } else { None }
    }

    /// The number, as kill(2) takes it.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// Every signal from 1 to 64.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=RTMAX).map(Signal)
    }

    /// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`; `None` when it is none of these.
    pub fn parse(text: &str) -> Option<Signal> {
        if let Ok(number) = text.parse::<i32>() {
            return Signal::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let alias = match name {
            "POLL" => "IO",
            "CLD" => "CHLD",
            "IOT" => "ABRT",
            other => other,
        };
        if let Some((_, signal)) = NAMES.iter().find(|(known, _)| *known == alias) {
            return Some(*signal);
        }
        let in_range = |number: i32| (RTMIN as i32..=RTMAX as i32).contains(&number).then_some(number);
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(""), _) => RTMIN as i32,
            (_, Some("")) => RTMAX as i32,
            (Some(rest), _) => RTMIN as i32 + offset(rest, '+')?,
            (_, Some(rest)) => RTMAX as i32 - offset(rest, '-')?,
            _ => return None,
        };
        in_range(number).and_then(Signal::new)
    }

    /// The names that [`Signal::parse`] knows, for suggestions.
    pub fn known_names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    let digits = rest.strip_prefix(sign)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, signal)| signal == self) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of signals: one bit each, signal 1 the lowest, as the kernel's sigset_t.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);
    /// All 64, the two of the C library included.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// The kernel's mask, as the rt_sig* system calls take it.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From the kernel's mask.
    pub const fn from_bits(bits: u64) -> SignalSet {
        SignalSet(bits)
    }

    /// This set and one more.
    pub const fn with(self, signal: Signal) -> SignalSet {
        SignalSet(self.0 | 1 << (signal.0 - 1))
    }

    /// Whether the signal is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.0 - 1)) != 0
    }

    /// Its members, lowest first.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros() as u8;
            left &= left.checked_sub(1)?;
            Some(Signal(lowest + 1))
        })
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> SignalSet {
        signals.into_iter().fold(SignalSet::EMPTY, SignalSet::with)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_what_it_prints() {
        for signal in Signal::all() {
            let printed = signal.to_string();
            match printed.strip_prefix("signal ") {
                Some(number) => assert_eq!(Signal::parse(number), Some(signal)),
                None => {
                    assert_eq!(Signal::parse(&printed), Some(signal), "{printed}");
                    assert_eq!(Signal::parse(&printed.to_lowercase()[3..]), Some(signal), "{printed}");
                }
            }
        }
    }

    #[test]
    fn names_numbers_and_real_time_forms() {
        for (text, number) in [
            ("TERM", 15),
            ("sigkill", 9),
            ("1", 1),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("rtmax", 64),
            ("IOT", 6),
        ] {
            assert_eq!(Signal::parse(text).map(Signal::number), Some(number), "{text}");
        }
        for text in
            ["", "0", "65", "-1", "SIG", "FOO", "RTMIN+31", "RTMIN-1", "RTMIN+", "RTMAX+1", "RTMIN++1", "TERM ", "1.0"]
        {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: SignalSet = [Signal::TERM, Signal::HUP].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Signal::HUP, Signal::TERM]);
        assert!(!set.contains(Signal::INT));
        assert_eq!(SignalSet::ALL.iter().count(), 64);
    }
}
