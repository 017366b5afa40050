//! A world of one on a real GPU: gradients go through NCCL and come back as they were.

use std::path::Path;
use std::time::Duration;

use collectives::{Exchange, Phase, Reduction, Wire, connect_devices, local_ranks};
use kernels::cuda;
use tch::{Device, Kind, Tensor};
use trainer::memory::lend;

#[test]
#[ignore = "needs an NVIDIA GPU: `make gpu-bundle` makes what runs it there"]
fn a_world_of_one_exchanges_its_own_numbers() {
    cuda::load().expect("a machine with a GPU");
    let host = local_ranks(1, Duration::from_secs(60)).remove(0);
    let packages = cuda::libtorch_folder().ancestors().nth(2).map(Path::to_path_buf).expect("a folder of packages");
    let ranks = connect_devices(host, 0, &[packages.join("nvidia/nccl/lib")], Duration::from_secs(60)).expect("NCCL");
    println!("{}", ranks.library().expect("a library"));
    let wave = (Tensor::arange(1_000_003, (Kind::Float, Device::Cpu)) * 0.37).sin();
    let exchanges = [
        Exchange::AllReduce(Reduction::Mean),
        Exchange::AllReduce(Reduction::Sum),
        Exchange::ReduceScatter(Reduction::Mean),
        Exchange::AllGatherShards,
    ];
    for (wire, tolerance) in [(Wire::Full, 0.0), (Wire::Bf16, 1.0 / 256.0)] {
        for exchange in exchanges {
            let numbers = wave.to_device(Device::Cuda(0));
            let pending = ranks.start_exchange(Phase::of_step("gradients", 1), lend(&numbers), exchange, wire);
            drop(pending.wait().expect("a world of one"));
            let apart = (numbers.to_device(Device::Cpu) - &wave).abs().max().double_value(&[]);
            assert!(apart <= tolerance, "{exchange:?} over {wire:?}: {apart}");
        }
    }
}
