//! Which tags match, and which lists can be read.

use super::*;

fn list(lines: &[&str]) -> TagList {
    let lines = lines.iter().map(|line| (IF_MATCH, HeaderValue::from_str(line).unwrap()));
    TagList::read(&lines.collect(), &IF_MATCH)
}

#[test]
fn a_tag_is_its_numbers_between_quotes() {
    assert_eq!(EntityTag::weak(&[0, 31, 256]).to_header(), "W/\"0-1f-100\"");
    assert_eq!(EntityTag::of_record(7, 10).to_header(), "\"7-a\"");
    assert_ne!(EntityTag::weak(&[1, 23]), EntityTag::weak(&[0x12, 3]));
}

#[test]
fn if_none_match_compares_weakly() {
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
        assert!(IfNoneMatch(list(lines)).matches(&tag), "{lines:?}");
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
        assert!(!IfNoneMatch(list(lines)).matches(&tag), "{lines:?}");
    }
}

#[test]
fn a_write_rests_on_the_changes_that_its_tags_name() {
    let condition = |if_match: &[&str], if_none_match: &[&str]| {
        WriteCondition { if_match: list(if_match), if_none_match: list(if_none_match) }.of_record(7)
    };
    assert_eq!(condition(&[], &[]), Condition::None);
    assert_eq!(condition(&["*"], &[]), Condition::Exists);
    assert_eq!(condition(&[], &["*"]), Condition::Absent);
    assert_eq!(condition(&["\"7-a\", W/\"7-b\""], &[]), Condition::SeqIn(vec![10, 11]));
    assert_eq!(condition(&[], &["\"7-a\""]), Condition::SeqNotIn(vec![10]));
    assert_eq!(condition(&["*"], &["\"7-a\""]), Condition::Exists.and(Condition::SeqNotIn(vec![10])));
    for of_no_record in ["\"8-a\"", "\"7\"", "\"7-A\"", "\"7-0a\"", "\"7-+a\"", "\"7-1-a\"", "\"\""] {
        assert_eq!(condition(&[of_no_record], &[]), Condition::SeqIn(Vec::new()), "{of_no_record}");
    }
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
