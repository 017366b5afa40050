//! How Rust files look: a first sentence, a bounded length, nothing left for later, no drawers.

use crate::Fault;
use crate::repository::TextFile;

/// More lines than this want a second file.
const MAX_LINES: usize = 500;

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

// In two halves, so that this file does not find itself.
const FOR_LATER: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimple", "mented!(")];

pub(super) fn check(file: &TextFile) -> Vec<Fault> {
    if !file.has_extension("rs") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if !file.text.starts_with("//! ") {
        faults.push(Fault::on_line(&file.path, 0, "opens with one `//! ` sentence that says what the file owns"));
    }
    let num_lines = file.text.lines().count();
    if num_lines > MAX_LINES {
        let message = format!("has {num_lines} lines; {MAX_LINES} is the most, so find the seam and split it");
        faults.push(Fault::whole(&file.path, message));
    }
    let parts = file.path.trim_end_matches(".rs").split('/');
    if let Some(drawer) = parts.into_iter().find(|part| DRAWERS.contains(part)) {
        faults.push(Fault::whole(&file.path, format!("is in a drawer, `{drawer}`; name it after what it holds")));
    }
    for (index, line) in file.text.lines().enumerate() {
        if let Some(word) = FOR_LATER.iter().find(|word| line.contains(**word)) {
            faults.push(Fault::on_line(&file.path, index, format!("`{word}`: finish it, or open an issue")));
        }
        if let Some(drawer) = inline_module(line).filter(|name| DRAWERS.contains(name)) {
            let message = format!("the module `{drawer}` is a drawer; name it after what it holds");
            faults.push(Fault::on_line(&file.path, index, message));
        }
    }
    faults
}

/// The name in a line such as `pub(crate) mod name {`.
fn inline_module(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    (words.next()? == "mod").then(|| words.next())?.map(|name| name.trim_end_matches(['{', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&TextFile::new(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_file_has_no_fault() {
        assert_eq!(
            messages("crates/plan/src/lib.rs", "//! What a run will do.\n\npub mod models;\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_file_without_its_first_sentence_is_a_fault() {
        for text in ["", "use std::fs;\n", "\n//! Too late.\n", "// Not a doc comment.\n"] {
            assert_eq!(messages("a.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_long_file_is_a_fault() {
        let of_lines = |lines: usize| format!("//! Long.\n{}", "//\n".repeat(lines - 1));
        assert_eq!(messages("a.rs", &of_lines(MAX_LINES)).len(), 0);
        assert!(messages("a.rs", &of_lines(MAX_LINES + 1))[0].contains("501 lines"));
    }

    #[test]
    fn drawers_are_faults_as_files_folders_and_modules() {
        for path in ["src/utils.rs", "tests/common/mod.rs", "helpers/src/lib.rs"] {
            assert_eq!(messages(path, "//! A drawer.\n").len(), 1, "{path}");
        }
        for line in ["mod misc;", "pub mod utils;", "pub(crate) mod helpers {"] {
            assert!(messages("a.rs", &format!("//! A.\n{line}\n"))[0].starts_with("a.rs:2:"), "{line}");
        }
        assert_eq!(messages("src/commonwealth.rs", "//! A state.\nmod utilities_of_power;\n").len(), 0);
    }

    #[test]
    fn what_is_left_for_later_is_a_fault() {
        for word in FOR_LATER {
            assert!(messages("a.rs", &format!("//! A.\n\n    {word} later\n"))[0].starts_with("a.rs:3:"), "{word}");
        }
    }
}
