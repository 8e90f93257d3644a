use super::super::testing::{NASTY, check, document, drill, request};
use super::*;
use crate::drill::record::{Kind, Outcome};

#[test]
fn each_check_is_a_case_and_each_drill_a_suite() {
    let mut failed = drill(vec![request(Kind::New, 0.1, Outcome::Refused)]);
    let mut lost = check("zero-dropped", CheckResult::Fail);
    (lost.cause, lost.fix) = (Some("too short".into()), Some("longer".into()));
    failed.checks = vec![
        lost,
        check("readiness", CheckResult::Pass),
        check("idle", CheckResult::Expected),
        check("status", CheckResult::Skipped),
    ];
    failed.verdict = Verdict::Failed;
    let mut unclear = drill(Vec::new());
    (unclear.title, unclear.stopped_at) = ("under graceful".into(), None);
    (unclear.verdict, unclear.inconclusive) = (Verdict::Inconclusive, Some("never ready".into()));
    let xml = junit(&document(vec![failed, unclear]));
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="graceful drill" tests="6" failures="1" errors="1" skipped="1">
  <testsuite name="bare" tests="4" failures="1" errors="0" skipped="1" timestamp="2025-03-04T10:20:30Z">
    <testcase classname="graceful drill bare" name="zero-dropped"><failure message="too short" type="zero-dropped">zero-dropped was seen
Fix: longer</failure></testcase>
    <testcase classname="graceful drill bare" name="readiness"><system-out>readiness was seen</system-out></testcase>
    <testcase classname="graceful drill bare" name="idle"><system-out>It fails, as expected.
idle was seen</system-out></testcase>
    <testcase classname="graceful drill bare" name="status"><skipped message="status was seen"/></testcase>
  </testsuite>
  <testsuite name="under graceful" tests="2" failures="0" errors="1" skipped="0">
    <testcase classname="graceful drill under graceful" name="conclusive"><error message="never ready"/></testcase>
    <testcase classname="graceful drill under graceful" name="zero-dropped"><system-out>zero-dropped was seen</system-out></testcase>
  </testsuite>
</testsuites>
"#;
    assert_eq!(xml, expected);
}

#[test]
fn what_others_said_is_no_markup_and_xml_can_carry_it() {
    let said = format!("{NASTY}\n\u{1b}[1m\0\u{ffff}]]>");
    let mut drill = drill(Vec::new());
    (drill.title, drill.stopped_at) = (said.clone(), Some(said.clone()));
    drill.checks = [CheckResult::Pass, CheckResult::Fail, CheckResult::Expected, CheckResult::Skipped]
        .map(|result| Check {
            name: said.clone(),
            result,
            evidence: said.clone(),
            cause: Some(said.clone()),
            fix: Some(said.clone()),
        })
        .into();
    (drill.verdict, drill.inconclusive) = (Verdict::Inconclusive, Some(said));
    let xml = junit(&document(vec![drill]));
    assert!(!xml.contains("<script") && !xml.contains("]]>"), "{xml}");
    assert!(!xml.chars().any(|c| c.is_control() && c != '\n' || c == '\u{ffff}'), "{xml:?}");
    assert!(xml.contains("message=\"&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;&#10;"), "{xml}");
}
