//! What must hold of a stored record for a write to happen.

/// A condition on the number (`seq`) of the change that wrote the stored record: `If-Match` and `If-None-Match` of RFC
/// 9110 §13, with numbers for entity tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The record is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there, and was written by one of these changes.
    SeqIn(Vec<u64>),
    /// It is not there, or was written by none of these changes.
    SeqNotIn(Vec<u64>),
    /// Both hold.
    Both(Box<(Condition, Condition)>),
}

impl Condition {
    /// Whether it holds of a record.
    ///
    /// - `seq`: the number of the change that wrote the record; `None` if there is no record.
    #[must_use]
    pub fn holds(&self, seq: Option<u64>) -> bool {
        match self {
            Self::None => true,
            Self::Exists => seq.is_some(),
            Self::Absent => seq.is_none(),
            Self::SeqIn(seqs) => seq.is_some_and(|seq| seqs.contains(&seq)),
            Self::SeqNotIn(seqs) => seq.is_none_or(|seq| !seqs.contains(&seq)),
            Self::Both(both) => both.0.holds(seq) && both.1.holds(seq),
        }
    }

    /// This one and `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, only) | (only, Self::None) => only,
            both => Self::Both(Box::new(both)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_about_the_change_that_wrote_the_record() {
        let holds = |condition: &Condition| [None, Some(1), Some(2)].map(|seq| condition.holds(seq));
        assert_eq!(holds(&Condition::None), [true, true, true]);
        assert_eq!(holds(&Condition::Exists), [false, true, true]);
        assert_eq!(holds(&Condition::Absent), [true, false, false]);
        assert_eq!(holds(&Condition::SeqIn(vec![1, 3])), [false, true, false]);
        assert_eq!(holds(&Condition::SeqNotIn(vec![1, 3])), [true, false, true]);
        assert_eq!(holds(&Condition::SeqIn(vec![1, 2]).and(Condition::SeqNotIn(vec![1]))), [false, false, true]);
        assert_eq!(Condition::None.and(Condition::Exists).and(Condition::None), Condition::Exists);
    }
}
