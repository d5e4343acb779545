//! Trees of old files, made up: every known shape, every kind of unusable file, and a whole day; and packs of them.

mod shapes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

pub(crate) use shapes::{flat, shapes};

/// One of the files that [`small_tree`] and [`write_day`] write.
pub(crate) const MISSION: &str = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";

/// Writes a file and the folders above it.
pub(crate) fn write_old(root: &Path, path: &str, body: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
}

/// Writes one file of every known shape.
pub(crate) fn write_shapes(root: &Path) {
    for sample in shapes() {
        write_old(root, &sample.path, sample.body.to_string());
    }
}

/// Writes every kind of unusable file; returns path and reason.
pub(crate) fn write_unusable(root: &Path) -> Vec<(&'static str, &'static str)> {
    let good = flat("GOOD_EURUSD_1752645049", "7000000001", 1, 1).to_string();
    let files: Vec<(&'static str, &'static str, Vec<u8>)> = vec![
        ("bad/array.json", "array", b"[{\"signal_id\":\"x\"}]".to_vec()),
        ("bad/utf16.json", "not_utf8", b"\xff\xfe{\0}\0".to_vec()),
        ("bad/duplicate.json", "duplicate_member", b"{\"signal_id\":\"a\",\"signal_id\":\"b\"}".to_vec()),
        ("bad/empty.json", "empty", Vec::new()),
        ("bad/empty_object.json", "empty_object", b"{}".to_vec()),
        ("bad/huge.json", "too_large", vec![b' '; 1_048_577]),
        ("bad/latin.json", "not_utf8", b"{\"a\":\"\xe9\"}".to_vec()),
        ("bad/lines.json", "json_lines", format!("{good}\n{good}\n").into_bytes()),
        ("bad/log.jsonl", "json_lines", b"{\"signal_id\":\"x\"}\n".to_vec()),
        (
            "bad/message.json",
            "telegram_message",
            b"{\"message_id\":1,\"mission_id\":\"x\",\"symbol\":\"EURUSD\"}".to_vec(),
        ),
        ("bad/nan.json", "not_a_number", b"{\"direction\":\"BUY\",\"stop_loss\":NaN}".to_vec()),
        ("bad/nobody.json", "no_user_id", b"{\"X_1\":{\"user_uuid\":\"X_1\",\"balance\":5}}".to_vec()),
        ("bad/notice.json", "notification", b"{\"type\":\"fire\",\"data\":{\"direction\":\"BUY\"}}".to_vec()),
        ("bad/number.json", "no_object", b"7".to_vec()),
        ("bad/odd.json", "not_recognised", b"{\"colour\":\"blue\"}".to_vec()),
        ("bad/text.json", "malformed_json", b"mission".to_vec()),
        ("bad/truncated.json", "truncated", good.as_bytes()[..300].to_vec()),
    ];
    let mut all = Vec::new();
    for (path, reason, body) in files {
        write_old(root, path, body);
        all.push((path, reason));
    }
    let bad = root.join("bad");
    std::os::unix::fs::symlink("loop.json", bad.join("loop.json")).unwrap();
    std::os::unix::fs::symlink("nowhere.json", bad.join("dangling.json")).unwrap();
    std::os::unix::fs::symlink("..", bad.join("parent")).unwrap();
    std::os::unix::net::UnixListener::bind(bad.join("s")).unwrap();
    all.extend([
        ("bad/loop.json", "symlink_loop"),
        ("bad/dangling.json", "symlink_dangling"),
        ("bad/parent", "symlink"),
        ("bad/s", "socket"),
    ]);
    all
}

/// Writes a day: every user's file for every signal, as the old service did.
pub(crate) fn write_day(root: &Path, signals: u32, users: u32) {
    fs::create_dir_all(root.join("missions")).unwrap();
    for signal in 0..signals {
        let id = format!("ELITE_GUARD_EURUSD_{}", 1_752_645_000 + signal * 600);
        let at = format!("2025-07-16T{:02}:{:02}", 5 + signal / 6, signal % 6 * 10);
        for user in 0..users {
            let user_id = format!("{}", 7_000_000_000_u64 + u64::from(user));
            let mut body = flat(&id, &user_id, 1_000 + user, 0);
            body["created_at"] = json!(format!("{at}:{:02}.{:06}", user / 200 % 60, user % 200 * 5_000));
            body["expires_at"] = json!(format!("2025-07-16T{:02}:{:02}:00", 9 + signal / 6, signal % 6 * 10));
            let name = format!("missions/mission_{id}_{user_id}.json");
            fs::write(root.join(name), body.to_string()).unwrap();
        }
    }
}

/// A folder with a tree of ten missions, and the tree's path.
pub(crate) fn small_tree() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("old");
    write_day(&tree, 2, 5);
    let tree = tree.to_str().unwrap().to_owned();
    (folder, tree)
}

/// Every entry of a tree that is no folder, sorted, with its content; a link's is what it names, a socket has none.
pub(crate) fn tree_entries(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let content = if kind.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else if kind.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), content);
        }
    }
    found
}

/// Makes a pack and its index by hand, as the program never makes them; `entries` are kind, path and content.
pub(crate) fn write_pack(out: &Path, pack: &str, run: u64, entries: &[(&str, &str, impl AsRef<[u8]>)]) {
    fs::create_dir_all(out).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut lines = Vec::new();
    for (kind, path, content) in entries {
        let content = content.as_ref();
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).unwrap();
        let line = serde_json::json!({"path": path, "bytes": content.len(), "class": "signal", "kind": kind, "modified_ns": 0,
            "mode": 0o644, "blake3": blake3::hash(content).to_hex().to_string(), "run": run, "pack": pack});
        lines.push(line.to_string() + "\n");
    }
    let compress = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    fs::write(out.join(format!("{pack}.tar.zst")), compress(&tar.into_inner().unwrap())).unwrap();
    fs::write(out.join(format!("{pack}.ndjson.zst")), compress(lines.concat().as_bytes())).unwrap();
}
