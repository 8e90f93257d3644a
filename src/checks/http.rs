//! `http://` and `https://`.

use super::attempt::said;
use crate::health::{Attempt, Status};
use crate::http::Client;
use crate::http::client::MAX_BODY;
use crate::secret::Url;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// 200 to 399 is healthy, unless the answer is JSON whose `status` says worse.
pub(super) async fn attempt(client: &Client, url: &Url, timeout: Duration) -> Attempt {
    let page = client.page(url, timeout).await;
    let observed = page.observation;
    let by_code = if observed.verdict.is_ready() { Status::Healthy } else { Status::Unhealthy };
    let by_word = page.json.as_deref().and_then(stated);
    let status = by_code.max(by_word.unwrap_or(by_code));
    // Why it is not healthy; failing that, what the wording that everybody may read leaves out.
    let said = match &page.json {
        Some(json) if status != Status::Healthy => said(json),
        _ => (observed.detail != page.unquoted).then_some(observed.detail),
    };
    let detail = match by_word {
        Some(word) if word != Status::Healthy => format!("{}, status {}", page.unquoted, word.name()),
        _ => page.unquoted,
    };
    Attempt { status, detail, said, took: observed.took }
}

/// The `status` of an answer, in the words that are in use: healthy, degraded, unhealthy (.NET); pass, warn, fail
/// (draft-inadarei-api-health-check); UP, DOWN, OUT_OF_SERVICE (Spring Boot).
fn stated(json: &[u8]) -> Option<Status> {
    let mut word = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = reader.deserialize_map(StatusField(&mut word)).and_then(|()| reader.end());
    // A long answer ends where the client has stopped reading, and may have said its status before that.
    let is_cut = json.len() >= MAX_BODY;
    match read {
        Err(error) if !(is_cut && error.is_eof()) => None,
        Ok(()) | Err(_) => meaning(&word?),
    }
}

fn meaning(word: &str) -> Option<Status> {
    match word.to_ascii_lowercase().as_str() {
        "healthy" | "ok" | "up" | "pass" => Some(Status::Healthy),
        "degraded" | "warn" | "warning" => Some(Status::Degraded),
        "unhealthy" | "down" | "fail" | "failed" | "error" | "out_of_service" => Some(Status::Unhealthy),
        _ => None,
    }
}

/// Keeps the field as soon as it is read, so that it is there when the rest is not.
struct StatusField<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for StatusField<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if name == "status" {
                *self.0 = fields.next_value::<Value>()?.as_str().map(str::to_owned);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
