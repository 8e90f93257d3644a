//! A tree of values in which every one knows its line and column: what YAML, JSON and HCL are read into.
//!
//! # Bounds
//!
//! An alias is a second reference to one node, never a copy, and each node counts what it would be if all were written
//! out: a document that would have more than [`LARGEST`] values, or more than [`DEEPEST`] levels, is refused by its
//! reader.

use super::place::{At, Position};
use std::rc::Rc;

/// The most values that one document may have, with its aliases written out. A CustomResourceDefinition has some
/// 50,000.
pub(super) const LARGEST: u64 = 2_000_000;

/// The most levels that a document may have: whatever walks through it, or drops it, is recursive.
pub(super) const DEEPEST: usize = 100;

/// One value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) spot: Position,
    pub(super) data: Data,
    /// How many values it consists of, with aliases written out.
    pub(super) weight: u64,
}

#[derive(Debug)]
pub(super) enum Data {
    Scalar {
        text: String,
        /// Whether it is without quotes, so that `30` is a number and `true` a boolean.
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<(At<String>, Rc<Node>)>),
}

impl Node {
    /// The value of this key. Of a key that is given twice, the last counts, as for kubectl.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Data::Map(entries) = &self.data else { return None };
        entries.iter().rev().find(|(known, _)| known.value == key).map(|(_, value)| &**value)
    }

    /// The value below these keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Where the key of this name is.
    pub(super) fn key(&self, key: &str) -> Option<Position> {
        self.entries().iter().rev().find(|(known, _)| known.value == key).map(|(known, _)| known.at)
    }

    /// The entries of a map, in their order; empty for anything else.
    pub(super) fn entries(&self) -> &[(At<String>, Rc<Node>)] {
        match &self.data {
            Data::Map(entries) => entries,
            Data::Scalar { .. } | Data::List(_) => &[],
        }
    }

    /// The members of a list; empty for anything else.
    pub(super) fn list(&self) -> &[Rc<Node>] {
        match &self.data {
            Data::List(members) => members,
            Data::Scalar { .. } | Data::Map(_) => &[],
        }
    }

    /// The text of a scalar, a number's included; null has none.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, plain } => {
                let null = *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
                (!null).then_some(text)
            }
            Data::List(_) | Data::Map(_) => None,
        }
    }

    /// The text with its place.
    pub(super) fn string(&self) -> Option<At<String>> {
        self.text().map(|text| At { at: self.spot, value: text.to_owned() })
    }

    /// A whole number, quoted ones included: templates quote what they do not know.
    pub(super) fn number(&self) -> Option<At<u64>> {
        Some(At { at: self.spot, value: self.text()?.trim().parse().ok()? })
    }

    /// true or false.
    pub(super) fn truth(&self) -> Option<At<bool>> {
        let value = match self.text()? {
            "true" | "True" | "TRUE" => true,
            "false" | "False" | "FALSE" => false,
            _ => return None,
        };
        Some(At { at: self.spot, value })
    }

    /// The texts in a list.
    pub(super) fn strings(&self) -> Vec<At<String>> {
        self.list().iter().filter_map(|member| member.string()).collect()
    }
}
