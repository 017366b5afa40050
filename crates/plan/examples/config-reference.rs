//! Prints the reference of all keys of a config, which is `docs/config.md`.

fn main() {
    print!("{}", plan::config::reference());
}
