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

/// What the README shows of each platform is right by `graceful plan`, which would notice: with less time it is wrong.
#[test]
fn plan_has_nothing_to_say_of_the_platforms_settings() {
    let readme = readme();
    for (platform, file, time, less) in [
        ("Compose", "docker-compose.yml", "stop_grace_period: 20s", "stop_grace_period: 5s"),
        ("Swarm", "stack.yml", "stop_grace_period: 30s", "stop_grace_period: 5s"),
        ("ECS and Fargate", "task.json", "\"stopTimeout\": 90", "\"stopTimeout\": 5"),
        ("systemd", "web.service", "TimeoutStopSec=30", "TimeoutStopSec=5"),
    ] {
        let section = readme.split(&format!("<summary>{platform}</summary>")).nth(1).expect(platform);
        let block = section.split("```").nth(1).and_then(|block| block.split_once('\n')).expect(platform).1;
        assert!(block.lines().count() <= 10 && block.contains(time), "{platform}: ten lines at most\n{block}");
        let folder = crate::support::run::folder();
        let planned = |text: &str| {
            std::fs::write(folder.path().join(file), text).expect("written");
            let output = crate::support::graceful_command().arg("plan").arg(folder.path().join(file)).output();
            let output = output.expect("graceful runs");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, said) = planned(block);
        assert!(code == Some(0) && said.contains("no findings in 1 file"), "{platform}: {said}");
        let (code, said) = planned(&block.replace(time, less));
        assert!(code == Some(1) && said.contains("error[grace-period]"), "{platform}: {said}");
    }
}
