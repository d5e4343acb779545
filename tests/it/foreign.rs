//! What other programs do to the database file while a server has it open: it is moved, replaced, removed, overwritten.
//!
//! A server must not acknowledge writes into a file that nobody will find, and must not write to a file that is not its
//! own any more.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use overlaid::store::verify;
use tempfile::TempDir;

use crate::kit::{Answer, SAMPLES, Server, run};

/// A server with a user's balance, and a whole database of other content beside it.
struct Scene {
    folder: TempDir,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let other = folder.path().join("other");
        assert_eq!(run(&other, &["load", SAMPLES]).status.code(), Some(0));
        let server = Server::start(&folder.path().join("data"), &[]);
        let scene = Self { folder, server };
        assert!(scene.push(100).status < 300);
        scene
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("data/overlaid.redb")
    }

    fn other(&self) -> PathBuf {
        self.folder.path().join("other/overlaid.redb")
    }

    fn push(&self, balance: u32) -> Answer {
        self.server.put_balance(1, balance)
    }

    /// Writes are refused, reads go on, operators are told, and a backup saves what is in the file.
    #[track_caller]
    fn check_refuses(&self) {
        let refused = self.push(999);
        assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("file-replaced")), "{refused:?}");
        let remedy = "move the file back, and writes are taken again within seconds; or save what the server has with `overlaid backup PATH`, \
                      stop the server, put the right file in place with `overlaid restore FILE` and start the server";
        let detail = format!(
            "the database file was moved, replaced or removed, so nothing is written; for the operator: {remedy}"
        );
        assert_eq!(refused.json()["detail"], detail);
        let logged = self.server.logged(|event| event["level"] == "ERROR");
        assert_eq!(
            (logged["message"].as_str(), logged["remedy"].as_str()),
            (Some("writes are refused: the database file is not the server's own any more"), Some(remedy)),
            "{logged}"
        );
        assert_eq!(self.server.readiness(), ("degraded".to_owned(), "file-replaced".to_owned()));
        let metrics = self.server.get("/metrics").body;
        for line in ["overlaid_copies_are_safe 0", "overlaid_writable 0"] {
            assert!(metrics.contains(line), "{line}");
        }
        let read = self.server.get("/v1/users/1/overlay");
        assert!(read.status == 200 && read.body.contains(r#""account_balance":100"#), "{read:?}");
        let backup = self.server.send("POST", "/v1/admin/backup", "");
        assert_eq!(backup.status, 200, "{backup:?}");
        let file = backup.json()["file"].as_str().unwrap().to_owned();
        assert_eq!(verify(Path::new(&file)).unwrap().counts.overlays, 1);
    }
}

#[test]
fn a_file_that_was_moved_takes_writes_again_once_it_is_back() {
    let scene = Scene::new();
    let away = scene.folder.path().join("away.redb");
    fs::rename(scene.database(), &away).unwrap();
    scene.check_refuses();
    fs::rename(&away, scene.database()).unwrap();
    while scene.push(200).status == 503 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(scene.server.readiness(), ("ok".to_owned(), "ok".to_owned()));
    let back = "the database file is in its place again; writes are taken";
    scene.server.logged(|event| {
        assert_ne!(event["message"], "the disk takes writes again");
        event["message"] == back
    });
}

#[test]
fn a_file_that_was_replaced_is_not_written_to_and_neither_is_the_new_one() {
    let mut scene = Scene::new();
    let before = fs::read(scene.other()).unwrap();
    fs::rename(scene.other(), scene.database()).unwrap();
    scene.check_refuses();
    assert_eq!(scene.server.terminate(), Some(2), "what was written is in a file without a name");
    assert!(fs::read(scene.database()).unwrap() == before);
}

#[test]
fn a_file_that_was_removed_takes_no_writes() {
    let scene = Scene::new();
    fs::remove_file(scene.database()).unwrap();
    scene.check_refuses();
}

#[test]
fn a_file_whose_folder_was_renamed_takes_no_writes() {
    let scene = Scene::new();
    let (folder, away) = (scene.folder.path().join("data"), scene.folder.path().join("away"));
    fs::rename(&folder, &away).unwrap();
    let refused = scene.push(999);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("file-replaced")));
}

/// However the file is written to, and whether there are requests or not: the server ends by itself, with exit code 1,
/// and the file is as the other program left it.
#[test]
fn a_server_whose_file_was_overwritten_ends_and_writes_nothing_more_to_it() {
    type Overwrite = fn(&Scene);
    let ways: [(&str, Overwrite); 4] = [
        ("another database", |scene| assert!(fs::copy(scene.other(), scene.database()).is_ok())),
        ("an older copy of this one", |scene| {
            let copy = scene.folder.path().join("copy.redb");
            fs::copy(scene.database(), &copy).unwrap();
            assert!(scene.push(101).status < 300);
            fs::copy(&copy, scene.database()).unwrap();
        }),
        ("nothing", |scene| assert!(fs::File::create(scene.database()).is_ok())),
        ("rubbish at its beginning", |scene| {
            let mut file = fs::OpenOptions::new().write(true).open(scene.database()).unwrap();
            file.write_all(&[7; 100]).unwrap();
        }),
    ];
    for (what, overwrite) in ways {
        for writes_on in [true, false] {
            let mut scene = Scene::new();
            overwrite(&scene);
            let left = fs::read(scene.database()).unwrap();
            if writes_on {
                let refused = scene.push(999);
                let code = refused.json()["code"].as_str().map(str::to_owned);
                assert_eq!((refused.status, code.as_deref()), (503, Some("file-replaced")), "{what}");
                // What is in memory is not answered either, as long as the server is still there.
                if let Some(read) = scene.server.try_get("/v1/users/1/overlay") {
                    assert_eq!(read.status, 503, "{what}: {read:?}");
                }
            }
            assert_eq!(scene.server.ends(), Some(1), "{what}");
            assert!(fs::read(scene.database()).unwrap() == left, "{what}: the server wrote to the file");
        }
    }
}
