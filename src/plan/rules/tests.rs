//! Every rule finds fault with its bad example, and with nothing in its good one.

use super::*;
use crate::plan::finding::Severity;
use crate::plan::testing::check_text;

#[test]
fn every_rule_finds_its_bad_example_and_leaves_its_good_one_alone() {
    for rule in RULES {
        let bad = check_text(rule.bad.file, rule.bad.text);
        assert!(bad.iter().any(|found| found.rule.name == rule.name), "{}: nothing found, but {bad:#?}", rule.name);
        let good = check_text(rule.good.file, rule.good.text);
        let found: Vec<_> = good.iter().map(|found| (found.rule.name, &found.message)).collect();
        assert!(!found.iter().any(|(name, _)| *name == rule.name), "{}: {found:#?}", rule.name);
    }
}

#[test]
fn no_good_example_breaks_another_rule_badly() {
    for rule in RULES {
        for found in check_text(rule.good.file, rule.good.text) {
            assert_eq!(
                found.severity,
                Severity::Note,
                "{} in the good example of {}: {}",
                found.rule.name,
                rule.name,
                found.message
            );
        }
    }
}

#[test]
fn texts_read_well() {
    for rule in RULES {
        let Rule { name, title, why, .. } = rule;
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        assert!(!title.ends_with('.') && why.ends_with('.') && !why.contains("  "), "{name}");
        assert!(by_name(name).is_some_and(|found| std::ptr::eq(found, *rule)), "{name} twice");
        for finding in check_text(rule.bad.file, rule.bad.text) {
            assert!(!finding.message.ends_with('.') && !finding.fix.is_empty(), "{name}: {}", finding.message);
        }
    }
}
