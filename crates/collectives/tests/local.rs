//! Threads as ranks: results, their bits, and what happens when ranks disagree or do not come.

use std::time::Duration;

use collectives::{Backend, Buffer, CommError, Communicator, Phase, Reduction, Wire, connect};
use world::{Exit, World};

mod numbers;
mod threads;
use numbers::{LENGTHS, number, reduced_bits};
use threads::{PATIENT, on_ranks};

#[test]
fn reductions_are_right_and_equal_bit_for_bit() {
    for size in 1..=5 {
        let run = || on_ranks(size, PATIENT, |rank| LENGTHS.map(|len| reduced_bits(&*rank, len, Wire::Full)));
        let first = run();
        assert!(first.iter().all(|rank| *rank == first[0]), "{size} ranks do not hold the same bits");
        assert!(run() == first, "two runs of {size} ranks do not give the same bits");
        for (len, [sum, mean]) in LENGTHS.into_iter().zip(&first[0]) {
            assert_eq!((sum.len(), mean.len()), (len, len));
            for index in 0..len {
                let parts = || (0..size).map(|rank| f64::from(number(rank, index)));
                let (exact, scale) = (parts().sum::<f64>(), parts().map(f64::abs).sum::<f64>());
                let close = |bits: u32, exact: f64| (f64::from(f32::from_bits(bits)) - exact).abs() <= scale * 1e-6;
                assert!(close(sum[index], exact), "sum of {size} ranks, number {index} of {len}");
                assert!(close(mean[index], exact / size as f64), "mean of {size} ranks, number {index} of {len}");
            }
        }
    }
}

#[test]
fn the_order_of_a_sum_is_the_documented_one() {
    const LEN: usize = 1009;
    for size in 2..=5 {
        let results = on_ranks(size, PATIENT, |rank| {
            let [sum, _] = reduced_bits(&*rank, LEN, Wire::Full);
            sum
        });
        for (index, &bits) in results[0].iter().enumerate() {
            let chunk = (0..size).rfind(|chunk| index >= chunk * LEN / size).unwrap();
            let order = (0..size).map(|step| (chunk + step) % size);
            let expected = order.map(|rank| number(rank, index)).reduce(|sum, next| sum + next).unwrap();
            assert_eq!(bits, expected.to_bits(), "{size} ranks, number {index}");
        }
    }
}

#[test]
fn counts_are_exact_in_double_precision() {
    const LARGE: f64 = 4_503_599_627_370_497.0; // 2⁵² + 1
    for sums in on_ranks(3, PATIENT, |rank| {
        let mut counts = [rank.rank() as f64, if rank.rank() == 1 { LARGE } else { 0.0 }, 10_001.0];
        rank.all_reduce_sum_f64("evaluation".into(), &mut counts).unwrap();
        counts
    }) {
        assert_eq!(sums, [3.0, LARGE, 30_003.0]);
    }
}

#[test]
fn several_reductions_in_flight_end_in_order() {
    let results = on_ranks(4, PATIENT, |rank| {
        let start = |bucket: u64| {
            let numbers = vec![(rank.rank() as u64 + bucket) as f32; 100_000];
            rank.start_all_reduce(Phase::of_step("gradients", bucket), numbers.into(), Reduction::Mean)
        };
        let pending: Vec<_> = (0..6).map(start).collect();
        drop(start(6)); // nobody wants this one, and nothing is lost by it
        let of_all: Vec<_> = pending.into_iter().map(|one| one.wait().unwrap().into_f32().unwrap()).collect();
        rank.barrier("end".into()).unwrap();
        of_all
    });
    for rank in results {
        for (bucket, numbers) in rank.into_iter().enumerate() {
            assert!(numbers.len() == 100_000 && numbers.iter().all(|&number| number == bucket as f32 + 1.5));
        }
    }
}

#[test]
fn memory_of_others_is_reduced_in_place() {
    let results = on_ranks(2, PATIENT, |rank| {
        let mut tensor = vec![rank.rank() as f32 + 1.0; 10];
        // SAFETY: the middle of the tensor is left alone until the buffer is back.
        let middle = unsafe { Buffer::from_raw_f32(tensor.as_mut_ptr().add(2), 5) };
        let pending = rank.start_all_reduce("gradients".into(), middle, Reduction::Sum);
        assert_eq!(pending.wait().unwrap().len(), 5);
        tensor
    });
    let own = |rank: f32| [rank, rank, 3.0, 3.0, 3.0, 3.0, 3.0, rank, rank, rank];
    assert_eq!(results, [own(1.0).to_vec(), own(2.0).to_vec()]);
}

#[test]
fn bytes_of_any_length_are_gathered_and_broadcast() {
    let block = |rank: usize, len: usize| (0..len).map(|at| (at * 31 + rank) as u8).collect::<Vec<_>>();
    for size in 1..=5 {
        on_ranks(size, PATIENT, |rank| {
            // A message holds 60 KiB, eight bytes of which tell a length in the first.
            for len in [0, 1, 7, 300_000, 61_440 - 8, 61_440] {
                let own = block(rank.rank(), len * rank.rank());
                let all = rank.all_gather("names".into(), &own).unwrap();
                assert!(
                    all.iter().enumerate().all(|(from, bytes)| *bytes == block(from, len * from)) && all.len() == size
                );
                for root in 0..size {
                    let mut bytes = block(rank.rank(), len + rank.rank());
                    rank.broadcast("id".into(), &mut bytes, root).unwrap();
                    assert!(bytes == block(root, len + root), "{len} bytes from rank {root} of {size}");
                }
            }
            rank.barrier("end".into()).unwrap();
        });
    }
}

#[test]
fn ranks_find_out_who_differs_and_go_on() {
    let phase = Phase::new("the same configuration");
    for (rank, (same, different, any, none)) in on_ranks(4, PATIENT, |rank| {
        let mine: &[u8] = if rank.rank() % 2 == 1 { b"seed = 1" } else { b"seed = 0" };
        let same = rank.all_equal(phase, b"seed = 0");
        let different = rank.all_equal(phase, mine);
        let any = rank.any("stop".into(), rank.rank() == 2).unwrap();
        (same, different, any, rank.any("stop".into(), false).unwrap())
    })
    .into_iter()
    .enumerate()
    {
        assert_eq!(same, Ok(()), "rank {rank}");
        let error = different.unwrap_err();
        assert_eq!(error, CommError::Disagreement { phase: phase.to_string(), ranks: vec![1, 3] });
        assert_eq!(error.exit(), Some(Exit::Config));
        assert!(any && !none);
    }
}

#[test]
fn a_rank_that_does_not_come_is_named_with_the_phase() {
    for (size, missing) in [(2, vec![1]), (3, vec![0]), (4, vec![2]), (5, vec![1, 3])] {
        let timeout = Duration::from_millis(1500);
        let others_gave_up = std::sync::Barrier::new(size);
        let results = on_ranks(size, timeout, |rank| {
            let mut numbers = [1.0; 100];
            rank.all_reduce_sum("warm-up".into(), &mut numbers).unwrap();
            if missing.contains(&rank.rank()) {
                others_gave_up.wait();
            } else if rank.rank() == size - 1 {
                std::thread::sleep(timeout * 2 / 3); // after the roll call, but in time
            }
            let first = rank.all_reduce_mean(Phase::of_step("gradients", 12), &mut numbers);
            if !missing.contains(&rank.rank()) {
                others_gave_up.wait();
            }
            (first.unwrap_err(), rank.barrier("later".into()).unwrap_err())
        });
        for (rank, (first, later)) in results.into_iter().enumerate() {
            match &first {
                CommError::Timeout { waiting_for, phase, waited, .. } => {
                    assert_eq!(*waiting_for, missing, "rank {rank} of {size}: {first}");
                    assert_eq!(phase, "gradients of step 12");
                    assert!(*waited >= timeout, "{first}");
                }
                other => panic!("rank {rank} of {size}: {other:?}"),
            }
            assert!(first.to_string().contains("gradients of step 12"), "{first}");
            assert_eq!((first.exit(), later.exit()), (Some(Exit::Retry), Some(Exit::Retry)));
            assert_eq!(later, CommError::Poisoned { first: Box::new(first) });
        }
    }
}

#[test]
fn ranks_in_different_operations_are_told_so() {
    type Play = fn(&dyn Communicator) -> Result<(), CommError>;
    let usual: Play = |rank| rank.all_reduce_mean(Phase::of_step("gradients", 3), &mut [0.0; 10]);
    let odd: [(Play, &str); 5] = [
        (|rank| rank.all_reduce_mean(Phase::of_step("gradients", 3), &mut [0.0; 11]), "mean of 11 f32"),
        (|rank| rank.all_reduce_sum(Phase::of_step("gradients", 3), &mut [0.0; 10]), "sum of 10 f32"),
        (|rank| rank.all_reduce_sum_f64(Phase::of_step("gradients", 3), &mut [0.0; 10]), "sum of 10 f64"),
        (|rank| rank.all_reduce_mean(Phase::of_step("gradients", 4), &mut [0.0; 10]), "gradients of step 4"),
        (|rank| rank.barrier("evaluation".into()), "barrier, evaluation"),
    ];
    for size in [2, 4] {
        for (odd, words) in odd {
            let errors = on_ranks(size, PATIENT, |rank| {
                let play = if rank.rank() == 1 { odd } else { usual };
                play(&*rank).unwrap_err()
            });
            for error in errors {
                let CommError::Mismatch { .. } = error else { panic!("{error:?}") };
                let said = error.to_string();
                assert!(said.contains(words) && said.contains("mean of 10 f32, gradients of step 3"), "{said}");
            }
        }
    }
}

#[test]
fn a_rank_that_ends_early_is_named() {
    for size in [2, 4] {
        let results = on_ranks(size, PATIENT, |rank| {
            if rank.rank() == 1 {
                return None;
            }
            Some(rank.barrier("evaluation".into()).unwrap_err())
        });
        for error in results.into_iter().flatten() {
            assert_eq!(error, CommError::PeerGone { rank: 1, phase: "evaluation".into() });
        }
    }
}

#[test]
fn a_single_process_is_a_world_of_one() {
    let world = World::alone("here".into());
    for backend in [Backend::Auto, Backend::Local, Backend::Mpi] {
        if backend == Backend::Mpi && !cfg!(feature = "mpi") {
            continue;
        }
        let alone = connect(backend, &world, PATIENT).unwrap();
        assert_eq!((alone.rank(), alone.size()), (0, 1));
        let mut numbers = [1.5, -2.0];
        alone.all_reduce_mean("gradients".into(), &mut numbers).unwrap();
        assert_eq!(numbers, [1.5, -2.0]);
        assert_eq!(alone.all_gather("names".into(), b"x").unwrap(), [b"x".to_vec()]);
    }
}

#[test]
fn a_local_world_is_one_process() {
    let world = World { rank: 1, size: 2, ..World::alone("here".into()) };
    let error = connect(Backend::Local, &world, PATIENT).err().unwrap();
    assert!(error.to_string().contains("rank 1 of 2"), "{error}");
    assert_eq!(error.exit(), Some(Exit::Config));
}
