//! Every config opens with a header that says what it is: model, data, command, cost, what to expect.

use crate::Fault;
use crate::repository::TextFile;

/// Fewer lines of comment than this cannot say it.
const MIN_HEADER_LINES: usize = 2;

pub(super) fn check(file: &TextFile) -> Vec<Fault> {
    if !file.path.starts_with("configs/") || !file.has_extension("toml") {
        return Vec::new();
    }
    let num_lines = file.text.lines().take_while(|line| line.starts_with('#')).count();
    let message = "opens with a comment: what it trains, the command, how long it takes, what comes out";
    if num_lines < MIN_HEADER_LINES { vec![Fault::on_line(&file.path, 0, message)] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_without_a_header_is_a_fault() {
        for text in ["", "name = \"x\"\n", "\n# Too late.\n# Really.\n", "# One line.\nname = \"x\"\n"] {
            assert_eq!(check(&TextFile::new("configs/paper/x.toml", text)).len(), 1, "{text:?}");
            assert_eq!(check(&TextFile::new("crates/plan/Cargo.toml", text)), Vec::new());
        }
    }

    #[test]
    fn a_config_with_one_is_right() {
        let text = "# ViT-Tiny on CIFAR-10.\n#     rectify train configs/x.toml\nname = \"x\"\n";
        assert_eq!(check(&TextFile::new("configs/x.toml", text)), Vec::new());
    }
}
