//! `Staging`: numbers on their way as bf16, in memory of the device that is kept from exchange to exchange.

use std::ffi::{CStr, c_uint, c_void};
use std::ops::Range;
use std::sync::Arc;

use super::driver::{Device, Handle};

const PTX: &str = concat!(include_str!("cast.ptx"), "\0");
const THREADS: c_uint = 256;
/// Enough to fill any GPU; each thread takes several numbers where there are more.
const BLOCKS_MAX: usize = 4096;
const BYTES: usize = 2; // of a bf16

/// The kernels that cast, and memory for the longest exchange so far. All use of it is on one stream, in order.
pub(super) struct Staging {
    device: Arc<Device>,
    module: Handle,
    narrow: Handle,
    widen: Handle,
    /// Address and length. The last is the longest; shorter ones stay, since a captured graph may still use them.
    memories: Vec<(u64, usize)>,
}

impl Staging {
    pub fn new(device: &Arc<Device>) -> Result<Staging, String> {
        let ptx = CStr::from_bytes_with_nul(PTX.as_bytes()).expect("one zero, at the end");
        let module = device.module(ptx)?;
        let functions = device.function(module, c"rectify_narrow").and_then(|narrow| {
            let widen = device.function(module, c"rectify_widen")?;
            Ok((narrow, widen))
        });
        let (narrow, widen) = functions.inspect_err(|_| device.unload(module))?;
        Ok(Staging { device: Arc::clone(device), module, narrow, widen, memories: Vec::new() })
    }

    /// Memory for `len` bf16, with whatever is in it.
    pub fn memory(&mut self, len: usize) -> Result<u64, String> {
        if let Some(&(address, longest)) = self.memories.last()
            && longest >= len
        {
            return Ok(address);
        }
        let longest = len.next_power_of_two(); // so that there are few, and together at most twice the longest
        let mode = self.device.relax_capture(); // a capture forbids it, though the graph has no part in it
        let address = self.device.allocate(longest * BYTES);
        self.device.set_capture(mode);
        self.memories.push((address.clone()?, longest));
        address
    }

    /// Writes numbers `range`, times `scale`, into the same places of `staged` as bf16.
    ///
    /// # Safety
    /// Both memories have these numbers, and are free for it in the stream's order.
    pub unsafe fn narrow(
        &self,
        numbers: u64,
        staged: u64,
        range: Range<usize>,
        scale: f32,
        stream: Handle,
    ) -> Result<(), String> {
        let (mut from, mut to) = (at(numbers, range.start, size_of::<f32>()), at(staged, range.start, BYTES));
        let (mut count, mut scale) = (range.len() as u64, scale);
        let mut arguments = [argument(&mut from), argument(&mut to), argument(&mut count), argument(&mut scale)];
        // SAFETY: these are the parameters of the kernel, which keeps to the caller's promise.
        unsafe { self.launch(self.narrow, range.len(), stream, &mut arguments) }
    }

    /// Writes the bf16 of places `range` of `staged` as f32 into `numbers`.
    ///
    /// # Safety
    /// As [`Staging::narrow`].
    pub unsafe fn widen(&self, staged: u64, numbers: u64, range: Range<usize>, stream: Handle) -> Result<(), String> {
        let (mut from, mut to) = (at(staged, range.start, BYTES), at(numbers, range.start, size_of::<f32>()));
        let mut count = range.len() as u64;
        let mut arguments = [argument(&mut from), argument(&mut to), argument(&mut count)];
        // SAFETY: as in `narrow`.
        unsafe { self.launch(self.widen, range.len(), stream, &mut arguments) }
    }

    unsafe fn launch(
        &self,
        function: Handle,
        count: usize,
        stream: Handle,
        arguments: &mut [*mut c_void],
    ) -> Result<(), String> {
        if count == 0 {
            return Ok(());
        }
        let blocks = count.div_ceil(THREADS as usize).min(BLOCKS_MAX) as c_uint;
        // SAFETY: the callers' promise.
        unsafe { self.device.launch(function, (blocks, THREADS), stream, arguments) }
    }
}

fn at(address: u64, index: usize, bytes: usize) -> u64 {
    address + (index * bytes) as u64
}

fn argument<T>(value: &mut T) -> *mut c_void {
    (value as *mut T).cast()
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Ok(_entered) = self.device.enter() else { return };
        self.memories.iter().for_each(|&(address, _)| self.device.free(address));
        self.device.unload(self.module);
    }
}
