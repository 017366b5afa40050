//! Gradients that travel while the backward pass goes on are the same as those that travel after it, under the real mpirun.

use e2e::Workshop;

/// Trains ten steps in buckets so small that there are many, and answers with the bytes of the parameters.
fn parameters(workshop: &Workshop, ranks: usize, run: &str, sets: &[&str]) -> Vec<u8> {
    let mut job = workshop.mpirun(ranks, run);
    job.set("schedule.max_steps=10").set("parallel.bucket_mib=0.01");
    for set in sets {
        job.set(set);
    }
    job.run().code(0);
    workshop.checkpoint_file(run, 10, "parameters.safetensors")
}

/// With two ranks a + b hides an order of sums; with three and four it does not.
fn overlap_changes_no_bit(ranks: usize) {
    let workshop = Workshop::new();
    for (name, wire) in [("full", "parallel.wire=f32"), ("half", "parallel.wire=bf16")] {
        let of = |run: &str, sets: &[&str]| {
            parameters(&workshop, ranks, &format!("{run}-{name}"), &[&[wire], sets].concat())
        };
        let overlapped = of("overlapped", &[]);
        assert!(overlapped == of("again", &[]), "{ranks} ranks, {wire}: two runs differ");
        assert!(overlapped == of("after", &["parallel.overlap=false"]), "{ranks} ranks, {wire}: overlap changes bits");
        let sharded = of("sharded", &["parallel.shard_optimizer=true"]);
        let sharded_after = of("sharded-after", &["parallel.shard_optimizer=true", "parallel.overlap=false"]);
        assert!(sharded == sharded_after, "{ranks} ranks, {wire}: overlap changes bits of a sharded run");
    }
    let [full, half] =
        ["full", "half"].map(|name| workshop.checkpoint_file(&format!("again-{name}"), 10, "parameters.safetensors"));
    assert!(full != half, "{ranks} ranks: bf16 did not travel");
}

#[test]
fn of_two_ranks() {
    overlap_changes_no_bit(2);
}

#[test]
fn of_three_ranks() {
    overlap_changes_no_bit(3);
}

#[test]
fn of_four_ranks() {
    overlap_changes_no_bit(4);
}
