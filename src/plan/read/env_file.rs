//! Files with variables, as Compose's `env_file` names them: `NAME=VALUE` lines, comments, quotes, `export`
//! (docs.docker.com/compose/how-tos/environment-variables/variable-interpolation, "Env file syntax"). Any other line is
//! passed over: the rest of a multi-line value, or a name alone, which takes its value from the shell that starts
//! Compose.

/// The variables, in their order.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(variable).collect()
}

fn variable(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    is_name.then(|| (name.to_owned(), value_of(value.trim())))
}

fn value_of(text: &str) -> String {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    match quote.and_then(|quote| text[1..].split(quote).next()) {
        Some(inner) => inner.to_owned(),
        None => text.split_once(" #").map_or(text, |(value, _)| value.trim_end()).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_quotes_and_comments() {
        let text = "# c\nA=1\nexport B = 'x # y' # z\nC=\"a=b\"\nD=e#f # g\nNAME\n  E=\n-----BEGIN=\n\u{e9}=1\n";
        let all = variables(text);
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(all, [("A", "1"), ("B", "x # y"), ("C", "a=b"), ("D", "e#f"), ("E", ""), ("-----BEGIN", "")]);
    }
}
