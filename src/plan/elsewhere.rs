//! What the options of a container may stand in besides its own definition.

use super::place::At;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// What else a container's options may stand in.
#[derive(Clone, Debug, Default)]
pub(super) struct Elsewhere {
    /// What may set variables and is not in these files, as messages name it.
    pub(super) unknown: Vec<At<String>>,
    /// Files with variables that should be beside this one, and why they are not read.
    pub(super) missing: Vec<At<String>>,
    /// ConfigMaps, which may come in a later file.
    pub(super) maps: Vec<MapSource>,
    /// What a Dockerfile copies: where to, and where that lies.
    pub(super) copies: Vec<(String, PathBuf)>,
    /// It would be PID 1.
    pub(super) as_init: bool,
}

/// What of a ConfigMap becomes a variable.
#[derive(Clone, Debug)]
pub(super) enum MapKeys {
    /// This key becomes this variable.
    One { key: String, variable: String },
    /// All do, behind this prefix.
    All { prefix: String },
}

/// Variables from a ConfigMap.
#[derive(Clone, Debug)]
pub(super) struct MapSource {
    /// Its name.
    pub(super) map: At<String>,
    pub(super) keys: MapKeys,
    /// As messages name it.
    pub(super) how: &'static str,
}

/// ConfigMaps by namespace and name.
pub(super) type ConfigMaps<'a> = HashMap<(&'a str, &'a str), &'a ConfigMap>;

/// What a ConfigMap has of variables.
#[derive(Debug)]
pub(super) struct ConfigMap {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) data: BTreeMap<String, String>,
}
