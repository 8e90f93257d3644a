//! Durations as Go writes them, and so do Compose, Nomad and Traefik.

use std::time::Duration;

/// Reads `1m30s`, `1.5s` or `500ms`; a bare number counts seconds. None where the text is not a duration.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut sum, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let factor = match &rest[digits..unit] {
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += Duration::try_from_secs_f64(rest[..digits].parse::<f64>().ok()? * factor).ok()?;
        rest = &rest[unit..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, millis) in
            [("1m30s", Some(90_000)), ("500ms", Some(500)), ("10", Some(10_000)), ("1.5s", Some(1500)), ("soon", None)]
        {
            assert_eq!(go_duration(text).map(|time| time.as_millis()), millis, "{text}");
        }
    }
}
