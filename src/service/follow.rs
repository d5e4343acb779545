//! Followers: clients that are told what changed, each at its own pace.
//!
//! A follower is a place in the order of changes. It is woken by each commit and reads what is newer than its place; if
//! that is not in memory any more, or the client's cursor is not one of this file, the client is told to read
//! everything again. Nobody waits for a follower.

use tokio::sync::watch;

use super::Service;
use super::changes::{Following, Found};
use crate::domain::{Cursor, RecordChange, RecordKey};

/// A client that follows changes.
#[derive(Debug)]
pub struct Follower {
    service: Service,
    place: Place,
    wakes: watch::Receiver<Following>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// The client has no cursor yet.
    New,
    /// The client has all changes up to this number.
    After(u64),
    /// What the client lacks is not known.
    Lost,
}

/// What a follower is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesPage {
    /// From where to follow on.
    pub cursor: Cursor,
    /// Whether the client has to read everything again that it wants to know.
    pub is_reset: bool,
    /// The newest change of each record that changed, in the order of numbers.
    pub changes: Vec<RecordChange>,
}

impl Service {
    /// Follows changes from a cursor on; without one, from now on.
    ///
    /// A text that is no cursor, and a cursor that this server did not give or whose changes are not in memory any
    /// more, get a reset.
    #[must_use]
    pub fn follow(&self, since: Option<&str>) -> Follower {
        let changes = &self.shared.memory.changes;
        let place = match since.map(str::parse::<Cursor>) {
            None => Place::New,
            Some(Ok(cursor)) if changes.covers(cursor.seq) && self.cursor_of(cursor.seq) == cursor => {
                Place::After(cursor.seq)
            }
            Some(_) => Place::Lost,
        };
        Follower { service: self.clone(), place, wakes: changes.wakes() }
    }

    /// Ends all followers, and at once those to come: the server is stopping.
    pub fn end_followers(&self) {
        self.shared.memory.changes.end();
    }
}

impl Follower {
    /// What is to be told now, at most `limit` changes; `None` if there is nothing. A follower without a good cursor is
    /// told the present one.
    ///
    /// - `may_see`: which records the client may know of.
    pub fn next_page(&mut self, limit: usize, may_see: impl Fn(&RecordKey) -> bool) -> Option<ChangesPage> {
        // Before the read: a change after it wakes the follower again.
        self.wakes.mark_unchanged();
        while let Place::After(place) = self.place {
            let found = self.service.shared.memory.changes.after(place, limit, &may_see);
            let Some(Found { changes, up_to, is_all }) = found else {
                self.place = Place::Lost;
                break;
            };
            self.place = Place::After(up_to);
            if !changes.is_empty() {
                return Some(ChangesPage { cursor: self.service.cursor_of(up_to), is_reset: false, changes });
            }
            if is_all {
                return None;
            }
        }
        let is_reset = matches!(self.place, Place::Lost);
        let newest = self.service.shared.memory.changes.newest();
        self.place = Place::After(newest);
        Some(ChangesPage { cursor: self.service.cursor_of(newest), is_reset, changes: Vec::new() })
    }

    /// From where to follow on, after [`Follower::next_page`] had nothing to tell.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        match self.place {
            Place::After(place) => self.service.cursor_of(place),
            Place::New | Place::Lost => self.service.cursor(),
        }
    }

    /// Waits until there may be more than [`Follower::next_page`] had; `false` once the server is stopping.
    pub async fn changed(&mut self) -> bool {
        let goes_on = |wakes: &watch::Receiver<Following>| *wakes.borrow() == Following::GoesOn;
        goes_on(&self.wakes) && self.wakes.changed().await.is_ok() && goes_on(&self.wakes)
    }
}
