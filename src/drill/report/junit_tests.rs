use super::super::testing::{NASTY, check, document, drill, finding, request};
use super::*;
use crate::drill::record::{ClientKind, RequestOutcome};

#[test]
fn each_check_is_a_case_and_each_drill_a_suite() {
    let mut failed = drill(vec![request(ClientKind::New, 0.1, RequestOutcome::Refused)]);
    failed.checks = vec![
        check("zero-dropped", CheckResult::Fail),
        check("readiness", CheckResult::Pass),
        check("nothing-lost", CheckResult::Expected),
        check("exit-status", CheckResult::Skipped),
        check("in-flight", CheckResult::Fail),
        check("exit-in-time", CheckResult::Unknown),
    ];
    failed.findings = vec![
        finding("too short", "longer", &["zero-dropped"]),
        finding("too late", "earlier", &["zero-dropped", "nothing-lost"]),
    ];
    failed.verdict = Verdict::Failed;
    let mut unclear = drill(Vec::new());
    (unclear.title, unclear.stopped_at) = ("under graceful".into(), None);
    (unclear.verdict, unclear.inconclusive) = (Verdict::Inconclusive, Some("never ready".into()));
    let xml = junit(&document(vec![failed, unclear]));
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="graceful drill" tests="8" failures="2" errors="2" skipped="1">
  <testsuite name="bare" tests="6" failures="2" errors="1" skipped="1" timestamp="2025-03-04T10:20:30Z">
    <testcase classname="graceful drill bare" name="zero-dropped"><failure message="too short; too late" type="zero-dropped">zero-dropped was seen
Cause: too short
Fix: longer
Cause: too late
Fix: earlier</failure></testcase>
    <testcase classname="graceful drill bare" name="readiness"><system-out>readiness was seen</system-out></testcase>
    <testcase classname="graceful drill bare" name="nothing-lost"><system-out>It fails, as expected.
nothing-lost was seen
Cause: too late
Fix: earlier</system-out></testcase>
    <testcase classname="graceful drill bare" name="exit-status"><skipped message="exit-status was seen"/></testcase>
    <testcase classname="graceful drill bare" name="in-flight"><failure message="in-flight was seen" type="in-flight">in-flight was seen</failure></testcase>
    <testcase classname="graceful drill bare" name="exit-in-time"><error message="It cannot be told: exit-in-time was seen" type="unknown"/></testcase>
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
fn what_cannot_be_told_of_a_drill_that_passed_is_skipped() {
    let mut passed = drill(Vec::new());
    passed.checks = vec![check("readiness", CheckResult::Unknown)];
    let xml = junit(&document(vec![passed]));
    assert!(xml.contains("failures=\"0\" errors=\"0\" skipped=\"1\""), "{xml}");
    assert!(xml.contains("<skipped message=\"It cannot be told: readiness was seen\"/>"), "{xml}");
}

#[test]
fn what_others_said_is_no_markup_and_xml_can_carry_it() {
    let said = format!("{NASTY}\n\u{1b}[1m\0\u{ffff}]]>");
    let mut drill = drill(Vec::new());
    (drill.title, drill.stopped_at) = (said.clone(), Some(said.clone()));
    let results =
        [CheckResult::Pass, CheckResult::Fail, CheckResult::Expected, CheckResult::Skipped, CheckResult::Unknown];
    drill.checks = results.map(|result| Check { evidence: said.clone(), ..check("readiness", result) }).into();
    drill.findings = vec![finding(&said, &said, &["readiness"])];
    (drill.verdict, drill.inconclusive) = (Verdict::Inconclusive, Some(said));
    let xml = junit(&document(vec![drill]));
    assert!(!xml.contains("<script") && !xml.contains("]]>"), "{xml}");
    assert!(!xml.chars().any(|c| c.is_control() && c != '\n' || c == '\u{ffff}'), "{xml:?}");
    assert!(xml.contains("message=\"&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;&#10;"), "{xml}");
}
