//! The signs of life that the service manager above graceful expects of it (sd_watchdog_enabled(3)).

use super::message::{NotifyValueError, number};
use crate::sys::variables;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

const USEC: &str = "WATCHDOG_USEC";
const PID: &str = "WATCHDOG_PID";

/// The service manager expects signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// The longest time between two of them, above 0.
    pub timeout: Duration,
}

impl Watchdog {
    /// What WATCHDOG_USEC and WATCHDOG_PID say in graceful's own environment; `None` if no signs of life are expected,
    /// or those of another process.
    ///
    /// # Errors
    /// One of them is not a number, or out of range.
    pub fn from_env(own_pid: i32) -> Result<Option<Watchdog>, NotifyValueError> {
        let variable = |wanted| variables().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        Watchdog::from_values(variable(USEC), variable(PID), own_pid)
    }

    fn from_values(usec: Option<&OsStr>, pid: Option<&OsStr>, own: i32) -> Result<Option<Watchdog>, NotifyValueError> {
        let Some(usec) = usec else { return Ok(None) };
        if let Some(pid) = pid {
            let number = number(pid.as_bytes()).and_then(|number| i32::try_from(number).ok());
            let error = || NotifyValueError::new(PID, pid.as_bytes(), "expected a process id, as 4711");
            if number.filter(|pid| *pid > 0).ok_or_else(error)? != own {
                return Ok(None);
            }
        }
        // The largest number is infinity (USEC_INFINITY, systemd's src/basic/time-util.h).
        let micros = number(usec.as_bytes()).filter(|micros| ![0, u64::MAX].contains(micros));
        let error = || NotifyValueError::new(USEC, usec.as_bytes(), "expected a number of microseconds, as 5000000");
        Ok(Some(Watchdog { timeout: Duration::from_micros(micros.ok_or_else(error)?) }))
    }

    /// The time between two signs of life: half of the timeout, as the manual recommends.
    pub fn interval(self) -> Duration {
        self.timeout / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(usec: Option<&str>, pid: Option<&str>) -> Result<Option<Duration>, String> {
        let read = Watchdog::from_values(usec.map(OsStr::new), pid.map(OsStr::new), 42);
        read.map(|watchdog| watchdog.map(|watchdog| watchdog.timeout)).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_for_the_process_that_is_named_or_for_all() {
        let second = Ok(Some(Duration::from_secs(1)));
        assert_eq!(read(Some("1000000"), None), second);
        assert_eq!(read(Some("1000000"), Some("42")), second);
        assert_eq!(read(Some("1000000"), Some("43")), Ok(None));
        // A value for another process is not looked at.
        assert_eq!(read(Some("soon"), Some("43")), Ok(None));
        assert_eq!(read(None, Some("42")), Ok(None));
        assert_eq!(read(None, None), Ok(None));
    }

    #[test]
    fn an_error_names_variable_and_value() {
        for value in ["0", "", "-1", "1s", "18446744073709551615", "18446744073709551616"] {
            let expected = format!("WATCHDOG_USEC={value}: expected a number of microseconds, as 5000000");
            assert_eq!(read(Some(value), Some("42")), Err(expected));
        }
        for value in ["0", "", "-42", "me", "2147483648"] {
            let expected = format!("WATCHDOG_PID={value}: expected a process id, as 4711");
            assert_eq!(read(Some("1000000"), Some(value)), Err(expected));
        }
    }

    #[test]
    fn a_sign_of_life_is_given_twice_in_the_time() {
        assert_eq!(Watchdog { timeout: Duration::from_secs(3) }.interval(), Duration::from_millis(1500));
    }
}
