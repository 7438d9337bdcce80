//! How files hang together: of two files at most one imports the other, be it through others, and a long file says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Imports that close a circle and are meant.
const MEANT: [(&str, &str); 1] = [
    // The table of scalar functions has the derivative of each, written in nodes of a graph, beside its value.
    ("ir/scalar.rs", "ir/graph.rs"),
];

/// Lines beyond which a file has to say why.
const LONG: usize = 450;

/// What such a file says in one of its first twenty lines.
const BECAUSE: &str = "Long because ";

type Route = Vec<String>;

/// A file as a module: what it imports, the paths that it names, the modules that it declares.
#[derive(Default)]
struct Module {
    file: String,
    /// Path and the name that it gets here, `*` for all names: what the file itself uses, and what it hands on.
    imports: Vec<(Route, String)>,
    exports: Vec<(Route, String)>,
    paths: Vec<Route>,
    children: BTreeSet<String>,
    defined: BTreeSet<String>,
}

/// Words, `::` and other characters of a source text without its comments and its tests.
fn tokens(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let (mut tokens, mut rest) = (vec![], code.as_str());
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Reads the tree of a `use` from `at` on, which is left behind it.
fn import(tokens: &[String], at: &mut usize, mut route: Route, found: &mut Vec<(Route, String)>) {
    loop {
        match tokens[*at].as_str() {
            "{" => {
                *at += 1;
                while tokens[*at] != "}" {
                    match tokens[*at].as_str() {
                        "," => *at += 1,
                        _ => import(tokens, at, route.clone(), found),
                    }
                }
                *at += 1;
                return;
            }
            "*" => {
                *at += 1;
                return found.push((route, "*".to_owned()));
            }
            word if word == "self" && !route.is_empty() => {}
            word => route.push(word.to_owned()),
        }
        *at += 1;
        if tokens[*at] != "::" {
            break;
        }
        *at += 1;
    }
    let mut name = route[route.len() - 1].clone();
    if tokens[*at] == "as" {
        name.clone_from(&tokens[*at + 1]);
        *at += 2;
    }
    found.push((route, name));
}

fn module(file: &str, text: &str) -> Module {
    let tokens = tokens(text);
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).map_or("", String::as_str);
        match tokens[at].as_str() {
            "use" => {
                let handed_on = at > 0 && ["pub", ")"].contains(&tokens[at - 1].as_str());
                at += 1;
                let found = if handed_on { &mut module.exports } else { &mut module.imports };
                import(&tokens, &mut at, vec![], found);
                continue;
            }
            // How far something is visible is no use of anything.
            "in" if at > 0 && tokens[at - 1] == "(" => {
                while tokens[at] != ")" {
                    at += 1;
                }
            }
            "mod" if tokens.get(at + 2).is_some_and(|end| end == ";") => {
                module.children.insert(next.to_owned());
            }
            "struct" | "enum" | "trait" | "fn" | "const" | "static" | "type" => {
                module.defined.insert(next.to_owned());
            }
            word if next == "::" && word.starts_with(char::is_alphabetic) => {
                let mut route = vec![];
                while tokens.get(at + 1).is_some_and(|colons| colons == "::") {
                    route.push(tokens[at].clone());
                    at += 2;
                }
                route.extend(tokens.get(at).cloned());
                module.paths.push(route);
            }
            _ => {}
        }
        at += 1;
    }
    module
}

/// The files of a crate as modules, by their routes from its root.
fn modules<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> BTreeMap<Route, Module> {
    let route = |file: &str| {
        let mut route: Route = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if route.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
            route.pop();
        }
        route
    };
    files.into_iter().map(|(file, text)| (route(file), module(file, &text))).collect()
}

/// A path that a module names, from the root of the crate; none where it leads out of it, or names nothing but what the
/// module has imported.
fn absolute(here: &Route, module: &Module, route: &Route) -> Option<Route> {
    let mut base = here.clone();
    match route[0].as_str() {
        "crate" => Some(route[1..].to_vec()),
        "self" => Some([&base[..], &route[1..]].concat()),
        "super" => {
            let up = route.iter().take_while(|word| *word == "super").count();
            base.truncate(base.len().checked_sub(up)?);
            Some([&base[..], &route[up..]].concat())
        }
        child if module.children.contains(child) => Some([&base[..], route].concat()),
        _ => None,
    }
}

/// The module that a name stands in, through whatever re-exports it on the way.
fn home(modules: &BTreeMap<Route, Module>, route: &[String]) -> Option<Route> {
    let inside = (0..=route.len()).rev().find(|&length| modules.contains_key(&route[..length]))?;
    let here = route[..inside].to_vec();
    let Some(name) = route.get(inside) else { return Some(here) };
    let module = &modules[&here];
    for (path, alias) in module.exports.iter().chain(&module.imports) {
        let Some(mut target) = absolute(&here, module, path) else { continue };
        if alias == name && target != route {
            target.extend_from_slice(&route[inside + 1..]);
            return home(modules, &target);
        }
        if alias == "*" && modules.get(&target).is_some_and(|module| module.defined.contains(name)) {
            return Some(target);
        }
    }
    Some(here)
}

/// The files that each file imports from.
fn edges(modules: &BTreeMap<Route, Module>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (here, module) in modules.iter().filter(|(route, _)| !route.is_empty()) {
        let named = module.imports.iter().map(|(path, _)| path).chain(&module.paths);
        let absolute = named.filter_map(|path| absolute(here, module, path));
        let homes = absolute.filter_map(|path| home(modules, &path)).filter(|home| !home.is_empty() && home != here);
        edges.entry(&module.file).or_default().extend(homes.map(|home| modules[&home].file.as_str()));
    }
    edges
}

/// Files in a circle of imports, in its order; empty where there is none.
fn circle<'a>(mut edges: BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<&'a str> {
    // What imports nothing that is left is in no circle.
    while let Some(end) = edges.iter().find(|(_, to)| to.is_empty()).map(|(&file, _)| file) {
        edges.remove(end);
        edges.values_mut().for_each(|to| {
            to.remove(end);
        });
    }
    let Some(mut file) = edges.keys().next().copied() else { return vec![] };
    let mut walk = vec![];
    while !walk.contains(&file) {
        walk.push(file);
        file = edges[file].first().expect("only files that import others are left");
    }
    walk.split_off(walk.iter().position(|other| *other == file).expect("walked"))
}

fn files(folder: &Path, endings: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, endings, found);
        } else if path.extension().is_some_and(|ending| endings.iter().any(|e| ending == *e)) {
            let relative = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn a_circle_is_found_through_what_is_handed_on() {
    let crate_of = |last: &str| {
        modules([
            ("a/mod.rs", "mod b;\nmod c;\npub use b::{B, self as again};\nfn f() { c::run() }".to_owned()),
            ("a/b.rs", "use super::c::C;\npub struct B(C);".to_owned()),
            ("a/c.rs", last.to_owned()),
        ])
    };
    let found = |last: &str| circle(edges(&crate_of(last))).join(" ");
    assert_eq!(found("use super::{B};"), "a/b.rs a/c.rs");
    assert_eq!(found("fn f() -> crate::a::B {}"), "a/b.rs a/c.rs");
    assert_eq!(found("use super::f;"), "a/c.rs a/mod.rs");
    assert_eq!(found("pub struct C; // super::B\n#[cfg(test)]\nmod tests { use super::super::f; }"), "");
}

#[test]
fn no_files_import_each_other() {
    let mut names = vec![];
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &["rs"], &mut names);
    let modules = modules(names.iter().map(|name| (name.trim_start_matches("src/"), read(name))));
    let mut edges = edges(&modules);
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 400, "imports are read");
    for (from, to) in MEANT {
        assert!(edges.get_mut(from).is_some_and(|imports| imports.remove(to)), "{from} no longer imports {to}");
    }
    let circle = circle(edges);
    assert!(circle.is_empty(), "these import each other in a circle: {}", circle.join(" → "));
}

#[test]
fn long_files_say_why() {
    let mut names = vec![];
    for folder in ["src", "tests", "xtask/src", "benches", "examples", "shaders", "www/src"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        files(&folder, &["rs", "wgsl", "ts", "svelte", "css"], &mut names);
    }
    assert!(names.len() > 250, "{} files", names.len());
    for name in names {
        let text = read(&name);
        let lines = text.lines().count();
        let says = text.lines().take(20).any(|line| line.contains(BECAUSE));
        assert!(lines <= LONG || says, "{name} has {lines} lines; split it, or say `{BECAUSE}…` in its head");
    }
}
