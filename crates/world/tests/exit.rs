//! Exit codes: their numbers are an interface to launchers and batch systems, so they never change.

use world::Exit;

#[test]
fn codes_are_fixed_and_go_both_ways() {
    assert_eq!(Exit::ALL.map(Exit::code), [0, 2, 3, 4, 75]);
    for exit in Exit::ALL {
        assert_eq!(Exit::from_code(exit.code()), Some(exit));
        assert!(!exit.meaning().is_empty());
    }
    for bug in [-1, 1, 101] {
        assert_eq!(Exit::from_code(bug), None);
    }
}

#[test]
fn only_outside_causes_are_worth_a_retry() {
    for code in [75, 128 + 9, 128 + 15] {
        assert!(Exit::worth_a_retry(code), "{code}");
    }
    for code in [0, 1, 2, 3, 4, 101, 128 + 6, 128 + 11] {
        assert!(!Exit::worth_a_retry(code), "{code}");
    }
}

#[test]
fn this_process_has_at_least_one_core() {
    assert!(world::cores() >= 1);
}
