//! No path of one person's machine in any file.

use crate::Fault;
use crate::repository::TextFile;

// In two halves, so that this file does not find itself.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
];

pub(super) fn check(file: &TextFile) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| holds_absolute(line, path)) {
            let message = format!(
                "`{path}…` is there on one machine only; use a path inside the repository or a temporary folder"
            );
            faults.push(Fault::on_line(&file.path, index, message));
        }
    }
    faults
}

/// Whether `path` stands in the line as the beginning of a path, not within a longer one.
fn holds_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "_-./~})>*".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_path_of_a_machine_is_a_fault() {
        for path in MACHINE_PATHS {
            let file = TextFile::new("configs/a.toml", &format!("# A.\npath = \"{path}data\"\n"));
            assert_eq!(check(&file).len(), 1, "{path}");
            assert_eq!(check(&file)[0].line, Some(2));
            assert_eq!(check(&TextFile::new("a.md", &format!("{path}data"))).len(), 1);
        }
    }

    #[test]
    fn a_path_within_a_longer_one_is_not() {
        for path in MACHINE_PATHS {
            let text = format!("docs{path}x  ..{path}x  ${{HOME}}{path}x  https://example.org{path}x");
            assert_eq!(check(&TextFile::new("a.md", &text)), Vec::new(), "{path}");
        }
    }
}
