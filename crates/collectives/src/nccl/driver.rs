//! `Device`: the GPU of this rank through CUDA's driver, with the streams, events and memory that exchanges need.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::null_mut;

use super::functions::functions;
use super::places::load;

const LIBRARY: &str = "libcuda.so.1";

const SUCCESS: c_int = 0;
const NOT_READY: c_int = 600;
const NO_TIMING: c_uint = 2; // CU_EVENT_DISABLE_TIMING
const NON_BLOCKING: c_uint = 1; // CU_STREAM_NON_BLOCKING: independent of the legacy default stream
const CAPTURE_NONE: c_int = 0;
const CAPTURE_RELAXED: c_int = 2;

type Raw = *mut c_void;

functions! {
    /// Of libcuda, as in CUDA 12 and 13.
    Driver {
        init = "cuInit"(c_uint) -> c_int;
        error_string = "cuGetErrorString"(c_int, *mut *const c_char) -> c_int;
        device_count = "cuDeviceGetCount"(*mut c_int) -> c_int;
        device = "cuDeviceGet"(*mut c_int, c_int) -> c_int;
        device_uuid = "cuDeviceGetUuid_v2"(*mut [u8; 16], c_int) -> c_int;
        retain_primary = "cuDevicePrimaryCtxRetain"(*mut Raw, c_int) -> c_int;
        release_primary = "cuDevicePrimaryCtxRelease_v2"(c_int) -> c_int;
        push = "cuCtxPushCurrent_v2"(Raw) -> c_int;
        pop = "cuCtxPopCurrent_v2"(*mut Raw) -> c_int;
        capture_mode = "cuThreadExchangeStreamCaptureMode"(*mut c_int) -> c_int;
        stream_create = "cuStreamCreate"(*mut Raw, c_uint) -> c_int;
        stream_destroy = "cuStreamDestroy_v2"(Raw) -> c_int;
        stream_wait = "cuStreamWaitEvent"(Raw, Raw, c_uint) -> c_int;
        stream_capturing = "cuStreamIsCapturing"(Raw, *mut c_int) -> c_int;
        event_create = "cuEventCreate"(*mut Raw, c_uint) -> c_int;
        event_destroy = "cuEventDestroy_v2"(Raw) -> c_int;
        event_record = "cuEventRecord"(Raw, Raw) -> c_int;
        event_query = "cuEventQuery"(Raw) -> c_int;
        allocate = "cuMemAlloc_v2"(*mut u64, usize) -> c_int;
        free = "cuMemFree_v2"(u64) -> c_int;
        module_load = "cuModuleLoadData"(*mut Raw, *const c_void) -> c_int;
        module_unload = "cuModuleUnload"(Raw) -> c_int;
        module_function = "cuModuleGetFunction"(*mut Raw, Raw, *const c_char) -> c_int;
        launch = "cuLaunchKernel"(
            Raw, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Raw, *mut *mut c_void, *mut *mut c_void
        ) -> c_int;
    }
}

/// A stream, an event, a context, a module or a function of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(pub Raw);

// SAFETY: CUDA's handles name things of the process; every function of the driver may be called on any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// A GPU and its primary context, the one that libtorch uses too. Callers of what is on it [enter](Device::enter) it first.
pub(super) struct Device {
    driver: &'static Driver,
    ordinal: c_int,
    context: Handle,
    pub uuid: [u8; 16],
}

/// While it lives, the device is the current one of this thread, which it does not leave.
pub(super) struct Entered<'a>(&'a Driver, PhantomData<*const ()>);

impl Device {
    pub fn open(index: usize) -> Result<Device, String> {
        let library = load(Path::new(LIBRARY)).map_err(|reason| format!("NVIDIA's driver, {LIBRARY}: {reason}"))?;
        // SAFETY: these are the types of the driver's documentation.
        let driver = unsafe { Driver::of(library) }.map_err(|reason| format!("{LIBRARY}: {reason}"))?;
        let (mut count, mut ordinal, mut uuid, mut context) = (0, 0, [0; 16], null_mut());
        // SAFETY: each call writes to the one place that it is given.
        unsafe {
            driver.check((driver.init)(0), "cuInit")?;
            driver.check((driver.device_count)(&mut count), "cuDeviceGetCount")?;
            if index >= count as usize {
                return Err(format!("there is no device {index}: this process sees {count}"));
            }
            driver.check((driver.device)(&mut ordinal, index as c_int), "cuDeviceGet")?;
            driver.check((driver.device_uuid)(&mut uuid, ordinal), "cuDeviceGetUuid")?;
            driver.check((driver.retain_primary)(&mut context, ordinal), "cuDevicePrimaryCtxRetain")?;
        }
        Ok(Device { driver, ordinal, context: Handle(context), uuid })
    }

    /// Makes the device the current one of this thread, for the driver, the runtime and NCCL.
    pub fn enter(&self) -> Result<Entered<'_>, String> {
        // SAFETY: the context is retained.
        self.check(unsafe { (self.driver.push)(self.context.0) }, "cuCtxPushCurrent")?;
        Ok(Entered(self.driver, PhantomData))
    }

    /// Lets this thread ask for events while another captures a graph in the strictest mode, which would else forbid it.
    /// Returns the mode before.
    pub fn relax_capture(&self) -> c_int {
        self.set_capture(CAPTURE_RELAXED)
    }

    /// Goes to a mode that [`Device::relax_capture`] returned, and returns the one before.
    pub fn set_capture(&self, mut mode: c_int) -> c_int {
        // SAFETY: reads and writes the one number.
        unsafe { (self.driver.capture_mode)(&mut mode) };
        mode
    }

    pub fn stream(&self) -> Result<Handle, String> {
        let mut stream = null_mut();
        // SAFETY: writes one handle.
        self.check(unsafe { (self.driver.stream_create)(&mut stream, NON_BLOCKING) }, "cuStreamCreate")?;
        Ok(Handle(stream))
    }

    pub fn destroy_stream(&self, stream: Handle) {
        // SAFETY: the stream is one of `stream`, and its owner is done with it.
        unsafe { (self.driver.stream_destroy)(stream.0) };
    }

    /// Whether work on the stream is captured into a graph instead of done.
    ///
    /// # Safety
    /// The stream is a live one of this device, here and below.
    pub unsafe fn is_capturing(&self, stream: Handle) -> Result<bool, String> {
        let mut status = CAPTURE_NONE;
        // SAFETY: the stream is the caller's promise; writes one number.
        self.check(unsafe { (self.driver.stream_capturing)(stream.0, &mut status) }, "cuStreamIsCapturing")?;
        Ok(status != CAPTURE_NONE)
    }

    pub unsafe fn wait(&self, stream: Handle, event: Handle) -> Result<(), String> {
        // SAFETY: the stream is the caller's promise, and events live in their pool.
        self.check(unsafe { (self.driver.stream_wait)(stream.0, event.0, 0) }, "cuStreamWaitEvent")
    }

    pub unsafe fn record(&self, event: Handle, stream: Handle) -> Result<(), String> {
        // SAFETY: as in `wait`.
        self.check(unsafe { (self.driver.event_record)(event.0, stream.0) }, "cuEventRecord")
    }

    pub fn event(&self) -> Result<Handle, String> {
        let mut event = null_mut();
        // SAFETY: writes one handle.
        self.check(unsafe { (self.driver.event_create)(&mut event, NO_TIMING) }, "cuEventCreate")?;
        Ok(Handle(event))
    }

    pub fn destroy_event(&self, event: Handle) {
        // SAFETY: the event is one of `event`, and its owner is done with it. CUDA frees it when the device has passed it.
        unsafe { (self.driver.event_destroy)(event.0) };
    }

    /// Whether the device has passed the event.
    pub fn has_passed(&self, event: Handle) -> Result<bool, String> {
        // SAFETY: events live in their pool.
        match unsafe { (self.driver.event_query)(event.0) } {
            NOT_READY => Ok(false),
            code => self.check(code, "cuEventQuery").map(|()| true),
        }
    }

    pub fn allocate(&self, bytes: usize) -> Result<u64, String> {
        let mut address = 0;
        // SAFETY: writes one address.
        self.check(unsafe { (self.driver.allocate)(&mut address, bytes) }, "cuMemAlloc")?;
        Ok(address)
    }

    pub fn free(&self, address: u64) {
        // SAFETY: of `allocate`, and its owner is done with it. The driver waits for work that uses it.
        unsafe { (self.driver.free)(address) };
    }

    /// Compiles PTX for this device.
    pub fn module(&self, ptx: &CStr) -> Result<Handle, String> {
        let mut module = null_mut();
        // SAFETY: the text ends in a zero; writes one handle.
        self.check(unsafe { (self.driver.module_load)(&mut module, ptx.as_ptr().cast()) }, "cuModuleLoadData")?;
        Ok(Handle(module))
    }

    pub fn unload(&self, module: Handle) {
        // SAFETY: of `module`, and its owner is done with it.
        unsafe { (self.driver.module_unload)(module.0) };
    }

    pub fn function(&self, module: Handle, name: &CStr) -> Result<Handle, String> {
        let mut function = null_mut();
        // SAFETY: the module lives, the name ends in a zero; writes one handle.
        let code = unsafe { (self.driver.module_function)(&mut function, module.0, name.as_ptr()) };
        self.check(code, "cuModuleGetFunction")?;
        Ok(Handle(function))
    }

    /// Starts `blocks` blocks of `threads` threads.
    ///
    /// # Safety
    /// The arguments point to what the function takes, and what it touches is free for it in the stream's order.
    pub unsafe fn launch(
        &self,
        function: Handle,
        (blocks, threads): (c_uint, c_uint),
        stream: Handle,
        arguments: &mut [*mut c_void],
    ) -> Result<(), String> {
        let arguments = arguments.as_mut_ptr();
        // SAFETY: the caller's promise.
        let code = unsafe {
            (self.driver.launch)(function.0, blocks, 1, 1, threads, 1, 1, 0, stream.0, arguments, null_mut())
        };
        self.check(code, "cuLaunchKernel")
    }

    fn check(&self, code: c_int, function: &str) -> Result<(), String> {
        self.driver.check(code, function)
    }
}

impl Driver {
    fn check(&self, code: c_int, function: &str) -> Result<(), String> {
        if code == SUCCESS {
            return Ok(());
        }
        let mut text = std::ptr::null();
        // SAFETY: writes the address of a constant text, or null.
        let words = unsafe {
            (self.error_string)(code, &mut text);
            if text.is_null() { "unknown".into() } else { CStr::from_ptr(text).to_string_lossy() }
        };
        Err(format!("{function}: {words} (CUDA error {code})"))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: retained once in `open`.
        unsafe { (self.driver.release_primary)(self.ordinal) };
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = null_mut();
        // SAFETY: pushed in `enter`, on this thread.
        unsafe { (self.0.pop)(&mut context) };
    }
}
