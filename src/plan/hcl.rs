//! HCL, in which Nomad jobs are written, as a tree in which every value has its line and column.
//!
//! Written by hand: hcl-edit, which has spans, makes a program 240 KiB larger (0.9.9, with our release profile; the
//! whole of `plan` may cost little more) and recurses without a bound; and a linter evaluates nothing. What is needed
//! is small: blocks, attributes, and literal values.
//!
//! ```text
//!   job "web" { count = 2 }     {job: {web: {count: 2}}}: each label of a block is a level, as in HCL's own JSON
//!   count = var.count           the text ${var.count}, which shows that it is computed
//!   data = <<EOF                a here-document is its text
//! ```
//!
//! Blocks of the same name stand side by side under that key, in their order. Source: the syntax specification
//! (github.com/hashicorp/hcl, hclsyntax/spec.md).

use super::error::SyntaxError;
use super::place::{At, Position};
use super::tree::{DEEPEST, Data, LARGEST, Node};
use std::rc::Rc;

/// Reads a file.
///
/// # Errors
/// The text is not HCL, or has more values or levels than a tree may have.
pub(super) fn read(text: &str) -> Result<Node, SyntaxError> {
    let mut scanner = Scanner { text, at: 0, line: 1, column: 0, depth: 0, values: 0 };
    scanner.body(None)
}

struct Scanner<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    /// From 1.
    line: usize,
    /// From 0, in characters.
    column: usize,
    depth: usize,
    values: u64,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        (self.line, self.column) = if character == '\n' { (self.line + 1, 0) } else { (self.line, self.column + 1) };
        Some(character)
    }

    fn bump_if(&mut self, character: char) -> bool {
        let is_it = self.peek() == Some(character);
        if is_it {
            self.bump();
        }
        is_it
    }

    fn here(&self) -> Position {
        Position::new(self.line, self.column)
    }

    fn to_here(&self, from: Position) -> Position {
        from.to(self.line, self.column)
    }

    fn fault<T>(&self, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.here(), reason))
    }

    fn node(&mut self, from: Position, data: Data) -> Result<Node, SyntaxError> {
        self.values += 1;
        if self.values > LARGEST {
            return self.fault(format!("more than {LARGEST} values; expected a job of a usual size"));
        }
        Ok(Node { spot: self.to_here(from), data, weight: 1 })
    }

    /// Reads one level further down.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        if self.depth >= DEEPEST {
            return self.fault(format!("more than {DEEPEST} levels deep; expected a job"));
        }
        self.depth += 1;
        let done = read(self);
        self.depth -= 1;
        done
    }

    /// Passes over blanks and comments, and over line ends as well if those mean nothing here.
    fn skip(&mut self, lines: bool) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                while self.peek().is_some_and(|character| character != '\n') {
                    self.bump();
                }
            } else if rest.starts_with("/*") {
                let Some(length) = rest.find("*/") else { return self.fault("a comment without its end, */") };
                let end = self.at + length + 2;
                while self.at < end {
                    self.bump();
                }
            } else if self.peek().is_some_and(|character| character.is_whitespace() && (lines || character != '\n')) {
                self.bump();
            } else {
                return Ok(());
            }
        }
    }

    /// Reads attributes and blocks up to this end: that of a block, or of the file.
    fn body(&mut self, end: Option<char>) -> Result<Node, SyntaxError> {
        let from = self.here();
        let mut entries = Vec::new();
        loop {
            self.skip(true)?;
            if self.peek() == end {
                self.bump();
                return self.node(from, Data::Map(entries));
            }
            let Some(name) = self.name() else {
                return match self.peek() {
                    None => self.fault("a block without its end, }"),
                    Some(_) => self.fault("expected a name, as job"),
                };
            };
            self.skip(false)?;
            let value = match self.peek() {
                Some('=') => {
                    self.bump();
                    self.skip(false)?;
                    self.expression()?
                }
                Some(_) => self.block(&name.value)?,
                None => return self.fault(format!("expected = or {{ after {}", name.value)),
            };
            entries.push((name, Rc::new(value)));
        }
    }

    /// What follows the name of a block: its labels, and its body.
    fn block(&mut self, name: &str) -> Result<Node, SyntaxError> {
        self.skip(false)?;
        if self.peek() == Some('{') {
            self.bump();
            return self.deeper(|scanner| scanner.body(Some('}')));
        }
        let from = self.here();
        let label = match self.peek() {
            Some('"') => At { at: from, value: self.quoted()? },
            _ => match self.name() {
                Some(label) => label,
                None => return self.fault(format!("expected = or {{ after {name}")),
            },
        };
        let label = At { at: self.to_here(label.at), ..label };
        let body = self.deeper(|scanner| scanner.block(name))?;
        self.node(from, Data::Map(vec![(label, Rc::new(body))]))
    }

    fn name(&mut self) -> Option<At<String>> {
        let from = self.here();
        let begin = self.at;
        self.peek().filter(|first| first.is_alphabetic() || *first == '_')?;
        while self.peek().is_some_and(|character| character.is_alphanumeric() || matches!(character, '_' | '-')) {
            self.bump();
        }
        let value = self.text.get(begin..self.at).unwrap_or_default().to_owned();
        Some(At { at: self.to_here(from), value })
    }

    fn expression(&mut self) -> Result<Node, SyntaxError> {
        let before = (self.at, self.line, self.column, self.values);
        let from = self.here();
        let literal = match self.peek() {
            Some('"') => {
                let text = self.quoted()?;
                Some(self.node(from, Data::Scalar { text, plain: false })?)
            }
            Some('<') if self.rest().starts_with("<<") => {
                let text = self.here_document()?;
                return self.node(from, Data::Scalar { text, plain: false });
            }
            Some('[') if !self.is_for() => Some(self.deeper(Scanner::list)?),
            Some('{') if !self.is_for() => Some(self.deeper(Scanner::object)?),
            _ => None,
        };
        if let Some(literal) = literal {
            let after = (self.at, self.line, self.column);
            self.skip(false)?;
            if self.is_over() {
                // A comment after it is left to whatever reads on.
                (self.at, self.line, self.column) = after;
                return Ok(literal);
            }
        }
        // It begins something that is computed, such as "a" == "b" ? 1 : 2.
        (self.at, self.line, self.column, self.values) = before;
        self.computed()
    }

    /// Whether the expression is over.
    fn is_over(&self) -> bool {
        matches!(self.peek(), None | Some('\n' | '\r' | ',' | ']' | '}'))
    }

    /// Whether a `[for x in y: x]` begins here.
    fn is_for(&self) -> bool {
        let inner = self.rest().get(1..).unwrap_or_default().trim_start();
        inner.strip_prefix("for").is_some_and(|rest| rest.starts_with(char::is_whitespace))
    }

    /// A number, a word, or an expression, which is not computed: its text, up to its end.
    fn computed(&mut self) -> Result<Node, SyntaxError> {
        let from = self.here();
        let begin = self.at;
        let mut open = 0_usize;
        let mut end = (self.at, from);
        while let Some(character) = self.peek() {
            let is_comment = character == '#' || self.rest().starts_with("//") || self.rest().starts_with("/*");
            match character {
                '"' => drop(self.quoted()?),
                '\n' | ',' | ']' | '}' if open == 0 => break,
                _ if is_comment && open == 0 => break,
                _ if is_comment => self.skip(true)?,
                '(' | '[' | '{' => {
                    open += 1;
                    self.bump();
                }
                ')' | ']' | '}' => {
                    open = open.saturating_sub(1);
                    self.bump();
                }
                _ => drop(self.bump()),
            }
            if !character.is_whitespace() {
                end = (self.at, self.to_here(from));
            }
        }
        let text = self.text.get(begin..end.0).unwrap_or_default();
        if open > 0 {
            return Err(SyntaxError::new(from, "a bracket without its end"));
        }
        if text.is_empty() {
            return self.fault("expected a value, as \"30s\"");
        }
        let is_literal = matches!(text, "true" | "false" | "null") || text.parse::<f64>().is_ok();
        let text = if is_literal { text.to_owned() } else { format!("${{{text}}}") };
        let node = self.node(from, Data::Scalar { text, plain: is_literal })?;
        Ok(Node { spot: end.1, ..node })
    }

    fn list(&mut self) -> Result<Node, SyntaxError> {
        let from = self.here();
        self.bump();
        let mut members = Vec::new();
        loop {
            self.skip(true)?;
            if self.bump_if(']') {
                return self.node(from, Data::List(members));
            }
            members.push(Rc::new(self.expression()?));
            self.skip(true)?;
            if !self.bump_if(',') && self.peek() != Some(']') {
                return self.fault("expected , or ] in a list");
            }
        }
    }

    fn object(&mut self) -> Result<Node, SyntaxError> {
        let from = self.here();
        self.bump();
        let mut entries = Vec::new();
        loop {
            self.skip(true)?;
            if self.bump_if('}') {
                return self.node(from, Data::Map(entries));
            }
            let key = self.key()?;
            self.skip(false)?;
            if !self.bump_if('=') && !self.bump_if(':') {
                return self.fault(format!("expected = after {}", key.value));
            }
            self.skip(false)?;
            entries.push((key, Rc::new(self.expression()?)));
            self.skip(false)?;
            self.bump_if(',');
        }
    }

    /// The key of an object: a name, a text, or an expression in parentheses.
    fn key(&mut self) -> Result<At<String>, SyntaxError> {
        let from = self.here();
        let value = match self.peek() {
            Some('"') => self.quoted()?,
            Some('(') => {
                let begin = self.at;
                while self.peek().is_some_and(|character| !matches!(character, ')' | '\n')) {
                    self.bump();
                }
                self.bump_if(')');
                format!("${{{}}}", self.text.get(begin..self.at).unwrap_or_default())
            }
            _ => match self.name() {
                Some(name) => name.value,
                None => return self.fault("expected a key, as image"),
            },
        };
        Ok(At { at: self.to_here(from), value })
    }

    /// A text in quotes. An interpolation in it (`${…}`) stays as it is.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let from = self.here();
        self.bump();
        let mut text = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with("${") || rest.starts_with("%{") {
                self.interpolation(&mut text)?;
                continue;
            }
            match self.bump() {
                None | Some('\n') => return Err(SyntaxError::new(from, "a text without its end, \"")),
                Some('"') => return Ok(text),
                Some('\\') => text.extend(self.escaped()),
                Some(character) => text.push(character),
            }
        }
    }

    /// `${…}`, with the texts and braces in it.
    fn interpolation(&mut self, text: &mut String) -> Result<(), SyntaxError> {
        let (from, begin) = (self.here(), self.at);
        self.bump();
        self.bump();
        let mut open = 1_usize;
        while open > 0 {
            match self.peek() {
                None => return Err(SyntaxError::new(from, "${ without its end, }")),
                Some('"') => drop(self.deeper(Scanner::quoted)?),
                Some(character) => {
                    open = match character {
                        '{' => open + 1,
                        '}' => open - 1,
                        _ => open,
                    };
                    self.bump();
                }
            }
        }
        text.push_str(self.text.get(begin..self.at).unwrap_or_default());
        Ok(())
    }

    /// The character that an escape stands for; its backslash is read already.
    fn escaped(&mut self) -> Option<char> {
        let digits = match self.bump()? {
            'n' => return Some('\n'),
            'r' => return Some('\r'),
            't' => return Some('\t'),
            'u' => 4,
            'U' => 8,
            other => return Some(other),
        };
        let code: String = (0..digits).map_while(|_| self.bump()).collect();
        u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)
    }

    /// `<<EOF`, or `<<-EOF`, up to the line that is EOF.
    fn here_document(&mut self) -> Result<String, SyntaxError> {
        let from = self.here();
        let line = self.rest().lines().next().unwrap_or_default();
        let mark = line.trim_start_matches('<').trim_start_matches('-').trim().to_owned();
        let mut text = String::new();
        self.line_end();
        loop {
            if self.at >= self.text.len() || mark.is_empty() {
                return Err(SyntaxError::new(from, "a here-document without its end"));
            }
            let line = self.rest().lines().next().unwrap_or_default();
            if line.trim() == mark {
                let end = self.at + line.trim_end().len();
                while self.at < end {
                    self.bump();
                }
                return Ok(text);
            }
            text.push_str(line);
            text.push('\n');
            self.line_end();
        }
    }

    /// Goes to the beginning of the next line.
    fn line_end(&mut self) {
        while self.bump().is_some_and(|character| character != '\n') {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        read(text).unwrap()
    }

    #[test]
    fn blocks_labels_and_values_have_their_places() {
        let tree = tree(
            "# a job\njob \"web\" {\n  type = \"service\" // s\n  port \"http\" { to = 8000 }\n  port \"é\" {}\n  a = [\"x\", true, [1, 2],]\n}\n",
        );
        let job = tree.at(&["job", "web"]).unwrap();
        let kind = job.get("type").unwrap();
        assert_eq!((kind.text(), kind.spot.line, kind.spot.column, kind.spot.end_column), (Some("service"), 3, 10, 19));
        let ports: Vec<&str> = job
            .entries()
            .iter()
            .filter(|(key, _)| key.value == "port")
            .map(|(_, value)| value.entries()[0].0.value.as_str())
            .collect();
        assert_eq!(ports, ["http", "é"]);
        let to = job.entries()[1].1.at(&["http", "to"]).unwrap().number().unwrap();
        assert_eq!((to.value, to.at.line, to.at.column), (8000, 4, 22));
        let members = job.get("a").unwrap().list();
        assert_eq!((members.len(), members[1].truth().unwrap().value, members[2].list().len()), (3, true, 2));
    }

    #[test]
    fn what_is_computed_is_seen_to_be() {
        let tree = tree(
            "a = var.x # c\nb = \"${attr.y[\"z\"]}:1\"\nc = max(1,\n  2)\nd = \"x\" == \"y\" ? 1 : 2\ne = -1.5\nf = [for x in y : x]\n\
             g = { a = 1, \"b\" : var.z\n  (k) = [] }\nh = \"\\u00e9\\n\\\"\"\nenv = { A = \"1\" }\n",
        );
        let text = |key: &str| tree.get(key).unwrap().text().unwrap().to_owned();
        assert_eq!(text("a"), "${var.x}");
        assert_eq!(text("b"), "${attr.y[\"z\"]}:1");
        assert!(text("c").starts_with("${max(1,") && text("c").ends_with("2)}"));
        assert_eq!(text("d"), "${\"x\" == \"y\" ? 1 : 2}");
        assert_eq!(text("e"), "-1.5");
        assert_eq!(text("f"), "${[for x in y : x]}");
        assert_eq!(tree.at(&["g", "a"]).unwrap().text(), Some("1"));
        assert_eq!(tree.at(&["g", "b"]).unwrap().text(), Some("${var.z}"));
        assert_eq!(text("h"), "é\n\"");
        assert_eq!(tree.at(&["env", "A"]).unwrap().spot.line, 11);
    }

    #[test]
    fn here_documents_and_comments_are_passed_over() {
        let tree = tree("data = <<-EOF\n  job { \"\n  EOF\n/* x = {\n*/ y = 2\n");
        assert_eq!(tree.get("data").unwrap().text(), Some("  job { \"\n"));
        assert_eq!(tree.get("y").unwrap().number().unwrap().at.line, 5);
    }

    #[test]
    fn what_is_no_hcl_is_told_of_with_its_line() {
        for (text, line, reason) in [
            ("job \"web\" {\n  a = 1\n", 3, "a block without its end"),
            ("job \"web\"\n{}\n", 1, "expected = or {"),
            ("a = \n", 1, "expected a value"),
            ("a = \"x\nb = 1\n", 1, "a text without its end"),
            ("a = <<EOF\nx\n", 1, "a here-document without its end"),
            ("/* x\n", 1, "a comment without its end"),
            ("a = [1 2\n", 2, "expected , or ]"),
            ("a: 1\n", 1, "expected = or { after a"),
        ] {
            let SyntaxError { spot, reason: said } = read(text).unwrap_err();
            assert!(spot.line == line && said.contains(reason), "{text:?}: {spot:?} {said}");
        }
        for (begin, open) in
            [("a = ", "["), ("a = ", "{a="), ("a = ", "(["), ("a = ", "\"${"), ("", "x{"), ("", "x \"y\" ")]
        {
            assert!(read(&format!("{begin}{}", open.repeat(100_000))).is_err(), "{open}");
        }
    }
}
