//! On which device a rank computes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collectives::{Communicator, Phase, connect_devices};
use kernels::cuda;
use plan::config;
use tch::{Cuda, Device};
use world::{Exit, World};

use crate::failure::Failure;

/// A device, and what a person should know about the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The device.
    pub device: Device,
    /// Why a GPU that is here is not used.
    pub notice: Option<String>,
}

/// Where somebody said which device it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// In the config: `train.device`.
    InConfig,
    /// On the command line: `--device`.
    OnCommandLine,
}

impl Asked {
    /// How a person asks for this device there.
    fn words(self, device: config::Device) -> String {
        match self {
            Asked::InConfig => format!("train.device = \"{}\"", device.name()),
            Asked::OnCommandLine => format!("--device {}", device.name()),
        }
    }
}

/// The device of this rank: of `auto` its GPU where the machine has one, else the CPU. Every rank of a machine has a GPU of its own.
///
/// # Errors
/// [`Exit::Config`] where `cuda` is asked for and cannot be had, or there are more ranks here than GPUs.
pub fn choose(wanted: config::Device, asked: Asked, world: &World) -> Result<Placement, Failure> {
    let on_cpu = |notice| Ok(Placement { device: Device::Cpu, notice });
    if wanted == config::Device::Cpu || (wanted == config::Device::Auto && !has_driver()) {
        return on_cpu(None);
    }
    let refused = |why: &dyn std::fmt::Display| {
        let (wanted, cpu) = (asked.words(wanted), asked.words(config::Device::Cpu));
        Failure::because(Exit::Config, format!("{wanted}, but {why}; or ask for {cpu}"))
    };
    let usable = cuda::load().map_err(|error| error.to_string()).and_then(|()| match Cuda::device_count() {
        0 => Err("the driver shows no GPU: `nvidia-smi` should list one (CUDA_VISIBLE_DEVICES hides some)".to_owned()),
        count => Ok(count as usize),
    });
    match usable {
        Ok(count) if world.local_rank < count => Ok(Placement { device: Device::Cuda(world.local_rank), notice: None }),
        Ok(count) => {
            let (ranks, gpus) =
                (world.local_size, if count == 1 { "1 GPU".to_owned() } else { format!("{count} GPUs") });
            Err(refused(&format_args!("there are {ranks} ranks on this machine and {gpus}: start a rank for each")))
        }
        Err(why) if wanted == config::Device::Auto => {
            on_cpu(Some(format!("there is an NVIDIA GPU here, but it cannot be used, so this runs on the CPU: {why}")))
        }
        Err(why) => Err(refused(&why)),
    }
}

/// The communicator of ranks that compute on `device`: for several GPUs, one that exchanges gradients by NCCL.
///
/// # Errors
/// When some ranks have a GPU and others do not, NCCL cannot be loaded, or ranks do not find each other.
pub fn join(
    communicator: &Arc<dyn Communicator>,
    device: Device,
    parallel: &config::Parallel,
) -> Result<Arc<dyn Communicator>, Failure> {
    communicator.all_equal(Phase::new("whether ranks have GPUs"), &[u8::from(device.is_cuda())])?;
    let Device::Cuda(index) = device else { return Ok(Arc::clone(communicator)) };
    if communicator.size() == 1 {
        return Ok(Arc::clone(communicator));
    }
    // Where wheels put it: beside the folder of libtorch.
    let packages = cuda::libtorch_folder().ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default();
    let timeout = Duration::from_secs_f64(parallel.timeout_s);
    Ok(connect_devices(Arc::clone(communicator), index, &[packages.join("nvidia/nccl/lib")], timeout)?)
}

/// Whether the system has NVIDIA's driver.
fn has_driver() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World::alone("here".into())
    }

    #[test]
    fn the_cpu_is_taken_where_it_is_asked_for() {
        assert_eq!(
            choose(config::Device::Cpu, Asked::InConfig, &world()).expect("a CPU"),
            Placement { device: Device::Cpu, notice: None }
        );
    }

    /// On a machine without a GPU.
    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
        if has_driver() {
            return;
        }
        assert_eq!(choose(config::Device::Auto, Asked::InConfig, &world()).expect("a CPU").device, Device::Cpu);
        for (asked, way_out) in [(Asked::InConfig, "train.device = \"cpu\""), (Asked::OnCommandLine, "--device cpu")] {
            let failure = choose(config::Device::Cuda, asked, &world()).expect_err("no GPU");
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.error.to_string().ends_with(way_out), "{}", failure.error);
        }
    }
}
