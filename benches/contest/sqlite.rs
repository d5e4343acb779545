//! SQLite in the same process, in its write-ahead mode.

use rusqlite::Connection;

use super::library::Renderer;
use crate::rig::{data, process};

/// Which SQLite this is.
pub(crate) fn version() -> &'static str {
    rusqlite::version()
}

/// A database of one signal and its users.
pub(crate) struct Sqlite {
    connection: Connection,
    renderer: Renderer,
    users: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Sqlite {
    pub(crate) fn new(users: usize) -> Self {
        let folder = process::folder();
        let mut connection = Connection::open(folder.path().join("overlays.sqlite")).unwrap();
        // Full: as durable as the others, which sync on each commit.
        connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE signals (id TEXT PRIMARY KEY, json TEXT) WITHOUT ROWID;
                 CREATE TABLE overlays (id TEXT PRIMARY KEY, json TEXT) WITHOUT ROWID;",
            )
            .unwrap();
        let tx = connection.transaction().unwrap();
        tx.execute("INSERT INTO signals VALUES (?, ?)", (data::SIGNAL, data::signal_json(data::SIGNAL))).unwrap();
        for number in 0..users {
            tx.execute("INSERT INTO overlays VALUES (?, ?)", (data::user_id(number), data::overlay_json(number)))
                .unwrap();
        }
        tx.commit().unwrap();
        let users = (0..users).map(data::user_id).collect();
        Self { connection, renderer: Renderer::new(), users, _folder: folder }
    }

    fn begin(&mut self) {
        let mut signal = self.connection.prepare_cached("SELECT json FROM signals WHERE id = ?").unwrap();
        let json: String = signal.query_row([data::SIGNAL], |row| row.get(0)).unwrap();
        self.renderer.signal(json.as_bytes());
    }

    /// The views of all users, by one query.
    pub(crate) fn scan(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.begin();
        let mut overlays = self.connection.prepare_cached("SELECT json FROM overlays").unwrap();
        let mut rows = overlays.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            self.renderer.view(row.get_ref(0).unwrap().as_bytes().unwrap(), out);
        }
    }

    /// The views of all users, by a query for each.
    pub(crate) fn by_id(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.begin();
        let mut overlay = self.connection.prepare_cached("SELECT json FROM overlays WHERE id = ?").unwrap();
        for user in &self.users {
            let mut rows = overlay.query([user]).unwrap();
            let row = rows.next().unwrap().unwrap();
            self.renderer.view(row.get_ref(0).unwrap().as_bytes().unwrap(), out);
        }
    }

    /// Writes one overlay and waits for the disk.
    pub(crate) fn put(&mut self, number: usize, json: &str) {
        let mut update = self.connection.prepare_cached("UPDATE overlays SET json = ? WHERE id = ?").unwrap();
        update.execute((json, &self.users[number])).unwrap();
    }
}
