//! `rectify-eafo`: derives, ranks and examines activations by entropy, one file a command.
fn main() {}
