//! The repository itself keeps the rules of the house.

use xtask::{Fault, layers, repository, tidy};

fn in_words(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n{fault}")).collect()
}

#[test]
fn every_arrow_points_to_a_lower_layer() {
    let graph = layers::Graph::of_workspace(&repository::root()).unwrap();
    assert!(graph.members.len() >= layers::CRATES.len());
    // The check is only worth something if cargo told of the arrows that are known to be there.
    assert!(graph.chain("trainer", "torch-sys").is_some(), "the graph does not show that the trainer links libtorch");
    let faults = layers::check(&graph, layers::CRATES);
    assert!(faults.is_empty(), "{}", in_words(&faults));
}

#[test]
fn every_file_keeps_the_house_rules() {
    let root = repository::root();
    let files = repository::text_files(&root).unwrap();
    for known in ["README.md", "Cargo.toml", ".ci/run", "xtask/tests/house.rs"] {
        assert!(files.iter().any(|file| file.path == known), "the walk missed {known}");
    }
    let faults = tidy::check(&root).unwrap();
    assert!(faults.is_empty(), "{}", in_words(&faults));
}
