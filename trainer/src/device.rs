//! On which device a rank computes, and how libtorch computes there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collectives::{Communicator, Phase, check_distinct_devices, connect_devices};
use kernels::{backends, cuda};
use metrics::StepClock;
use plan::config::{self, AttentionBackend};
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

/// The device of this rank, of which libtorch computes as `train` says (attention, TF32): with `auto` a GPU where the machine
/// has one, else the CPU.
///
/// Local rank `r` takes GPU `r` modulo the number of those that its process sees: ranks that all see all GPUs of a machine
/// take one each, and so do ranks that each see one of their own (`srun --gpus-per-task=1`). Whether ranks share a GPU is
/// known when they compare: in [`join`] and [`compare`].
///
/// # Errors
/// [`Exit::Config`] where `cuda` is asked for and cannot be had.
pub fn choose(
    wanted: config::Device,
    asked: Asked,
    train: &config::Train,
    world: &World,
) -> Result<Placement, Failure> {
    let usable = || match cuda::load().map(|()| Cuda::device_count()) {
        Ok(0) => {
            Err("the driver shows no GPU: `nvidia-smi` should list one (CUDA_VISIBLE_DEVICES hides some)".to_owned())
        }
        Ok(count) if world.size == 1 => {
            // Alone a rank tries its GPU at once; others wait until they know that nobody shares it.
            let count = count as usize;
            cuda::use_device(world.local_rank % count).map(|()| count).map_err(|error| error.to_string())
        }
        Ok(count) => Ok(count as usize),
        Err(error) => Err(error.to_string()),
    };
    let placement = decide(wanted, asked, has_driver(), usable, world.local_rank)?;
    configure(placement.device, train)?;
    Ok(placement)
}

/// The decision of [`choose`], given whether there is a driver and how many GPUs can be used.
fn decide(
    wanted: config::Device,
    asked: Asked,
    has_driver: bool,
    usable: impl FnOnce() -> Result<usize, String>,
    local_rank: usize,
) -> Result<Placement, Failure> {
    if wanted == config::Device::Cpu || (wanted == config::Device::Auto && !has_driver) {
        return Ok(Placement { device: Device::Cpu, notice: None });
    }
    match usable() {
        Ok(count) => Ok(Placement { device: Device::Cuda(local_rank % count), notice: None }),
        Err(why) if wanted == config::Device::Auto => {
            let notice = format!("there is an NVIDIA GPU here, but it cannot be used, so this runs on the CPU: {why}");
            Ok(Placement { device: Device::Cpu, notice: Some(notice) })
        }
        Err(why) => {
            let (wanted, cpu) = (asked.words(wanted), asked.words(config::Device::Cpu));
            Err(Failure::because(Exit::Config, format!("{wanted}, but {why}; or ask for {cpu}")))
        }
    }
}

/// Tells libtorch which backends compute attention and whether f32 may be TF32. On a CPU its own choices stay.
fn configure(device: Device, train: &config::Train) -> Result<(), Failure> {
    if device.is_cuda() {
        backends::allow_tf32(train.tf32)?;
        attention(train.attention).allow()?;
    }
    Ok(())
}

/// What may compute attention on a GPU.
fn attention(wanted: AttentionBackend) -> backends::Attention {
    match wanted {
        AttentionBackend::Auto | AttentionBackend::Flash => backends::Attention::FLASH,
        AttentionBackend::Cudnn => backends::Attention::CUDNN,
    }
}

/// A clock for the steps on `device` that can wait for it ([`StepClock::settle`]).
pub fn step_clock(device: Device) -> StepClock {
    match device {
        // What goes wrong on the device is reported by the next operation there.
        Device::Cuda(index) => StepClock::settling_on_request(move |_| drop(cuda::synchronise(index))),
        _ => StepClock::new(),
    }
}

/// The name of a device for reports: "cpu", or that of the GPU.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => cuda::device_name(index).unwrap_or_else(|_| format!("cuda:{index}")),
        _ => "cpu".to_owned(),
    }
}

/// Checks that all ranks compute on CPUs, or each on a GPU of its own. All ranks make this call; [`join`] does the same.
///
/// # Errors
/// [`Exit::Config`] when some ranks have a GPU and others do not, or ranks share one.
pub fn compare(communicator: &dyn Communicator, device: Device) -> Result<(), Failure> {
    communicator.all_equal(Phase::new("whether ranks have GPUs"), &[u8::from(device.is_cuda())])?;
    match device {
        Device::Cuda(index) if communicator.size() > 1 => {
            check_distinct_devices(communicator, index)?;
            Ok(cuda::use_device(index)?)
        }
        _ => Ok(()),
    }
}

/// The communicator of ranks that compute on `device`: for several GPUs, one that exchanges gradients by NCCL.
///
/// # Errors
/// When some ranks have a GPU and others do not, ranks share a GPU, NCCL cannot be loaded, or ranks do not find each other.
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
    let folders: Vec<_> = world::nccl_beside(&cuda::libtorch_folder()).into_iter().collect();
    let timeout = Duration::from_secs_f64(parallel.timeout_s);
    let joined = connect_devices(Arc::clone(communicator), index, &folders, timeout)?;
    cuda::use_device(index)?;
    Ok(joined)
}

/// Whether the system has NVIDIA's driver.
fn has_driver() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(wanted: config::Device, usable: Result<usize, &str>, local_rank: usize) -> Result<Placement, Failure> {
        decide(wanted, Asked::InConfig, true, || usable.map_err(str::to_owned), local_rank)
    }

    #[test]
    fn local_ranks_take_the_gpus_that_they_see_in_turn() {
        // All of a machine's GPUs, one of its own, two of its own, fewer than there are ranks.
        for (count, local_ranks, expected) in [
            (4, 4, vec![0, 1, 2, 3]),
            (8, 3, vec![0, 1, 2]),
            (1, 4, vec![0, 0, 0, 0]),
            (2, 4, vec![0, 1, 0, 1]),
            (3, 4, vec![0, 1, 2, 0]),
        ] {
            for wanted in [config::Device::Auto, config::Device::Cuda] {
                let taken = (0..local_ranks).map(|rank| decided(wanted, Ok(count), rank).expect("a GPU").device);
                let expected: Vec<Device> = expected.iter().map(|&index| Device::Cuda(index)).collect();
                assert_eq!(taken.collect::<Vec<_>>(), expected, "{local_ranks} ranks that see {count} GPUs");
            }
        }
    }

    #[test]
    fn the_cpu_is_taken_where_it_is_asked_for_or_there_is_no_driver() {
        let unasked = || panic!("nothing is loaded");
        for (wanted, has_driver) in [(config::Device::Cpu, true), (config::Device::Auto, false)] {
            let found = decide(wanted, Asked::InConfig, has_driver, unasked, 0).expect("a CPU");
            assert_eq!(found, Placement { device: Device::Cpu, notice: None });
        }
    }

    #[test]
    fn a_gpu_that_cannot_be_used_is_a_notice_or_an_error() {
        let found = decided(config::Device::Auto, Err("it is broken"), 0).expect("a CPU");
        assert_eq!(found.device, Device::Cpu);
        assert!(found.notice.is_some_and(|words| words.ends_with("it is broken")));
        let failure = decided(config::Device::Cuda, Err("it is broken"), 0).expect_err("no GPU");
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.error.to_string().contains("it is broken"), "{}", failure.error);
    }

    /// On a machine without a GPU.
    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
        if has_driver() {
            return;
        }
        let chosen = |wanted, asked| choose(wanted, asked, &config::Train::default(), &World::alone("here".into()));
        assert_eq!(chosen(config::Device::Auto, Asked::InConfig).expect("a CPU").device, Device::Cpu);
        for (asked, way_out) in [(Asked::InConfig, "train.device = \"cpu\""), (Asked::OnCommandLine, "--device cpu")] {
            let failure = chosen(config::Device::Cuda, asked).expect_err("no GPU");
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.error.to_string().ends_with(way_out), "{}", failure.error);
        }
    }

    /// The switches are libtorch's, which has them without a GPU too.
    #[test]
    fn attention_and_tf32_follow_the_config_on_a_gpu_only() {
        let train = |attention, tf32| config::Train { attention, tf32, ..config::Train::default() };
        let state = || (backends::Attention::allowed().expect("libtorch"), backends::tf32().expect("libtorch"));
        let tf32 = |allowed| backends::Tf32 { products: allowed, convolutions: allowed };
        let (flash, cudnn) = (backends::Attention::FLASH, backends::Attention::CUDNN);
        for (attention, allowed, expected) in [
            (AttentionBackend::Cudnn, true, (cudnn, tf32(true))),
            (AttentionBackend::Flash, false, (flash, tf32(false))),
            (AttentionBackend::Cudnn, false, (cudnn, tf32(false))),
            (AttentionBackend::Auto, false, (flash, tf32(false))),
        ] {
            configure(Device::Cuda(0), &train(attention, allowed)).expect("switches");
            assert_eq!(state(), expected);
            configure(Device::Cpu, &train(AttentionBackend::Cudnn, true)).expect("nothing to do");
            assert_eq!(state(), expected, "a CPU changes nothing");
        }
    }

    /// What a rank of several needs to know of the others, of which none has a GPU.
    #[test]
    fn ranks_on_cpus_need_no_gpu_to_compare() {
        let ranks = collectives::local_ranks(2, Duration::from_secs(60));
        std::thread::scope(|scope| {
            for rank in ranks {
                scope.spawn(move || compare(&*rank, Device::Cpu).expect("both on CPUs"));
            }
        });
    }

    #[test]
    fn a_cpu_is_called_cpu() {
        assert_eq!(name(Device::Cpu), "cpu");
    }
}
