//! Names in one line for a person: the first ones, and how many more there are.

use std::fmt::Display;

/// Most names in a line: so many a person reads.
const NAMED_MAX: usize = 10;

/// Returns the first names with commas between, and how many are left out.
pub(super) fn shortlist(names: impl IntoIterator<Item = impl Display>) -> String {
    let mut names = names.into_iter();
    let first: Vec<_> = names.by_ref().take(NAMED_MAX).map(|name| name.to_string()).collect();
    match names.count() {
        0 => first.join(", "),
        left => format!("{} and {left} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_says_how_much_it_leaves_out() {
        assert_eq!(shortlist(0..0), "");
        assert_eq!(shortlist(0..10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
        assert_eq!(shortlist(0..13), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more");
    }
}
