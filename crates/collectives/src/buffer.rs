//! `Buffer`: the numbers of an exchange, in memory that is owned or vouched for.

use std::ffi::c_void;
use std::ptr::NonNull;

/// Numbers in host memory, handed to the communication thread and given back when the operation has ended; or numbers in a
/// GPU's memory, for a communicator of [`connect_devices`](crate::connect_devices).
///
/// Made from a `Vec`, everything is safe. Memory that belongs to somebody else, such as a tensor's, comes in by
/// [`Buffer::from_raw_f32`] or [`Buffer::on_device`], with a contract.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    F32(Vec<f32>),
    F64(Vec<f64>),
    RawF32(NonNull<f32>, usize),
    RawF64(NonNull<f64>, usize),
    Device(DeviceNumbers),
}

/// f32 in a GPU's memory.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "nccl"), allow(dead_code, reason = "only NCCL reaches them"))]
pub(crate) struct DeviceNumbers {
    pub address: u64,
    pub len: usize,
    /// The CUstream on which they were written, and will be read.
    pub stream: *mut c_void,
}

// SAFETY: the raw variants are exclusive access to plain numbers, which the contract of their constructors grants to
// whoever holds the `Buffer`, on any thread.
unsafe impl Send for Buffer {}

/// The numbers of a buffer, by type.
pub(crate) enum Numbers<'a> {
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
}

impl Buffer {
    /// `len` numbers at `address`.
    ///
    /// # Safety
    /// From now until the buffer is dropped, or the [`Pending`](crate::Pending) it went into has been waited for or
    /// dropped, the memory stays valid and nothing else reads or writes it. A `Pending` that is leaked
    /// (`std::mem::forget`) never ends this time.
    ///
    /// # Panics
    /// If `address` is null and `len` is not 0, or `address` is not aligned.
    pub unsafe fn from_raw_f32(address: *mut f32, len: usize) -> Buffer {
        Buffer { memory: Memory::RawF32(checked(address, len), len) }
    }

    /// `len` numbers at `address`, in double precision.
    ///
    /// # Safety
    /// As [`Buffer::from_raw_f32`].
    ///
    /// # Panics
    /// As [`Buffer::from_raw_f32`].
    pub unsafe fn from_raw_f64(address: *mut f64, len: usize) -> Buffer {
        Buffer { memory: Memory::RawF64(checked(address, len), len) }
    }

    /// `len` f32 in a GPU's memory, at the device's `address`. `stream` is the `CUstream` (which is also a `cudaStream_t`) on
    /// which they were written, and on which they will be read next; null is the legacy default stream.
    ///
    /// # Safety
    /// - The numbers are in memory of the communicator's device, or memory that it reaches, aligned to four bytes; the stream is one
    ///   of its primary context and outlives the exchange.
    /// - From now until the buffer is dropped, or the [`Pending`](crate::Pending) that it went into has been waited for or
    ///   dropped, nobody enqueues work that touches the memory; afterwards such work goes to `stream`, or waits for it.
    /// - The memory is freed only when `stream` has passed the point where the `Pending` was waited for or dropped.
    ///
    /// # Panics
    /// If `address` is null and `len` is not 0, or `address` is not aligned.
    pub unsafe fn on_device(address: u64, len: usize, stream: *mut c_void) -> Buffer {
        assert!(len == 0 || address != 0, "numbers at a null address");
        assert!(address.is_multiple_of(size_of::<f32>() as u64), "numbers at an address that is not aligned");
        Buffer { memory: Memory::Device(DeviceNumbers { address, len, stream }) }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match &self.memory {
            Memory::F32(numbers) => numbers.len(),
            Memory::F64(numbers) => numbers.len(),
            Memory::RawF32(_, len) | Memory::RawF64(_, len) => *len,
            Memory::Device(numbers) => numbers.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `Vec<f32>` that it was made from; `None` if it was made from something else.
    pub fn into_f32(self) -> Option<Vec<f32>> {
        match self.memory {
            Memory::F32(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The `Vec<f64>` that it was made from; `None` if it was made from something else.
    pub fn into_f64(self) -> Option<Vec<f64>> {
        match self.memory {
            Memory::F64(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Those in a GPU's memory.
    #[cfg(feature = "nccl")]
    pub(crate) fn device_numbers(&self) -> Option<DeviceNumbers> {
        match self.memory {
            Memory::Device(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Those in host memory; `None` if they are in a GPU's.
    pub(crate) fn numbers(&mut self) -> Option<Numbers<'_>> {
        Some(match &mut self.memory {
            Memory::F32(numbers) => Numbers::F32(numbers),
            Memory::F64(numbers) => Numbers::F64(numbers),
            Memory::RawF32(address, len) => {
                // SAFETY: valid, aligned and exclusive by the contract of `from_raw_f32`.
                let numbers = unsafe { std::slice::from_raw_parts_mut(address.as_ptr(), *len) };
                Numbers::F32(numbers)
            }
            Memory::RawF64(address, len) => {
                // SAFETY: valid, aligned and exclusive by the contract of `from_raw_f64`.
                let numbers = unsafe { std::slice::from_raw_parts_mut(address.as_ptr(), *len) };
                Numbers::F64(numbers)
            }
            Memory::Device(_) => return None,
        })
    }
}

fn checked<T>(address: *mut T, len: usize) -> NonNull<T> {
    if len == 0 {
        return NonNull::dangling(); // an empty tensor's address may be null
    }
    assert!(address.is_aligned(), "numbers at an address that is not aligned");
    NonNull::new(address).expect("numbers at a null address")
}

impl From<Vec<f32>> for Buffer {
    fn from(numbers: Vec<f32>) -> Buffer {
        Buffer { memory: Memory::F32(numbers) }
    }
}

impl From<Vec<f64>> for Buffer {
    fn from(numbers: Vec<f64>) -> Buffer {
        Buffer { memory: Memory::F64(numbers) }
    }
}
