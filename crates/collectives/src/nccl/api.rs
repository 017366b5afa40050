//! `Nccl`: the library's functions, and one communicator of it in words of ours.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use libloading::os::unix::Library;

use super::driver::Handle;
use super::functions::functions;

type Raw = *mut c_void;

pub(super) const SUCCESS: c_int = 0;
pub(super) const IN_PROGRESS: c_int = 7;

/// Types of numbers.
pub(super) const FLOAT32: c_int = 7;
pub(super) const BFLOAT16: c_int = 9;

/// Reductions.
pub(super) const SUM: c_int = 0;
pub(super) const AVERAGE: c_int = 4;

pub(super) const ID_BYTES: usize = 128;

/// The oldest version with every function below, and with this form of [`Config`].
const OLDEST: c_int = 21_800;

/// `ncclUniqueId`: by which ranks find each other.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub [u8; ID_BYTES]);

/// `ncclConfig_t` as of version 2.18; later versions take it by its size and version.
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
}

functions! {
    /// Of libnccl.
    Functions {
        version = "ncclGetVersion"(*mut c_int) -> c_int;
        unique_id = "ncclGetUniqueId"(*mut UniqueId) -> c_int;
        init = "ncclCommInitRankConfig"(*mut Raw, c_int, UniqueId, c_int, *mut Config) -> c_int;
        async_error = "ncclCommGetAsyncError"(Raw, *mut c_int) -> c_int;
        finalize = "ncclCommFinalize"(Raw) -> c_int;
        destroy = "ncclCommDestroy"(Raw) -> c_int;
        abort = "ncclCommAbort"(Raw) -> c_int;
        error_string = "ncclGetErrorString"(c_int) -> *const c_char;
        last_error = "ncclGetLastError"(Raw) -> *const c_char;
        group_start = "ncclGroupStart"() -> c_int;
        group_end = "ncclGroupEnd"() -> c_int;
        all_reduce = "ncclAllReduce"(Raw, Raw, usize, c_int, c_int, Raw, Raw) -> c_int;
        reduce_scatter = "ncclReduceScatter"(Raw, Raw, usize, c_int, c_int, Raw, Raw) -> c_int;
        all_gather = "ncclAllGather"(Raw, Raw, usize, c_int, Raw, Raw) -> c_int;
        reduce = "ncclReduce"(Raw, Raw, usize, c_int, c_int, c_int, Raw, Raw) -> c_int;
        broadcast = "ncclBroadcast"(Raw, Raw, usize, c_int, c_int, Raw, Raw) -> c_int;
    }
}

/// NCCL, loaded.
#[derive(Clone, Copy)]
pub(super) struct Nccl {
    functions: &'static Functions,
    pub version: c_int,
}

/// Numbers in a GPU's memory, seen by NCCL.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub address: u64,
    /// [`FLOAT32`] or [`BFLOAT16`].
    pub kind: c_int,
}

impl Numbers {
    fn at(&self, index: usize) -> Raw {
        let bytes = if self.kind == BFLOAT16 { 2 } else { 4 };
        (self.address as usize + index * bytes) as Raw
    }
}

impl Nccl {
    pub fn of(library: Library) -> Result<Nccl, String> {
        // SAFETY: these are the types of nccl.h since version 2.18.
        let functions = unsafe { Functions::of(library) }?;
        let mut version = 0;
        // SAFETY: writes one number.
        let code = unsafe { (functions.version)(&mut version) };
        let nccl = Nccl { functions, version };
        nccl.check(code, "ncclGetVersion")?;
        if version < OLDEST {
            return Err(format!("this is {}, and {} is the oldest that will do", in_words(version), in_words(OLDEST)));
        }
        Ok(nccl)
    }

    pub fn unique_id(&self) -> Result<UniqueId, String> {
        let mut id = UniqueId([0; ID_BYTES]);
        // SAFETY: writes the id.
        self.check(unsafe { (self.functions.unique_id)(&mut id) }, "ncclGetUniqueId")?;
        Ok(id)
    }

    /// Begins to join the other ranks, on the current device: the communicator is ready when [`Nccl::state`] says so.
    pub fn begin(&self, id: UniqueId, rank: usize, size: usize) -> Result<Handle, String> {
        let unset = c_int::MIN; // NCCL_CONFIG_UNDEF_INT
        let mut config = Config {
            size: size_of::<Config>(),
            magic: 0xcafe_beef,
            version: OLDEST as c_uint,
            blocking: 0,
            cga_cluster_size: unset,
            min_ctas: unset,
            max_ctas: unset,
            net_name: std::ptr::null(),
            split_share: unset,
        };
        let mut communicator = null_mut();
        // SAFETY: the library copies the configuration, and writes one handle.
        let code = unsafe { (self.functions.init)(&mut communicator, size as c_int, id, rank as c_int, &mut config) };
        self.check_begun(code, "ncclCommInitRankConfig")?;
        Ok(Handle(communicator))
    }

    /// [`SUCCESS`], [`IN_PROGRESS`], or the error that the communicator met.
    ///
    /// # Safety
    /// The communicator is one of [`Nccl::begin`] that was neither destroyed nor aborted, here and below.
    pub unsafe fn state(&self, communicator: Handle) -> c_int {
        let mut state = SUCCESS;
        // SAFETY: the caller's promise; writes one number.
        let code = unsafe { (self.functions.async_error)(communicator.0, &mut state) };
        if code == SUCCESS { state } else { code }
    }

    /// What `code` means, with what the communicator has to say about it.
    pub unsafe fn words(&self, code: c_int, communicator: Handle) -> String {
        // SAFETY: the caller's promise; both are texts of the library, or null.
        let (meaning, details) =
            unsafe { (text((self.functions.error_string)(code)), text((self.functions.last_error)(communicator.0))) };
        let details = if details.is_empty() { details } else { format!(": {details}") };
        format!("NCCL: {meaning} ({code}){details}")
    }

    /// Begins to end the communicator together with the other ranks: [`Nccl::state`] says when it may be destroyed.
    pub unsafe fn finalize(&self, communicator: Handle) -> Result<(), String> {
        // SAFETY: the caller's promise.
        self.check_begun(unsafe { (self.functions.finalize)(communicator.0) }, "ncclCommFinalize")
    }

    pub unsafe fn destroy(&self, communicator: Handle) {
        // SAFETY: the caller's promise.
        unsafe { (self.functions.destroy)(communicator.0) };
    }

    /// Ends the communicator, and whatever it does on the device, without waiting for other ranks.
    pub unsafe fn abort(&self, communicator: Handle) {
        // SAFETY: the caller's promise.
        unsafe { (self.functions.abort)(communicator.0) };
    }

    /// Begins calls that run as one.
    pub fn open_group(&self) -> Result<(), String> {
        // SAFETY: concerns this thread's calls only.
        self.check(unsafe { (self.functions.group_start)() }, "ncclGroupStart")
    }

    pub fn close_group(&self) -> Result<(), String> {
        // SAFETY: as above.
        self.check_begun(unsafe { (self.functions.group_end)() }, "ncclGroupEnd")
    }

    /// One call, in place, within a group. `own` and `size` are the rank of NCCL and how many there are.
    ///
    /// # Safety
    /// Also, the numbers are free for the call in the stream's order.
    pub unsafe fn call(
        &self,
        call: &super::calls::Call,
        numbers: Numbers,
        reduction: c_int,
        (own, size): (usize, usize),
        communicator: Handle,
        stream: Handle,
    ) -> Result<(), String> {
        use super::calls::Call;
        let (f, kind, (communicator, stream)) = (self.functions, numbers.kind, (communicator.0, stream.0));
        // SAFETY: the caller's promise; ranges lie within the numbers.
        let (code, function) = unsafe {
            match call {
                Call::AllReduce(range) => {
                    let at = numbers.at(range.start);
                    let code = (f.all_reduce)(at, at, range.len(), kind, reduction, communicator, stream);
                    (code, "ncclAllReduce")
                }
                Call::ReduceScatter(range) => {
                    let count = range.len() / size;
                    let (from, to) = (numbers.at(range.start), numbers.at(range.start + own * count));
                    let code = (f.reduce_scatter)(from, to, count, kind, reduction, communicator, stream);
                    (code, "ncclReduceScatter")
                }
                Call::AllGather(range) => {
                    let count = range.len() / size;
                    let (from, to) = (numbers.at(range.start + own * count), numbers.at(range.start));
                    ((f.all_gather)(from, to, count, kind, communicator, stream), "ncclAllGather")
                }
                Call::Reduce(range, root) => {
                    let (at, root) = (numbers.at(range.start), *root as c_int);
                    let code = (f.reduce)(at, at, range.len(), kind, reduction, root, communicator, stream);
                    (code, "ncclReduce")
                }
                Call::Broadcast(range, root) => {
                    let (at, root) = (numbers.at(range.start), *root as c_int);
                    ((f.broadcast)(at, at, range.len(), kind, root, communicator, stream), "ncclBroadcast")
                }
            }
        };
        self.check_begun(code, function)
    }

    fn check_begun(&self, code: c_int, function: &str) -> Result<(), String> {
        if code == IN_PROGRESS { Ok(()) } else { self.check(code, function) }
    }

    fn check(&self, code: c_int, function: &str) -> Result<(), String> {
        if code == SUCCESS {
            return Ok(());
        }
        // SAFETY: `ncclGetErrorString` returns a constant text; `ncclGetLastError` takes no communicator too.
        let words = unsafe { self.words(code, Handle(null_mut())) };
        Err(format!("{function}: {words}"))
    }
}

/// "NCCL 2.28.9" for 22809.
pub(super) fn in_words(version: c_int) -> String {
    format!("NCCL {}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}

/// # Safety
/// A text that ends in a zero and stays for the call, or null.
unsafe fn text(address: *const c_char) -> String {
    if address.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(address) }.to_string_lossy().trim().to_string()
}
