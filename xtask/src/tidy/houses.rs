//! The table of crates in `docs/architecture.md` says the same as the one that the layering check uses.

use crate::Fault;
use crate::layers::Place;
use crate::repository::TextFile;

const TABLE: &str = "docs/architecture.md";

pub(super) fn check(file: &TextFile, places: &[Place]) -> Vec<Fault> {
    if file.path != TABLE {
        return Vec::new();
    }
    let rows: Vec<(usize, u8, &str)> = file.text.lines().enumerate().filter_map(row).collect();
    let mut faults = Vec::new();
    for place in places {
        match rows.iter().find(|(_, _, folder)| *folder == place.folder) {
            None => faults.push(Fault::whole(TABLE, format!("its table has no row for {}/", place.folder))),
            Some((index, layer, _)) if *layer != place.layer => {
                let message = format!("{}/ is on layer {}, not {layer}", place.folder, place.layer);
                faults.push(Fault::on_line(TABLE, *index, message));
            }
            Some(_) => {}
        }
    }
    for (index, _, folder) in rows {
        if !places.iter().any(|place| place.folder == folder) {
            faults.push(Fault::on_line(TABLE, index, format!("{folder}/ is no crate of the workspace")));
        }
    }
    faults
}

/// Line number, layer and folder of a row such as ``| 1 | `crates/plan/` | … |``.
fn row((index, line): (usize, &str)) -> Option<(usize, u8, &str)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let layer = cells.next()?.parse().ok()?;
    let folder = cells.next()?.strip_prefix('`')?.strip_suffix("/`")?;
    Some((index, layer, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: &[Place] = &[Place { name: "plan", folder: "crates/plan", layer: 1, never: &[] }];

    fn messages(text: &str) -> Vec<String> {
        check(&TextFile::new(TABLE, text), PLACES).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_that_agrees_is_right() {
        assert_eq!(messages("| layer | crate |\n|---|---|\n| 1 | `crates/plan/` | a | b |\n"), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_wrong_and_a_stale_row_are_faults() {
        assert!(messages("no table\n")[0].contains("no row for crates/plan/"));
        assert!(messages("| 2 | `crates/plan/` | a |\n")[0].contains(":1: crates/plan/ is on layer 1, not 2"));
        let stale = messages("| 1 | `crates/plan/` | a |\n| 0 | `crates/gone/` | a |\n");
        assert_eq!(stale, ["docs/architecture.md:2: crates/gone/ is no crate of the workspace"]);
    }
}
