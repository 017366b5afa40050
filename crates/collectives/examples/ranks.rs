//! What one rank of the MPI tests does. `mpirun -np 3 target/release/examples/ranks agree` prints a digest of every result's
//! bits; the other scenarios end badly on purpose, with the exit code that a trainer would use.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use collectives::{Backend, CommError, Communicator, Phase, Reduction, Wire, connect, shard};
use world::World;

#[path = "../tests/numbers/mod.rs"]
mod numbers;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().expect("a scenario");
    let mut number = || arguments.next().and_then(|text| text.parse::<f64>().ok()).expect("a number");
    let world = World::from_env().expect("started by mpirun");
    match scenario.as_str() {
        "agree" => agree(&*join(&world, 60.0)),
        "missing" => {
            let (missing, timeout) = (number() as usize, number());
            miss(&*join(&world, timeout), missing)
        }
        "late" => {
            let (late, timeout) = (number() as usize, number());
            if world.rank == late {
                forever();
            }
            end(join_result(&world, timeout).err().expect("a rank has not started"), None)
        }
        "mismatch" => {
            let ranks = join(&world, 60.0);
            let error = ranks.all_reduce_mean("gradients".into(), &mut vec![0.0; 100 + world.rank / 2]).unwrap_err();
            end(error, Some(&*ranks))
        }
        "wires" => {
            let ranks = join(&world, 60.0);
            let wire = if world.rank == 1 { Wire::Bf16 } else { Wire::Full };
            let buffer = vec![0.0_f32; 100].into();
            let pending = ranks.start_all_reduce_over("gradients".into(), buffer, Reduction::Mean, wire);
            end(pending.wait().unwrap_err(), Some(&*ranks))
        }
        "leave" => {
            let (leaving, code) = (number() as usize, number() as i32);
            let ranks = join(&world, 60.0);
            ranks.barrier("start".into()).unwrap();
            if world.rank == leaving {
                ranks.abort(code);
            }
            ranks.barrier("never".into()).unwrap();
        }
        "return" => {
            let returning = number() as usize;
            let ranks = join(&world, 60.0);
            if world.rank != returning {
                end(ranks.barrier("evaluation".into()).unwrap_err(), Some(&*ranks));
            }
            drop(ranks);
            std::thread::sleep(Duration::from_secs(1)); // for mpirun kills the others when this process is gone
        }
        other => panic!("no scenario {other}"),
    }
}

fn join(world: &World, timeout_s: f64) -> Arc<dyn Communicator> {
    join_result(world, timeout_s).expect("ranks that join")
}

fn join_result(world: &World, timeout_s: f64) -> Result<Arc<dyn Communicator>, CommError> {
    connect(Backend::Mpi, world, Duration::from_secs_f64(timeout_s))
}

/// Every kind of operation, checked here; the digest lets the test compare bits between ranks, runs and backends.
fn agree(ranks: &dyn Communicator) {
    let mut digest = DefaultHasher::new();
    for len in numbers::LENGTHS {
        for wire in [Wire::Full, Wire::Bf16] {
            let reduced = numbers::reduced_bits(ranks, len, wire);
            reduced.hash(&mut digest);
            agree_by_halves(ranks, len, wire, &reduced[1]);
        }
    }
    let mut counts = [ranks.rank() as f64, 10_001.0];
    ranks.all_reduce_sum_f64("evaluation".into(), &mut counts).unwrap();
    let size = ranks.size();
    assert_eq!(counts, [(size * (size - 1) / 2) as f64, 10_001.0 * size as f64]);

    let buckets = |step| Phase::of_step("gradients", step);
    let start = |step| ranks.start_all_reduce(buckets(step), vec![step as f32; 200_000].into(), Reduction::Mean);
    let pending: Vec<_> = (0..5).map(start).collect();
    for (step, pending) in pending.into_iter().enumerate() {
        assert!(pending.wait().unwrap().into_f32().unwrap().iter().all(|&mean| mean == step as f32));
    }

    for root in 0..size {
        let mut bytes = vec![ranks.rank() as u8; 600_000 * root + ranks.rank()];
        ranks.broadcast("id".into(), &mut bytes, root).unwrap();
        assert!(bytes == vec![root as u8; 600_000 * root + root]);
    }
    let names = ranks.all_gather("names".into(), format!("rank {}", ranks.rank()).as_bytes()).unwrap();
    assert!(names.iter().enumerate().all(|(rank, name)| *name == format!("rank {rank}").as_bytes()));
    assert_eq!(ranks.all_equal("the same parameters".into(), b"same"), Ok(()));
    assert_eq!(ranks.any("stop".into(), ranks.rank() == size - 1), Ok(true));
    ranks.barrier("end".into()).unwrap();
    println!("digest {:016x}", digest.finish());
}

/// A reduce-scatter and an all-gather give the bits of the all-reduce.
fn agree_by_halves(ranks: &dyn Communicator, len: usize, wire: Wire, mean: &[u32]) {
    let own = numbers::numbers(ranks.rank(), len).into();
    let scattered = ranks.start_reduce_scatter("scatter".into(), own, Reduction::Mean, wire).wait().unwrap();
    let scattered = scattered.into_f32().unwrap();
    let shard = shard(ranks.rank(), ranks.size(), len);
    assert!(numbers::bits(&scattered[shard.clone()]) == mean[shard], "{len} numbers, {wire:?}: the shard");
    let gathered = ranks.start_all_gather_shards("gather".into(), scattered.into(), wire).wait().unwrap();
    assert!(numbers::bits(&gathered.into_f32().unwrap()) == mean, "{len} numbers, {wire:?}");
}

fn miss(ranks: &dyn Communicator, missing: usize) {
    let mut numbers = vec![1.0; 1000];
    ranks.all_reduce_mean("warm-up".into(), &mut numbers).unwrap();
    if ranks.rank() == missing {
        forever();
    }
    let error = ranks.all_reduce_mean(Phase::of_step("gradients", 12), &mut numbers).unwrap_err();
    end(error, Some(ranks))
}

fn forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Says what is wrong and ends as a trainer would; also leaves the others the time to say it.
fn end(error: CommError, ranks: Option<&dyn Communicator>) -> ! {
    eprintln!("error: {error}");
    let code = error.exit().map_or(1, world::Exit::code);
    std::thread::sleep(Duration::from_millis(500));
    match ranks {
        Some(ranks) => ranks.abort(code),
        None => std::process::exit(code),
    }
}
