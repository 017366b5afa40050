//! The layers of the house, and the check that every arrow between crates points to a lower one.

mod graph;

pub use graph::{Arrow, ArrowKind, Graph, Member};

use crate::Fault;
use std::fmt::Write as _;

/// A crate's place in the house.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The package's name.
    pub name: &'static str,
    /// Its folder, relative to the repository's root.
    pub folder: &'static str,
    /// Its layer. A crate uses only crates of lower layers.
    pub layer: u8,
    /// Packages that it must not use, directly or through others.
    pub never: &'static [&'static str],
}

const LIBTORCH: &[&str] = &["tch", "torch-sys"];
const LIBTORCH_OR_MPI: &[&str] = &["tch", "torch-sys", "mpi", "mpi-sys"];

/// Every crate of the workspace. `docs/architecture.md` has the same table with the reasons; a test compares them.
pub const CRATES: &[Place] = &[
    Place { name: "activations", folder: "crates/activations", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "files", folder: "crates/files", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "jpeg", folder: "crates/jpeg", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "metrics", folder: "crates/metrics", layer: 1, never: LIBTORCH_OR_MPI },
    Place { name: "random", folder: "crates/random", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "resample", folder: "crates/resample", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "world", folder: "crates/world", layer: 0, never: LIBTORCH_OR_MPI },
    Place { name: "dataloader", folder: "dataloader", layer: 2, never: LIBTORCH_OR_MPI },
    Place { name: "cuda", folder: "crates/cuda", layer: 1, never: LIBTORCH_OR_MPI },
    Place { name: "kernels", folder: "crates/kernels", layer: 1, never: &["mpi", "mpi-sys"] },
    Place { name: "eafo", folder: "crates/eafo", layer: 1, never: LIBTORCH_OR_MPI },
    Place { name: "plan", folder: "crates/plan", layer: 1, never: LIBTORCH_OR_MPI },
    Place { name: "collectives", folder: "crates/collectives", layer: 2, never: LIBTORCH },
    Place { name: "models", folder: "crates/models", layer: 2, never: &["mpi", "mpi-sys"] },
    Place { name: "launcher", folder: "launcher", layer: 3, never: LIBTORCH_OR_MPI },
    Place { name: "trainer", folder: "trainer", layer: 3, never: &[] },
    // Outside the house: they may look at everything, and nothing may use them.
    Place { name: "e2e", folder: "tests", layer: 4, never: LIBTORCH_OR_MPI },
    Place { name: "xtask", folder: "xtask", layer: 4, never: LIBTORCH_OR_MPI },
];

/// All broken rules of a graph: a crate without a place or with another folder, a place without a crate, an arrow that does not
/// point to a lower layer, a package used that must not be.
///
/// Dev-dependencies may stay on their layer (a test of one crate may use its neighbour, which cannot make a cycle of builds)
/// but may not point upward.
pub fn check(graph: &Graph, places: &[Place]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for place in places {
        if !graph.members.iter().any(|member| member.name == place.name) {
            faults.push(Fault::whole(
                place.name,
                "has a layer but is no crate of the workspace; take it out of the table",
            ));
        }
    }
    for member in &graph.members {
        let Some(place) = places.iter().find(|place| place.name == member.name) else {
            let message = "has no layer; give it one in xtask/src/layers.rs and docs/architecture.md";
            faults.push(Fault::whole(&member.name, message));
            continue;
        };
        if place.folder != member.folder {
            let message = format!("lies in {}, and its place is {}", member.folder, place.folder);
            faults.push(Fault::whole(&member.name, message));
        }
        faults.extend(member.arrows.iter().filter_map(|arrow| check_arrow(place, arrow, places)));
        for package in place.never {
            if let Some(chain) = graph.chain(&member.name, package) {
                let message = format!("must never use {package}, and does: {}", chain.join(" → "));
                faults.push(Fault::whole(&member.name, message));
            }
        }
    }
    faults
}

fn check_arrow(from: &Place, arrow: &Arrow, places: &[Place]) -> Option<Fault> {
    // An arrow to a crate without a layer needs no fault of its own: that crate has one.
    let to = places.iter().find(|place| place.name == arrow.to)?;
    let allowed = match arrow.kind {
        ArrowKind::Normal | ArrowKind::Build => to.layer < from.layer,
        ArrowKind::Dev => to.layer <= from.layer,
    };
    let message = format!(
        "is on layer {} and has {} {}, which is on layer {}; arrows point to lower layers only",
        from.layer,
        arrow.kind.in_words(),
        to.name,
        to.layer
    );
    (!allowed).then(|| Fault::whole(from.name, message))
}

/// The house, one crate a line, from the ground up: layer, folder, what it uses of ours.
pub fn describe(graph: &Graph, places: &[Place]) -> String {
    let mut places: Vec<&Place> = places.iter().collect();
    places.sort_by_key(|place| (place.layer, place.name));
    let mut text = String::new();
    for place in places {
        let member = graph.members.iter().find(|member| member.name == place.name);
        let uses: Vec<String> = member
            .map(|member| member.arrows.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|arrow| match arrow.kind {
                ArrowKind::Normal => arrow.to.clone(),
                ArrowKind::Build => format!("{} (build)", arrow.to),
                ArrowKind::Dev => format!("{} (tests)", arrow.to),
            })
            .collect();
        let arrow = if uses.is_empty() { "" } else { " → " };
        writeln!(text, "{}  {:<12} {:<20}{arrow}{}", place.layer, place.name, place.folder, uses.join(", "))
            .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: &[Place] = &[
        Place { name: "ground", folder: "crates/ground", layer: 0, never: &["tch"] },
        Place { name: "wall", folder: "crates/wall", layer: 1, never: &["tch"] },
        Place { name: "other-wall", folder: "crates/other-wall", layer: 1, never: &[] },
    ];

    fn graph(arrows: &[(&str, &str, ArrowKind)]) -> Graph {
        let mut graph = Graph::default();
        for place in PLACES {
            let ours = arrows.iter().filter(|(from, ..)| *from == place.name);
            graph.members.push(Member {
                name: place.name.to_owned(),
                folder: place.folder.to_owned(),
                arrows: ours.map(|(_, to, kind)| Arrow { to: (*to).to_owned(), kind: *kind }).collect(),
            });
        }
        for (from, to, kind) in arrows {
            if *kind != ArrowKind::Dev {
                graph.uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            }
        }
        graph
    }

    fn messages(graph: &Graph) -> Vec<String> {
        check(graph, PLACES).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_to_lower_layers_are_right() {
        assert_eq!(messages(&graph(&[("wall", "ground", ArrowKind::Normal)])), Vec::<String>::new());
    }

    #[test]
    fn an_upward_or_sideways_arrow_is_a_fault() {
        for (from, to) in [("ground", "wall"), ("wall", "other-wall")] {
            for kind in [ArrowKind::Normal, ArrowKind::Build] {
                let found = messages(&graph(&[(from, to, kind)]));
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].starts_with(from) && found[0].contains(to), "{found:?}");
            }
        }
    }

    #[test]
    fn a_dev_dependency_may_go_sideways_but_not_up() {
        assert_eq!(messages(&graph(&[("wall", "other-wall", ArrowKind::Dev)])).len(), 0);
        assert_eq!(messages(&graph(&[("ground", "wall", ArrowKind::Dev)])).len(), 1);
    }

    #[test]
    fn a_crate_without_a_layer_and_a_layer_without_a_crate_are_faults() {
        let mut graph = graph(&[]);
        graph.members[2].name = "new-room".to_owned();
        let found = messages(&graph);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("other-wall: has a layer but"));
        assert!(found[1].starts_with("new-room: has no layer"));
    }

    #[test]
    fn a_crate_in_another_folder_is_a_fault() {
        let mut graph = graph(&[]);
        graph.members[0].folder = "ground".to_owned();
        assert_eq!(messages(&graph), ["ground: lies in ground, and its place is crates/ground"]);
    }

    #[test]
    fn a_forbidden_package_is_found_through_others() {
        let mut graph = graph(&[("wall", "ground", ArrowKind::Normal)]);
        graph.uses.entry("ground".to_owned()).or_default().insert("safe-looking".to_owned());
        graph.uses.entry("safe-looking".to_owned()).or_default().insert("tch".to_owned());
        let found = messages(&graph);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].ends_with("wall → ground → safe-looking → tch"), "{found:?}");
    }
}
