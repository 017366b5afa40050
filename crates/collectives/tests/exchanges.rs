//! What travels as bf16, and the two halves of an all-reduce: results, their bits, and ranks that disagree about them.

use std::time::Duration;

use collectives::{Backend, Buffer, CommError, Communicator, Exchange, Phase, Reduction, Wire, connect, shard};
use world::World;

mod numbers;
mod threads;
use numbers::{LENGTHS, bits, number, numbers, reduced_bits};
use threads::{PATIENT, on_ranks};

const WIRES: [Wire; 2] = [Wire::Full, Wire::Bf16];
const REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

/// One exchange of f32, awaited.
fn exchanged(ranks: &dyn Communicator, numbers: Vec<f32>, exchange: Exchange, wire: Wire) -> Vec<f32> {
    ranks.start_exchange("exchange".into(), numbers.into(), exchange, wire).wait().unwrap().into_f32().unwrap()
}

/// The bf16 nearest to a finite number, of two the one with an even last bit, found by trying.
fn nearest_bf16(exact: f32) -> f32 {
    let below = exact.to_bits() & 0xffff_0000;
    let candidates = [below, below + 0x1_0000].map(|bits| (f32::from_bits(bits), (bits >> 16) & 1));
    let distance = |candidate: f32| (f64::from(candidate) - f64::from(exact)).abs();
    let [low, high] = candidates.map(|(candidate, odd)| (distance(candidate), odd, candidate));
    if (low.0, low.1) <= (high.0, high.1) { low.2 } else { high.2 }
}

#[test]
fn sums_over_a_bf16_wire_are_equal_bit_for_bit_and_as_near_as_promised() {
    for size in 2..=5 {
        let run = || on_ranks(size, PATIENT, |rank| LENGTHS.map(|len| reduced_bits(&*rank, len, Wire::Bf16)));
        let first = run();
        assert!(first.iter().all(|rank| *rank == first[0]), "{size} ranks do not hold the same bits");
        assert!(run() == first, "two runs of {size} ranks do not give the same bits");
        for (len, [sum, mean]) in LENGTHS.into_iter().zip(&first[0]) {
            for index in 0..len {
                let parts = || (0..size).map(|rank| f64::from(number(rank, index)));
                let (exact, scale) = (parts().sum::<f64>(), parts().map(f64::abs).sum::<f64>());
                let bound = size as f64 * scale / 256.0;
                let error = |bits: u32, exact: f64| (f64::from(f32::from_bits(bits)) - exact).abs();
                assert!(error(sum[index], exact) <= bound, "sum of {size} ranks, number {index} of {len}");
                let mean_error = error(mean[index], exact / size as f64);
                assert!(mean_error <= bound / size as f64, "mean of {size} ranks, number {index} of {len}");
                assert_eq!((sum[index] & 0xffff, mean[index] & 0xffff), (0, 0), "every rank keeps a rounded number");
            }
        }
    }
}

#[test]
fn a_sum_is_rounded_on_every_hop_and_added_up_in_f32() {
    const LEN: usize = 1009;
    for size in 2..=5 {
        let results = on_ranks(size, PATIENT, |rank| reduced_bits(&*rank, LEN, Wire::Bf16));
        for index in 0..LEN {
            let chunk = (0..size).rfind(|chunk| index >= chunk * LEN / size).unwrap();
            let order = (0..size).map(|step| (chunk + step) % size);
            let whole = order.map(|rank| number(rank, index)).reduce(|sum, next| nearest_bf16(sum) + next).unwrap();
            let expected = [whole, whole / size as f32].map(|number| nearest_bf16(number).to_bits());
            assert_eq!(results[0].each_ref().map(|bits| bits[index]), expected, "{size} ranks, number {index}");
        }
    }
}

#[test]
fn reduce_scatter_and_all_gather_give_the_bits_of_the_all_reduce() {
    for size in 1..=5 {
        on_ranks(size, PATIENT, |rank| {
            for (len, wire) in LENGTHS.into_iter().flat_map(|len| WIRES.map(|wire| (len, wire))) {
                for reduction in REDUCTIONS {
                    let own = || numbers(rank.rank(), len);
                    let expected = bits(&exchanged(&*rank, own(), Exchange::AllReduce(reduction), wire));
                    let scattered = exchanged(&*rank, own(), Exchange::ReduceScatter(reduction), wire);
                    let shard = shard(rank.rank(), size, len);
                    let case = format!("{reduction:?} of {len}, {size} ranks, {wire:?}");
                    assert!(bits(&scattered[shard.clone()]) == expected[shard.clone()], "the shard: {case}");
                    // Of a gathered buffer nothing but the shard matters, in whichever form a rounded one travels.
                    for gathering in WIRES.into_iter().filter(|&gathering| wire == Wire::Bf16 || gathering == wire) {
                        let mut parts = vec![f32::NAN; len];
                        parts[shard.clone()].copy_from_slice(&scattered[shard.clone()]);
                        let gathered = exchanged(&*rank, parts, Exchange::AllGatherShards, gathering);
                        // A world of one has rounded nothing; in a larger one rounding again changes nothing.
                        assert!(bits(&gathered) == expected, "gathered in {gathering:?}: {case}");
                    }
                }
            }
        });
    }
}

#[test]
fn halves_in_double_precision_are_whole_on_any_wire() {
    for size in 1..=5 {
        on_ranks(size, PATIENT, |rank| {
            for (len, wire) in LENGTHS.into_iter().flat_map(|len| WIRES.map(|wire| (len, wire))) {
                let own: Vec<_> = (0..len).map(|index| f64::from(number(rank.rank(), index)) / 3.0).collect();
                let mut expected = own.clone();
                rank.all_reduce_sum_f64("sum".into(), &mut expected).unwrap();
                let scattered = rank.start_reduce_scatter("scatter".into(), own.into(), Reduction::Sum, wire);
                let gathered = rank.start_all_gather_shards("gather".into(), scattered.wait().unwrap(), wire);
                let gathered = gathered.wait().unwrap().into_f64().unwrap();
                let same = gathered.iter().zip(&expected).all(|(one, other)| one.to_bits() == other.to_bits());
                assert!(gathered.len() == len && same, "{len} numbers, {size} ranks");
            }
        });
    }
}

#[test]
fn every_rank_gets_every_shard_and_its_own_rounded() {
    for size in 2..=5 {
        for wire in WIRES {
            let results = on_ranks(size, PATIENT, |rank| {
                let mut own = vec![f32::NAN; 1009];
                own[shard(rank.rank(), size, 1009)].fill(1.0 / (rank.rank() + 3) as f32);
                exchanged(&*rank, own, Exchange::AllGatherShards, wire)
            });
            for gathered in results {
                for from in 0..size {
                    let exact = 1.0 / (from + 3) as f32;
                    let expected = if wire == Wire::Full { exact } else { nearest_bf16(exact) };
                    assert!(gathered[shard(from, size, 1009)].iter().all(|&number| number == expected));
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_passes() {
    type Row = (fn(usize) -> f32, fn(f32) -> bool); // the number of a rank, and what its sum is
    let rows: [Row; 6] = [
        (|rank| if rank == 1 { f32::NAN } else { 1.0 }, f32::is_nan),
        // A NaN that tells itself in the half that is cut off.
        (|rank| if rank == 0 { f32::from_bits(0x7f80_0001) } else { 1.0 }, f32::is_nan),
        (|rank| if rank == 0 { f32::INFINITY } else { 1.0 }, |sum| sum == f32::INFINITY),
        (|rank| if rank == 1 { f32::NEG_INFINITY } else { 1.0 }, |sum| sum == f32::NEG_INFINITY),
        (|rank| [f32::INFINITY, f32::NEG_INFINITY][rank % 2], f32::is_nan),
        (|_| f32::MAX, |sum| sum == f32::INFINITY),
    ];
    for size in 2..=4 {
        for wire in WIRES {
            let results = on_ranks(size, PATIENT, |rank| {
                // Each in every chunk: at the rank that begins its sum, in between, and where it is whole.
                let own = (0..rows.len() * size).map(|index| rows[index % rows.len()].0(rank.rank())).collect();
                let reduced = exchanged(&*rank, own, Exchange::AllReduce(Reduction::Sum), wire);
                for (index, &sum) in reduced.iter().enumerate() {
                    assert!(rows[index % rows.len()].1(sum), "{size} ranks, {wire:?}, row {}: {sum}", index % 6);
                }
                bits(&reduced)
            });
            assert!(results.iter().all(|rank| *rank == results[0]), "NaNs have the same bits on every rank too");
        }
    }
}

#[test]
fn ranks_that_disagree_about_an_exchange_are_told_so() {
    let mean = Exchange::AllReduce(Reduction::Mean);
    let scattered = Exchange::ReduceScatter(Reduction::Mean);
    let odd = [
        (mean, Wire::Bf16, "mean of 10 f32 as bf16"),
        (scattered, Wire::Full, "scattered mean of 10 f32"),
        (Exchange::AllGatherShards, Wire::Full, "gathered shards of 10 f32"),
        (Exchange::AllGatherShards, Wire::Bf16, "gathered shards of 10 f32 as bf16"),
    ];
    for size in [2, 3] {
        for (odd, wire, words) in odd {
            let errors = on_ranks(size, PATIENT, |rank| {
                let (exchange, wire) = if rank.rank() == 1 { (odd, wire) } else { (mean, Wire::Full) };
                let phase = Phase::of_step("gradients", 3);
                rank.start_exchange(phase, vec![0.0_f32; 10].into(), exchange, wire).wait().unwrap_err()
            });
            for error in errors {
                let CommError::Mismatch { .. } = error else { panic!("{error:?}") };
                let said = error.to_string();
                for words in [words, "(mean of 10 f32"] {
                    assert!(said.contains(&format!("{words}, gradients of step 3)")), "{said}");
                }
            }
        }
    }
}

#[test]
fn a_wait_for_shards_ends_in_time() {
    let others_gave_up = std::sync::Barrier::new(3);
    let errors = on_ranks(3, Duration::from_millis(800), |rank| {
        let start = || rank.start_all_gather_shards("parameters".into(), vec![0.0_f32; 10].into(), Wire::Full);
        let error = (rank.rank() != 1).then(|| start().wait().unwrap_err());
        others_gave_up.wait();
        error
    });
    for error in errors.into_iter().flatten() {
        let CommError::Timeout { waiting_for, phase, .. } = error else { panic!("{error:?}") };
        assert_eq!((waiting_for, phase.as_str()), (vec![1], "parameters"));
    }
}

#[test]
fn what_nobody_waits_for_ends_all_the_same() {
    const LEN: usize = 300_001;
    let results = on_ranks(3, PATIENT, |rank| {
        let shard = shard(rank.rank(), 3, LEN);
        let mut tensor = vec![1.5; LEN];
        for wire in WIRES {
            // SAFETY: the tensor is left alone until the `Pending` has been dropped.
            let mut buffer = || unsafe { Buffer::from_raw_f32(tensor.as_mut_ptr(), LEN) };
            drop(rank.start_reduce_scatter("scatter".into(), buffer(), Reduction::Sum, wire));
            drop(rank.start_all_gather_shards("gather".into(), buffer(), wire));
        }
        assert_eq!(tensor[shard.start], 13.5);
        tensor
    });
    assert!(results.iter().all(|tensor| tensor.iter().all(|&number| number == 13.5)));
}

#[test]
fn a_world_of_one_keeps_its_numbers() {
    let alone = connect(Backend::Auto, &World::alone("here".into()), PATIENT).unwrap();
    let own = numbers(0, 1009);
    assert_eq!(shard(0, 1, 1009), 0..1009);
    let halves = REDUCTIONS.map(Exchange::ReduceScatter).into_iter().chain([Exchange::AllGatherShards]);
    for exchange in REDUCTIONS.map(Exchange::AllReduce).into_iter().chain(halves) {
        for wire in WIRES {
            assert_eq!(bits(&exchanged(&*alone, own.clone(), exchange, wire)), bits(&own), "{exchange:?}, {wire:?}");
        }
    }
}
