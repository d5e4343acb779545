//! Rows over tables against the tables that hold them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase as _};

use super::super::tables::{ForEachTable, META, OVERLAYS, SIGNAL_NUMBERS, SIGNALS};
use super::*;
use crate::domain::UnixMillis;

fn database() -> Database {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    super::super::schema::create(&database).unwrap();
    database
}

/// Keys and values of the test, which are in the order of their numbers.
fn text(number: u64) -> String {
    format!("{number:020}")
}

fn number(bytes: &[u8]) -> u64 {
    str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// What each key of a table is, as the changes of the log leave it one after the other.
type Changes = Vec<BTreeMap<u64, Option<u64>>>;

/// Commits of up to a few rows.
fn changes() -> impl Strategy<Value = Changes> {
    let commit = proptest::collection::btree_map(0_u64..KEYS, proptest::option::of(any::<u64>()), 1..6);
    proptest::collection::vec(commit, 0..8)
}

/// Few enough that commits meet.
const KEYS: u64 = 40;

/// The changes in two stretches, the second of which begins with the one at `second`; they are seen as of the change `seq`.
fn rows_of(changes: &Changes, second: usize, seq: usize) -> Rows {
    let stretches = [Arc::new(Stretch::default()), Arc::new(Stretch::default())];
    for (at, commit) in changes.iter().enumerate() {
        let rows = commit.iter().map(|(key, value)| {
            (
                tables::number(OVERLAYS.name()),
                Row::new(text(*key).as_bytes(), value.map(text).as_ref().map(String::as_bytes)),
            )
        });
        stretches[usize::from(at >= second)].put_commit(&rows.collect::<Vec<_>>(), at as u64 + 1);
    }
    let [older, newer] = stretches.map(|stretch| (!stretch.is_empty()).then_some(stretch));
    Rows::of(older, newer, seq as u64)
}

/// Keys of each kind of table, of which many begin alike.
fn keys_of(table: usize) -> BoxedStrategy<Vec<u8>> {
    let number = || prop_oneof![0..4_u64, 0xFF..=0x101_u64, any::<u64>()];
    let text = || prop_oneof!["[ab]{0,20}", "(telegram:user:0){0,2}[0-9]{0,4}", "\\PC{0,9}", "a[\u{0}b]{0,3}"];
    match table {
        1 => number().prop_map(|number| u64::as_bytes(&number).to_vec()).boxed(),
        5 => (number(), text())
            .prop_map(|(number, user)| <(u64, &str)>::as_bytes(&(number, user.as_str())).clone())
            .boxed(),
        _ => text().prop_map(String::into_bytes).boxed(),
    }
}

proptest! {
    /// Or rows that are on the disk would not be found.
    #[test]
    fn heads_compare_as_the_keys_do(
        (table, one, other) in (0..tables::COUNT).prop_flat_map(|table| (Just(table), keys_of(table), keys_of(table))),
    ) {
        let by_key = tables::comparison(table)(&one, &other);
        let by_head = tables::head(table, &one).cmp(&tables::head(table, &other)).then(by_key);
        prop_assert_eq!(by_head, by_key, "{:?} {:?}", one, other);
    }
}

proptest! {
    /// A view is what the table would be if it held the rows, from both ends, in any part, and so is the table that gets them. It stays so when
    /// later commits are added to the same stretches.
    #[test]
    fn rows_over_a_table_read_as_rows_in_it(
        stored in proptest::collection::btree_map(0_u64..KEYS, any::<u64>(), 0..12),
        over in changes(),
        later in changes(),
        second in 0_usize..10,
        start in 0_u64..KEYS,
        len in 0_u64..KEYS,
        fronts in proptest::collection::vec(any::<bool>(), 30),
    ) {
        let database = database();
        let tx = database.begin_write().unwrap();
        rows_of(&vec![stored.iter().map(|(key, value)| (*key, Some(*value))).collect()], 9, 1)
            .stretches()
            .try_for_each(|stretch| stretch.write(&tx, &|| ()))
            .unwrap();
        tx.commit().unwrap();
        let mut expected = stored.clone();
        for (key, value) in over.iter().flatten() {
            match value {
                Some(value) => drop(expected.insert(*key, *value)),
                None => drop(expected.remove(key)),
            }
        }
        let all = over.iter().chain(&later).cloned().collect();
        let seen = rows_of(&all, second, over.len());
        let read = |(key, value): (Cell<&str>, Cell<&[u8]>)| (number(key.value().as_bytes()), number(value.value()));
        let check = |view: &View<&str, &[u8]>| {
            assert_eq!(view.len().unwrap(), expected.len() as u64);
            for key in 0..KEYS {
                let found = view.get(&*text(key)).unwrap().map(|value| number(value.value()));
                assert_eq!(found, expected.get(&key).copied());
            }
            let part = &*text(start)..&*text(start + len);
            let (mut found, mut wanted) = (view.range::<&str>(part).unwrap(), expected.range(start..start + len));
            for is_front in &fronts {
                let (found, wanted) =
                    if *is_front { (found.next(), wanted.next()) } else { (found.next_back(), wanted.next_back()) };
                assert_eq!(found.map(|row| read(row.unwrap())), wanted.map(|(key, value)| (*key, *value)));
            }
            for (from, to) in [(Bound::Excluded(start), Bound::Unbounded), (Bound::Unbounded, Bound::Included(start))] {
                let (from_text, to_text) = (from.map(text), to.map(text));
                let found = view.range::<&str>((from_text.as_ref().map(|key| &**key), to_text.as_ref().map(|key| &**key)));
                let found: Vec<_> = found.unwrap().map(|row| read(row.unwrap())).collect();
                let wanted: Vec<_> = expected.range((from, to)).map(|(key, value)| (*key, *value)).collect();
                assert_eq!(found, wanted);
            }
        };
        check(&View::open(&database.begin_read().unwrap(), &Arc::new(seen), OVERLAYS).unwrap());

        let tx = database.begin_write().unwrap();
        for stretch in rows_of(&over, second, over.len()).stretches() {
            stretch.write(&tx, &|| ()).unwrap();
        }
        tx.commit().unwrap();
        let tx = database.begin_read().unwrap();
        check(&View::open(&tx, &Arc::default(), OVERLAYS).unwrap());
        if !over.is_empty() {
            assert_eq!(tables::seq(&tx).unwrap(), over.len() as u64);
        }
    }
}

/// Numbers in keys are written with their lowest byte first, which is not the order of bytes.
#[test]
fn rows_are_in_the_order_of_the_tables_keys() {
    let rows = Stretch::default();
    let signals = tables::number(SIGNALS.name());
    for number in [256_u64, 1, 2, 255] {
        rows.put([(signals, Row::new(&number.to_le_bytes(), Some(&[])))], 1);
    }
    let rows = Rows::of(None, Some(Arc::new(rows)), 1);
    let part = rows.part(signals, (Bound::Unbounded, Bound::Unbounded));
    let order: Vec<_> = part.iter().map(|row| u64::from_bytes(row.key())).collect();
    assert_eq!(rows.last(signals).map(|row| u64::from_bytes(row.key())), Some(256));
    assert_eq!(order, [1, 2, 255, 256]);
}

#[test]
fn expiries_are_in_the_order_of_time() {
    let key = |expiry: i64, number| tables::expiry_key(UnixMillis::new(expiry), number);
    let times = [UnixMillis::MIN.millis(), 1, 255, 256, UnixMillis::MAX.millis()];
    let keys: Vec<_> =
        times.iter().flat_map(|time| [0, 1, 255, 256, u64::MAX].map(|number| key(*time, number))).collect();
    assert!(keys.is_sorted_by(|one, other| one < other), "{keys:?}");
    assert_eq!(tables::number_in(&key(7, 42)), Some(42));
    assert_eq!(key(1, 42), "000000000001000000000000002a");
    for rubbish in ["", "é", "00000000000", "000000000001", "000000000001g"] {
        assert_eq!(tables::number_in(rubbish), None, "{rubbish}");
    }
}

/// The numbers are in files: they never change.
#[test]
fn tables_have_their_numbers() {
    struct Numbers(Vec<(usize, String)>);
    impl ForEachTable for Numbers {
        fn table<K: Key + 'static, V: Value + 'static>(
            &mut self,
            table: TableDefinition<'static, K, V>,
        ) -> Result<(), StoreError> {
            // The order is that of the key's own type.
            let (one, other) = (K::fixed_width(), tables::number(table.name()));
            assert_eq!(one.is_some(), other == 1, "{}", table.name());
            self.0.push((other, table.name().to_owned()));
            Ok(())
        }
    }
    let mut numbers = Numbers(Vec::new());
    tables::for_each(&mut numbers).unwrap();
    let names: Vec<_> = numbers.0.iter().map(|(number, name)| format!("{number} {name}")).collect();
    assert_eq!(
        names,
        [
            "0 meta",
            "1 signals-1",
            "2 signal-numbers-1",
            "3 signals-by-expiry-2",
            "4 overlays-1",
            "5 outcomes-1",
            "6 rates-1",
            "7 tokens-1"
        ]
    );
    assert_eq!(numbers.0.len(), tables::COUNT);
    assert_eq!(tables::number(tables::LEGACY_CHECKPOINT.name()), tables::COUNT);
}

#[test]
fn what_the_engine_could_not_read_is_no_row() {
    let (meta, signals, expiry, outcomes) = (tables::number(META.name()), tables::number(SIGNALS.name()), 3, 5);
    for (table, key, value, expected) in [
        (meta, &b"seq"[..], Some(&[0; 8][..]), true),
        (meta, b"seq", Some(&[0; 7]), false),
        (meta, b"\xff", Some(&[0; 8]), false),
        (signals, &[0; 8], Some(b"any"), true),
        (signals, &[0; 8], None, false),
        (tables::number(OVERLAYS.name()), b"user", None, true),
        (tables::number(OVERLAYS.name()), b"\xff", None, false),
        (signals, &[0; 9], Some(b"any"), false),
        (tables::number(SIGNAL_NUMBERS.name()), b"S1", Some(b""), false),
        (expiry, b"key", Some(b""), true),
        (expiry, b"key", None, true),
        (expiry, b"\xff", Some(b""), false),
        (outcomes, b"12345678user", Some(b"any"), true),
        (outcomes, b"12345678", Some(b"any"), true),
        (outcomes, b"1234567", Some(b"any"), false),
        (outcomes, b"12345678\xff", Some(b"any"), false),
        (tables::COUNT, b"any", Some(b"any"), false),
        (usize::MAX, b"any", None, false),
    ] {
        assert_eq!(tables::is_row(table, key, value), expected, "{table} {key:?} {value:?}");
    }
}
