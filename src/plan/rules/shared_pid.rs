//! The rule shared-pid: graceful is not PID 1 of its container.

use crate::plan::Platform;
use crate::plan::finding::{Example, Findings, Rule, Severity};
use crate::plan::model::Model;

pub(super) static RULE: Rule = Rule {
    name: "shared-pid",
    severity: Severity::Warning,
    title: "graceful is not PID 1 of its container",
    why: "With shareProcessNamespace or hostPID the containers see one another's processes, and PID 1 is another process. \
          graceful then ends its own descendants only: what has left its tree is reaped by the pause container and \
          gets no signal before SIGKILL.",
    bad: Example {
        file: "pod.yaml",
        text: "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  shareProcessNamespace: true
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --, ./web]
",
    },
    good: Example {
        file: "pod.yaml",
        text: "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: web
      image: example.org/web
      command: [/graceful, --, ./web]
",
    },
    check,
};

fn check(model: &Model, findings: &mut Findings) {
    for workload in &model.workloads {
        let shared = [("shareProcessNamespace", &workload.share_process_namespace), ("hostPID", &workload.host_pid)];
        let given =
            shared.into_iter().find_map(|(name, given)| Some((name, given.as_ref().filter(|given| given.value)?)));
        let Some((name, given)) = given else { continue };
        let Some(container) = workload.running().find(|container| container.graceful.is_some()) else { continue };
        let name = match (workload.platform, name) {
            (Platform::Ecs | Platform::Fargate, _) => "pidMode",
            (Platform::Docker | Platform::Swarm, _) => "pid: host",
            (Platform::Kubernetes | Platform::Systemd | Platform::Nomad, name) => name,
        };
        let message = format!("{}: {name}: PID 1 is not graceful", workload.who(container));
        findings.add(workload.file, given.at, message, format!("leave {name} out, if nothing else needs it"));
    }
}
