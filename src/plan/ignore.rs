//! `# graceful: ignore RULE` in a file.
//!
//! After something else on a line, it is about that line. On a line of its own, it is about what follows: the next line
//! and everything that is indented further, which in YAML is that whole value; before the first line of a document, the
//! document. Several rules are separated by commas.

/// The first and the last line of a range, and the rule that is ignored there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ignored(Vec<(u32, u32, String)>);

/// How such a comment begins.
const MARK: &str = "graceful: ignore ";

impl Ignored {
    /// Reads the comments of a file.
    pub(super) fn of(text: &str) -> Ignored {
        if !text.contains(MARK) {
            return Ignored::default();
        }
        let lines: Vec<&str> = text.lines().collect();
        let mut found = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let Some((before, after)) = line.split_once('#') else { continue };
            let Some(rules) = after.trim_start().strip_prefix(MARK) else { continue };
            let (first, last) = match before.trim() {
                "" => range(&lines, at + 1),
                _ => (at, at),
            };
            for rule in rules.split(',').filter_map(|rule| rule.split_whitespace().next()) {
                found.push((number(first), number(last), rule.to_owned()));
            }
        }
        Ignored(found)
    }

    /// Whether this rule is ignored on this line.
    pub(super) fn covers(&self, rule: &str, line: u32) -> bool {
        self.0.iter().any(|(first, last, name)| name == rule && (*first..=*last).contains(&line))
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

/// From the next line with something in it to the end of what it begins.
fn range(lines: &[&str], from: usize) -> (usize, usize) {
    let is_nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let Some(first) = (from..lines.len()).find(|at| !is_nothing(lines[*at])) else { return (from, from) };
    let is_end = |line: &str| line.starts_with("---") || line.starts_with("...");
    if is_end(lines[first]) {
        // Before the mark at which a document begins: the whole document.
        return (first, end(lines, first + 1, is_end));
    }
    let begins = (0..first).rev().find(|at| !is_nothing(lines[*at])).is_none_or(|at| is_end(lines[at]));
    if begins && !lines[first].starts_with('[') && lines[first].contains(':') {
        return (first, end(lines, first + 1, is_end));
    }
    let depth = indentation(lines[first]);
    (first, end(lines, first + 1, |line| !is_nothing(line) && indentation(line) <= depth))
}

/// The last line before the first that is no longer part of it.
fn end(lines: &[&str], from: usize, is_over: impl Fn(&str) -> bool) -> usize {
    let over = (from..lines.len()).find(|at| is_over(lines[*at])).unwrap_or(lines.len());
    over.saturating_sub(1)
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_about_its_line_or_about_what_follows() {
        let text = "\
a: 1
b: 2 # graceful: ignore one
# graceful: ignore two, three because of that
c:
  d: 4

  e: 5
f: 6
---
# graceful: ignore four
g: 7
h: 8
---
i: 9
";
        let ignored = Ignored::of(text);
        let lines = |rule: &str| (1..=14).filter(|line| ignored.covers(rule, *line)).collect::<Vec<u32>>();
        assert_eq!(lines("one"), [2]);
        assert_eq!(lines("two"), [4, 5, 6, 7]);
        assert_eq!(lines("three"), [4, 5, 6, 7]);
        assert_eq!(lines("four"), [11, 12]);
        assert!(lines("because").is_empty());
    }
}
