//! The members of a record under construction.

use super::part::Quarantine;
use super::reason::Refusal;
use crate::domain::{Invalid, InvalidKind, Object};

/// Most members, and most bytes of them: below what the domain and the store take.
const MEMBERS_MAX: usize = 224;
const BYTES_MAX: usize = 48 * 1024;

/// Names, and values as compact JSON text; each name once.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    /// Adds a member unless there is one of the name already.
    pub(super) fn put(&mut self, name: &str, json: impl Into<String>) {
        // One too many is as bad as thousands, and each is compared with all before it.
        if self.0.len() <= MEMBERS_MAX && !self.0.iter().any(|(known, _)| known == name) {
            self.0.push((name.to_owned(), json.into()));
        }
    }

    /// The members.
    ///
    /// # Errors
    ///
    /// [`Refusal::RecordTooLarge`].
    pub(super) fn into_list(self) -> Result<Vec<(String, String)>, Quarantine> {
        let bytes: usize = self.0.iter().map(|(name, json)| name.len() + json.len()).sum();
        if bytes > BYTES_MAX || self.0.len() > MEMBERS_MAX {
            let detail = format!("{} members, {bytes} bytes", self.0.len());
            return Err(Quarantine::new(Refusal::RecordTooLarge, detail));
        }
        Ok(self.0)
    }
}

/// Known members of an overlay that old files may have in another form, which nothing here reads.
const UNREAD: [&str; 4] = ["account_equity", "free_margin", "leverage", "risk_basis"];

/// Makes a record of members with `read`; also tells whether a name had to be changed.
///
/// The domain refuses a member that nearly spells a known name, and a leverage that is no number (`1:500`). An old file
/// can not be sent back, so such a member is kept under `legacy_` and its name.
///
/// # Errors
///
/// If the domain refuses the members for any other reason.
pub(super) fn read_renaming_slips<T>(
    mut members: Vec<(String, String)>,
    read: impl Fn(Object) -> Result<T, Invalid>,
) -> Result<(T, bool), Invalid> {
    let mut is_renamed = false;
    loop {
        let error = match read(Object::from_members(members.clone())) {
            Ok(record) => return Ok((record, is_renamed)),
            Err(error) => error,
        };
        let is_blamed = |name: &str| Invalid::member(error.kind(), name, "").pointer() == error.pointer();
        let blamed = members.iter().position(|(name, _)| is_blamed(name));
        let is_kept = |at: &usize| {
            error.kind() == InvalidKind::MisspelledMember
                || members.get(*at).is_some_and(|(name, _)| UNREAD.contains(&name.as_str()))
        };
        let Some(at) = blamed.filter(is_kept) else { return Err(error) };
        rename(&mut members, at);
        is_renamed = true;
    }
}

/// Puts `legacy_` before a name, as often as it takes to be unique.
fn rename(members: &mut [(String, String)], at: usize) {
    let Some((name, _)) = members.get(at) else { return };
    let mut renamed = format!("legacy_{name}");
    while members.iter().any(|(name, _)| *name == renamed) {
        renamed.insert_str(0, "legacy_");
    }
    if let Some((name, _)) = members.get_mut(at) {
        *name = renamed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{OverlayDraft, UnixMillis, UserId};

    #[test]
    fn a_slip_is_kept_under_another_name_and_the_rest_as_it_is() {
        let user = UserId::parse("7").unwrap();
        let read = |names: &[&str]| {
            let members = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
            let (draft, is_renamed) =
                read_renaming_slips(members, |object| OverlayDraft::from_object(object, Some(&user))).unwrap();
            let overlay = draft.resolve(UnixMillis::MIN);
            (overlay.members.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), is_renamed)
        };
        let (names, is_renamed) = read(&["acount_balance", "broker", "legacy_tiers", "tiers"]);
        assert_eq!(names, ["legacy_acount_balance", "broker", "legacy_tiers", "legacy_legacy_tiers"]);
        assert!(is_renamed);
        assert_eq!(read(&["broker"]), (vec!["broker".to_owned()], false));
        let odd = vec![("leverage".to_owned(), "\"1:500\"".to_owned())];
        let (draft, _) = read_renaming_slips(odd, |object| OverlayDraft::from_object(object, Some(&user))).unwrap();
        assert_eq!(draft.resolve(UnixMillis::MIN).members.to_json(), r#"{"legacy_leverage":"1:500"}"#);
        let invalid = vec![("account_balance".to_owned(), "-1e11".to_owned())];
        assert!(read_renaming_slips(invalid, |object| OverlayDraft::from_object(object, Some(&user))).is_err());
    }

    #[test]
    fn a_record_that_is_too_large_is_refused() {
        let mut many = Members::default();
        (0..10_000).for_each(|number| many.put(&format!("x{number}"), "1"));
        assert_eq!(many.into_list().unwrap_err().refusal, Refusal::RecordTooLarge);
        let mut long = Members::default();
        long.put("x", "1".repeat(BYTES_MAX));
        assert_eq!(long.into_list().unwrap_err().refusal, Refusal::RecordTooLarge);
    }
}
