//! The WGSL files of `shaders/` and the small preprocessor that turns one into a kernel.
//!
//! A template marks what the generator replaces with `// #hook NAME: remark` … `// #end`; between
//! the marks stands a default, so the file is valid WGSL by itself. A line `// #import NAME`, in a
//! template or in what replaces a hook, stands for the file of that name.

/// Every file of `shaders/`, by its name there.
pub const FILES: [(&str, &str); 7] = [
    ("argmax", include_str!("../../shaders/argmax.wgsl")),
    ("contract", include_str!("../../shaders/contract.wgsl")),
    ("launch", include_str!("../../shaders/launch.wgsl")),
    ("lib/math", include_str!("../../shaders/lib/math.wgsl")),
    ("lib/random", include_str!("../../shaders/lib/random.wgsl")),
    ("map", include_str!("../../shaders/map.wgsl")),
    ("reduce", include_str!("../../shaders/reduce.wgsl")),
];

/// A template that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum TemplateError {
    /// A file is imported that `shaders/` does not have.
    #[error("there is no shader file `{0}`")]
    UnknownFile(String),
    /// A hook's end is missing.
    #[error("`{file}`, line {line}: hook `{hook}` has no `// #end`")]
    Unclosed { file: String, line: usize, hook: String },
    /// A hook is left as it stands in the file.
    #[error("`{file}`, line {line}: nothing replaces hook `{hook}`")]
    Unfilled { file: String, line: usize, hook: String },
    /// A file does not begin its entry point as the others do.
    #[error("`{0}` has no entry point of a group and a lane")]
    NoEntry(String),
    /// A text is given for a hook that the file does not have.
    #[error("`{file}` has no hook `{hook}`")]
    UnknownHook { file: String, hook: String },
}

fn text(name: &str) -> Result<&'static str, TemplateError> {
    let found = FILES.iter().find(|(file, _)| *file == name);
    found.map(|(_, text)| *text).ok_or_else(|| TemplateError::UnknownFile(name.to_owned()))
}

/// The file `name` with every hook replaced by its text; each hook must be given, and no other.
/// Comments of the template's head stay out: the text is the key of the table of pipelines.
pub fn expand(name: &str, hooks: &[(&str, String)]) -> Result<String, TemplateError> {
    let file = || name.to_owned();
    let mut out = String::new();
    let mut used = vec![false; hooks.len()];
    let mut lines = text(name)?.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(mark) = line.trim_start().strip_prefix("// #hook ") else {
            push(&mut out, line, "")?;
            continue;
        };
        let hook = mark.split(':').next().unwrap_or(mark).trim();
        let line_number = at + 1;
        let Some(position) = hooks.iter().position(|(given, _)| *given == hook) else {
            return Err(TemplateError::Unfilled { file: file(), line: line_number, hook: hook.to_owned() });
        };
        if !lines.by_ref().any(|(_, line)| line.trim() == "// #end") {
            return Err(TemplateError::Unclosed { file: file(), line: line_number, hook: hook.to_owned() });
        }
        used[position] = true;
        let indent = &line[..line.len() - line.trim_start().len()];
        for line in hooks[position].1.lines() {
            push(&mut out, line, indent)?;
        }
    }
    match used.iter().position(|used| !used) {
        Some(unused) => Err(TemplateError::UnknownHook { file: file(), hook: hooks[unused].0.to_owned() }),
        None => Ok(out),
    }
}

/// How the entry point of every template begins.
const ENTRY: &str = "@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
";

/// The entry point of a file as a function of another name, with its constants within it and without what it is bound to.
pub fn function(file: &str, name: &str, constants: &str, hooks: &[(&str, String)]) -> Result<String, TemplateError> {
    let outside = ["constants", "bindings", "functions"].map(|hook| (hook, String::new()));
    let text = expand(file, &[&outside, hooks].concat())?;
    let head = format!("fn {name}(group: vec3<u32>, lane: u32) {{\n{constants}");
    let (_, body) = text.split_once(ENTRY).ok_or_else(|| TemplateError::NoEntry(file.to_owned()))?;
    Ok(head + body)
}

/// Appends a line of code, or the file it imports; leaves out comments.
fn push(out: &mut String, line: &str, indent: &str) -> Result<(), TemplateError> {
    if let Some(import) = line.trim().strip_prefix("// #import ") {
        for line in text(import.trim())?.lines() {
            push(out, line, indent)?;
        }
    } else if !line.trim_start().starts_with("//") {
        out.push_str(indent);
        out.push_str(line);
        out.push('\n');
    }
    Ok(())
}

/// Fails where a text is no shader.
#[cfg(test)]
pub fn validate(wgsl: &str) {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_valid_by_itself() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let mut names = vec![];
        for (prefix, folder) in [("", folder.clone()), ("lib/", folder.join("lib"))] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if let Some(stem) = name.strip_suffix(".wgsl") {
                    names.push(format!("{prefix}{stem}"));
                }
            }
        }
        names.sort();
        assert_eq!(names, FILES.map(|(name, _)| name));
        for (_, text) in FILES {
            validate(text);
        }
    }

    #[test]
    fn hooks_are_replaced_and_imports_inserted() {
        let hooks = |functions: &str| {
            [
                ("constants", "const ELEMENTS = 3u;\nconst GROUP = 8u;\nconst GRID_X = 1u;".to_owned()),
                ("bindings", "@group(0) @binding(0) var<storage, read_write> b0: array<f32>;".to_owned()),
                ("functions", functions.to_owned()),
                ("finish", "b0[flat] = softplus(1.0);".to_owned()),
            ]
        };
        let wgsl = expand("map", &hooks("// #import lib/math")).unwrap();
        assert!(wgsl.contains("\n    b0[flat] = softplus(1.0);\n"));
        assert!(!wgsl.contains("source") && !wgsl.contains("//"));
        validate(&wgsl);
        assert_eq!(
            expand("map", &hooks("// #import lib/none")),
            Err(TemplateError::UnknownFile("lib/none".to_owned()))
        );
    }

    #[test]
    fn an_entry_point_can_be_a_function() {
        let finish = [("finish", "b0[flat] = 1.0;".to_owned())];
        let text = function("map", "loop3", "const ELEMENTS = 3u;\n", &finish).unwrap();
        assert!(text.starts_with("fn loop3(group: vec3<u32>, lane: u32) {\nconst ELEMENTS = 3u;\n    let flat"));
        let error = function("lib/math", "loop0", "", &[]).unwrap_err();
        assert!(error.to_string().contains("no hook"), "{error}");
    }

    #[test]
    fn wrong_hooks_are_named() {
        let unfilled = expand("map", &[("constants", String::new())]).unwrap_err();
        assert!(unfilled.to_string().contains("nothing replaces hook `bindings`"), "{unfilled}");
        let names = ["constants", "bindings", "functions", "finish", "sum"];
        let unknown = expand("map", &names.map(|name| (name, String::new()))).unwrap_err();
        assert_eq!(unknown.to_string(), "`map` has no hook `sum`");
    }
}
