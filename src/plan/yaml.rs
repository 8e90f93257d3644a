//! YAML as a tree in which every value knows its line and column. JSON is read in the same way, since it is YAML.
//!
//! Built from the events of saphyr-parser, and not with serde: serde_yaml and serde-saphyr give a value or a position,
//! and lose either what is beside it or the duplicate that it replaced; `saphyr`'s own tree copies what an alias names,
//! so that a small file can take all memory (and libyaml's ports read whole streams). A stream of events is bounded by
//! whoever reads it. saphyr-parser is YAML 1.2, maintained, without `unsafe` and small.
//!
//! # Bounds
//!
//! An alias is a second reference to one node, never a copy, and each node counts what it would be if all were written
//! out: a document that would have more than [`LARGEST`] values, or more than [`DEEPEST`] levels, is refused. What a
//! document takes is given back before the next one is read.

use super::error::SyntaxError;
use super::place::{At, Position};
use super::tree::{DEEPEST, Data, LARGEST, Node};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::collections::HashMap;
use std::rc::Rc;

/// Reads one document after another, and hands out each.
///
/// # Errors
/// The text is not YAML, or a document is larger than it may be. The documents before it have been handed out.
pub(super) fn read(text: &str, mut document: impl FnMut(&Node)) -> Result<(), SyntaxError> {
    // A byte order mark is part of the stream for saphyr, too.
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = next(&mut parser)? {
        let (event, span) = event;
        if matches!(event, Event::DocumentEnd) {
            if let Some(root) = builder.root.take() {
                document(&root);
            }
            builder = Builder::default();
        } else {
            builder.take(event, span)?;
        }
    }
    Ok(())
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Option<(Event<'a>, Span)>, SyntaxError> {
    parser.next_event().transpose().map_err(|error: ScanError| {
        SyntaxError::new(Position::new(error.marker().line(), error.marker().col()), error.info())
    })
}

/// A document that is being built.
#[derive(Default)]
struct Builder {
    root: Option<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

/// A list or a map that is not complete.
struct Open {
    spot: Position,
    anchor: usize,
    members: Members,
    weight: u64,
}

enum Members {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<(At<String>, Rc<Node>)>, merged: Vec<Rc<Node>>, key: Option<At<String>> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let spot = Position::new(span.start.line(), span.start.col()).to(span.end.line(), span.end.col());
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let data = Data::Scalar { text: text.into_owned(), plain };
                self.complete(Node { spot, data, weight: 1 }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(spot, anchor, Members::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.open(spot, anchor, Members::Map { entries: Vec::new(), merged: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let reason = "an alias of an anchor that is not there, or of one that it is itself a part of";
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| SyntaxError::new(spot, reason))?;
                self.add(node, spot)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn open(&mut self, spot: Position, anchor: usize, members: Members) -> Result<(), SyntaxError> {
        if self.open.len() >= DEEPEST {
            return Err(SyntaxError::new(spot, format!("more than {DEEPEST} levels deep; expected a manifest")));
        }
        self.open.push(Open { spot, anchor, members, weight: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Some(Open { spot, anchor, members, weight }) = self.open.pop() else { return Ok(()) };
        let data = match members {
            Members::List(members) => Data::List(members),
            Members::Map { mut entries, merged, .. } => {
                // What is merged in (`<<: *base`) gives way to the map's own entries.
                for (key, value) in merged.iter().flat_map(|base| base.entries()) {
                    if !entries.iter().any(|(known, _)| known.value == key.value) {
                        entries.push((key.clone(), Rc::clone(value)));
                    }
                }
                Data::Map(entries)
            }
        };
        self.complete(Node { spot, data, weight }, anchor)
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let spot = node.spot;
        self.add(node, spot)
    }

    /// Adds a node at the place where it is used, which for an alias is not where the node stands.
    fn add(&mut self, node: Rc<Node>, spot: Position) -> Result<(), SyntaxError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.weight = open.weight.saturating_add(node.weight);
        if open.weight > LARGEST {
            let reason = "more than 2000000 values with its aliases written out; expected a manifest of a usual size";
            return Err(SyntaxError::new(spot, reason));
        }
        match &mut open.members {
            Members::List(members) => members.push(node),
            Members::Map { entries, merged, key } => match key.take() {
                // Nobody looks for a key that is a list or a map.
                None => *key = Some(At { at: node.spot, value: node.text().unwrap_or_default().to_owned() }),
                Some(name) if name.value == "<<" => match &node.data {
                    Data::List(bases) => merged.extend(bases.iter().cloned()),
                    Data::Map(_) | Data::Scalar { .. } => merged.push(node),
                },
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Result<usize, SyntaxError> {
        let mut count = 0;
        read(text, |_| count += 1).map(|()| count)
    }

    fn one(text: &str, look: impl Fn(&Node)) {
        let mut seen = false;
        read(text, |node| {
            look(node);
            seen = true;
        })
        .unwrap();
        assert!(seen);
    }

    #[test]
    fn every_value_has_its_line_and_column() {
        one("a:\n  - b: 30 # c\n    d: 'true'\n", |node| {
            let members = node.get("a").unwrap().list();
            let number = members[0].get("b").unwrap().number().unwrap();
            assert_eq!((number.value, number.at.line, number.at.column), (30, 2, 8));
            assert_eq!(members[0].key("d").map(|key| (key.line, key.column)), Some((3, 5)));
            assert!(members[0].get("d").unwrap().truth().unwrap().value, "a template quoted it");
        });
    }

    #[test]
    fn json_is_read_by_the_same_way() {
        one("{\n\t\"a\": [1, {\"b\": null}],\n\t\"c\": \"x\\u00e9\"\n}\n", |node| {
            assert_eq!(node.at(&["a"]).unwrap().list()[0].number().unwrap().value, 1);
            assert_eq!(node.at(&["c"]).unwrap().text(), Some("xé"));
            assert_eq!(node.at(&["c"]).unwrap().spot.line, 3);
            assert_eq!(node.at(&["a"]).unwrap().list()[1].get("b").unwrap().text(), None);
        });
    }

    #[test]
    fn aliases_and_merges_mean_what_they_name() {
        one("base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\nsame: *b\n", |node| {
            assert_eq!(node.at(&["other", "x"]).unwrap().number().unwrap().value, 1);
            assert_eq!(node.at(&["other", "y"]).unwrap().number().unwrap().value, 3);
            assert_eq!(node.at(&["same", "y"]).unwrap().number().unwrap().value, 2);
        });
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_is_anything() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let list = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        let fault = documents(&text).unwrap_err();
        assert!(fault.reason.contains("aliases written out"), "{fault:?}");
        assert!(fault.spot.line > 5, "where it is used: {fault:?}");
    }

    #[test]
    fn a_deep_document_is_refused_and_a_wrong_one_told_of_with_its_line() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(documents(&nested(DEEPEST)), Ok(1));
        let deep = documents(&nested(DEEPEST + 1)).unwrap_err();
        assert!(deep.reason.contains("levels"), "{deep:?}");
        // The parser has a limit of its own, which is higher.
        assert!(documents(&"[".repeat(200_000)).is_err());
        assert!(documents(&"- ".repeat(200_000)).is_err());
        let wrong = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(wrong.spot.line >= 2, "{wrong:?}");
        assert!(documents("a: *nothing\n").is_err());
        assert!(documents("a: &x [*x]\n").is_err(), "a part of itself");
    }

    #[test]
    fn many_documents_and_empty_ones() {
        assert_eq!(documents("---\na: 1\n---\n---\nb: 2\n...\n# only a comment\n"), Ok(3));
        assert_eq!(documents(""), Ok(0));
        assert_eq!(documents("# nothing\n"), Ok(0));
    }
}
