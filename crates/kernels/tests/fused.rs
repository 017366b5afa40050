//! Fused activations and norms on the processor, or on the first GPU where `RECTIFY_TEST_DEVICE` is `cuda`.

#[path = "checks/activation.rs"]
mod activation;
#[path = "checks/input.rs"]
mod input;
#[path = "checks/norm.rs"]
mod norm;
#[path = "checks/row_lengths.rs"]
mod row_lengths;
#[path = "checks/worst.rs"]
mod worst;

use tch::Device;

/// Where all of it is computed.
fn device() -> Device {
    if std::env::var("RECTIFY_TEST_DEVICE").is_ok_and(|name| name == "cuda") {
        kernels::cuda::load().expect("a machine with a GPU");
        return Device::Cuda(0);
    }
    Device::Cpu
}
