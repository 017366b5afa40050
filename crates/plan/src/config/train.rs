//! `[train]`: batches and threads.

use crate::schema::{Kind, choice, section};

choice! {
    /// In which numbers a step is computed. Parameters, their gradients and the optimiser's memory are f32 in any case.
    pub enum Precision {
        /// All in f32.
        F32 = "f32",
        /// Matrix products, convolutions and attention in bf16, as PyTorch's autocast; sums of branches, normalisation and loss in f32.
        Bf16 = "bf16",
        /// The same in f16, with a loss that is scaled so that small gradients do not vanish (PyTorch's `GradScaler`): for GPUs
        /// without bf16. Slow on most CPUs.
        F16 = "f16",
    }
}

choice! {
    /// What computes the steps.
    pub enum Device {
        /// A GPU where the machine has NVIDIA's driver, otherwise the CPU.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// A GPU for each rank, or the run ends with an error.
        Cuda = "cuda",
    }
}

choice! {
    /// What computes attention on a GPU. A CPU always takes libtorch's own choice.
    pub enum AttentionBackend {
        /// The same as `Flash`, until a measurement on GPUs says otherwise.
        Auto = "auto",
        /// FlashAttention. In f32, or with a mask (Swin), libtorch's memory-efficient attention.
        Flash = "flash",
        /// cuDNN's fused attention; where it does not take the inputs (f32), as `Flash`.
        Cudnn = "cudnn",
    }
}

section! {
    /// `[train]`: batches and threads.
    pub struct Train {
        /// Images of one step over all ranks: the batch that the optimiser sees, however many ranks share it.
        batch_size: usize = 1024, Kind::Whole { min: 1, max: 1 << 24 };
        /// Micro-batches into which each rank splits its share of a step, to save memory.
        accumulation: usize = 1, Kind::Whole { min: 1, max: 65536 };
        /// What computes the steps; each rank of a machine takes a GPU of its own.
        device: Device = Device::Auto, Kind::OneOf { what: "a device", names: Device::names };
        /// In which numbers a step is computed.
        precision: Precision = Precision::F32, Kind::OneOf { what: "a precision", names: Precision::names };
        /// What computes attention on a GPU: `"auto"` is `"flash"`, which leaves f32 and masked attention (Swin) to libtorch's
        /// memory-efficient kernel; `"cudnn"` takes cuDNN's kernel for bf16 and f16. No effect on a CPU.
        attention: AttentionBackend = AttentionBackend::Auto, Kind::OneOf { what: "a backend of attention", names: AttentionBackend::names };
        /// Let a GPU (NVIDIA Ampere or newer) round the factors of f32 products and convolutions to TF32, which has 10 bits of
        /// mantissa: faster, and less exact. Otherwise f32 is f32 in both. No effect on a CPU.
        tf32: bool = false, Kind::Flag;
        /// Compute the blocks of a transformer once more in the backward pass, in place of keeping what they computed (activation
        /// checkpointing): much less memory for one more forward pass of the blocks, and the same numbers.
        recompute: bool = false, Kind::Flag;
        /// Write a step on a GPU down as two CUDA graphs (forward and backward; clipping and the optimiser), and replay them in every step:
        /// two calls in place of some hundred. Where that cannot be, the run says why and does without. Not yet tried on a GPU, hence off.
        cuda_graph: bool = false, Kind::Flag;
        /// Threads of libtorch, per rank; 0 = as many as this rank has cores.
        threads: usize = 0, Kind::Whole { min: 0, max: 4096 };
    }
}
