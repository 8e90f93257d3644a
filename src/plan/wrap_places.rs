//! The places in a workload where `--wrap` adds graceful.

use super::place::Position;
use super::tree::Node;

/// Where [`super::wrap`] adds something.
#[derive(Debug)]
pub(super) enum WrapPlaces {
    Pod(PodPlaces),
    Service(Box<ServicePlaces>),
}

/// The places in a Compose service, and in its file.
#[derive(Debug)]
pub(super) struct ServicePlaces {
    /// Whether a service or a volume is called graceful already.
    pub(super) is_taken: bool,
    /// The key `services`.
    pub(super) services: Position,
    /// The key of the first service.
    pub(super) first: Position,
    /// The file's volumes.
    pub(super) all_volumes: ListPlace,
    /// A key of the service with a line of its own.
    pub(super) key: Option<Position>,
    /// The value of `entrypoint`, where it is a string.
    pub(super) entrypoint: Option<Position>,
    pub(super) volumes: ListPlace,
    pub(super) depends_on: DependsOn,
}

/// How a service says what it waits for.
#[derive(Debug)]
pub(super) enum DependsOn {
    /// As a map, or not at all.
    Map(ListPlace),
    /// As a list of names.
    Names(Vec<Position>),
}

/// The lists of a pod.
#[derive(Debug)]
pub(super) struct PodPlaces {
    pub(super) volumes: ListPlace,
    pub(super) init_containers: ListPlace,
    /// Whether one of them has something called graceful already.
    pub(super) is_taken: bool,
    /// Those in the containers that live as long as the pod, in their order.
    pub(super) containers: Vec<ContainerPlaces>,
}

/// The places in a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContainerPlaces {
    pub(super) mounts: ListPlace,
    /// A key with a line of its own.
    pub(super) key: Option<Position>,
}

/// Where one more item goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum ListPlace {
    /// There is no such list.
    Absent,
    /// Before this item.
    Before(Position),
    /// It has no item.
    Empty,
}

impl ListPlace {
    /// The place in a list.
    pub(super) fn of_items(list: Option<&Node>) -> ListPlace {
        let Some(list) = list else { return ListPlace::Absent };
        list.list().first().map_or(ListPlace::Empty, |first| ListPlace::Before(first.spot))
    }

    /// The place in a map.
    pub(super) fn of_keys(map: Option<&Node>) -> ListPlace {
        let Some(map) = map else { return ListPlace::Absent };
        map.entries().first().map_or(ListPlace::Empty, |(key, _)| ListPlace::Before(key.at))
    }
}
