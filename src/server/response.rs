//! What is answered to a request: from what is known, without any I/O.

use super::request::{Query, wants_json};
use super::state::Shared;
use crate::health::{Probe, judge, page};
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::time::Instant;
use tracing::debug;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// prometheus.io, "OpenMetrics 1.0", section "Overall Structure".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "\
/livez     graceful and the app run            also /healthz and /health/live
/startupz  the app has started                 also /health/startup
/readyz    the app can take requests           also /health/ready
/metrics   OpenMetrics

A probe answers 200 or 503. ?verbose lists its parts, ?exclude=NAME leaves one out.
Accept: application/json gets JSON.
";

/// What a path leads to.
#[derive(Clone, Copy)]
enum Page {
    Index,
    Probe(Probe),
    Metrics,
}

/// The answer. It closes the connection when a probe fails, so that the next one does not come to the same instance
/// over a kept connection, and when the request has a body, which nobody reads.
pub(super) fn answer(request: &Request<impl Body>, shared: &Shared) -> Response<String> {
    let mut response = match (page_at(request.uri().path()), request.method()) {
        (None, _) => plain(StatusCode::NOT_FOUND, "not found; / lists what is there\n"),
        (Some(page), &Method::GET | &Method::HEAD) => match page {
            Page::Index => plain(StatusCode::OK, INDEX),
            Page::Probe(which) => probe(which, request, shared),
            Page::Metrics => metrics(shared),
        },
        (Some(_), _) => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    };
    let close = response.status() == StatusCode::SERVICE_UNAVAILABLE || !request.body().is_end_stream();
    let length = response.body().len();
    let headers = response.headers_mut();
    // hyper leaves it out for HEAD if there would be nothing in the body.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A slash at the end changes nothing.
fn page_at(path: &str) -> Option<Page> {
    Some(match path.strip_suffix('/').unwrap_or(path) {
        "" => Page::Index,
        "/livez" | "/healthz" | "/health/live" => Page::Probe(Probe::Live),
        "/startupz" | "/health/startup" => Page::Probe(Probe::Startup),
        "/readyz" | "/health/ready" => Page::Probe(Probe::Ready),
        "/metrics" => Page::Metrics,
        _ => return None,
    })
}

fn probe<B>(probe: Probe, request: &Request<B>, shared: &Shared) -> Response<String> {
    let start = Instant::now();
    let query = Query::read(request.uri().query().unwrap_or_default());
    let json = wants_json(request.headers());
    let (ok, body) = shared.with_situation(|situation| {
        let verdict = judge(probe, situation, &query.exclude);
        let body = match json {
            true => page::json(probe, &verdict, situation),
            false => page::text(probe, &verdict, query.verbose),
        };
        (verdict.ok, body)
    });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = with_type(status, if json { JSON } else { TEXT }, body);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if !ok {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let took = start.elapsed();
    shared.metrics.answered(probe, ok, took);
    let (name, result) = (probe.name(), if ok { "ok" } else { "failed" });
    debug!(name: "probe_answered", probe = name, result, took_s = took.as_secs_f64(), "probe {name}: {result}");
    response
}

fn metrics(shared: &Shared) -> Response<String> {
    let facts = &shared.facts;
    shared.look_for_oom_kills();
    let body = shared.with_situation(|situation| shared.metrics.page(situation, &facts.board, &facts.budget));
    with_type(StatusCode::OK, OPEN_METRICS, body)
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    with_type(status, TEXT, text.to_owned())
}

fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
