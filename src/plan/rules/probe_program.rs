//! The rule probe-program: a probe runs what the image does not have.

use super::shared::running;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::image;
use crate::plan::model::{Model, ProbeHandler, WorkloadKind};

pub(super) static RULE: Rule = Rule {
    name: "probe-program",
    severity: Severity::Error,
    title: "a probe runs what the image does not have",
    why: "An exec probe or a HEALTHCHECK whose program is missing fails every time: the container is never ready, \
          or restarted for ever. Slim and distroless images have neither curl nor wget, Alpine has BusyBox's wget. \
          graceful probe needs nothing but graceful, and asks graceful, a URL or a port.",
    bad: Example {
        file: "Dockerfile",
        text: "\
FROM gcr.io/distroless/python3-debian12
HEALTHCHECK CMD [\"curl\", \"-f\", \"http://127.0.0.1:8080/health\"]
ENTRYPOINT [\"/graceful\", \"--\", \"python3\", \"web.py\"]
",
    },
    good: Example {
        file: "Dockerfile",
        text: "\
FROM gcr.io/distroless/python3-debian12
HEALTHCHECK CMD [\"/graceful\", \"probe\", \"http://127.0.0.1:8080/health\"]
ENTRYPOINT [\"/graceful\", \"--\", \"python3\", \"web.py\"]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for (workload, container) in running(model) {
        for (name, probe) in container.probes() {
            let ProbeHandler::Exec(words) = &probe.what else { continue };
            let texts: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
            let Some((program, image)) = image::missing(container, &texts) else { continue };
            // The program may have been added to a slim image in another layer; to one without a shell it cannot have
            // been.
            let severity = if image::has_no_shell(&image) { Severity::Error } else { Severity::Warning };
            if workload.kind == WorkloadKind::Image && severity == Severity::Warning {
                continue;
            }
            let message = format!("{}: {name} runs {program}, which {image} does not have", workload.who(container));
            let fix = "graceful probe URL, which needs nothing else, or an httpGet".to_owned();
            findings.add_as(severity, workload.file, probe.at, message, fix);
        }
    }
}
