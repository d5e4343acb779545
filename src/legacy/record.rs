//! One record of a file: its JSON, and the facts about it beside its text.

use std::path::Path;

use super::json::Value;
use super::names::{Meaning, NameId, Names};
use crate::domain::{Instruments, UnixMillis};

/// What files are read with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Pips and digits, by which prices and pip distances are told apart.
    pub instruments: &'a Instruments,
    /// The names of members.
    pub names: &'a Names,
    /// How long a signal lives that does not say, in milliseconds.
    pub lifetime_ms: i64,
}

/// One record of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'r> {
    /// The object.
    pub(super) root: &'r Value<'r>,
    /// Its key in a map of records.
    pub(super) key: Option<&'r str>,
    /// Where the file lies in the tree: its names are used where the body has no id.
    pub(super) path: &'r Path,
    /// The file's own time, used only for a signal that names no time at all.
    pub(super) modified: UnixMillis,
    /// What files are read with.
    pub(super) context: Context<'r>,
}

impl<'r> Record<'r> {
    /// The same file's record at `root`, which a map has under `key`.
    pub(super) fn at<'s>(self, root: &'s Value<'s>, key: Option<&'s str>) -> Record<'s>
    where
        'r: 's,
    {
        Record { root, key, ..self }
    }

    /// The known names of a meaning.
    pub(super) fn names(self, meaning: Meaning) -> &'r [NameId] {
        self.context.names.of(meaning)
    }

    /// The first member of a meaning at the root.
    pub(super) fn first(self, meaning: Meaning) -> Option<&'r Value<'r>> {
        self.root.all(self.names(meaning)).next()
    }

    /// The members of a meaning at the root that are objects.
    pub(super) fn objects(self, meaning: Meaning) -> impl Iterator<Item = &'r Value<'r>> {
        self.root.all(self.names(meaning)).filter(|value| value.is_object())
    }

    /// The objects that may state the signal, the one to prefer first.
    pub(super) fn signal_objects(self) -> impl Iterator<Item = &'r Value<'r>> {
        std::iter::once(self.root).chain(self.objects(Meaning::SignalObjects))
    }
}
