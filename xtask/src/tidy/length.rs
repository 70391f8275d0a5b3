//! Files and functions are short enough to be held in one's head.

use crate::exceptions::Exceptions;
use crate::{File, Finding, Tree};

/// Lines of a source file, tests included.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function outside tests, from its signature to its closing brace. A test may be one long table.
const FUNCTION_LINES_MAX: usize = 60;

pub(super) fn files_are_short(tree: &Tree) -> Vec<Finding> {
    let exceptions = Exceptions::read(tree);
    let sources = tree.ending(&[".rs", ".c", ".h"]);
    let judged = sources.filter_map(|file| {
        let lines = file.text.lines().count();
        let exception = exceptions.long_file.iter().find(|exception| exception.path == file.path);
        let most = exception.map_or(FILE_LINES_MAX, |exception| exception.lines);
        if lines > most {
            let message =
                format!("{lines} lines, more than {most}: a file that holds two ideas is split in two");
            return Some(Finding::new(file.path, 0, message));
        }
        // The ratchet turns one way.
        (exception.is_some() && lines <= FILE_LINES_MAX)
            .then(|| Finding::new(file.path, 0, "needs its exception for length no longer: remove it"))
    });
    judged.collect()
}

pub(super) fn functions_are_short(tree: &Tree) -> Vec<Finding> {
    let exceptions = Exceptions::read(tree);
    let mut findings = Vec::new();
    for file in tree.ending(&[".rs", ".c", ".h"]) {
        let production = file.production_lines().count();
        for function in functions(file).into_iter().filter(|function| function.line <= production) {
            let mut listed = exceptions.long_function.iter();
            let exception = listed.find(|e| e.path == file.path && e.name == function.name);
            let most = exception.map_or(FUNCTION_LINES_MAX, |exception| exception.lines);
            if function.lines > most {
                let Function { name, line, lines } = function;
                let message = format!("{name} has {lines} lines, more than {most}: tell its story in parts");
                findings.push(Finding::new(file.path, line, message));
            }
        }
    }
    findings
}

/// A function found in a file.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// Functions by their shape after formatting: a first line with the name, a last line that is the closing brace at the
/// same indentation.
fn functions(file: File<'_>) -> Vec<Function> {
    let lines: Vec<&str> = file.text.lines().collect();
    let name_of = if file.path.ends_with(".rs") { rust_function_name } else { c_function_name };
    let found = lines.iter().enumerate().filter_map(|(index, line)| {
        let name = name_of(line)?;
        let indentation = line.len() - line.trim_start().len();
        let closing = format!("{}}}", &line[..indentation]);
        let body = &lines[index..];
        let end = body.iter().position(|line| *line == closing)?;
        // A declaration without a body ends in a semicolon before any brace closes.
        let declared = body[..end].iter().position(|line| line.ends_with(';'));
        let opened = body[..end].iter().position(|line| line.ends_with('{'))?;
        let has_body = declared.is_none_or(|declared| opened < declared);
        has_body.then(|| Function { name: name.to_owned(), line: index + 1, lines: end + 1 })
    });
    found.collect()
}

/// The name in a line such as `    pub(crate) async fn name<T>(`.
fn rust_function_name(line: &str) -> Option<&str> {
    let words = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
    let (before, after) = line.split_once("fn ")?;
    let is_head =
        before.split_whitespace().all(|word| words.iter().any(|w| word == *w || word.starts_with("pub(")));
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    is_head.then(|| &after[..end])
}

/// The name in a line such as `static __always_inline int name(struct ctx *c)`.
fn c_function_name(line: &str) -> Option<&str> {
    let starts_here = line.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let (head, _) = line.split_once('(').filter(|_| starts_here && !line.ends_with(';'))?;
    head.split_whitespace().last().map(|name| name.trim_start_matches('*'))
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_function_is_measured_from_head_to_brace() {
        let text =
            "impl A {\n    pub async fn go<T>(\n        a: T,\n    ) {\n    }\n    fn one(&self);\n}\n";
        let found = functions(File { path: "a.rs", text });
        assert_eq!(found, [Function { name: "go".to_owned(), line: 2, lines: 4 }]);
        let text = "static int drop(struct a *a,\n\t\tint b)\n{\n\treturn 1;\n}\n";
        let text = text.replace(")\n{", ") {");
        let found = functions(File { path: "a.c", text: &text });
        assert_eq!(found, [Function { name: "drop".to_owned(), line: 1, lines: 4 }]);
    }

    #[test]
    fn a_long_function_is_found_unless_it_is_listed() {
        let body = "    a();\n".repeat(60);
        let text = format!("fn long() {{\n{body}}}\n");
        assert_eq!(places(functions_are_short, &[("a.rs", &text)]), ["a.rs:1"]);
        let listed =
            "[[long_function]]\npath = 'a.rs'\nname = 'long'\nlines = 62\nreason = 'one table of cases'\n";
        assert_eq!(
            places(functions_are_short, &[("a.rs", &text), ("xtask/exceptions.toml", listed)]),
            [""; 0]
        );
    }

    #[test]
    fn a_long_file_is_found_and_a_needless_exception_too() {
        let long = "x\n".repeat(501);
        let listed = "[[long_file]]\npath = 'a.rs'\nlines = 600\nreason = 'one table of cases'\n";
        assert_eq!(places(files_are_short, &[("a.rs", &long)]), ["a.rs:0"]);
        assert_eq!(places(files_are_short, &[("a.rs", &long), ("xtask/exceptions.toml", listed)]), [""; 0]);
        assert_eq!(
            places(files_are_short, &[("a.rs", "x\n"), ("xtask/exceptions.toml", listed)]),
            ["a.rs:0"]
        );
    }
}
