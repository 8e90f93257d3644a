//! What a shell line does, as far as its words show.

use std::time::Duration;

/// The shells whose `-c` is looked into.
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "zsh"];

/// The file name of a program.
pub(super) fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Whether this is a shell.
pub(super) fn is_shell(program: &str) -> bool {
    SHELLS.contains(&base(program))
}

/// The LINE of `sh -c LINE`, even with other options in between.
pub(super) fn line_of<'a>(words: &[&'a str]) -> Option<&'a str> {
    let (program, rest) = words.split_first()?;
    if !is_shell(program) {
        return None;
    }
    let at = rest.iter().position(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('c'))?;
    rest.get(at + 1).copied()
}

/// How long this command sleeps, all its sleeps together; none where it does not, or where that is computed.
pub(super) fn sleep_of(words: &[String]) -> Option<Duration> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match line_of(&words) {
        Some(line) => {
            let sleeps = commands(line).into_iter().filter_map(|command| sleep_of_command(&command));
            sleeps.reduce(|sum, time| sum.saturating_add(time))
        }
        None => sleep_of_command(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
    }
}

/// `sleep 5`, `/bin/sleep 5s`, `graceful sleep 5s`.
fn sleep_of_command(words: &[String]) -> Option<Duration> {
    let (program, rest) = words.split_first()?;
    let times = match base(program) {
        "sleep" => rest,
        "graceful" | "busybox" => rest.split_first().filter(|(word, _)| *word == "sleep")?.1,
        _ => return None,
    };
    let each = times.iter().map(|word| seconds(word)).collect::<Option<Vec<Duration>>>()?;
    each.into_iter().reduce(|sum, time| sum.saturating_add(time))
}

/// A time as sleep takes it: `5`, `0.5`, `5s`, `2m`.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().ok()?;
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * factor).ok()
}

/// The simple commands of a line, in order, as words; what cannot be split is left out.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let separated = split(line);
    separated.iter().filter_map(|command| shell_words::split(command).ok()).filter(|words| !words.is_empty()).collect()
}

/// Whether the line has more than one command, or a pipe: the shell cannot become that by itself.
pub(super) fn is_compound(line: &str) -> bool {
    commands(line).len() > 1
}

/// The last simple command.
pub(super) fn last_command(line: &str) -> Option<Vec<String>> {
    commands(line).pop()
}

/// Cuts at `;`, `&`, `|`, line ends and their doubles, outside quotes; comments are left out.
fn split(line: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    let mut characters = line.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        match (quote, character) {
            // The line continues.
            (None, '\\') if characters.peek() == Some(&'\n') => drop(characters.next()),
            (None | Some('"'), '\\') => {
                current.push(character);
                current.extend(characters.next());
            }
            (None, '\'' | '"') => {
                quote = Some(character);
                current.push(character);
            }
            (Some(open), _) => {
                quote = (open != character).then_some(open);
                current.push(character);
            }
            // `2>&1` and `&>` redirect.
            (None, '&') if matches!(before, '<' | '>') || characters.peek() == Some(&'>') => current.push(character),
            (None, '#') if before.is_whitespace() => while characters.next_if(|next| *next != '\n').is_some() {},
            (None, ';' | '&' | '|' | '\n') => done.push(std::mem::take(&mut current)),
            (None, _) => current.push(character),
        }
        before = character;
    }
    done.push(current);
    done.retain(|command| !command.trim().is_empty());
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_are_found_and_added_up() {
        let sleep = |words: &[&str]| {
            sleep_of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).map(|time| time.as_millis())
        };
        assert_eq!(sleep(&["sleep", "5"]), Some(5000));
        assert_eq!(sleep(&["/bin/sh", "-c", "sleep 15"]), Some(15_000));
        assert_eq!(sleep(&["sh", "-ec", "echo a; sleep 2 && sleep 0.5m # sleep 9"]), Some(32_000));
        assert_eq!(sleep(&["/graceful", "sleep", "7s"]), Some(7000));
        assert_eq!(sleep(&["sh", "-c", "sleep $DELAY"]), None, "computed");
        assert_eq!(sleep(&["nginx", "-s", "quit"]), None);
    }

    #[test]
    fn lines_are_cut_into_commands() {
        let count = |line: &str| commands(line).len();
        assert_eq!(count("exec app --x 'a; b' 2>&1"), 1);
        assert_eq!(count("migrate && app"), 2);
        assert_eq!(count("set -e\nmigrate\nexec app | tee log"), 4);
        assert_eq!(count("app \\\n  --long"), 1);
        assert_eq!(last_command("cd /x; exec app \"$@\""), Some(vec!["exec".into(), "app".into(), "$@".into()]));
    }
}
