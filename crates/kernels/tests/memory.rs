//! Memory of tensors that is kept: a program of its own, since it counts what the whole process keeps.

use tch::{Device, Kind, Tensor};

/// What died is used again, and not more is kept than there was.
#[test]
fn memory_is_used_again() {
    kernels::memory::keep();
    let large = |mib: i64| Tensor::zeros([mib << 18], (Kind::Float, Device::Cpu));
    let first = large(4);
    let place = first.data_ptr();
    drop(first);
    let kept = kernels::memory::kept_bytes();
    assert!(kept >= 4 << 20, "{kept} bytes are kept");
    let second = large(4);
    assert_eq!(second.data_ptr(), place);
    assert_eq!(second.sum(Kind::Float).double_value(&[]), 0.0);
    drop(second);
    // Blocks of many sizes are let go of as others come.
    for mib in [3, 5, 7, 9, 11, 13] {
        drop(large(mib));
        assert!(kernels::memory::kept_bytes() <= (13 + 2) << 20);
    }
    // Small ones and empty ones are as ever.
    assert_eq!(Tensor::ones([10], (Kind::Float, Device::Cpu)).sum(Kind::Float).double_value(&[]), 10.0);
    assert_eq!(Tensor::zeros([0], (Kind::Float, Device::Cpu)).numel(), 0);
}
