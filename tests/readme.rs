//! The README says what the program says.

mod common;

use std::process::Stdio;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md is readable")
}

#[test]
fn every_option_in_the_readme_is_the_help_word_for_word() {
    let mut command = common::graceful_command();
    let output = command.arg("--help").env_remove("COLUMNS").stdin(Stdio::null()).output().expect("graceful runs");
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    let readme = readme();
    let (_, rest) = readme.split_once("```text\n").expect("the README has the block");
    let (block, _) = rest.split_once("```\n").expect("the block ends");
    assert!(
        block.trim_end() == help.trim_end(),
        "README.md and `graceful --help` differ; put this between ```text and ```:\n{help}"
    );
}

#[test]
fn every_file_that_the_readme_links_to_is_there() {
    let readme = readme();
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
        if !link.contains("://") {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
            assert!(path.exists(), "README.md links to {link}");
        }
    }
}
