//! The README and the pages that it links to say what the program says.

use std::path::{Path, PathBuf};
use std::process::Stdio;

fn readme() -> String {
    page("README.md")
}

fn page(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the page is readable")
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
    let mut command = crate::support::graceful_command();
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
    let output = crate::support::graceful_command().args(["run", "--profile", "list"]).output().expect("graceful runs");
    let list = String::from_utf8(output.stdout).expect("the list is UTF-8");
    let page = page(".github/docs/servers.md");
    assert!(page.contains(&format!("```text\n{list}```\n")), "put this into .github/docs/servers.md:\n{list}");
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |path: &str| std::fs::read_dir(root.join(path)).expect("a folder");
    let papers = [".github", ".github/docs"].into_iter().flat_map(folder).map(|entry| entry.expect("an entry").path());
    let pages: Vec<PathBuf> = papers.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(pages.len() > 7, "{pages:?}");
    for page in pages.into_iter().chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&page).expect("the page is readable");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let target = page.parent().expect("a folder").join(file);
            let target = if file.is_empty() { &page } else { &target };
            assert!(target.exists(), "{} links to {link}", page.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(target).expect("the page is readable");
                let slug = |heading: &str| heading.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|heading| slug(heading) == anchor), "{} links to {link}", page.display());
            }
        }
    }
}
