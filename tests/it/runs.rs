//! Runs: the name of a change is the same as long as the file holds it, and no other change has it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use overlaid::domain::{Cursor, MaxAges};
use overlaid::store::{Effect, Store, StoreError, Writer, back_up, compact, restore, verify};
use redb::TableDefinition;
use tempfile::TempDir;

use crate::kit::{Direct, Fault, MemoryDisk, SHORT_PAUSES, overlay, start, write_to};

const RUNS: TableDefinition<'_, u64, u32> = TableDefinition::new("runs-1");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The names of all changes in a file, and of the state before the first.
fn names(store: &Store) -> Vec<Cursor> {
    (0..=store.snapshot().unwrap().seq().unwrap()).map(|seq| store.runs().cursor_of(seq)).collect()
}

fn write(direct: &Direct, balance: u64) {
    assert_ne!(direct.put(overlay(1, balance)).effect, Effect::Unchanged);
}

fn at(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("overlaid.redb")
}

#[test]
fn a_change_keeps_its_name_over_restarts_a_compact_and_a_move() {
    let mut direct = Direct::new();
    assert_eq!(names(&direct.store), [Cursor { run: 0, seq: 0 }]);
    for balance in 1..=4 {
        write(&direct, balance);
        if balance != 2 {
            let before = names(&direct.store);
            direct = direct.restart();
            assert_eq!(names(&direct.store), before);
        }
    }
    let before = names(&direct.store);
    // Two changes of one run, then one of each of two.
    let runs: Vec<u32> = before.iter().map(|name| name.run).collect();
    assert!(runs[1] != runs[2] && runs[2] == runs[3] && runs[3] != runs[4] && !runs[1..].contains(&0), "{runs:?}");

    let folder = direct.close();
    compact(&at(&folder)).unwrap();
    let elsewhere = TempDir::new().unwrap();
    fs::rename(at(&folder), at(&elsewhere)).unwrap();
    assert_eq!(names(&Direct::at(elsewhere).store), before);
}

#[test]
fn changes_after_a_copy_and_after_a_restore_have_other_names() {
    let direct = Direct::new();
    write(&direct, 1);
    let other = TempDir::new().unwrap();
    back_up(&direct.snapshot(), &at(&other)).unwrap();
    write(&direct, 2);
    let first = names(&direct.store);
    let folder = direct.close();

    let served = Direct::at(other);
    assert_eq!(names(&served.store), first[..2], "a copy names what was copied alike");
    write(&served, 3);
    assert_ne!(names(&served.store)[2], first[2]);

    let backup = folder.path().join("backup");
    back_up(&served.snapshot(), &backup).unwrap();
    restore(&backup, &at(&folder), start()).unwrap();
    let restored = Direct::at(folder);
    assert_eq!(names(&restored.store), names(&served.store));
    write(&restored, 4);
    write(&served, 4);
    // The copy's server wrote before the backup and goes on; the restored file's begins.
    let [restored, served] = [&restored, &served].map(|direct| names(&direct.store));
    assert!(restored[..3] == served[..3] && restored[3] != served[3], "{restored:?} {served:?}");
}

/// The rows of a closed file, as bare redb reads them.
fn rows(path: &Path) -> Vec<(u64, u32)> {
    use redb::{ReadableDatabase as _, ReadableTable as _};
    let database = redb::Database::open(path).unwrap();
    let runs = database.begin_read().unwrap().open_table(RUNS).unwrap();
    let rows = runs.iter().unwrap().map(Result::unwrap);
    rows.map(|(first, run)| (first.value(), run.value())).collect()
}

#[test]
fn a_run_that_changed_nothing_leaves_no_row() {
    let direct = Direct::new();
    write(&direct, 1);
    let direct = direct.restart();
    assert_eq!(direct.put(overlay(1, 1)).effect, Effect::Unchanged);
    let path = direct.path();
    let _folder = direct.close();
    assert_eq!(rows(&path).len(), 1);
}

/// The older half becomes one; what is newer keeps its name, and the file is whole.
#[test]
fn runs_are_bounded() {
    let direct = Direct::new().tamper(|tx| {
        tx.open_table(META).unwrap().insert("seq", 5_000).unwrap();
        let mut runs = tx.open_table(RUNS).unwrap();
        (1..=4_096).for_each(|run| drop(runs.insert(u64::from(run), run).unwrap()));
    });
    assert_eq!(direct.store.runs().cursor_of(2), Cursor { run: 2, seq: 2 });
    write(&direct, 1);
    let newest = direct.store.runs().cursor_of(5_001);
    let direct = direct.restart();
    for (seq, run) in [(1, 2_049), (2, 2_049), (2_049, 2_049), (2_050, 2_050), (5_000, 4_096), (5_001, newest.run)] {
        assert_eq!(direct.store.runs().cursor_of(seq), Cursor { run, seq });
    }
    let path = direct.path();
    let _folder = direct.close();
    assert_eq!(rows(&path).len(), 2_049);
    verify(&path).unwrap();
}

#[test]
fn runs_that_are_none_of_the_file_are_refused() {
    for broken in [[None, None], [Some((2, 7)), None], [Some((1, 0)), None], [Some((1, 7)), Some((2, 8))]] {
        let direct = Direct::new();
        write(&direct, 1);
        let path = direct.path();
        let _folder = direct.close();
        let database = redb::Database::open(&path).unwrap();
        let tx = database.begin_write().unwrap();
        {
            let mut runs = tx.open_table(RUNS).unwrap();
            runs.retain(|_, _| false).unwrap();
            broken.into_iter().flatten().for_each(|(first, run)| drop(runs.insert(first, run).unwrap()));
        }
        tx.commit().unwrap();
        drop(database);
        let refusals = [Store::open(&path).unwrap_err(), verify(&path).unwrap_err()];
        assert!(
            refusals.iter().all(|error| matches!(error, StoreError::CorruptRow { table: "runs-1", .. })),
            "{broken:?}: {refusals:?}"
        );
    }
}

/// Whatever fails while the first commit of a run is made, the run has its row once a change of it is acknowledged.
#[test]
fn a_run_is_stored_whatever_becomes_of_its_first_commit() {
    let disk = MemoryDisk::with(Vec::new());
    let open = |disk: &Arc<MemoryDisk>| Store::open_on(Arc::clone(disk) as _, Path::new("in memory")).unwrap();
    // Each attempt is another change, as a refused one may have taken effect.
    let write = |store: &Arc<Store>, mut balance| {
        let writer = Writer::start_with(SHORT_PAUSES, MaxAges::default(), Arc::clone(store), |_| {}).unwrap();
        while write_to(&writer, overlay(1, balance)).is_err() {
            balance += 1;
            std::thread::yield_now();
        }
    };
    write(&open(&disk), 1);
    let closed = disk.bytes();
    let mut has_failed = false;
    for at in 0.. {
        let disk = MemoryDisk::with(closed.clone());
        let store = open(&disk);
        disk.fail(Some(Fault { at, times: 2, code: 5, reads_too: at % 2 == 0 }));
        write(&store, 1_000);
        let failed = disk.failed();
        disk.fail(None);
        let before = names(&store);
        drop(store);
        assert_eq!(names(&open(&MemoryDisk::with(disk.bytes()))), before, "failed at {at}");
        if failed == 0 {
            break;
        }
        has_failed = true;
    }
    assert!(has_failed);
}
