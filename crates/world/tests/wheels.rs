//! Companions of libtorch are found beside the real folder, whatever links lead to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use world::{nccl_beside, packages_beside};

/// A cache with the wheels, and a checkout with a link to libtorch, as `make setup` lays them.
fn laid_out(name: &str) -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    let (cache, checkout) = (root.join("cache/libtorch-cuda"), root.join("checkout"));
    for folder in [cache.join("torch/lib"), cache.join("nvidia/nccl/lib"), checkout.clone()] {
        fs::create_dir_all(folder).expect("a folder");
    }
    symlink(cache.join("torch"), checkout.join(".libtorch")).expect("a link");
    (cache.canonicalize().expect("the cache"), checkout)
}

#[test]
fn companions_are_found_through_a_link() {
    let (cache, checkout) = laid_out("wheels-link");
    for libtorch in
        [checkout.join(".libtorch/lib"), checkout.join("../checkout/.libtorch/lib"), cache.join("torch/lib")]
    {
        assert_eq!(packages_beside(&libtorch).as_ref(), Some(&cache), "{}", libtorch.display());
        assert!(nccl_beside(&libtorch).is_some_and(|folder| folder.is_dir()), "{}", libtorch.display());
    }
}

#[test]
fn companions_are_found_through_a_link_to_the_libraries_themselves() {
    let (cache, checkout) = laid_out("wheels-lib");
    symlink(cache.join("torch/lib"), checkout.join("lib")).expect("a link");
    assert_eq!(packages_beside(&checkout.join("lib")), Some(cache));
}

#[test]
fn a_folder_that_is_not_there_has_no_companions() {
    assert_eq!(nccl_beside(Path::new("/no/such/torch/lib")), None);
}
