//! The mechanical changes: a line replaced in part, or lines added. Comments, order and line ends stay, since nothing
//! else is rewritten.

use super::finding::{Edit, PlanFinding};
use super::place::Position;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Lines around a change that a diff shows.
const CONTEXT: usize = 3;

/// What becomes of the changed lines, by their number from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(BTreeMap<usize, Change>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Change {
    /// New lines that go before it.
    before: Vec<String>,
    /// What it becomes; none if it stays.
    line: Option<String>,
}

impl Changes {
    /// The changes of these findings that can be made to this text. Of two for one place, or one key, only the first is
    /// made: the next run finds the other again.
    pub(super) fn of<'a>(name: &str, text: &str, findings: impl Iterator<Item = &'a PlanFinding>) -> Changes {
        let lines: Vec<&str> = text.lines().collect();
        let is_json = name.ends_with(".json");
        let mut changes = Changes::default();
        for edit in findings.filter_map(|found| found.edit.as_ref()) {
            changes.add(&lines, is_json, edit);
        }
        changes
    }

    /// Adds one more change of this text; returns whether it can be made.
    pub(super) fn make(&mut self, name: &str, text: &str, edit: &Edit) -> bool {
        self.add(&text.lines().collect::<Vec<_>>(), name.ends_with(".json"), edit)
    }

    fn add(&mut self, lines: &[&str], is_json: bool, edit: &Edit) -> bool {
        match edit {
            Edit::Replace(spot, new) => self.replace(lines, *spot, new),
            Edit::Insert(spot, new) => self.insert(lines, *spot, new, is_json),
            Edit::Items(spot, new) => !is_json && self.items(lines, *spot, new),
            Edit::Keyed(spots, value, entry) => !is_json && self.keyed(lines, spots, value, entry),
            Edit::Together(edits) => {
                let mut tried = self.clone();
                let all = edits.iter().all(|edit| tried.add(lines, is_json, edit));
                if all {
                    *self = tried;
                }
                all
            }
        }
    }

    fn replace(&mut self, lines: &[&str], spot: Position, new: &str) -> bool {
        let number = spot.line as usize - 1;
        let Some(line) = lines.get(number).filter(|_| spot.end_line == spot.line) else { return false };
        let (from, to) = (byte(line, spot.column), byte(line, spot.end_column));
        let change = self.0.entry(number).or_default();
        if change.line.is_some() || from >= to {
            return false;
        }
        let old = &line[from..from + length(&line[from..to])];
        let end = from + old.len();
        let quote =
            old.chars().next().filter(|first| matches!(first, '"' | '\'')).filter(|_| !new.starts_with(['"', '[']));
        let quote = quote.map(String::from).unwrap_or_default();
        change.line = Some(format!("{}{quote}{new}{quote}{}", &line[..from], &line[end..]));
        true
    }

    /// Adds items before this one: each on a line of its own where this one has its own, otherwise in its line.
    fn items(&mut self, lines: &[&str], spot: Position, new: &[String]) -> bool {
        let number = spot.line as usize - 1;
        let Some(line) = lines.get(number) else { return false };
        let (before, after) = line.split_at(byte(line, spot.column));
        let change = self.0.entry(number).or_default();
        if before.trim() == "-" {
            let indent = &before[..before.len() - before.trim_start().len()];
            change.before.extend(new.iter().map(|item| format!("{indent}- {item}")));
            return true;
        }
        if before.trim().is_empty() {
            change.before.extend(new.iter().map(|entry| format!("{before}{entry}")));
            return true;
        }
        let is_flow = before.trim_end().ends_with(['[', '{', ',']);
        if is_flow && change.line.is_none() {
            change.line = Some(format!("{before}{}, {after}", new.join(", ")));
            return true;
        }
        false
    }

    /// Turns a list of names, each on a line of its own or all on one line, into a map.
    fn keyed(&mut self, lines: &[&str], spots: &[Position], value: &str, entry: &str) -> bool {
        let Some(first) = spots.first() else { return false };
        for spot in spots {
            let number = spot.line as usize - 1;
            let Some(line) = lines.get(number) else { return false };
            let (before, after) = line.split_at(byte(line, spot.column));
            let name = &after[..length(after)];
            if before.trim() != "-" {
                return spots.iter().all(|spot| spot.line == first.line)
                    && self.keyed_in_line(lines, spots, value, entry);
            }
            let change = self.0.entry(number).or_default();
            if change.line.is_some() {
                return false;
            }
            let indent = &before[..before.len() - before.trim_start().len()];
            change.line = Some(format!("{indent}{name}: {value}{}", &after[name.len()..]));
            if spot == first {
                change.before.push(format!("{indent}{entry}"));
            }
        }
        true
    }

    fn keyed_in_line(&mut self, lines: &[&str], spots: &[Position], value: &str, entry: &str) -> bool {
        let (Some(first), Some(last)) = (spots.first(), spots.last()) else { return false };
        let number = first.line as usize - 1;
        let Some(line) = lines.get(number) else { return false };
        let text = |spot: &Position| line.get(byte(line, spot.column)..byte(line, spot.end_column)).map(str::trim);
        let before = line[..byte(line, first.column)].trim_end().strip_suffix('[');
        let after = line[byte(line, last.end_column)..].trim_start().strip_prefix(']');
        let names: Option<Vec<&str>> = spots.iter().map(text).collect();
        let change = self.0.entry(number).or_default();
        let (Some(before), Some(after), Some(names), None) = (before, after, names, &change.line) else { return false };
        let entries: Vec<String> = names.iter().map(|name| format!("{name}: {value}")).collect();
        change.line = Some(format!("{before}{{{entry}, {}}}{after}", entries.join(", ")));
        true
    }

    fn insert(&mut self, lines: &[&str], spot: Position, new: &str, is_json: bool) -> bool {
        let number = spot.line as usize - 1;
        let Some(line) = lines.get(number) else { return false };
        let prefix = &line[..byte(line, spot.column)];
        let indent = &line[..line.len() - line.trim_start().len()];
        // A key in the middle of a line, as in {a: 1, b: 2}, has no line of its own.
        if !prefix.trim().is_empty() && !prefix.trim_end().ends_with('=') {
            return false;
        }
        let comma = if is_json { "," } else { "" };
        let key = |text: &str| text.trim().split([':', '=']).next().unwrap_or_default().to_owned();
        let before = &mut self.0.entry(number).or_default().before;
        let is_new = !before.iter().any(|other| key(other) == key(new));
        if is_new {
            before.extend(format!("{new}{comma}").lines().map(|line| format!("{indent}{line}")));
        }
        is_new
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.values().all(|change| change.before.is_empty() && change.line.is_none())
    }

    /// The text with the changes made.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut done = String::with_capacity(text.len() + 80 * self.0.len());
        for (number, whole) in text.split_inclusive('\n').enumerate() {
            let line = whole.trim_end_matches(['\n', '\r']);
            let end = match &whole[line.len()..] {
                "" => "\n",
                end => end,
            };
            let change = self.0.get(&number);
            for before in change.into_iter().flat_map(|change| &change.before) {
                done.push_str(before);
                done.push_str(end);
            }
            match change.and_then(|change| change.line.as_ref()) {
                Some(new) => {
                    done.push_str(new);
                    done.push_str(&whole[line.len()..]);
                }
                None => done.push_str(whole),
            }
        }
        done
    }

    /// The changes as `diff -u` shows them and `patch -p1` takes them.
    pub(super) fn diff(&self, name: &str, text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let mut diff = format!("--- a/{name}\n+++ b/{name}\n");
        let changed: Vec<usize> =
            self.0.iter().filter(|(_, change)| **change != Change::default()).map(|(number, _)| *number).collect();
        let mut added = 0;
        let mut rest = changed.as_slice();
        while let Some(first) = rest.first() {
            let near = |pair: &[usize]| pair[1] - pair[0] <= 2 * CONTEXT;
            let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
            let (hunk, more) = rest.split_at(count);
            rest = more;
            let last = hunk.last().copied().unwrap_or(*first);
            let (from, to) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(lines.len()));
            let new: usize =
                hunk.iter().filter_map(|number| self.0.get(number)).map(|change| change.before.len()).sum();
            _ = writeln!(diff, "@@ -{},{} +{},{} @@", from + 1, to - from, from + 1 + added, to - from + new);
            added += new;
            for (number, line) in lines.iter().enumerate().take(to).skip(from) {
                let change = self.0.get(&number);
                let new = change.and_then(|change| change.line.as_ref());
                if new.is_some() {
                    _ = writeln!(diff, "-{line}");
                }
                for before in change.into_iter().flat_map(|change| &change.before) {
                    _ = writeln!(diff, "+{before}");
                }
                _ = match new {
                    Some(new) => writeln!(diff, "+{new}"),
                    None => writeln!(diff, " {line}"),
                };
            }
        }
        diff
    }
}

/// How many bytes of this are the value: the span of a quoted one may reach to what follows it.
fn length(text: &str) -> usize {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let closing = quote.and_then(|quote| text[1..].find(quote));
    let end = closing.map(|at| at + 2).or_else(|| text.find(" #"));
    text[..end.unwrap_or(text.len())].trim_end().len()
}

/// The byte at which this column begins; columns count from 1, in characters.
fn byte(line: &str, column: u32) -> usize {
    line.char_indices().nth(column.saturating_sub(1) as usize).map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::rules::RULES;
    use crate::plan::testing::check_text;

    #[test]
    fn comments_order_and_line_ends_stay() {
        let text = "# top\r\nservices:\r\n  web: # the shop\r\n    image: x\r\n    init: 'true'  # why not\r\n    \
                    entrypoint: [/graceful, --]\r\n    command: [./web]\r\n";
        let findings = check_text("compose.yaml", text);
        let changes = Changes::of("compose.yaml", text, findings.iter());
        let fixed = "# top\r\nservices:\r\n  web: # the shop\r\n    stop_grace_period: 30s\r\n    image: x\r\n    \
                     init: 'false'  # why not\r\n    entrypoint: [/graceful, --]\r\n    command: [./web]\r\n";
        assert_eq!(changes.apply(text), fixed);
        assert!(check_text("compose.yaml", fixed).is_empty());
        let diff = changes.diff("compose.yaml", &text.replace('\r', ""));
        assert_eq!(
            diff,
            "\
--- a/compose.yaml
+++ b/compose.yaml
@@ -1,7 +1,8 @@
 # top
 services:
   web: # the shop
+    stop_grace_period: 30s
     image: x
-    init: 'true'  # why not
+    init: 'false'  # why not
     entrypoint: [/graceful, --]
     command: [./web]
"
        );
    }

    #[test]
    fn what_has_no_line_of_its_own_is_left_alone() {
        let text = "services: {web: {image: x, entrypoint: [/graceful, --], command: [./web]}}\n";
        let findings = check_text("compose.yaml", text);
        assert!(findings.iter().any(|found| found.edit.is_some()));
        assert!(Changes::of("compose.yaml", text, findings.iter()).is_empty());
    }

    #[test]
    fn a_fixed_file_can_be_read_and_has_less_to_say() {
        let mut fixed = 0;
        for rule in RULES {
            let (name, text) = (rule.bad.file, rule.bad.text);
            let before = check_text(name, text);
            let changes = Changes::of(name, text, before.iter());
            if changes.is_empty() {
                continue;
            }
            fixed += 1;
            let after = check_text(name, &changes.apply(text));
            assert!(after.len() < before.len(), "{}: {}\n{after:#?}", rule.name, changes.apply(text));
        }
        assert!(fixed >= 9, "only {fixed} rules have a mechanical fix");
    }
}
