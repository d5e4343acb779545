//! Which tags match, and which lists can be read.

use axum::http::HeaderValue;

use super::*;
use crate::service::Settings;

fn list(lines: &[&str]) -> TagList {
    let lines = lines.iter().map(|line| (IF_MATCH, HeaderValue::from_str(line).unwrap()));
    TagList::read(&lines.collect(), &IF_MATCH)
}

fn of(if_match: &[&str], if_none_match: &[&str]) -> Conditions {
    Conditions { if_match: list(if_match), if_none_match: list(if_none_match) }
}

#[test]
fn conditions_of_a_reader_compare_weakly() {
    let tag = EntityTag::weak(&[1, 2]);
    for lines in [
        &["W/\"1-2\""][..],
        &["\"1-2\""],
        &["\"x\", W/\"1-2\""],
        &["\"a,b\" ,\"1-2\""],
        &[" ,, \"1-2\","],
        &["\"x\"", "\"1-2\""],
        &["*"],
        &[" * "],
    ] {
        assert!(of(&[], lines).is_held(&tag).unwrap(), "{lines:?}");
        assert!(!of(lines, &[]).is_held(&tag).unwrap(), "{lines:?}");
    }
    for lines in [
        &[][..],
        &[""],
        &["\"1-2"],
        &["1-2"],
        &["w/\"1-2\""],
        &["\"1-3\""],
        &["\"x\" \"1-2\""],
        &["\"a\"b\", \"1-2\""],
        &["*, \"x\""],
    ] {
        assert!(!of(&[], lines).is_held(&tag).unwrap(), "{lines:?}");
        if !lines.is_empty() {
            assert_eq!(of(lines, &["*"]).is_held(&tag).unwrap_err().code(), "precondition-failed", "{lines:?}");
        }
    }
}

#[test]
fn a_write_rests_on_the_changes_that_its_tags_name() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::open(&folder.path().join("overlaid.redb"), Settings::built_in().unwrap()).unwrap();
    let run = service.run();
    let [a, b] = [10, 11].map(|seq| format!("\"{}\"", service.cursor_of(seq)));
    let (a, b) = (a.as_str(), b.as_str());
    let condition =
        |if_match: &[&str], if_none_match: &[&str]| of(if_match, if_none_match).of_record(&service).unwrap();
    assert_eq!(condition(&[], &[]), Condition::None);
    assert_eq!(condition(&["*"], &[]), Condition::Exists);
    assert_eq!(condition(&[], &["*"]), Condition::Absent);
    assert_eq!(condition(&[&format!("{a}, W/{b}")], &[]), Condition::SeqIn(vec![10, 11]));
    assert_eq!(condition(&[], &[a]), Condition::SeqNotIn(vec![10]));
    assert_eq!(condition(&["*"], &[a]), Condition::Exists.and(Condition::SeqNotIn(vec![10])));
    assert_eq!(condition(&[&format!("\"{:x}-a\", \"{run:x}\"", run ^ 1)], &[]), Condition::SeqIn(Vec::new()));
    assert_eq!(of(&[], &["nonsense"]).of_record(&service).unwrap_err().code(), "malformed-condition");
}

#[test]
fn a_list_that_breaks_the_grammar_is_noticed() {
    let check = |line: &str, readable: bool| assert_eq!(read_line(line, &mut Vec::new()).is_some(), readable, "{line}");
    check("\"\"", true);
    check("\"a\",\t\"b\"", true);
    check("\"a b\"", false);
    check("\"a\" \"b\"", false);
    check("\"a\"; \"b\"", false);
    check("a", false);
    check("W/", false);
}
