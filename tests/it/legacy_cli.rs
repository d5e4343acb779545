//! The `legacy` commands as an operator runs them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

use crate::legacy_tree::{flat, shapes, write, write_day, write_unusable};
use crate::process::{Server, run};

pub(crate) fn shown(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {}\n{out}{err}", output.status.code().unwrap())
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

/// A folder with a tree of ten missions, and the tree's path.
pub(crate) fn small() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("old");
    write_day(&tree, 2, 5);
    let tree = tree.to_str().unwrap().to_owned();
    (folder, tree)
}

#[test]
fn a_plan_counts_and_writes_nothing_but_its_report() {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("old");
    for sample in shapes() {
        write(&tree, &sample.path, sample.body.to_string());
    }
    let unusable = write_unusable(&tree);
    let (data, report) = (folder.path().join("data"), folder.path().join("report.ndjson"));
    let [tree, report_text] = [&tree, &report].map(|path| path.to_str().unwrap());
    let planned = run(&data, &["legacy", "plan", tree, "--report", report_text, "--json"]);
    let counts = json(&planned);
    assert!(!data.exists(), "no database is made");
    assert_eq!(counts["files"], shapes().len() + unusable.len());
    assert_eq!(sum(&counts["classes"]), counts["files"].as_u64().unwrap(), "the classes add up");
    assert_eq!(sum(&counts["quarantined"]), counts["classes"]["quarantined"].as_u64().unwrap());
    assert!(
        counts["after"]["pack_bytes"].as_u64().unwrap() > 0 && counts["inodes"].as_u64() > counts["files"].as_u64()
    );
    let report = fs::read_to_string(&report).unwrap();
    assert_eq!(report.lines().count(), shapes().len() + unusable.len());
    for (path, reason) in unusable {
        let line = report.lines().find(|line| line.contains(&format!("\"path\":\"{path}\""))).unwrap();
        assert!(line.contains(&format!("\"class\":\"quarantined\",\"reason\":\"{reason}\"")), "{line}");
    }
    let text = shown(&run(&data, &["legacy", "plan", tree]));
    assert!(text.contains("The file is empty.") && text.contains("inodes, with folders"), "{text}");
}

#[test]
fn an_import_is_shown_and_the_second_changes_nothing() {
    let (folder, tree) = small();
    let data = folder.path().join("data");
    let text = shown(&run(&data, &["legacy", "import", &tree]));
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("bytes")).collect();
    assert_snapshot!(text.join("\n"), @"
    exit 0
    the tree occupies
      files                                                  10
      inodes, with folders                                   12
      different contents                                     10
    files by class
      mission                                                10
    records
      signals                                                 2
        of these, under an id that another one has            0
      overlays                                                5
        of these, users whose facts changed                   0
      outcomes                                                0
      written                                                 7
    ");
    let export = run(&data, &["export"]).stdout;
    let commits = || json(&run(&data, &["stats", "--json"]))["commits"].clone();
    let before = commits();
    for alias in [&["legacy", "import"][..], &["legacy", "migrate"], &["migrate"]] {
        assert_eq!(json(&run(&data, &[alias, &[&tree, "--json"]].concat()))["written"], 0);
    }
    assert_eq!(run(&data, &["export"]).stdout, export);
    assert_eq!(commits(), before, "no change is counted");
}

#[test]
fn a_server_that_holds_the_file_is_named() {
    let (folder, tree) = small();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    for command in ["import", "verify"] {
        let text = shown(&run(&data, &["legacy", command, &tree]));
        assert!(
            text.starts_with("exit 2\n") && text.contains("open in another process; if that is the server"),
            "{text}"
        );
    }
    assert_eq!(run(&data, &["legacy", "plan", &tree]).status.code(), Some(0), "a plan needs no database");
    drop(server);
}

/// A file that was made before there were imports lacks the table of checkpoints; it takes one all the same.
#[test]
fn a_file_of_before_takes_an_import() {
    let (folder, tree) = small();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/data/golden/schema-1.redb");
    fs::copy(golden, data.join("overlaid.redb")).unwrap();
    assert_eq!(json(&run(&data, &["legacy", "import", &tree, "--json"]))["written"], 7);
    assert_eq!(json(&run(&data, &["legacy", "import", &tree, "--json"]))["written"], 0);
    assert_eq!(run(&data, &["legacy", "verify", &tree]).status.code(), Some(0));
    assert_eq!(json(&run(&data, &["stats", "--json"]))["signals"], 4, "what was there stays");
}

#[test]
fn a_difference_without_a_cause_is_exit_code_1() {
    let (folder, tree) = small();
    let data = folder.path().join("data");
    run(&data, &["legacy", "import", &tree]);
    assert_eq!(run(&data, &["legacy", "verify", &tree]).status.code(), Some(0));
    let mut wrong = flat("WRONG_EURUSD_1", "7000000009", 1_000, 5);
    wrong["risk_amount"] = 77.into();
    write(Path::new(&tree), "missions/wrong.json", wrong.to_string());
    run(&data, &["legacy", "import", &tree]);
    let text = shown(&run(&data, &["legacy", "verify", &tree]));
    assert!(
        text.starts_with("exit 1\n") && text.contains("missions/wrong.json: risk_amount is 77 there, 24 now"),
        "{text}"
    );
    let verified = json(&run(&data, &["legacy", "verify", &tree, "--json"]));
    assert_eq!(verified["unexplained"].as_array().unwrap().len(), 1);
}

#[test]
fn packs_are_listed_read_and_checked() {
    let (folder, tree) = small();
    let [data, out, to] = ["data", "packs", "back"].map(|name| folder.path().join(name));
    let [out_text, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    let archive = |arguments: &[&str]| run(&data, &[&["legacy", "archive"], arguments].concat());
    let name = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";
    let original = fs::read(Path::new(&tree).join(name)).unwrap();

    let packed = json(&archive(&[&tree, "--out", out_text, "--json"]));
    assert_eq!((&packed["packed"], &packed["packs"], &packed["deleted"]), (&10.into(), &1.into(), &0.into()));
    assert!(Path::new(&tree).join(name).exists(), "nothing is removed unless asked for");
    assert_snapshot!(shown(&archive(&[&tree, "--out", out_text, "--delete"])), @"
    exit 0
      files                                                  10
      packed before                                          10
      packed                                                  0
      links left                                              0
      databases left                                          0
      listed only                                             0
      changed meanwhile                                       0
      packs                                                   0
      deleted                                                10
      kept                                                    0
    ");
    assert!(!Path::new(&tree).join(name).exists());
    let list = String::from_utf8(archive(&["list", out_text]).stdout).unwrap();
    assert!(list.lines().count() == 10 && list.contains(&format!("mission     {name}")), "{list}");
    let list = String::from_utf8(archive(&["list", out_text, "--json"]).stdout).unwrap();
    assert!(list.contains("\"signals\":[\"ELITE_GUARD_EURUSD_1752645600\"],\"overlays\":[\"7000000003\"]"), "{list}");
    assert_eq!(archive(&["cat", out_text, name]).stdout, original);
    assert_eq!(archive(&["cat", out_text, "none"]).status.code(), Some(1));
    assert_snapshot!(shown(&archive(&["check", out_text])), @"
    exit 0
    2025-07-16-001: 10 files are whole
    ");
    assert_eq!(archive(&["extract", out_text, name, "--to", to_text]).status.code(), Some(0));
    assert_eq!(fs::read(to.join(name)).unwrap(), original);
    assert_eq!(
        archive(&["extract", out_text, "--to", to_text]).status.code(),
        Some(2),
        "what is there is not replaced"
    );

    let pack = out.join("2025-07-16-001.tar.zst");
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&pack, bytes).unwrap();
    assert_eq!(archive(&["check", out_text]).status.code(), Some(1));
    assert_eq!(archive(&[]).status.code(), Some(2));
    assert_eq!(archive(&[&tree]).status.code(), Some(2));
}

/// Makes a pack and its index by hand, of what the program itself makes no more or never made.
pub(crate) fn write_pack(out: &Path, pack: &str, entries: &[(&str, &str, impl AsRef<[u8]>)]) {
    fs::create_dir_all(out).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut lines = Vec::new();
    for (kind, path, content) in entries {
        let content = content.as_ref();
        let at = tar.get_ref().len();
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o644);
        if *kind == "link" {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(content).unwrap();
            header.set_size(0);
        } else {
            header.set_size(content.len() as u64);
        }
        header.set_cksum();
        if *kind != "other" {
            tar.append(&header, if *kind == "link" { &[] } else { content }).unwrap();
        }
        let line = serde_json::json!({"path": path, "kind": kind, "bytes": content.len(), "modified_ns": 0,
            "blake3": blake3::hash(content).to_hex().to_string(), "pack": pack, "frame": 0, "at": at});
        lines.push(line.to_string() + "\n");
    }
    let compress = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    fs::write(out.join(format!("{pack}.tar.zst")), compress(&tar.into_inner().unwrap())).unwrap();
    fs::write(out.join(format!("{pack}.ndjson.zst")), compress(lines.concat().as_bytes())).unwrap();
}

/// The program makes no pack that names a path outside.
#[test]
fn a_pack_can_not_write_outside_of_the_folder() {
    for name in ["../escaped.json", "/overlaid-escaped.json", "a/../../escaped.json"] {
        let folder = TempDir::new().unwrap();
        let (out, to) = (folder.path().join("packs"), folder.path().join("to"));
        write_pack(&out, "2025-07-16-001", &[("file", name, "{}")]);
        let arguments = ["legacy", "archive", "extract", out.to_str().unwrap(), "--to", to.to_str().unwrap()];
        let text = shown(&run(folder.path(), &arguments));
        assert!(text.starts_with("exit 2\n") && text.contains("names a path outside of the folder"), "{text}");
        assert!(!folder.path().join("escaped.json").exists() && !Path::new("/overlaid-escaped.json").exists());
    }
}

/// The second version speaks of an earlier day, so that its pack has the earlier name, and its file is the older one: neither
/// says which was packed last.
#[test]
fn a_path_that_was_packed_twice_comes_back_as_it_was_packed_last() {
    let name = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";
    for day in ["2025-07-16", "2025-07-10", "2025-07-20"] {
        let (folder, tree) = small();
        let [out, to, alone] =
            ["packs", "to", "alone"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
        let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
        archive(&[&tree, "--out", &out]);
        let path = Path::new(&tree).join(name);
        let newer = fs::read_to_string(&path).unwrap().replace("2025-07-16", day).replace("1003", "2003");
        fs::write(&path, &newer).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let packed = json(&archive(&[&tree, "--out", &out, "--delete", "--json"]));
        assert_eq!((&packed["packed"], &packed["deleted"], &packed["kept"]), (&1.into(), &10.into(), &0.into()));

        let text = shown(&archive(&["extract", &out, "--to", &to]));
        assert_eq!(text, "exit 0\n10 files\n1 older version left out: each path comes back as it was packed last\n");
        assert_eq!(fs::read_dir(Path::new(&to).join("missions")).unwrap().count(), 10);
        assert_eq!(fs::read_to_string(Path::new(&to).join(name)).unwrap(), newer);
        let text = shown(&archive(&["extract", &out, name, "--to", &alone]));
        assert!(text.starts_with("exit 0\n1 files\n1 older version left out"), "{text}");
        assert_eq!(fs::read_to_string(Path::new(&alone).join(name)).unwrap(), newer);
        assert_eq!(archive(&["cat", &out, name]).stdout, newer.as_bytes());
        assert_eq!(archive(&["check", &out]).status.code(), Some(0));
    }
}

/// Packs from before runs were numbered, or of another making: what changed last was packed last, else what comes later.
#[test]
fn a_path_that_is_twice_in_one_pack_comes_back_once() {
    let folder = TempDir::new().unwrap();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name));
    write_pack(
        &out,
        "2025-07-16-001",
        &[("file", "a/b.json", "1"), ("file", "c.json", "2"), ("file", "a/b.json", "3")],
    );
    write_pack(&out, "2025-07-16-999", &[("file", "d.json", "4"), ("changed", "d.json", "5")]);
    write_pack(&out, "2025-07-16-1000", &[("file", "d.json", "6")]);
    let [out, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    let text = shown(&run(folder.path(), &["legacy", "archive", "extract", out, "--to", to_text]));
    assert_eq!(text, "exit 0\n3 files\n2 older versions left out: each path comes back as it was packed last\n");
    for (path, content) in [("a/b.json", "3"), ("c.json", "2"), ("d.json", "6")] {
        assert_eq!(fs::read_to_string(to.join(path)).unwrap(), content);
        assert_eq!(run(folder.path(), &["legacy", "archive", "cat", out, path]).stdout, content.as_bytes());
    }
}

/// A file is put back as it was packed first, its time too: as it is not what was packed last, it is packed once more.
#[test]
fn a_file_that_is_an_older_version_again_is_packed_again() {
    let folder = TempDir::new().unwrap();
    let [tree, out] = ["old", "packs"].map(|name| folder.path().join(name));
    let path = tree.join("a.json");
    for (content, seconds, packed) in
        [("{\"a\":1}", 10, 1), ("{\"a\":2}", 20, 1), ("{\"a\":1}", 10, 1), ("{\"a\":1}", 10, 0)]
    {
        write(&tree, "a.json", content);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
        let [tree, out] = [&tree, &out].map(|path| path.to_str().unwrap());
        let counts = json(&run(folder.path(), &["legacy", "archive", tree, "--out", out, "--json"]));
        assert_eq!(counts["packed"], packed, "{content}");
        assert_eq!(run(folder.path(), &["legacy", "archive", "cat", out, "a.json"]).stdout, content.as_bytes());
    }
}

#[test]
fn a_file_that_stood_there_before_is_named_and_not_replaced() {
    let (folder, tree) = small();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name));
    let [out, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    run(folder.path(), &["legacy", "archive", &tree, "--out", out]);
    let name = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";
    write(&to, name, "mine");
    let text = shown(&run(folder.path(), &["legacy", "archive", "extract", out, "--to", to_text]));
    assert!(text.starts_with("exit 2\n") && text.contains(&format!("{name} is there already")), "{text}");
    assert_eq!(fs::read_to_string(to.join(name)).unwrap(), "mine");
    assert!(fs::read_dir(to.join("missions")).unwrap().count() > 1, "what comes before it is written");
}

/// A link in the folder that is extracted to leads nowhere else.
#[test]
fn a_link_in_the_way_is_not_followed() {
    let (folder, tree) = small();
    let [out, to, elsewhere] = ["packs", "to", "elsewhere"].map(|name| folder.path().join(name));
    run(folder.path(), &["legacy", "archive", &tree, "--out", out.to_str().unwrap()]);
    fs::create_dir(&to).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, to.join("missions")).unwrap();
    let arguments = ["legacy", "archive", "extract", out.to_str().unwrap(), "--to", to.to_str().unwrap()];
    let text = shown(&run(folder.path(), &arguments));
    assert!(text.starts_with("exit 2\n") && text.contains("is no folder"), "{text}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

/// What a link names may be elsewhere, or not there any more: a link is neither packed nor removed.
#[test]
fn links_stay_where_they_are_and_are_counted() {
    let (folder, tree) = small();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let links = ["l.json", "missions/out.json"].map(|name| Path::new(&tree).join(name));
    fs::write(folder.path().join("secret"), "secret").unwrap();
    for (link, target) in links.iter().zip(["missions", "../../secret"]) {
        std::os::unix::fs::symlink(target, link).unwrap();
    }
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    assert_snapshot!(shown(&archive(&[&tree, "--out", &out, "--delete"])), @"
    exit 1
      files                                                  12
      packed before                                           0
      packed                                                 10
      links left                                              2
      databases left                                          0
      listed only                                             0
      changed meanwhile                                       0
      packs                                                   1
      deleted                                                10
      kept                                                    2
    ");
    let again = json(&archive(&[&tree, "--out", &out, "--delete", "--json"]));
    assert_eq!((&again["links_left"], &again["packs"], &again["deleted"]), (&2.into(), &0.into(), &0.into()));
    assert!(links.iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
    assert_eq!(fs::read_to_string(&links[1]).unwrap(), "secret");
    assert_eq!(String::from_utf8(archive(&["list", &out]).stdout).unwrap().lines().count(), 10);
    assert_eq!(shown(&archive(&["extract", &out, "--to", &to])), "exit 0\n10 files\n");
}

/// Packs were made once that hold links: these are not lost without a word, and nothing is written through them.
#[test]
fn links_in_older_packs_are_left_out_and_said_so() {
    let folder = TempDir::new().unwrap();
    let [tree, out, to] = ["old", "packs", "to"].map(|name| folder.path().join(name));
    let entries =
        [("file", "a.json", "{}"), ("link", "l.json", "a.json"), ("link", "o", "../tree"), ("file", "o/b.json", "{}")];
    write_pack(&out, "2025-07-16-001", &entries);
    write(&tree, "a.json", "{}");
    std::os::unix::fs::symlink("a.json", tree.join("l.json")).unwrap();
    let [tree_text, out, to_text] = [&tree, &out, &to].map(|path| path.to_str().unwrap());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    let text = shown(&archive(&["extract", out, "--to", to_text]));
    assert_eq!(text, "exit 0\n2 files\n2 links left out: `cat` says where each leads\n");
    assert!(fs::symlink_metadata(to.join("l.json")).is_err() && fs::symlink_metadata(to.join("o")).unwrap().is_dir());
    let text = shown(&archive(&["extract", out, "l.json", "--to", to_text]));
    assert_eq!(text, "exit 1\n0 files\n1 link left out: `cat` says where each leads\n");
    let text = shown(&archive(&["cat", out, "o"]));
    assert!(text.starts_with("exit 1\n") && text.contains("o is packed as a link to ../tree"), "{text}");
    assert_eq!(archive(&["check", out]).status.code(), Some(0));

    assert_eq!(archive(&[tree_text, "--out", out, "--delete"]).status.code(), Some(1));
    assert!(!tree.join("a.json").exists());
    assert!(fs::symlink_metadata(tree.join("l.json")).unwrap().is_symlink(), "packed once, and left all the same");
}

/// Every command on packs, each with its exit code where half of one is lost.
fn on_half_a_pack<'a>(tree: &'a str, out: &'a str, name: &'a str, to: &'a str) -> [(Vec<&'a str>, i32); 5] {
    [
        (vec!["check", out], 1),
        (vec!["list", out], 2),
        (vec!["cat", out, name], 2),
        (vec!["extract", out, "--to", to], 2),
        (vec![tree, "--out", out, "--delete"], 2),
    ]
}

#[test]
fn a_pack_without_its_index_is_an_error_and_is_not_removed() {
    let (folder, tree) = small();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    archive(&[&tree, "--out", &out]);
    let [index, away] = ["packs/2025-07-16-001.ndjson.zst", "away"].map(|name| folder.path().join(name));
    let pack = Path::new(&out).join("2025-07-16-001.tar.zst");
    let name = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";
    let commands = on_half_a_pack(&tree, &out, name, &to);
    fs::rename(&index, &away).unwrap();
    for (command, code) in &commands {
        let text = shown(&archive(command));
        assert!(text.starts_with(&format!("exit {code}\n")), "{text}");
        assert!(text.contains("packs/2025-07-16-001.tar.zst has no index"), "{text}");
        assert!(pack.exists(), "it may be all that is left of the files");
    }

    // Beside a whole pack, what that one holds is still shown, and the other one is named.
    fs::rename(&away, &index).unwrap();
    fs::write(Path::new(&out).join("x.tar.zst"), "garbage").unwrap();
    for (command, code) in &commands {
        let output = archive(command);
        let text = shown(&output);
        assert!(text.starts_with(&format!("exit {code}\n")) && text.contains("packs/x.tar.zst has no index"), "{text}");
        let shown = match command[0] {
            "check" => text.contains("2025-07-16-001: 10 files are whole"),
            "list" => String::from_utf8_lossy(&output.stdout).lines().count() == 10,
            "cat" => output.stdout == fs::read(Path::new(&tree).join(name)).unwrap(),
            "extract" => text.contains("10 files") && Path::new(&to).join(name).exists(),
            _ => Path::new(&tree).join(name).exists(),
        };
        assert!(shown, "{command:?}: {text}");
    }
}

#[test]
fn an_index_without_its_pack_is_an_error() {
    let (folder, tree) = small();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    archive(&[&tree, "--out", &out]);
    write(Path::new(&tree), "missions/new.json", flat("NEW_EURUSD_1", "7000000009", 1_000, 5).to_string());
    archive(&[&tree, "--out", &out]);
    let name = "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000003.json";
    fs::remove_file(Path::new(&out).join("2025-07-16-001.tar.zst")).unwrap();
    let commands = on_half_a_pack(&tree, &out, name, &to);
    for (command, code) in &commands {
        let text = shown(&archive(command));
        assert!(text.starts_with(&format!("exit {code}\n")), "{text}");
        assert!(text.contains("2025-07-16-001.tar.zst is missing") || command[0] == "cat", "{text}");
    }
    assert!(Path::new(&tree).join(name).exists(), "nothing is removed");
    assert!(Path::new(&to).join("missions/new.json").exists(), "one lost pack is not everything");
    let found = archive(&["cat", &out, "missions/new.json"]);
    assert!(found.status.success() && !found.stdout.is_empty(), "the other pack does not matter");
}

#[test]
fn a_folder_without_packs_is_an_error() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("packs");
    fs::create_dir(&out).unwrap();
    let out = out.to_str().unwrap();
    for command in [&["check", out][..], &["list", out], &["cat", out, "a"], &["extract", out, "--to", "to"]] {
        let text = shown(&run(folder.path(), &[&["legacy", "archive"], command].concat()));
        assert!(text.starts_with("exit 2\n") && text.contains("packs holds no packs"), "{text}");
    }
}

/// A run that is killed leaves a pack whose index has not its name yet, and such as are half written: none counts.
#[test]
fn what_a_killed_run_leaves_is_no_error() {
    let (folder, tree) = small();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    archive(&[&tree, "--out", &out]);
    let left = ["8.tar.zst", "8.ndjson.zst.partial", "9.tar.zst.partial", "9.ndjson.zst.partial"];
    for name in left {
        fs::write(Path::new(&out).join(name), "half").unwrap();
    }
    for command in [&["check", &out][..], &["list", &out], &["extract", &out, "--to", &to], &[&tree, "--out", &out]] {
        assert_eq!(archive(command).status.code(), Some(0), "{command:?}");
    }
    assert!(left.iter().all(|name| !Path::new(&out).join(name).exists()), "the next run took it away");
}
