//! `--wrap IMAGE` in Compose files: a service called graceful, of IMAGE, installs it into a volume of the same name; a
//! service that is wrapped mounts that, waits for the installation, and has an entrypoint that begins with graceful.
//!
//! What is executed has to be known: by `entrypoint`, or by the ENTRYPOINT of the Dockerfile that the service is built
//! from. An image may have one that no file shows; the service is then left alone, and a line says why. All that a file
//! needs is one change.

use super::error::WrapError;
use super::finding::Edit;
use super::model::{Container, DependsOn, ListPlace, Model, ServicePlaces, Workload, WorkloadKind, WrapPlaces};
use super::place::{At, Position};
use super::shell;
use super::wrap::{DIR, Wrapping, in_list, words};
use std::collections::BTreeMap;

const DONE: &str = "graceful: {condition: service_completed_successfully}";

/// One for every file with services that do not run graceful, and one for each that cannot.
pub(super) fn all(model: &Model, image: &str) -> Vec<Wrapping> {
    let mut files: BTreeMap<usize, Vec<&Workload>> = BTreeMap::new();
    let services = model.workloads.iter().filter(|workload| workload.kind == WorkloadKind::Service);
    for service in services {
        files.entry(service.file).or_default().push(service);
    }
    files.into_iter().flat_map(|(file, services)| of_file(file, &services, image)).collect()
}

fn of_file(file: usize, services: &[&Workload], image: &str) -> Vec<Wrapping> {
    let (mut done, mut edits, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut file_places = None;
    for service in services {
        let Some(WrapPlaces::Service(places)) = &service.wrap else { continue };
        for container in service.running().filter(|container| container.graceful.is_none() && !installs(container)) {
            match of_service(service, container, places) {
                Ok(more) => {
                    // Services that are aliases of each other have one place.
                    edits.extend(more.into_iter().filter(|edit| !edits.contains(edit)).collect::<Vec<_>>());
                    names.push(service.title());
                    file_places = Some(places);
                }
                Err(why) => done.push(Wrapping { file, who: service.title(), change: Err(why) }),
            }
        }
    }
    if let Some(places) = file_places {
        let change = of_all(places, image).map(|all| Edit::Together(all.into_iter().chain(edits).collect()));
        done.push(Wrapping { file, who: names.join(", "), change });
    }
    done
}

/// Whether it is the service that `--wrap` adds, or one like it.
fn installs(container: &Container) -> bool {
    container.argv.words.first().is_some_and(|word| shell::base(&word.value) == "graceful")
}

fn of_service(service: &Workload, container: &Container, places: &ServicePlaces) -> Result<Vec<Edit>, WrapError> {
    let key = places.key.ok_or(WrapError::OnOneLine)?;
    let volume = in_list(places.volumes, Some(key), "volumes", format!("'graceful:{DIR}:ro'"))?;
    let waits = match &places.depends_on {
        DependsOn::Map(ListPlace::Absent) => Edit::Insert(key, format!("depends_on:\n  {DONE}")),
        DependsOn::Map(ListPlace::Before(first)) => Edit::Items(*first, vec![DONE.to_owned()]),
        DependsOn::Map(ListPlace::Empty) => return Err(WrapError::EmptyDependsOn),
        DependsOn::Names(names) => Edit::Keyed(names.clone(), "{condition: service_started}", DONE),
    };
    Ok(vec![entrypoint(service, container, places, key)?, volume, waits])
}

/// The service's entrypoint with graceful before it, or a new one with the image's words.
fn entrypoint(
    service: &Workload,
    container: &Container,
    places: &ServicePlaces,
    key: Position,
) -> Result<Edit, WrapError> {
    let argv = &container.argv;
    let first = argv.words.first().filter(|_| !argv.headless).ok_or(WrapError::NoEntrypoint)?;
    let ours = words(service, container);
    // The image's words have the place at which the service is built, without an extent.
    let is_of_image = |word: &&At<String>| word.at == word.at.empty();
    if is_of_image(&first) {
        let theirs = argv.words.iter().take_while(is_of_image).map(|word| word.value.as_str());
        return Ok(Edit::Insert(key, format!("entrypoint: {}", list(ours.iter().map(String::as_str).chain(theirs)))));
    }
    match places.entrypoint {
        None => Ok(Edit::Items(first.at, ours)),
        // A text: all its words have one place.
        Some(text) => {
            let theirs = argv.words.iter().take_while(|word| word.at == text).map(|word| word.value.as_str());
            Ok(Edit::Replace(text, list(ours.iter().map(String::as_str).chain(theirs))))
        }
    }
}

/// The words as a list on one line, each in quotes; to Compose `$$` is a dollar.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "''").replace('$', "$$"));
    format!("[{}]", words.map(quoted).collect::<Vec<_>>().join(", "))
}

/// The changes that all services share: the service and the volume.
fn of_all(places: &ServicePlaces, image: &str) -> Result<[Edit; 2], WrapError> {
    if places.is_taken {
        return Err(WrapError::TakenInFile);
    }
    let service = format!(
        "graceful:\n  image: '{image}'\n  entrypoint: [/graceful, install, {DIR}]\n  volumes: ['graceful:{DIR}']"
    );
    let volume = match places.all_volumes {
        ListPlace::Absent => Edit::Insert(places.services, "volumes:\n  graceful: {}".to_owned()),
        ListPlace::Before(first) => Edit::Items(first, vec!["graceful: {}".to_owned()]),
        ListPlace::Empty => return Err(WrapError::EmptyVolumes),
    };
    Ok([Edit::Insert(places.first, service), volume])
}

#[cfg(test)]
mod tests {
    use crate::plan::testing::{check_text, check_texts, wrapped};

    #[test]
    fn services_with_an_entrypoint_get_graceful_before_it() {
        let text = "\
services:
  # the shop
  web:
    image: shop
    entrypoint: [./web, --fast] # here
    stop_grace_period: 60s
    depends_on: [db, cache] # both
  worker:
    image: shop
    entrypoint: ./worker --name 'a b'
    depends_on:
      - db # first
      - cache
    volumes:
      - data:/data
  db:
    image: postgres:17
volumes:
  data: {}
";
        let (fixed, said) = wrapped("compose.yaml", text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("service db: its entrypoint is not known"), "{said:?}");
        let expected = "\
services:
  # the shop
  graceful:
    image: 'example.org/graceful:1'
    entrypoint: [/graceful, install, /opt/graceful]
    volumes: ['graceful:/opt/graceful']
  web:
    volumes:
      - 'graceful:/opt/graceful:ro'
    image: shop
    entrypoint: [/opt/graceful/graceful, --grace-period, 60s, --, ./web, --fast] # here
    stop_grace_period: 60s
    depends_on: {graceful: {condition: service_completed_successfully}, db: {condition: service_started}, cache: {condition: service_started}} # both
  worker:
    image: shop
    entrypoint: ['/opt/graceful/graceful', '--grace-period', '10s', '--', './worker', '--name', 'a b']
    depends_on:
      graceful: {condition: service_completed_successfully}
      db: {condition: service_started} # first
      cache: {condition: service_started}
    volumes:
      - 'graceful:/opt/graceful:ro'
      - data:/data
  db:
    image: postgres:17
volumes:
  graceful: {}
  data: {}
";
        assert_eq!(fixed, expected);
        assert!(check_text("compose.yaml", &fixed).iter().all(|found| found.rule.name != "grace-period"));
        let (again, said) = wrapped("compose.yaml", &fixed);
        assert!(again == fixed && said.len() == 1, "{said:?}");
    }

    #[test]
    fn a_service_that_is_built_has_the_entrypoint_of_its_dockerfile() {
        let compose =
            "services:\n  web:\n    build: .\n    depends_on:\n      db:\n        condition: service_healthy\n";
        let dockerfile = "FROM python:3.12\nENTRYPOINT [\"./web\", \"$x\"]\nCMD [\"--fast\"]\n";
        let outcome = check_texts(&[("compose.yaml", compose), ("Dockerfile", dockerfile)]);
        assert!(outcome.faults.is_empty());
        let (fixed, said) =
            crate::plan::testing::wrapped_of("compose.yaml", &[("compose.yaml", compose), ("Dockerfile", dockerfile)]);
        assert_eq!(said, Vec::<String>::new());
        for part in [
            "    entrypoint: ['/opt/graceful/graceful', '--grace-period', '10s', '--', './web', '$$x', '--fast']\n",
            "      graceful: {condition: service_completed_successfully}\n      db:\n        condition: service_healthy\n",
            "volumes:\n  graceful: {}\nservices:\n  graceful:\n",
        ] {
            assert!(fixed.contains(part), "{part}\n{fixed}");
        }
    }

    #[test]
    fn what_cannot_be_done_whole_is_left_alone_and_said() {
        for (text, why) in [
            ("services:\n  web: {image: x, entrypoint: [./web]}\n", "all of it is on one line"),
            ("services:\n  web:\n    image: x\n    command: [./web]\n", "its entrypoint is not known"),
            (
                "services:\n  web:\n    entrypoint: [./web]\n  graceful:\n    image: x\n    entrypoint: [/graceful, install, /x]\n",
                "is called graceful already",
            ),
            ("services:\n  web:\n    entrypoint: [./web]\n    volumes: []\n", "it has an empty list"),
            ("services:\n  web:\n    entrypoint: [./web]\nvolumes:\n", "the file has empty volumes"),
        ] {
            let (fixed, said) = wrapped("compose.yaml", text);
            assert_eq!(fixed, text);
            assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
        }
    }
}
