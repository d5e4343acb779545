//! The old way: one file for each user and signal, with everything computed beforehand.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use crate::rig::{data, process};

/// What an old file weighs, in bytes.
const FILE_BYTES: usize = 2_500;

/// A folder of personalized missions.
#[derive(Debug)]
pub(crate) struct Files {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn write(users: usize) -> Self {
        let folder = process::folder();
        let paths = (0..users)
            .map(|number| folder.path().join(format!("mission_{}_{}.json", data::SIGNAL, data::user_id(number))));
        let paths: Vec<_> = paths.collect();
        for (number, path) in paths.iter().enumerate() {
            let mut json = format!(
                r#"{{"signal":{},"user":{},"notes":""#,
                data::signal_json(data::SIGNAL),
                data::overlay_json(number)
            );
            while json.len() < FILE_BYTES - 2 {
                json.push('.');
            }
            json.push_str("\"}");
            fs::write(path, json).unwrap();
        }
        rustix::fs::sync();
        Self { _folder: folder, paths }
    }

    /// Reads them all into one piece of memory.
    pub(crate) fn read(&self, out: &mut Vec<u8>) {
        out.clear();
        for path in &self.paths {
            fs::File::open(path).unwrap().read_to_end(out).unwrap();
        }
    }

    /// Makes the kernel forget them: all it can where this runs as root, else their content.
    pub(crate) fn cool(&self) {
        let everything = fs::OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches");
        if everything.and_then(|mut file| file.write_all(b"3")).is_ok() {
            return;
        }
        for path in &self.paths {
            let file = fs::File::open(path).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}
