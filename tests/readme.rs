//! The README says what the program says.

mod common;

use std::process::Stdio;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md is readable")
}

#[test]
fn every_option_in_the_readme_is_the_help_word_for_word() {
    is_in_the_readme(&["--help"]);
}

#[test]
fn every_option_of_the_drill_is_the_help_word_for_word() {
    is_in_the_readme(&["drill", "--help"]);
}

fn is_in_the_readme(args: &[&str]) {
    let mut command = common::graceful_command();
    let output = command.args(args).env_remove("COLUMNS").stdin(Stdio::null()).output().expect("graceful runs");
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    let readme = readme();
    let first = help.lines().next().expect("a line");
    let mut blocks = readme.split("```text\n").skip(1).filter_map(|rest| rest.split("```\n").next());
    let block = blocks.find(|block| block.starts_with(first)).unwrap_or_default();
    assert!(
        block.trim_end() == help.trim_end(),
        "README.md and `graceful {}` differ; put this between ```text and ```:\n{help}",
        args.join(" ")
    );
}

#[test]
fn the_known_servers_in_the_readme_are_the_programs_own_list() {
    let output = common::graceful_command().args(["run", "--profile", "list"]).output().expect("graceful runs");
    let list = String::from_utf8(output.stdout).expect("the list is UTF-8");
    assert!(readme().contains(&format!("```text\n{list}```\n")), "put this into README.md, Known servers:\n{list}");
}

#[test]
fn every_file_that_the_readme_links_to_is_there() {
    let readme = readme();
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
        if let Some(anchor) = link.strip_prefix('#') {
            let slug = |heading: &str| heading.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
            let mut headings = readme.lines().filter(|line| line.starts_with('#'));
            assert!(headings.any(|heading| slug(heading) == anchor), "README.md links to {link}");
        } else if !link.contains("://") {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
            assert!(path.exists(), "README.md links to {link}");
        }
    }
}
