//! All GPUs of this machine as ranks, one thread each and without MPI: exchanges by NCCL against sums in f64, and a rank that
//! does not come. On a machine with one GPU that is a world of one.
//!
//! `crates/collectives/tests/devices.rs` has the same scenarios without a GPU, over libraries that pretend to be NCCL and CUDA.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use collectives::{CommError, Communicator, Exchange, Phase, Reduction, Wire, connect_devices, local_ranks, shard};
use kernels::cuda;
use tch::{Cuda, Device, IndexOp, Kind, Tensor};
use trainer::memory::lend;

const PATIENT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(10);
const GRADIENTS: Phase = Phase::of_step("gradients", 12);

/// Nothing; a number for some ranks only; shards of unequal lengths, for any number of ranks above one; and equal ones.
const LENGTHS: [i64; 5] = [0, 1, 1009, 1_000_003, 1 << 20];

/// Plays all ranks, with communicators of GPUs and of their host. Returns how many there are.
fn on_all_gpus(timeout: Duration, play: impl Fn(&dyn Communicator, &dyn Communicator, Device) + Sync) -> usize {
    cuda::load().expect("a machine with a GPU");
    let count = Cuda::device_count() as usize;
    let folders: Vec<PathBuf> = world::nccl_beside(&cuda::libtorch_folder()).into_iter().collect();
    std::thread::scope(|scope| {
        for (index, host) in local_ranks(count, PATIENT).into_iter().enumerate() {
            let (folders, play) = (&folders, &play);
            scope.spawn(move || {
                cuda::use_device(index).expect("a GPU that works");
                let ranks = connect_devices(Arc::clone(&host), index, folders, timeout).expect("NCCL");
                if index == 0 {
                    println!("{} over {count} GPU(s)", ranks.library().expect("a library"));
                }
                play(&*ranks, &*host, Device::Cuda(index));
            });
        }
    });
    count
}

/// What a rank brings: `(len)` in f64 on the CPU, exact in f32.
fn brought(rank: usize, len: i64) -> Tensor {
    let wave = (Tensor::arange(len, (Kind::Double, Device::Cpu)) * 0.37 + rank as f64).sin();
    wave.to_kind(Kind::Float).to_kind(Kind::Double)
}

/// By how much numbers on a GPU are apart from those expected, over `scale`.
fn apart(found: &Tensor, expected: &Tensor, scale: &Tensor) -> f64 {
    if found.numel() == 0 {
        return 0.0;
    }
    let found = found.to_device(Device::Cpu).to_kind(Kind::Double);
    ((found - expected).abs() / (scale + 1e-6)).max().double_value(&[])
}

#[test]
#[ignore = "needs an NVIDIA GPU: `make gpu-bundle` makes what runs it there"]
fn gpus_of_a_machine_exchange_their_numbers() {
    on_all_gpus(PATIENT, |ranks, _, device| {
        for len in LENGTHS {
            let all: Vec<Tensor> = (0..ranks.size()).map(|rank| brought(rank, len)).collect();
            let (sum, size) = (all.iter().sum::<Tensor>(), all.iter().map(Tensor::abs).sum::<Tensor>());
            for wire in [Wire::Full, Wire::Bf16] {
                exchange(ranks, device, wire, Reduction::Sum, (&sum, &size));
                let count = ranks.size() as f64;
                exchange(ranks, device, wire, Reduction::Mean, (&(&sum / count), &(&size / count)));
            }
        }
    });
}

/// An all-reduce, and one in two halves, of what all ranks bring; `expected` is it reduced, and the sum of the absolute values.
fn exchange(
    ranks: &dyn Communicator,
    device: Device,
    wire: Wire,
    reduction: Reduction,
    (expected, size): (&Tensor, &Tensor),
) {
    let (rank, len) = (ranks.rank(), expected.numel() as i64);
    let what = format!("rank {rank} of {}, {len} numbers over {wire:?}, {reduction:?}", ranks.size());
    // A rounding for each term of a sum.
    let unit = if wire == Wire::Full { 2f64.powi(-23) } else { 2f64.powi(-8) };
    let tolerance = ranks.size() as f64 * unit;
    let given = || brought(rank, len).to_kind(Kind::Float).to_device(device);
    let done = |numbers: &Tensor, exchange: Exchange| {
        let pending = ranks.start_exchange(GRADIENTS, lend(numbers), exchange, wire);
        drop(pending.wait().unwrap_or_else(|error| panic!("{what}: {error}")));
    };

    let whole = given();
    done(&whole, Exchange::AllReduce(reduction));
    let found = apart(&whole, expected, size);
    assert!(found <= tolerance, "{what}: all-reduce {found:e}");
    let bits: Vec<f32> = Vec::try_from(whole.to_device(Device::Cpu)).expect("numbers");
    let bits: Vec<u8> = bits.iter().flat_map(|number| number.to_le_bytes()).collect();
    let hash = blake3::hash(&bits);
    ranks
        .all_equal(Phase::new("bits of an all-reduce"), hash.as_bytes())
        .unwrap_or_else(|error| panic!("{what}: {error}"));

    let halves = given();
    done(&halves, Exchange::ReduceScatter(reduction));
    let own = shard(rank, ranks.size(), len as usize);
    let own = own.start as i64..own.end as i64;
    let of_own = |tensor: &Tensor| tensor.i(own.clone());
    let found = apart(&of_own(&halves), &of_own(expected), &of_own(size));
    assert!(found <= tolerance, "{what}: reduce-scatter {found:e}");
    // What the others reduced must come from them.
    let scattered = Tensor::full_like(&halves, f64::NAN);
    of_own(&scattered).copy_(&of_own(&halves));
    done(&scattered, Exchange::AllGatherShards);
    let found = apart(&scattered, expected, size);
    assert!(found <= tolerance, "{what}: all-gather {found:e}");
    assert!(of_own(&scattered).equal(&of_own(&halves)), "{what}: what was rounded is not rounded again");
}

#[test]
#[ignore = "needs an NVIDIA GPU: `make gpu-bundle` makes what runs it there"]
fn buckets_in_flight_end_in_their_order() {
    on_all_gpus(PATIENT, |ranks, _, device| {
        let buckets: Vec<Tensor> =
            (1..=6).map(|bucket| Tensor::full([1 << 18], f64::from(bucket), (Kind::Float, device))).collect();
        let start = |bucket| ranks.start_all_reduce(GRADIENTS, lend(bucket), Reduction::Mean);
        let started: Vec<_> = buckets.iter().map(start).collect();
        for (place, pending) in started.into_iter().enumerate() {
            drop(pending.wait().expect("all ranks came"));
            // Read on the stream that waits for this bucket only.
            let mean = buckets[place].mean(Kind::Double).double_value(&[]);
            assert!((mean - (place + 1) as f64).abs() < 1e-5, "bucket {place} of rank {}: {mean}", ranks.rank());
        }
    });
}

/// The last rank does not start the exchange: the others are told within the time-out, and their GPUs are free again.
#[test]
#[ignore = "needs an NVIDIA GPU: `make gpu-bundle` makes what runs it there"]
fn gpus_that_wait_for_another_are_freed_at_the_time_out() {
    let count = on_all_gpus(SHORT, |ranks, host, device| {
        let last = ranks.size() - 1;
        if last > 0 && ranks.rank() < last {
            let numbers = Tensor::ones([1 << 16], (Kind::Float, device));
            let pending = ranks.start_all_reduce(GRADIENTS, lend(&numbers), Reduction::Mean);
            let since = Instant::now();
            while !pending.is_done() && since.elapsed() < PATIENT / 2 {
                std::thread::sleep(Duration::from_millis(50));
            }
            let error = pending.wait().map(drop).expect_err("a rank is missing");
            assert_eq!(error.exit(), Some(world::Exit::Retry), "{error}");
            assert!(matches!(error, CommError::Timeout { .. } | CommError::Transport { .. }), "{error}");
            assert!(matches!(ranks.barrier("later".into()), Err(CommError::Poisoned { .. })));
            // Returns when the stream does not wait any more.
            cuda::synchronise(ranks.rank()).expect("a GPU that works");
        }
        host.barrier("the others are through".into()).expect("all threads come");
    });
    if count == 1 {
        println!("one GPU waits for no other: nothing was tried");
    }
}
