//! Other members whose names nearly spell a known one.
//!
//! The domain refuses such a name, since it may be a slip. An old file can not be sent back, so the member is kept under
//! `legacy_` and its name. Old files use the same few dozen names again and again: each is judged once a thread.

use std::cell::RefCell;
use std::collections::HashMap;

use super::reason::Note;
use crate::domain::{Invalid, InvalidKind, Object, OverlayDraft, SignalDraft};

/// Most names that are remembered; files made to have ever new names must not fill the memory.
const NAMES_MAX: usize = 4_096;

/// Whose members are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Signal,
    Overlay,
}

thread_local! {
    static JUDGED: RefCell<HashMap<(Whose, String), bool>> = RefCell::new(HashMap::new());
}

/// Renames the members that the domain would refuse.
pub(super) fn rename_slips(whose: Whose, members: &mut [(String, String)], notes: &mut Vec<Note>) {
    for at in 0..members.len() {
        let Some((name, _)) = members.get(at).filter(|(name, _)| is_slip(whose, name)) else { continue };
        let mut renamed = format!("legacy_{name}");
        // Two names may not become one.
        while members.iter().any(|(other, _)| *other == renamed) {
            renamed.insert_str(0, "legacy_");
        }
        if let Some((name, _)) = members.get_mut(at) {
            *name = renamed;
            notes.push(Note::MemberRenamed);
        }
    }
}

/// Whether the domain would refuse a member for its name.
fn is_slip(whose: Whose, name: &str) -> bool {
    JUDGED.with_borrow_mut(|judged| {
        let key = (whose, name.to_owned());
        if let Some(known) = judged.get(&key) {
            return *known;
        }
        let object = Object::from_members(vec![(name.to_owned(), "0".to_owned())]);
        let error = match whose {
            Whose::Signal => SignalDraft::from_object(object, None).err(),
            Whose::Overlay => OverlayDraft::from_object(object, None).err(),
        };
        let is_slip = error.as_ref().map(Invalid::kind) == Some(InvalidKind::MisspelledMember);
        if judged.len() < NAMES_MAX {
            judged.insert(key, is_slip);
        }
        is_slip
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_kept_under_another_name_and_the_rest_as_it_is() {
        let mut members: Vec<(String, String)> =
            ["acount_balance", "broker", "legacy_tiers", "tiers"].map(|name| (name.to_owned(), "1".to_owned())).into();
        let mut notes = Vec::new();
        rename_slips(Whose::Overlay, &mut members, &mut notes);
        rename_slips(Whose::Overlay, &mut members, &mut notes);
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["legacy_acount_balance", "broker", "legacy_tiers", "legacy_legacy_tiers"]);
        assert_eq!(notes.len(), 2, "what is renamed is no slip any more");
    }
}
