//! Which module may use which: layers point one way, and no modules use each other in a circle.
//!
//! The uses are read from the `use` lines, and from paths in the code that start with `crate::` or `super::`. An item
//! that a front door only passes on (`pub use`) counts as a use of the module that it comes from.

use std::collections::{BTreeMap, BTreeSet};

use super::sources;

/// Each layer, and the layers that it may use. A module that is in no layer, as the crate's front door, may use any.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("render", &["domain"]),
    ("store", &["domain"]),
    ("cache", &["domain", "render", "store"]),
    ("metrics", &["domain"]),
    ("service", &["domain", "render", "store", "cache", "metrics"]),
    ("http", &["domain", "render", "service", "metrics"]),
    ("legacy", &["domain", "render", "store", "service"]),
    ("config", &["domain"]),
    ("client", &["service", "http"]),
    ("cli", &["domain", "store", "service", "http", "client", "legacy", "config"]),
];

/// By the name of each module (`store::codec` for `src/store/codec.rs`): the modules that its `use` lines name.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The module that a file is.
fn module_of(file: &str) -> String {
    file.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::")
}

/// One `use` of a file, on one line.
struct Declaration {
    /// Whether it passes on what it names.
    is_public: bool,
    names: String,
}

/// The `use` declarations of a file, and one for each path that its code names in full; those of its tests are left
/// out.
fn declarations(text: &str) -> Vec<Declaration> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut open: Option<Declaration> = None;
    for line in code.lines() {
        let text = line.trim();
        let rest = ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|visibility| text.strip_prefix(visibility));
        if let Some(declaration) = &mut open {
            declaration.names.push_str(text);
        } else if let Some(names) = rest.unwrap_or(text).strip_prefix("use ") {
            // Inside of a module in the same file, `super` is the file's own.
            let is_inner = line.starts_with(' ');
            let names = if is_inner { names.replacen("super::", "self::", 1) } else { names.to_owned() };
            open = Some(Declaration { is_public: rest.is_some(), names });
        } else if !text.starts_with("//") {
            let inline = inline_paths(line).into_iter().map(|names| Declaration { is_public: false, names });
            found.extend(inline);
        }
        if let Some(mut declaration) = open.take_if(|declaration| declaration.names.ends_with(';')) {
            declaration.names.pop();
            found.push(declaration);
        }
    }
    found
}

/// The paths in a line of code that start at the crate's root or at a parent module.
fn inline_paths(line: &str) -> Vec<String> {
    let is_in_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = line.split(|letter: char| !is_in_path(letter));
    let starts = |word: &&str| word.starts_with("crate::") || word.starts_with("super::");
    words.filter(starts).map(|word| word.trim_end_matches(':').to_owned()).collect()
}

/// The paths that a declaration names: `a::{b, c::d}` names `a::b` and `a::c::d`.
fn paths(declaration: &str) -> Vec<String> {
    let Some((prefix, group)) = declaration.split_once('{') else { return vec![declaration.trim().to_owned()] };
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for letter in group.trim_end().trim_end_matches('}').chars().chain([',']) {
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                parts.last_mut().unwrap().push(letter);
            }
        }
    }
    let named = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    named.flat_map(|part| paths(&format!("{}{part}", prefix.trim()))).collect()
}

/// What is known of a source when paths are followed.
struct Source {
    modules: BTreeSet<String>,
    /// By its path (`store::Row`): the path of what a front door passes on under that name.
    passed_on: BTreeMap<String, String>,
}

impl Source {
    /// The path from the crate's root that is meant by one inside of `module`; `None` if it leads to another crate.
    fn absolute(&self, path: &str, module: &str) -> Option<String> {
        let mut segments = path.split(" as ").next()?.split("::").peekable();
        let mut place: Vec<&str> = module.split("::").collect();
        match *segments.peek()? {
            "crate" => {
                segments.next();
                place.clear();
            }
            "self" => drop(segments.next()),
            "super" => {
                while segments.next_if(|segment| *segment == "super").is_some() {
                    place.pop();
                }
            }
            // A child of this module, or another crate.
            child => drop(self.modules.get(&format!("{module}::{child}"))?),
        }
        place.extend(segments);
        Some(place.join("::"))
    }

    /// The module that an absolute path leads to.
    fn module(&self, path: &str) -> Option<String> {
        // A child and what is passed on of it may have one name.
        if let Some(origin) = self.passed_on.get(path).filter(|origin| !origin.starts_with(path)) {
            return self.module(origin);
        }
        if self.modules.contains(path) { Some(path.to_owned()) } else { self.module(path.rsplit_once("::")?.0) }
    }
}

fn graph<'a>(files: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Graph {
    let files = files.filter(|(file, _)| !file.ends_with("/tests.rs"));
    let modules = files.clone().map(|(file, _)| module_of(file)).collect();
    let mut source = Source { modules, passed_on: BTreeMap::new() };
    let mut uses = Vec::new();
    for (file, text) in files.clone() {
        let module = module_of(file);
        for Declaration { is_public, names } in declarations(text) {
            for path in paths(&names) {
                let Some(absolute) = source.absolute(&path, &module) else { continue };
                let name = path.rsplit("::").next().unwrap_or_default();
                let name = name.split(" as ").last().unwrap_or_default();
                if is_public {
                    source.passed_on.insert(format!("{module}::{name}"), absolute);
                } else {
                    uses.push((module.clone(), absolute));
                }
            }
        }
    }
    let mut graph: Graph = files.map(|(file, _)| (module_of(file), BTreeSet::new())).collect();
    for (module, path) in uses {
        if let Some(used) = source.module(&path).filter(|used| *used != module) {
            graph.entry(module).or_default().insert(used);
        }
    }
    graph
}

/// The modules that can be reached from one, by one use or more.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ahead: Vec<&str> = vec![from];
    while let Some(module) = ahead.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if found.insert(next.clone()) {
                ahead.push(next);
            }
        }
    }
    found
}

/// Modules that use each other, directly or through other modules.
fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    let reached: BTreeMap<&str, _> = graph.keys().map(|module| (module.as_str(), reached(graph, module))).collect();
    let uses = |one: &str, other: &str| reached.get(one).is_some_and(|found| found.contains(other));
    let in_circle = graph.keys().filter(|module| uses(module, module));
    let circle =
        |module: &String| graph.keys().filter(|other| uses(module, other) && uses(other, module)).cloned().collect();
    in_circle.map(circle).collect()
}

/// Uses of a layer that the layer of the user may not use.
fn breaches(graph: &Graph) -> BTreeSet<(String, String)> {
    let layer = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut found = BTreeSet::new();
    for (module, uses) in graph {
        let Some((own, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer(module)) else { continue };
        for used in uses.iter().filter(|used| layer(used) != *own && !allowed.contains(&&*layer(used))) {
            found.insert((module.clone(), used.clone()));
        }
    }
    found
}

fn of_source() -> Graph {
    let files = sources("src");
    let graph = graph(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert!(graph["store::writer"].contains("store::batch"), "the walk reads the uses");
    graph
}

#[test]
fn layers_point_one_way() {
    assert_eq!(breaches(&of_source()), BTreeSet::new());
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    assert_eq!(circles(&of_source()), BTreeSet::new());
}

/// The test sees what it is there to see.
#[test]
fn a_circle_and_a_layer_that_points_back_are_found() {
    let files = [
        ("src/store.rs", "mod codec;\nmod rows;\npub use rows::Row;\n"),
        ("src/store/codec.rs", "use super::{\n    rows::{Row, Rows},\n    Store,\n};\n"),
        ("src/store/rows.rs", "use super::codec::{self, Codec};\nuse crate::service::Service as Other;\n"),
        (
            "src/service.rs",
            "use redb::Database;\nuse crate::store::Row;\n#[cfg(test)]\nmod tests {\nuse crate::http::run;\n}\n",
        ),
        ("src/http.rs", "use crate::store::Row;\nmod inner {\n    use super::Row;\n}\n"),
        ("src/domain.rs", "// crate::http\nfn json() {\n    crate::render::write(&[]);\n}\n"),
        ("src/render.rs", "use crate::domain::Signal;\n"),
    ];
    let graph = graph(files.into_iter());
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let uses = |module: &str| graph[module].iter().cloned().collect::<Vec<_>>();
    assert_eq!(uses("store"), names(&[]));
    assert_eq!(uses("store::codec"), names(&["store", "store::rows"]));
    assert_eq!(uses("service"), names(&["store::rows"]), "what a front door passes on");
    let expected = [names(&["domain", "render"]), names(&["service", "store::codec", "store::rows"])];
    assert_eq!(circles(&graph), BTreeSet::from(expected));
    let breach = |module: &str, used: &str| (module.to_owned(), used.to_owned());
    let expected = [breach("domain", "render"), breach("http", "store::rows"), breach("store::rows", "service")];
    assert_eq!(breaches(&graph), BTreeSet::from(expected));
}
