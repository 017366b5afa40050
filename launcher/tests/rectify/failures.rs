//! How a run ends that went wrong by itself: the cause on top, its exit code, a restart where that helps.

use crate::stage::{Stage, place};

/// Rank 1 fails with `code` while rank 0 is at work; then rank 0, which would have failed later, is ended.
fn one_fails(code: i32) -> Stage {
    Stage::new(&format!(
        r#"echo "rank $rank says hello" >&2
           [ $rank = 1 ] && {{ sleep 0.3; fail {code} 100.5 "the true cause"; }}
           trap 'fail 75 101.5 "rank 1 is gone"' TERM
           work"#
    ))
}

#[test]
fn the_first_failing_rank_is_on_top_and_gives_the_exit_code() {
    for code in [2, 3, 4, 75] {
        let outcome = one_fails(code).run("train run.toml --nproc 3");
        assert_eq!(outcome.code, Some(code), "{}", outcome.err);
        let headline = place(&outcome.err, "rank 1 on h failed");
        let cause = place(&outcome.err, "│ the true cause");
        place(&outcome.err, &format!("exit {code}: "));
        assert!(headline < cause);
        assert!(!outcome.err[..headline].contains("says hello"), "the cause comes first:\n{}", outcome.err);
        assert!(cause < place(&outcome.err, "rank 0 says hello"), "{}", outcome.err);
        assert!(!outcome.err.contains("mpirun detected"), "mpirun's own words are not for people:\n{}", outcome.err);
    }
}

#[test]
fn a_killed_rank_is_a_lost_one() {
    let stage = Stage::new(r#"[ $rank = 1 ] && { sleep 0.3; kill -9 $$; }; work"#);
    let outcome = stage.run("train run.toml --nproc 2");
    assert_eq!(outcome.code, Some(75), "{}", outcome.err);
    place(&outcome.err, "was ended by SIGKILL (signal 9)");
    place(&outcome.err, "memory");
}

#[test]
fn a_rank_that_says_nothing_keeps_its_code_and_shows_its_words() {
    let stage = Stage::new(r#"[ $rank = 1 ] && { sleep 0.3; echo "thread main panicked" >&2; exit 101; }; work"#);
    let outcome = stage.run("train run.toml --nproc 2");
    assert_eq!(outcome.code, Some(101), "{}", outcome.err);
    place(&outcome.err, "ended with exit code 101 and no report");
    place(&outcome.err, "thread main panicked");
    place(&stage.read("logs/launcher.log"), "thread main panicked");
}

#[test]
fn a_report_of_an_earlier_try_is_not_taken_for_this_one() {
    let stage = Stage::new("exit 101");
    stage.write(
        "runs/small/logs/rank-0000.error.json",
        r#"{"rank":0,"host":"h","unix_time":1.0,"exit_code":3,"message":"long ago"}"#,
    );
    let outcome = stage.run("train run.toml");
    assert_eq!(outcome.code, Some(101), "{}", outcome.err);
    assert!(!outcome.err.contains("long ago"));
}

#[test]
fn a_retry_is_made_as_often_as_allowed_and_resumes() {
    let stage = Stage::new(
        r#"echo x >> "$run/tries"
           [ $(wc -l < "$run/tries") -lt 3 ] && fail 75 "1$(wc -l < "$run/tries")" "a peer was lost"
           exit 0"#,
    );
    let outcome = stage.run("train run.toml --restarts 1");
    assert_eq!((outcome.code, stage.read("tries").lines().count()), (Some(75), 2), "{}", outcome.err);
    place(&outcome.err, "all 1 restarts are used up");
    let words = stage.read("words.0");
    let resumed: Vec<bool> = words.lines().map(|words| words.contains("--resume auto")).collect();
    assert_eq!(resumed, [false, true]);
    assert_eq!(stage.run("train run.toml --restarts 1").code, Some(0));
}

#[test]
fn what_would_come_back_is_not_retried() {
    let stage = Stage::new(r#"echo x >> "$run/tries"; fail 3 1.0 "no data""#);
    assert_eq!(stage.run("train run.toml --restarts 5").code, Some(3));
    assert_eq!(stage.read("tries").lines().count(), 1);
}
