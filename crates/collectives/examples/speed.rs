//! How fast ranks exchange numbers, in bytes of the buffer and on the wire, for people.
//!
//! `cargo run --release -p collectives --example speed -- 4` plays 4 ranks as threads (2 if no number is given);
//! `mpirun -np 2 target/release/examples/speed` takes processes over MPI, and with `library` behind it shows MPI's own
//! all-reduce of f32 for comparison.

use std::time::{Duration, Instant};

use collectives::{Backend, Communicator, Exchange, Phase, Reduction, Wire, connect, local_ranks};
use world::World;

const PATIENCE: Duration = Duration::from_secs(60);
const LENGTHS: [usize; 7] = [1, 1 << 10, 1 << 14, 1 << 18, 1 << 20, 5_700_000, 1 << 24];

fn main() {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("library") {
        return library::measure();
    }
    let world = World::from_env().expect("an environment that names ranks, or none");
    if world.size > 1 {
        return measure(&*connect(Backend::Mpi, &world, PATIENCE).expect("ranks that join"));
    }
    let size = argument.map_or(2, |number| number.parse().expect("a number of ranks"));
    std::thread::scope(|scope| {
        for rank in local_ranks(size, PATIENCE) {
            scope.spawn(move || measure(&*rank));
        }
    });
}

fn measure(ranks: &dyn Communicator) {
    let all_reduce = Exchange::AllReduce(Reduction::Mean);
    for (name, exchange, wire) in [
        ("all-reduce", all_reduce, Wire::Full),
        ("all-reduce", all_reduce, Wire::Bf16),
        ("reduce-scatter", Exchange::ReduceScatter(Reduction::Mean), Wire::Full),
        ("all-gather", Exchange::AllGatherShards, Wire::Full),
    ] {
        for len in LENGTHS {
            let mut numbers = vec![1.0; len];
            let seconds = median(len, || {
                let buffer = std::mem::take(&mut numbers).into();
                ranks.barrier("ready".into()).expect("all ranks");
                let began = Instant::now();
                let pending = ranks.start_exchange("speed".into(), buffer, exchange, wire);
                numbers = pending.wait().expect("all ranks").into_f32().expect("what went in");
                began.elapsed()
            });
            let halves = if exchange == all_reduce { 2.0 } else { 1.0 };
            let bytes_on_wire = if wire == Wire::Bf16 { 2.0 } else { 4.0 };
            report(ranks, &format!("{name} of {len} f32, {wire:?}"), len, halves * bytes_on_wire, seconds);
        }
    }
    for parts in [1, 8, 32] {
        let len = 1 << 20;
        let mut buffers = vec![vec![1.0; len / parts]; parts];
        let seconds = median(len, || {
            ranks.barrier("ready".into()).expect("all ranks");
            let began = Instant::now();
            let start = |(part, numbers): (usize, Vec<f32>)| {
                ranks.start_all_reduce(Phase::of_step("speed", part as u64), numbers.into(), Reduction::Mean)
            };
            let pending: Vec<_> = buffers.drain(..).enumerate().map(start).collect();
            buffers.extend(pending.into_iter().filter_map(|one| one.wait().expect("all ranks").into_f32()));
            began.elapsed()
        });
        report(ranks, &format!("{len} f32 in {parts} queued all-reduces"), len, 8.0, seconds);
    }
}

/// The median time, in seconds, of as many rounds as the size allows.
fn median(len: usize, mut round: impl FnMut() -> Duration) -> f64 {
    let rounds = (50_000_000 / (len + 100_000)).clamp(7, 500);
    let mut times: Vec<_> = (0..rounds).map(|_| round()).collect();
    times.sort();
    times[rounds / 2].as_secs_f64()
}

/// One line of rank 0. Each rank sends `bytes_each` of each number, but for the chunk that it does not send.
fn report(ranks: &dyn Communicator, what: &str, len: usize, bytes_each: f64, seconds: f64) {
    if ranks.rank() == 0 {
        let sent = (ranks.size() - 1) as f64 / ranks.size() as f64 * bytes_each * len as f64;
        let rates = [4.0 * len as f64, sent].map(|bytes| bytes / seconds / 1e9);
        println!("{what:<40} {:>10.1} µs, {:>6.3} GB/s, wire {:>6.3} GB/s", seconds * 1e6, rates[0], rates[1]);
    }
}

#[cfg(feature = "mpi")]
mod library {
    use std::time::Instant;

    use mpi::collective::SystemOperation;
    use mpi::traits::*;

    /// MPI's all-reduce (a sum) of the same buffers, without a communicator of ours.
    pub fn measure() {
        let universe = mpi::initialize().expect("MPI");
        let world = universe.world();
        for len in super::LENGTHS {
            let (numbers, mut sums) = (vec![1.0_f32; len], vec![0.0_f32; len]);
            let seconds = super::median(len, || {
                world.barrier();
                let began = Instant::now();
                world.all_reduce_into(&numbers[..], &mut sums[..], SystemOperation::sum());
                began.elapsed()
            });
            if world.rank() == 0 {
                let rate = 4.0 * len as f64 / seconds / 1e9;
                println!("MPI's all-reduce of {len} f32: {:>10.1} µs, {rate:>6.3} GB/s", seconds * 1e6);
            }
        }
    }
}

#[cfg(not(feature = "mpi"))]
mod library {
    pub fn measure() {
        eprintln!("built without MPI: build with the feature `mpi`");
    }
}
