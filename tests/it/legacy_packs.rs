//! Packs of old files as an operator makes and reads them: nothing is lost on the way in, and each file comes back.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::kit::{
    MISSION, done, flat, json, program, run, shapes, shown, skipped, small_tree, tree_entries, write_day, write_old,
    write_pack, write_shapes, write_unusable,
};

#[test]
fn files_go_into_packs_and_come_out_again() {
    let folder = TempDir::new().unwrap();
    let [tree, out, to] = ["old", "packs", "back"].map(|name| folder.path().join(name));
    write_shapes(&tree);
    let unusable = write_unusable(&tree);
    let [tree_text, out_text, to_text] = [&tree, &out, &to].map(|path| path.to_str().unwrap());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    let packed = json(&archive(&[tree_text, "--out", out_text, "--json"]));
    let files = (shapes().len() + unusable.len()) as u64;
    assert_eq!((&packed["files"], &packed["packed"]), (&files.into(), &(files - 4).into()));
    assert_eq!((&packed["links_left"], &packed["listed_only"]), (&3.into(), &1.into()), "links and a socket stay");
    assert_eq!(archive(&["check", out_text]).status.code(), Some(0));
    let again = json(&archive(&[tree_text, "--out", out_text, "--json"]));
    assert_eq!((&again["packed"], &again["packs"]), (&0.into(), &0.into()));
    assert_eq!((&again["packed_before"], &again["links_left"]), (&(files - 4).into(), &3.into()));

    let list = done(archive(&["list", out_text, "--json"]));
    assert_eq!(list.lines().count() as u64, files - 4);
    assert!(list.lines().all(|line| line.contains("\"class\":") && line.contains("\"blake3\":")));
    let reasons = list.lines().filter(|line| line.contains("\"reason\":")).count();
    assert_eq!(reasons, unusable.len() - 4 + 1, "one of the shapes is taken in part");
    let original = fs::read(tree.join("user_registry.json")).unwrap();
    assert_eq!(archive(&["cat", out_text, "user_registry.json"]).stdout, original);
    assert_eq!(archive(&["cat", out_text, "bad/s"]).status.code(), Some(1));
    assert_eq!(archive(&["extract", out_text, "missions", "--to", to_text]).status.code(), Some(0));
    let missions = tree_entries(&tree).into_iter().filter(|(path, _)| path.starts_with("missions/"));
    assert_eq!(tree_entries(&to), missions.collect());
}

#[test]
fn only_what_is_packed_and_unchanged_is_removed() {
    let folder = TempDir::new().unwrap();
    let [tree, out] = ["old", "packs"].map(|name| folder.path().join(name));
    write_day(&tree, 2, 20);
    write_unusable(&tree);
    let [tree_text, out_text] = [&tree, &out].map(|path| path.to_str().unwrap());
    let archive = ["legacy", "archive", tree_text, "--out", out_text, "--json"];
    run(folder.path(), &archive);
    // What a killed run leaves does not count and does not stay.
    for name in ["2025-07-16-900.tar.zst.partial", "2025-07-16-901.tar.zst", "2025-07-16-901.ndjson.zst.partial"] {
        fs::write(out.join(name), "x").unwrap();
    }
    write_old(&tree, "bad/odd.json", "{\"colour\":\"green\"}");
    let delete = [&archive[..], &["--delete"]].concat();
    assert_eq!(json(&run(folder.path(), &delete))["packed"], 1, "the changed file is packed anew");
    assert!(!out.join("2025-07-16-901.tar.zst").exists());
    let left: Vec<_> = tree_entries(&tree).into_keys().collect();
    assert_eq!(left, ["bad/dangling.json", "bad/loop.json", "bad/parent", "bad/s"], "only links and the socket stay");

    write_old(&tree, "bad/odd.json", "{\"colour\":\"red\"}");
    let pack = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).min().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&pack, bytes).unwrap();
    assert_eq!(run(folder.path(), &delete).status.code(), Some(2), "a damaged pack stops all removing");
    assert!(tree.join("bad/odd.json").exists());
    let checked = run(folder.path(), &["legacy", "archive", "check", out_text, "--json"]);
    let damaged = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(damaged.lines().filter(|line| !line.contains("\"damage\":[]")).count(), 1);
}

/// A name may hold what moves the cursor of a terminal, or what a shell would take for something else.
#[test]
fn a_strange_name_is_shown_as_a_shell_takes_it() {
    let folder = TempDir::new().unwrap();
    let [tree, out] = ["old", "packs"].map(|name| folder.path().join(name));
    let names = ["it's a mission.json", "two\nlines\u{1b}[31m.json", "$(reboot).json", "plain-1.json"];
    for (at, name) in names.iter().enumerate() {
        write_old(&tree, name, flat(&format!("X_{at}"), "1", 1_000, 5).to_string());
    }
    let out_text = out.to_str().unwrap();
    done(run(folder.path(), &["legacy", "archive", tree.to_str().unwrap(), "--out", out_text]));
    let list = done(run(folder.path(), &["legacy", "archive", "list", out_text]));
    assert_eq!(list.lines().count(), names.len(), "{list}");
    assert!(!list.contains('\u{1b}') && list.contains(" plain-1.json"), "{list}");
    for line in list.lines() {
        let (_, shown) = line.split_once("mission ").unwrap();
        let program = program();
        let command =
            format!("{} legacy archive cat {out_text} {}", program.get_program().to_str().unwrap(), shown.trim_start());
        let read = std::process::Command::new("bash").args(["-c", &command]).output();
        let Ok(read) = read else { return skipped("there is no bash") };
        assert!(read.status.success() && read.stdout.starts_with(b"{"), "{command}: {read:?}");
    }
}

#[test]
fn packs_are_listed_read_and_checked() {
    let (folder, tree) = small_tree();
    let [data, out, to] = ["data", "packs", "back"].map(|name| folder.path().join(name));
    let [out_text, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    let archive = |arguments: &[&str]| run(&data, &[&["legacy", "archive"], arguments].concat());
    let name = MISSION;
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
    let list = done(archive(&["list", out_text]));
    assert!(list.lines().count() == 10 && list.contains(&format!("mission     {name}")), "{list}");
    let list = done(archive(&["list", out_text, "--json"]));
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

/// Permissions without their kind.
fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// The owner's permissions come back, not the group's or others': missions hold balances. The pack keeps all of them
/// for `tar`.
#[test]
fn modes_and_times_come_back() {
    let folder = TempDir::new().unwrap();
    let [tree, out, to] = ["old", "packs", "back"].map(|name| folder.path().join(name));
    let day = Duration::from_hours(24);
    let files = [
        ("a/0600.json", 0o600, UNIX_EPOCH + day / 7),
        ("a/0400.json", 0o400, UNIX_EPOCH - day * 400 + Duration::from_nanos(5)),
        ("a/0644.json", 0o644, UNIX_EPOCH - Duration::from_nanos(1)),
    ];
    for (path, mode, time) in files {
        write_old(&tree, path, format!("{{\"{path}\":1}}"));
        let file = File::options().write(true).open(tree.join(path)).unwrap();
        file.set_modified(time).unwrap();
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
    }
    let [tree_text, out_text, to_text] = [&tree, &out, &to].map(|path| path.to_str().unwrap());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    assert_eq!(archive(&[tree_text, "--out", out_text, "--delete"]).status.code(), Some(0));
    assert_eq!(archive(&["extract", out_text, "--to", to_text]).status.code(), Some(0));
    for (path, mode_then, time) in files {
        let path = to.join(path);
        assert_eq!((mode(&path), fs::metadata(&path).unwrap().modified().unwrap()), (mode_then & 0o700, time));
    }
    let pack = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).min().unwrap();
    let mut tar = tar::Archive::new(zstd::Decoder::new(File::open(pack).unwrap()).unwrap());
    let headers: Vec<_> = tar.entries().unwrap().map(|entry| entry.unwrap().header().clone()).collect();
    assert_eq!(headers.iter().map(|header| header.mode().unwrap()).collect::<Vec<_>>(), [0o400, 0o600, 0o644]);
    let seconds = |header: &tar::Header| i64::from_be_bytes(header.as_old().mtime[4..].try_into().unwrap());
    assert_eq!(seconds(&headers[0]), -400 * 86_400, "a time before 1970 is a number below zero");
}

/// Reports, packs, indexes, folders and extracted files hold balances: only their owner reads them, whatever the umask.
#[test]
fn what_is_written_is_its_owners_alone() {
    let (folder, tree) = small_tree();
    let [data, out, to, report] = ["data", "a/packs", "b/back", "report"].map(|name| folder.path().join(name));
    let [out_text, to_text, report_text] = [&out, &to, &report].map(|path| path.to_str().unwrap());
    for (command, code) in [
        (&["legacy", "plan", &tree, "--report", report_text][..], 0),
        (&["legacy", "archive", &tree, "--out", out_text], 0),
        (&["legacy", "archive", "extract", out_text, "--to", to_text], 0),
    ] {
        assert_eq!(run(&data, command).status.code(), Some(code), "{command:?}");
    }
    let mut paths = vec![report, folder.path().join("a"), folder.path().join("b"), out.clone(), to.clone()];
    paths.push(to.join("missions"));
    for folder in [out, to.join("missions")] {
        paths.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert_eq!(paths.len(), 6 + 2 + 10);
    for path in paths {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn nothing_is_written_through_a_link_at_a_temporary_name() {
    let (folder, tree) = small_tree();
    let [data, out, report, export] = ["data", "packs", "report", "export"].map(|name| folder.path().join(name));
    let victim = folder.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    fs::create_dir(&out).unwrap();
    for name in ["report.part", "export.part", "packs/2025-07-16-001.tar.zst.partial"] {
        std::os::unix::fs::symlink(&victim, folder.path().join(name)).unwrap();
    }
    let [out, report, export] = [&out, &report, &export].map(|path| path.to_str().unwrap());
    for command in [
        &["legacy", "import", &tree, "--report", report][..],
        &["legacy", "archive", &tree, "--out", out],
        &["export", "--out", export],
    ] {
        assert_eq!(run(&data, command).status.code(), Some(0), "{command:?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(fs::read_to_string(report).unwrap().lines().count(), 10);
}

/// The program makes no pack that names a path outside.
#[test]
fn a_pack_can_not_write_outside_of_the_folder() {
    for name in ["../escaped.json", "/overlaid-escaped.json", "a/../../escaped.json"] {
        let folder = TempDir::new().unwrap();
        let (out, to) = (folder.path().join("packs"), folder.path().join("to"));
        write_pack(&out, "2025-07-16-001", 1, &[("file", name, "{}")]);
        let arguments = ["legacy", "archive", "extract", out.to_str().unwrap(), "--to", to.to_str().unwrap()];
        let text = shown(&run(folder.path(), &arguments));
        assert!(text.starts_with("exit 2\n") && text.contains("names a path outside of the folder"), "{text}");
        assert!(!folder.path().join("escaped.json").exists() && !Path::new("/overlaid-escaped.json").exists());
    }
}

/// The second version speaks of an earlier day, so that its pack has the earlier name, and its file is the older one:
/// neither says which was packed last.
#[test]
fn a_path_that_was_packed_twice_comes_back_as_it_was_packed_last() {
    let name = MISSION;
    for day in ["2025-07-16", "2025-07-10", "2025-07-20"] {
        let (folder, tree) = small_tree();
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

/// The program makes no pack that holds a path twice, and none of the same run that hold a path each: what comes later
/// counts, the packs of a day by their numbers.
#[test]
fn a_path_that_is_twice_in_one_pack_comes_back_once() {
    let folder = TempDir::new().unwrap();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name));
    write_pack(
        &out,
        "2025-07-16-001",
        1,
        &[("file", "a/b.json", "1"), ("file", "c.json", "2"), ("file", "a/b.json", "3")],
    );
    write_pack(&out, "2025-07-16-999", 1, &[("file", "d.json", "4"), ("changed", "d.json", "5")]);
    write_pack(&out, "2025-07-16-1000", 1, &[("file", "d.json", "6")]);
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
        write_old(&tree, "a.json", content);
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

/// What a damaged pack gives is never taken for the file.
#[test]
fn a_file_that_is_not_what_the_index_says_is_not_extracted() {
    let folder = TempDir::new().unwrap();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name));
    write_pack(&out, "2025-07-16-001", 1, &[("file", "a.json", "1")]);
    let index = out.join("2025-07-16-001.ndjson.zst");
    let lines = String::from_utf8(zstd::decode_all(File::open(&index).unwrap()).unwrap()).unwrap();
    let of_another = blake3::hash(b"2").to_hex().to_string();
    let lines = lines.replace(&blake3::hash(b"1").to_hex().to_string(), &of_another);
    fs::write(&index, zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    let [out, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    let text = shown(&run(folder.path(), &["legacy", "archive", "extract", out, "--to", to_text]));
    assert!(
        text.starts_with("exit 2\n") && text.contains("a.json: the pack does not hold what its index says"),
        "{text}"
    );
    assert!(!to.join("a.json").exists());
}

#[test]
fn a_line_of_an_index_that_lacks_a_member_is_damaged() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("packs");
    let index = out.join("2025-07-16-001.ndjson.zst");
    let [pack, out_text] = ["2025-07-16-001", out.to_str().unwrap()];
    for member in ["mode", "run", "blake3"] {
        write_pack(&out, pack, 1, &[("file", "a.json", "1")]);
        let mut line: serde_json::Value =
            serde_json::from_reader(zstd::Decoder::new(File::open(&index).unwrap()).unwrap()).unwrap();
        line.as_object_mut().unwrap().remove(member).unwrap();
        fs::write(&index, zstd::encode_all(line.to_string().as_bytes(), 1).unwrap()).unwrap();
        for (command, code) in [("check", 1), ("list", 2)] {
            let text = shown(&run(folder.path(), &["legacy", "archive", command, out_text]));
            assert!(text.starts_with(&format!("exit {code}\n")), "{text}");
            assert!(text.contains("2025-07-16-001.ndjson.zst holds a damaged line"), "{text}");
        }
    }
}

#[test]
fn a_file_that_stood_there_before_is_named_and_not_replaced() {
    let (folder, tree) = small_tree();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name));
    let [out, to_text] = [&out, &to].map(|path| path.to_str().unwrap());
    run(folder.path(), &["legacy", "archive", &tree, "--out", out]);
    let name = MISSION;
    write_old(&to, name, "mine");
    let text = shown(&run(folder.path(), &["legacy", "archive", "extract", out, "--to", to_text]));
    assert!(text.starts_with("exit 2\n") && text.contains(&format!("{name}: it is there already")), "{text}");
    assert_eq!(fs::read_to_string(to.join(name)).unwrap(), "mine");
    assert!(fs::read_dir(to.join("missions")).unwrap().count() > 1, "what comes before it is written");
}

/// A link in the folder that is extracted to leads nowhere else.
#[test]
fn a_link_in_the_way_is_not_followed() {
    let (folder, tree) = small_tree();
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
    let (folder, tree) = small_tree();
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
    overlaid: l.json is a symbolic link: it stays
    overlaid: missions/out.json is a symbolic link: it stays
    ");
    let again = json(&archive(&[&tree, "--out", &out, "--delete", "--json"]));
    assert_eq!((&again["links_left"], &again["packs"], &again["deleted"]), (&2.into(), &0.into(), &0.into()));
    assert!(links.iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
    assert_eq!(fs::read_to_string(&links[1]).unwrap(), "secret");
    assert_eq!(done(archive(&["list", &out])).lines().count(), 10);
    assert_eq!(shown(&archive(&["extract", &out, "--to", &to])), "exit 0\n10 files\n");
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
    let (folder, tree) = small_tree();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    archive(&[&tree, "--out", &out]);
    let [index, away] = ["packs/2025-07-16-001.ndjson.zst", "away"].map(|name| folder.path().join(name));
    let pack = Path::new(&out).join("2025-07-16-001.tar.zst");
    let name = MISSION;
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
    let (folder, tree) = small_tree();
    let [out, to] = ["packs", "to"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let archive = |arguments: &[&str]| run(folder.path(), &[&["legacy", "archive"], arguments].concat());
    archive(&[&tree, "--out", &out]);
    write_old(Path::new(&tree), "missions/new.json", flat("NEW_EURUSD_1", "7000000009", 1_000, 5).to_string());
    archive(&[&tree, "--out", &out]);
    let name = MISSION;
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

/// A run that is killed leaves a pack without a named index, and half-written files: none counts.
#[test]
fn what_a_killed_run_leaves_is_no_error() {
    let (folder, tree) = small_tree();
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
