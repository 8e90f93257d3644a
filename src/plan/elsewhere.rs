//! Where a container's options may come from, besides its own definition.

use super::place::At;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Where else a container's options may come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Elsewhere {
    /// Sources of variables that are not among these files, as messages name them.
    pub(super) unknown: Vec<At<String>>,
    /// Files with variables that should be beside this one, and why they cannot be read.
    pub(super) missing: Vec<At<String>>,
    /// ConfigMaps, which a later file may define.
    pub(super) maps: Vec<MapSource>,
    /// What a Dockerfile copies: the destination, and where the source lies.
    pub(super) copies: Vec<(String, PathBuf)>,
    /// Whether the container's command would be PID 1.
    pub(super) as_init: bool,
}

/// Which keys of a ConfigMap become variables.
#[derive(Clone, Debug)]
pub(super) enum MapKeys {
    /// This key becomes this variable.
    One { key: String, variable: String },
    /// All keys do, with this prefix.
    All { prefix: String },
}

/// Variables from a ConfigMap.
#[derive(Clone, Debug)]
pub(super) struct MapSource {
    /// The ConfigMap's name.
    pub(super) map: At<String>,
    pub(super) keys: MapKeys,
    /// The field that refers to it, as messages name it.
    pub(super) how: &'static str,
}

/// ConfigMaps by namespace and name.
pub(super) type ConfigMaps<'a> = HashMap<(&'a str, &'a str), &'a ConfigMap>;

/// The variables in a ConfigMap.
#[derive(Debug)]
pub(super) struct ConfigMap {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) data: BTreeMap<String, String>,
}
