//! How results are told: tables for people, folders that are made when they are asked for.

use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

/// A table with its first column to the left and the others to the right.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// A number with four decimals, or a dash.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}").replace('-', "−"))
}

/// A share in percent, or a dash.
pub fn percent(value: Option<f64>) -> String {
    // An empty sum is −0.
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.2} %", 100.0 * value + 0.0).replace("-0.00", "0.00"))
}

/// Makes a folder with its parents.
pub fn folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

/// A name for files: letters and digits of the texts, with single dashes between.
pub fn slug(texts: &[&str]) -> String {
    let whole = texts.join("-").to_lowercase();
    let plain: String = whole.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(slug(&["crrelu(-0.1)", "student-t(5)"]), "crrelu-0.1-student-t-5");
        assert_eq!(slug(&["gelu", "kde(/some dir/x.txt)"]), "gelu-kde-some-dir-x.txt");
    }
}
