//! `rectify simulate`: from the step of one GPU and a network to many GPUs.

#[cfg(test)]
mod anchors;
mod basis;
mod catalogue;
mod counts;
mod error;
mod figures;
mod measured;
mod network;
mod report;
mod scaling;
mod step;
mod timeline;

use plan::Plan;
use plan::config::{Parallel, Wire};
use world::Exit;

use crate::ending::Ending;
use crate::{check, cli};
use basis::{Basis, Origin, links, phases};
pub use catalogue::listing;
use error::SimulateError;
pub use network::Algorithm;
use network::{Link, Network};
use report::Report;
use scaling::{Scaling, Scenario, Update};
use step::{BACKWARD_SHARE, StepTime};
use timeline::Overlap;

/// More buckets than this are a slip: each costs the latency of an all-reduce.
const MOST_BUCKETS: f64 = 1e6;

/// Runs the subcommand to its end.
pub fn simulate(arguments: &cli::Simulate) -> Result<(), Ending> {
    check_ranges(arguments).map_err(Ending::config)?;
    let counts = counts::parse(&arguments.gpus).map_err(Ending::config)?;
    let (network, network_basis) = network(arguments).map_err(Ending::config)?;
    let clusters = counts
        .iter()
        .map(|gpus| network.spread(*gpus).ok_or(uneven(*gpus, &network)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Ending::config)?;
    let plan = plan(arguments, counts[0])?;
    if scaling(arguments) == Scaling::Strong {
        counts.iter().try_for_each(|gpus| check_shares(&plan, *gpus)).map_err(Ending::config)?;
    }
    let measured = arguments.from.as_deref().map(|path| measured::read(path, &plan)).transpose();
    let measured = measured.map_err(Ending::config)?;
    let (step, mut inputs) = match &measured {
        Some(measured) => (measured.step, vec![measured.basis()]),
        None => given_step(arguments, &plan).map_err(Ending::config)?,
    };
    inputs.push(network_basis);
    let scenario = scenario(arguments, &plan, network, step).map_err(Ending::config)?;
    inputs.extend(measured.and_then(|measured| basis::exchange(measured.exchange?, &scenario)));
    inputs.push(basis::parallel(&plan.config.parallel));
    let points = clusters.into_iter().map(|cluster| scenario.point(cluster)).collect();
    let report = Report::new(&plan, scenario, points, inputs);
    println!("{}", if arguments.json { report.json() } else { report.text() });
    Ok(())
}

fn uneven(gpus: usize, network: &Network) -> SimulateError {
    SimulateError::Uneven { gpus, per_node: network.gpus_per_node }
}

fn scaling(arguments: &cli::Simulate) -> Scaling {
    if arguments.strong { Scaling::Strong } else { Scaling::Weak }
}

/// Refuses numbers that no machine has, infinite and undefined ones among them.
fn check_ranges(arguments: &cli::Simulate) -> Result<(), SimulateError> {
    let positive = "a number above 0";
    let checks = [
        ("--alpha-us", arguments.alpha_us, 0.0..=1e9, "a number from 0 on"),
        ("--node-alpha-us", arguments.node_alpha_us, 0.0..=1e9, "a number from 0 on"),
        ("--gb-per-s", arguments.gb_per_s, f64::MIN_POSITIVE..=1e9, positive),
        ("--node-gb-per-s", arguments.node_gb_per_s, f64::MIN_POSITIVE..=1e9, positive),
        ("--step-ms", arguments.step_ms, f64::MIN_POSITIVE..=1e12, positive),
        ("--images-per-second", arguments.images_per_second, f64::MIN_POSITIVE..=1e12, positive),
        ("--backward-share", arguments.backward_share, 0.0..=1.0, "a share from 0 to 1"),
        ("--jitter", Some(arguments.jitter), 0.0..=1.0, "a share of the step, from 0 to 1"),
        (
            "--loader-images-per-second-per-node",
            arguments.loader_images_per_second_per_node,
            f64::MIN_POSITIVE..=1e12,
            positive,
        ),
    ];
    for (flag, value, range, expected) in checks {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            return Err(SimulateError::Range { flag, value, expected });
        }
    }
    Ok(())
}

/// The network that is named or described, and what it rests on.
fn network(arguments: &cli::Simulate) -> Result<(Network, Basis), SimulateError> {
    let quiet = "no other traffic";
    let per_node = arguments.gpus_per_node.map(|gpus| gpus as usize);
    if let Some(name) = &arguments.network {
        let named = catalogue::find(name)?;
        let network = named.network(per_node.unwrap_or(catalogue::GPUS_PER_NODE));
        let words = format!("{} ({}): {}; {quiet}", named.name, named.words, links(&network));
        return Ok((network, Basis::new(Origin::Assumed, "network", words)));
    }
    let link = |alpha_us: f64, gb_per_s: f64| Link { alpha_s: alpha_us / 1e6, bytes_per_s: gb_per_s * 1e9 };
    let (Some(alpha_us), Some(gb_per_s)) = (arguments.alpha_us, arguments.gb_per_s) else {
        return Err(SimulateError::NoNetwork { known: catalogue::names() });
    };
    let inside = link(alpha_us, gb_per_s);
    let (between, per_node) = match (arguments.node_alpha_us, arguments.node_gb_per_s) {
        (Some(alpha_us), Some(gb_per_s)) => (link(alpha_us, gb_per_s), per_node.unwrap_or(catalogue::GPUS_PER_NODE)),
        _ => (inside, per_node.unwrap_or(1)),
    };
    if per_node > 1 && arguments.node_gb_per_s.is_none() {
        return Err(SimulateError::NoNodeLink { per_node });
    }
    let network = Network { inside, between, gpus_per_node: per_node };
    Ok((network, Basis::new(Origin::Given, "network", format!("{}; {quiet}", links(&network)))))
}

/// The plan on the smallest number of GPUs, with the batch that is asked for.
fn plan(arguments: &cli::Simulate, smallest: usize) -> Result<Plan, Ending> {
    let mut sets = arguments.sets.clone();
    if let Some(batch) = arguments.batch_per_gpu {
        sets.push(format!("train.batch_size={}", u64::from(batch) * smallest as u64));
    }
    let config = check::config(&arguments.config, &sets)?;
    let (plan, _) = check::without_data(config, smallest).map_err(|ending| match ending.code {
        code if code == Exit::Data.code() => Ending {
            message: format!(
                "{}\nThe data need not be there if the config says what they hold: --set data.expect_train=N --set data.expect_val=N \
                 --set data.expect_classes=N",
                ending.message
            ),
            ..ending
        },
        _ => ending,
    })?;
    Ok(plan)
}

fn check_shares(plan: &Plan, gpus: usize) -> Result<(), SimulateError> {
    let resolved = Plan::resolve(plan.config.clone(), plan.facts, gpus);
    resolved.map(drop).map_err(|source| SimulateError::Unshared { gpus, source })
}

/// The step on one GPU as the command line says, and what it rests on.
fn given_step(arguments: &cli::Simulate, plan: &Plan) -> Result<(StepTime, Vec<Basis>), SimulateError> {
    let images = plan.rank_batch as f64;
    let (seconds, given) = match (arguments.step_ms, arguments.images_per_second) {
        (Some(step_ms), _) => (step_ms / 1e3, format!("--step-ms {step_ms}")),
        (None, Some(rate)) => (images / rate, format!("--images-per-second {rate}")),
        (None, None) => return Err(SimulateError::NoStep),
    };
    let (origin, share) = match arguments.backward_share {
        Some(share) => (Origin::Given, share),
        None => (Origin::Assumed, BACKWARD_SHARE),
    };
    let step = StepTime::split(images, seconds, share);
    let split = format!("{:.0} % of the step: {}", share * 100.0, phases(&step));
    let step_basis = Basis::new(Origin::Given, "step", format!("{given}, for {images} images on one GPU"));
    Ok((step, vec![step_basis, Basis::new(origin, "backward", split)]))
}

fn scenario(
    arguments: &cli::Simulate,
    plan: &Plan,
    network: Network,
    step: StepTime,
) -> Result<Scenario, SimulateError> {
    let numbers = plan.model.parameters();
    let &Parallel { bucket_mib, wire, overlap, shard_optimizer, .. } = &plan.config.parallel;
    let bucket_numbers = (bucket_mib * f64::from(1 << 20)) as u64 / size_of::<f32>() as u64;
    if numbers as f64 / bucket_numbers.max(1) as f64 > MOST_BUCKETS {
        let expected = "so large that the gradients fall into at most a million buckets";
        return Err(SimulateError::Range { flag: "--set parallel.bucket_mib", value: bucket_mib, expected });
    }
    let scaling = scaling(arguments);
    Ok(Scenario {
        step,
        scaling,
        images: match scaling {
            Scaling::Weak => plan.rank_batch as f64,
            Scaling::Strong => plan.global_batch as f64,
        },
        accumulation: plan.accumulation,
        buckets: timeline::buckets(numbers, bucket_numbers),
        bytes_per_number: match wire {
            Wire::F32 => 4.0,
            Wire::Bf16 => 2.0,
        },
        network,
        algorithm: arguments.algorithm,
        overlap: if overlap { Overlap::Backward } else { Overlap::None },
        update: if shard_optimizer { Update::Sharded } else { Update::Whole },
        jitter: arguments.jitter,
        loader_images_per_s: arguments.loader_images_per_second_per_node,
    })
}
