//! What threads that play ranks with GPUs do in the tests of NCCL, over libraries that only pretend: `devices SCENARIO RANKS`.

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use collectives::{
    Buffer, CommError, Communicator, Exchange, Phase, Reduction, Wire, check_distinct_devices, connect_devices,
    local_ranks, shard,
};

/// CUDA's default stream, which exists without being made.
const STREAM: *mut c_void = null_mut();
const GRADIENTS: Phase = Phase::of_step("gradients", 12);
const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().expect("a scenario");
    let size = arguments.next().and_then(|text| text.parse().ok()).expect("a number of ranks");
    let folders: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    std::thread::scope(|scope| {
        for host in local_ranks(size, LONG) {
            let (scenario, folders) = (&scenario, &folders);
            scope.spawn(move || {
                let rank = host.rank();
                if let Err(error) = play(scenario, host, folders) {
                    println!("rank {rank}: {:?}: {error}", error.exit());
                }
            });
        }
    });
}

fn play(scenario: &str, host: Arc<dyn Communicator>, folders: &[PathBuf]) -> Result<(), CommError> {
    let rank = host.rank();
    let join = |timeout| connect_devices(Arc::clone(&host), rank, folders, timeout);
    match scenario {
        "join" => println!("{}", join(SHORT)?.library().expect("a library")),
        "crowd" => drop(connect_devices(host, 0, folders, SHORT)?),
        "distinct" => {
            check_distinct_devices(&*host, rank)?;
            println!("rank {rank} has a GPU of its own");
        }
        "shared" => check_distinct_devices(&*host, rank / 2)?,
        "beyond" => drop(connect_devices(host, 3 * rank + 1, folders, SHORT)?),
        "agree" => agree(&*join(LONG)?, &*host),
        "missing" => {
            let ranks = join(SHORT)?;
            if rank == 1 {
                host.barrier("the other is through".into())?;
                return Ok(());
            }
            let error = exchange(&*ranks, &mut [1.0; 10], Exchange::AllReduce(Reduction::Mean), Wire::Full);
            host.barrier("the other is through".into())?;
            error?;
        }
        "watched" => watched(&*join(SHORT)?)?,
        "captured" => captured(&*join(LONG)?),
        "abort" => {
            let ranks = join(LONG)?;
            ranks.barrier("start".into())?;
            if rank == 1 {
                ranks.abort(3);
            }
            ranks.barrier("never".into())?;
        }
        other => panic!("no scenario {other}"),
    }
    Ok(())
}

/// Numbers whose sums are exact, also as bf16: of 3 ranks up to 3 · 85.
fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|index| ((index * 7 + rank * 3) % 86) as f32).collect()
}

fn on_device(numbers: &mut [f32]) -> Buffer {
    // SAFETY: the device of the tests shares the host's memory; callers wait before they look.
    unsafe { Buffer::on_device(numbers.as_mut_ptr() as u64, numbers.len(), STREAM) }
}

fn exchange(ranks: &dyn Communicator, numbers: &mut [f32], exchange: Exchange, wire: Wire) -> Result<(), CommError> {
    let buffer = ranks.start_exchange(GRADIENTS, on_device(numbers), exchange, wire).wait()?;
    assert_eq!(buffer.len(), numbers.len());
    Ok(())
}

/// Every exchange gives on devices what it gives on hosts, and what is in host memory still goes over hosts.
fn agree(ranks: &dyn Communicator, host: &dyn Communicator) {
    let (rank, size) = (ranks.rank(), ranks.size());
    for len in [0, 1, 2, 3, 5, 7, 10, 12, 1009, 1200] {
        let shard = shard(rank, size, len);
        for wire in [Wire::Full, Wire::Bf16] {
            for (reduction, tolerance) in [(Reduction::Sum, 0.0), (Reduction::Mean, 1.0 / 128.0)] {
                let what = format!("rank {rank} of {size}, {len} numbers, {wire:?}, {reduction:?}");
                let over_host = host.start_all_reduce(GRADIENTS, numbers(rank, len).into(), reduction).wait();
                let expected = over_host.unwrap().into_f32().unwrap();
                let tolerance = if wire == Wire::Full { f32::EPSILON } else { tolerance };
                let same = |some: &[f32], other: &[f32]| {
                    some.iter().zip(other).all(|(a, b)| (a - b).abs() <= tolerance * b.abs())
                        && some.len() == other.len()
                };

                let mut all = numbers(rank, len);
                exchange(ranks, &mut all, Exchange::AllReduce(reduction), wire).unwrap();
                assert!(same(&all, &expected), "{what}: {all:?}, not {expected:?}");

                let mut halves = numbers(rank, len);
                exchange(ranks, &mut halves, Exchange::ReduceScatter(reduction), wire).unwrap();
                assert!(same(&halves[shard.clone()], &expected[shard.clone()]), "{what}: the shard {halves:?}");
                let own = halves[shard.clone()].to_vec();
                (0..len).filter(|at| !shard.contains(at)).for_each(|at| halves[at] = f32::NAN);
                exchange(ranks, &mut halves, Exchange::AllGatherShards, wire).unwrap();
                assert!(same(&halves, &expected), "{what}: gathered {halves:?}");
                assert!(halves[shard.clone()] == own, "{what}: what was rounded is not changed again");
            }
        }
    }
    let mut counts = [rank as f64, 1.0];
    ranks.all_reduce_sum_f64("evaluation".into(), &mut counts).unwrap();
    assert_eq!(counts, [(size * (size - 1) / 2) as f64, size as f64]);
    let mut losses = [rank as f32];
    ranks.all_reduce_mean("loss".into(), &mut losses).unwrap();
    assert_eq!(losses, [(size - 1) as f32 / 2.0]);
    assert_eq!(ranks.any("stop".into(), rank == 0), Ok(true));

    let mut buckets = [[1.0_f32; 6], [2.0; 6], [3.0; 6]];
    let started: Vec<_> =
        buckets.iter_mut().map(|one| ranks.start_all_reduce(GRADIENTS, on_device(one), Reduction::Mean)).collect();
    drop(started); // which waits
    assert!(buckets.iter().zip([1.0, 2.0, 3.0]).all(|(bucket, mean)| bucket.iter().all(|one| one - mean < 1e-6)));
    println!("rank {rank} agrees");
}

/// An exchange that the watchdog ends: it is told where it is waited for, and every later call fails.
fn watched(ranks: &dyn Communicator) -> Result<(), CommError> {
    let mut gradients = [1.0; 10];
    let pending = ranks.start_all_reduce(GRADIENTS, on_device(&mut gradients), Reduction::Mean);
    let since = Instant::now();
    let result = loop {
        if pending.is_done() && std::env::var_os("FAKE_NCCL_ERROR").is_none() {
            break pending.wait().map(drop);
        }
        // An error that comes when the exchange is through shows at the next call, here one that needs nobody else.
        let check = ranks.start_all_reduce("check".into(), on_device(&mut []), Reduction::Sum);
        if let Err(error) = check.wait() {
            break Err(error);
        }
        assert!(since.elapsed() < LONG, "nobody ends this exchange");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(matches!(ranks.barrier("later".into()), Err(CommError::Poisoned { .. })));
    let later = ranks.start_all_reduce("later".into(), on_device(&mut [1.0; 4]), Reduction::Sum).wait();
    assert!(matches!(later, Err(CommError::Poisoned { .. })));
    result
}

/// Exchanges that a graph captures: nobody asks for their events.
fn captured(ranks: &dyn Communicator) {
    for _ in 0..3 {
        let mut gradients = [ranks.rank() as f32; 10];
        let pending = ranks.start_all_reduce_over(GRADIENTS, on_device(&mut gradients), Reduction::Sum, Wire::Bf16);
        std::thread::sleep(Duration::from_millis(30)); // some looks of the watchdog
        assert!(pending.is_done());
        pending.wait().unwrap();
        assert_eq!(gradients, [(ranks.size() * (ranks.size() - 1) / 2) as f32; 10]);
    }
    println!("rank {} captured", ranks.rank());
}
