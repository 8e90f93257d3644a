//! `--wrap IMAGE`: graceful before the commands of Kubernetes manifests and Compose files, where the images do not have
//! it.
//!
//! A container without graceful is not a finding: that is somebody's choice. So no rule reports it, and this is done
//! only on request. An init container of IMAGE, which needs nothing but graceful in it, installs it into an emptyDir;
//! the app's container mounts that, and its command begins with graceful. All that a pod needs is one change, made as a
//! whole or not at all. In a Compose file a service and a volume do the same for all services, which wait for it.

use super::error::WrapError;
use super::finding::Edit;
use super::model::{Container, ListPlace, Model, PodPlaces, Workload, WrapPlaces};
use super::platform::Platform;
use std::time::Duration;

/// Where graceful is in the container.
pub(super) const DIR: &str = "/opt/graceful";
/// The grace period that `run` assumes where nothing sets it.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// How containers get graceful, or why they do not.
#[derive(Debug)]
pub(super) struct Wrapping {
    pub(super) file: usize,
    /// The containers that it is for, as messages name them.
    pub(super) who: String,
    pub(super) change: Result<Edit, WrapError>,
}

/// One for every pod with a container that does not run graceful.
pub(super) fn all(model: &Model, image: &str) -> Vec<Wrapping> {
    let pods = model
        .workloads
        .iter()
        .filter(|workload| workload.platform == Platform::Kubernetes && !workload.kind.ends_by_itself());
    pods.flat_map(|workload| of_pod(workload, image)).collect()
}

fn of_pod(workload: &Workload, image: &str) -> Vec<Wrapping> {
    let mut done = Vec::new();
    let mut edits = Vec::new();
    let mut names = Vec::new();
    for (at, container) in workload.running().enumerate().filter(|(_, container)| container.graceful.is_none()) {
        match of_container(workload, at, container) {
            Ok(more) => {
                edits.extend(more);
                names.push(container.name.as_str());
            }
            Err(why) => {
                done.push(Wrapping { file: workload.file, who: workload.who(container), change: Err(why) });
            }
        }
    }
    if names.is_empty() {
        return done;
    }
    let who = format!("{}, container {}", workload.title(), names.join(", container "));
    let change = of_lists(workload, image).map(|lists| Edit::Together(lists.into_iter().chain(edits).collect()));
    done.push(Wrapping { file: workload.file, who, change });
    done
}

fn of_container(workload: &Workload, at: usize, container: &Container) -> Result<Vec<Edit>, WrapError> {
    let places = pod_places(workload).and_then(|places| places.containers.get(at)).ok_or(WrapError::NoPlace)?;
    let first = container.argv.words.first().filter(|_| !container.argv.headless).ok_or(WrapError::NoCommand)?;
    let mount = format!("{{name: graceful, mountPath: {DIR}, readOnly: true}}");
    let mount = in_list(places.mounts, places.key, "volumeMounts", mount)?;
    Ok(vec![Edit::Items(first.at, words(workload, container)), mount])
}

/// The words that go before a command.
pub(super) fn words(workload: &Workload, container: &Container) -> Vec<String> {
    let (grace, _) = workload.grace_of(container);
    let grace = (grace != DEFAULT_GRACE && grace < Duration::MAX)
        .then(|| ["--grace-period".to_owned(), format!("{}s", grace.as_secs())]);
    let own = [format!("{DIR}/graceful")].into_iter();
    own.chain(grace.into_iter().flatten()).chain(["--".to_owned()]).collect()
}

fn pod_places(workload: &Workload) -> Option<&PodPlaces> {
    match &workload.wrap {
        Some(WrapPlaces::Pod(places)) => Some(places),
        Some(WrapPlaces::Service(_)) | None => None,
    }
}

/// The changes of the pod's two lists.
fn of_lists(workload: &Workload, image: &str) -> Result<[Edit; 2], WrapError> {
    let places = pod_places(workload).ok_or(WrapError::NoPlace)?;
    if places.is_taken {
        return Err(WrapError::TakenInPod);
    }
    let mount = format!("volumeMounts: [{{name: graceful, mountPath: {DIR}}}]");
    let init = format!("{{name: graceful, image: '{image}', command: [/graceful, install, {DIR}], {mount}}}");
    Ok([
        in_list(places.init_containers, workload.insert_at, "initContainers", init)?,
        in_list(places.volumes, workload.insert_at, "volumes", "{name: graceful, emptyDir: {}}".to_owned())?,
    ])
}

/// One more item of a list. Where there is no such list, it is inserted before `key`.
pub(super) fn in_list(
    list: ListPlace,
    key: Option<super::place::Position>,
    name: &str,
    item: String,
) -> Result<Edit, WrapError> {
    match (list, key) {
        (ListPlace::Before(first), _) => Ok(Edit::Items(first, vec![item])),
        (ListPlace::Absent, Some(key)) => Ok(Edit::Insert(key, format!("{name}:\n  - {item}"))),
        (ListPlace::Absent, None) => Err(WrapError::OnOneLine),
        (ListPlace::Empty, _) => Err(WrapError::EmptyList),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::testing::{check_text, wrapped};

    const HEAD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
";

    #[test]
    fn a_pod_without_any_list_gets_them() {
        let text = format!(
            "{HEAD}      terminationGracePeriodSeconds: 60
      containers:
        # the shop
        - name: web
          image: shop
          command:
            - gunicorn
            - shop:app # here
        - name: known
          image: shop
          command: [./known, --fast]
"
        );
        let (fixed, said) = wrapped("web.yaml", &text);
        assert_eq!(said, Vec::<String>::new());
        let expected = format!(
            "{HEAD}      terminationGracePeriodSeconds: 60
      initContainers:
        - {{name: graceful, image: 'example.org/graceful:1', command: [/graceful, install, /opt/graceful], volumeMounts: [{{name: graceful, mountPath: /opt/graceful}}]}}
      volumes:
        - {{name: graceful, emptyDir: {{}}}}
      containers:
        # the shop
        - name: web
          volumeMounts:
            - {{name: graceful, mountPath: /opt/graceful, readOnly: true}}
          image: shop
          command:
            - /opt/graceful/graceful
            - --grace-period
            - 60s
            - --
            - gunicorn
            - shop:app # here
        - name: known
          volumeMounts:
            - {{name: graceful, mountPath: /opt/graceful, readOnly: true}}
          image: shop
          command: [/opt/graceful/graceful, --grace-period, 60s, --, ./known, --fast]
"
        );
        assert_eq!(fixed, expected);
        // graceful is found in it, and nothing more is to be done.
        assert!(!check_text("web.yaml", &fixed).iter().any(|found| found.rule.name == "grace-period"));
        assert_eq!(wrapped("web.yaml", &fixed), (fixed.clone(), Vec::new()));
    }

    #[test]
    fn lists_that_are_there_get_one_item_more() {
        let text = format!(
            "{HEAD}      volumes: [{{name: tmp, emptyDir: {{}}}}]
      initContainers:
        - name: migrate
          command: [./migrate]
      containers:
        - name: web
          command: ['./web']
          volumeMounts:
            - name: tmp
              mountPath: /tmp
"
        );
        let (fixed, said) = wrapped("web.yaml", &text);
        assert_eq!(said, Vec::<String>::new());
        for part in [
            "      volumes: [{name: graceful, emptyDir: {}}, {name: tmp, emptyDir: {}}]\n",
            "      initContainers:\n        - {name: graceful, image: 'example.org/graceful:1', ",
            "}\n        - name: migrate\n",
            "          command: [/opt/graceful/graceful, --, './web']\n",
            "            - {name: graceful, mountPath: /opt/graceful, readOnly: true}\n            - name: tmp\n",
        ] {
            assert!(fixed.contains(part), "{part}\n{fixed}");
        }
        assert!(check_text("web.yaml", &fixed).is_empty());
    }

    #[test]
    fn what_cannot_be_done_whole_is_left_alone_and_said() {
        for (name, rest, why) in [
            ("web.yaml", "      containers:\n        - name: web\n          image: shop\n", "it has no command"),
            ("web.yaml", "      containers: [{name: web, command: [./web]}]\n", "all of it is on one line"),
            (
                "web.yaml",
                "      volumes: []\n      containers:\n        - name: web\n          command: [./web]\n",
                "it has an empty list",
            ),
            (
                "web.yaml",
                "      volumes:\n        - name: graceful\n          emptyDir: {}\n      containers:\n        - name: web\n          \
                 command: [./web]\n",
                "is called graceful already",
            ),
        ] {
            let text = format!("{HEAD}{rest}");
            let (fixed, said) = wrapped(name, &text);
            assert_eq!(fixed, text);
            assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
        }
    }

    #[test]
    fn what_ends_by_itself_or_runs_graceful_is_not_touched() {
        let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec:\n  template:\n    spec:\n      containers:\n        \
                   - name: x\n          command: [./x]\n";
        assert_eq!(wrapped("job.yaml", job), (job.to_owned(), Vec::new()));
        let has = format!("{HEAD}      containers:\n        - name: x\n          command: [/graceful, --, ./x]\n");
        assert_eq!(wrapped("web.yaml", &has), (has.clone(), Vec::new()));
    }
}
