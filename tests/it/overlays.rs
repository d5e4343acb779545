//! Overlays in memory: what fills the roster, what is left out of it, and how large it may become.

use std::path::Path;
use std::sync::Arc;

use overlaid::domain::Condition;
use overlaid::service::{
    OVERLAYS_BYTES_MAX, Patched, RosterSize, Separator, Service, ServiceError, Settings, Stopwatch,
};
use overlaid::store::{Effect, Operation, Receipt, Store, StoreError};
use redb::TableDefinition;

use crate::kit::{
    self, Direct, Fault, MemoryDisk, SAMPLES, SHORT_PAUSES, Server, World, delete_overlay, done, error, long_overlay,
    object, patch_overlay, run, signal, signal_id, start, user_id,
};

const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");
const EIO: i32 = 5;

fn write(service: &Service, operation: Operation) -> Result<Receipt, ServiceError> {
    service.submit(operation)?.done_blocking()
}

fn overlay(user: usize, note_bytes: usize) -> Operation {
    long_overlay(user, 1_000 + user as u64, note_bytes)
}

fn roster(service: &Service) -> RosterSize {
    service.stats().unwrap().roster
}

fn batch(service: &Service) -> Result<String, ServiceError> {
    kit::batch(service, &signal_id("S1"))
}

#[test]
fn one_record_does_not_read_all_into_memory_and_a_few_do() {
    let world = World::new();
    write(&world.service, signal("S1")).unwrap();
    for user in 0..3 {
        write(&world.service, overlay(user, 0)).unwrap();
    }
    let world = world.restart();
    assert!(world.service.read_overlay(&user_id("1")).unwrap().is_some());
    write(&world.service, patch_overlay("1", r#"{"tier":"FANG"}"#, start())).unwrap();
    assert_eq!(roster(&world.service), RosterSize::default());

    let world = world.restart();
    while roster(&world.service).users == 0 {
        world.service.read_overlay(&user_id("1")).unwrap();
    }
    assert_eq!(roster(&world.service).users, 3);
}

/// Of patches that come together each is answered with the overlay that it made.
#[tokio::test]
async fn a_patch_is_answered_with_its_own_state() {
    let world = World::new();
    world.put_overlay(r#"{"user_id":"7","account_balance":1}"#).await;
    let patch = async |balance: u32| {
        let patch = object(&format!(r#"{{"account_balance":{balance}}}"#));
        let Patched { effect, overlay, .. } =
            world.service.patch_overlay(user_id("7"), patch, Condition::None).await.unwrap();
        assert_eq!(effect, Effect::Changed);
        assert!(String::from_utf8_lossy(overlay.json()).contains(&format!(r#""account_balance":{balance},"#)));
        overlay.seq()
    };
    let (two, three, four) = tokio::join!(patch(2), patch(3), patch(4));
    assert_eq!((three, four), (two + 1, two + 2));
}

#[test]
fn an_overlay_that_can_not_be_decoded_fails_its_user_only() {
    let direct = Direct::new();
    direct.put(signal("S1"));
    for user in 7..10 {
        direct.put(overlay(user, 0));
    }
    let direct = direct.tamper(|tx| {
        tx.open_table(OVERLAYS).unwrap().insert("8", &[9][..]).unwrap();
    });
    let path = direct.path();
    let folder = direct.close();
    let service = Service::open(&path, Settings::built_in().unwrap()).unwrap();
    let check_singles = || {
        for user in ["7", "9"] {
            assert_eq!(service.read_overlay(&user_id(user)).unwrap().unwrap().user(), user);
        }
        let Err(ServiceError::Store(error)) = service.read_overlay(&user_id("8")) else { panic!("it was read") };
        assert!(matches!(&*error, StoreError::CorruptRow { key, .. } if key == "8"), "{error}");
    };

    check_singles();
    let lines = batch(&service).unwrap();
    let users: Vec<_> = lines.lines().map(|line| line.split(r#""user_id":""#).nth(1).unwrap().as_bytes()[0]).collect();
    assert_eq!(users, b"79");
    check_singles();
    let RosterSize { users, damaged, .. } = roster(&service);
    assert_eq!((users, damaged), (2, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut listed = runtime.block_on(service.batch(&signal_id("S1"), None)).unwrap();
    let wanted = ["7", "8", "9", "10"].map(user_id);
    let (count, absent) = listed.write_users(&wanted, usize::MAX, Separator::Newline, &mut Vec::new());
    assert_eq!((count, absent), (2, vec![user_id("10")]), "a damaged overlay is not an absent one");
    service.stop();
    drop(folder);
}

/// After a disk that could not be read for a while, reads fill the roster as they do after a start.
#[test]
fn overlays_that_could_not_be_read_into_memory_are_read_later() {
    /// With their padding more than the engine keeps of the file in memory.
    const USERS: usize = 700;
    let open = |disk: &Arc<MemoryDisk>| {
        let store = Store::open_on(Arc::clone(disk) as _, Path::new("/nowhere/in-memory")).unwrap();
        let settings = Settings { copy_gate_ms: 0, write_retry: SHORT_PAUSES, ..Settings::built_in().unwrap() };
        Service::start(store, settings).unwrap()
    };
    let disk = MemoryDisk::with(Vec::new());
    let service = open(&disk);
    write(&service, signal("S1")).unwrap();
    let pending: Vec<_> = (0..USERS).map(|user| service.submit(overlay(user, 60_000)).unwrap()).collect();
    for pending in pending {
        pending.done_blocking().unwrap();
    }
    service.stop();
    drop(service);

    let disk = MemoryDisk::with(disk.bytes());
    let service = open(&disk);
    assert!(service.read_signal(&signal_id("S1")).unwrap().is_some());
    disk.fail(Some(Fault { at: 0, times: usize::MAX, code: EIO, reads_too: true }));
    assert!(matches!(batch(&service), Err(ServiceError::Store(_))));
    // In the background too.
    let read = |user: usize| service.read_overlay(&user_id(&(user % USERS).to_string()));
    assert!((0..100).any(|user| read(user).is_err()));

    disk.fail(None);
    let mended = Stopwatch::start();
    for user in 0.. {
        // Some fail until the file was opened again.
        let _ = read(user);
        if service.stats().is_ok_and(|stats| stats.roster.users == USERS) {
            break;
        }
        assert!(mended.seconds() < 60.0, "the roster is still not filled");
    }
    assert_eq!(batch(&service).unwrap().lines().count(), USERS);
    service.stop();
}

#[test]
fn a_write_that_memory_has_no_room_for_is_refused() {
    const BYTES_MAX: u64 = 64 * 1024;
    let world = World::with_overlays_memory(BYTES_MAX);
    let service = &world.service;
    write(service, signal("S1")).unwrap();
    assert_eq!(batch(service).unwrap(), "", "the roster is full, of nobody");
    let is_too_many = |written: Result<Receipt, ServiceError>| match written {
        Err(ServiceError::TooManyOverlays { bytes, bytes_max }) => {
            assert_eq!((bytes, bytes_max), (roster(service).bytes as u64, BYTES_MAX));
            true
        }
        other => other.map(|_| false).unwrap(),
    };
    let users = (0..1_000_000).take_while(|user| !is_too_many(write(service, overlay(*user, 0)))).count();
    assert!(users > 100, "{users}");
    let taken = roster(service);
    assert_eq!(taken.users, users);
    assert!((BYTES_MAX - 1_024..=BYTES_MAX).contains(&(taken.bytes as u64)), "{taken:?}");

    // Those who are there go on: a push never meets the limit, only what enlarges an overlay does.
    let push = r#"{"account_balance":9876543210.12345678,"risk_percent":1.25,"trades_remaining":100}"#;
    for user in 0..users {
        write(service, patch_overlay(&user.to_string(), push, start())).unwrap();
    }
    write(service, overlay(0, 0)).unwrap();
    let longer = format!(r#"{{"note":"{}"}}"#, "x".repeat(1_000));
    assert!(is_too_many(write(service, patch_overlay("0", &longer, start()))));
    assert!(is_too_many(write(service, overlay(0, 1_000))));
    assert!(matches!(write(service, patch_overlay("nobody", &longer, start())), Err(ServiceError::Absent(_))));

    for user in 0..users / 2 {
        write(service, delete_overlay(&user.to_string())).unwrap();
    }
    assert!(!is_too_many(write(service, overlay(users, 0))));
}

/// What a server wrote below the limit it can start on again, and a file of twice as much it can not.
#[test]
fn the_estimate_of_a_start_is_near_what_overlays_take() {
    for (padding, users) in [(0, 3_000), (200, 1_000), (20_000, 50)] {
        let world = World::new();
        write(&world.service, signal("S1")).unwrap();
        let pending: Vec<_> = (0..users).map(|user| world.service.submit(overlay(user, padding)).unwrap()).collect();
        for pending in pending {
            pending.done_blocking().unwrap();
        }
        batch(&world.service).unwrap();
        let bytes = roster(&world.service).bytes as u64;
        let mut world = world;
        for (limit, starts) in [(OVERLAYS_BYTES_MAX, true), (bytes, true), (bytes / 2, false)] {
            world = world.restart_with_overlays_memory(limit);
            let checked = world.service.check_overlays_memory();
            assert_eq!(checked.is_ok(), starts, "{users} users with {padding}: {bytes} against {limit}: {checked:?}");
        }
    }
}

#[test]
fn a_server_says_which_memory_would_do() {
    let folder = tempfile::tempdir().unwrap();
    done(run(folder.path(), &["load", SAMPLES]));
    let refused = run(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--overlays-memory", "4KiB"]);
    let said = error(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains(" of memory and --overlays-memory is 4.0 KiB: "), "{said}");
    let sufficient = said.trim().rsplit(' ').next().unwrap();

    let server = Server::start(folder.path(), &["--overlays-memory", sufficient]);
    assert_eq!(server.get("/v1/users/7001/overlay").status, 200);
    // Other commands do not hold all overlays, and work on any file.
    drop(server);
    done(run(folder.path(), &["--overlays-memory", "4KiB", "export"]));

    let server = Server::start(folder.path(), &["--overlays-memory", "10KiB"]);
    let padding = format!(r#"{{"note":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(server.get("/v1/signals/ELITE_GUARD_EURUSD_1763905800/missions").status, 200);
    let answer = server.send("PUT", "/v1/users/new/overlay", &padding);
    assert_eq!(answer.status, 507, "{}", answer.body);
    assert!(answer.body.contains(r#""code":"too-many-overlays","detail":"the overlays take "#), "{}", answer.body);
    let imported = server.import(&format!(r#"{{"overlay":{{"user_id":"new",{}}}"#, &padding[1..]));
    assert!(imported.body.contains(r#""effect":"refused","code":"too-many-overlays""#), "{}", imported.body);
}
