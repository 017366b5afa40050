//! `MpiLink`: the ring over MPI's point-to-point messages, called by the communication thread alone.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use mpi::Threading;
use mpi::environment::Universe;
use mpi::ffi::{self, MPI_Comm, MPI_Request, MPI_Status};
use world::World;

use crate::CommError;
use crate::frame::{Frame, Pool};
use crate::link::{Link, LinkError};
use crate::notice::{NOTICE_BYTES, Notice};

const RING_TAG: c_int = 1;
const NOTICE_TAG: c_int = 2;

/// Messages under way in each direction: one that arrives, one that is added up, and some to hide the pauses of others.
const MESSAGES_UNDER_WAY: usize = 4;

/// Memory that MPI reads or writes until its request is complete. While one is open the memory is neither moved (a `Frame`
/// and a `Vec` keep their bytes on the heap) nor freed: see `Drop`.
struct Open<M> {
    memory: M,
    request: MPI_Request,
}

pub(crate) struct MpiLink {
    universe: Option<Universe>,
    communicator: MPI_Comm,
    rank: usize,
    size: usize,
    sends: VecDeque<Open<Frame>>,
    receives: VecDeque<Open<Frame>>,
    notice: Option<Open<Vec<u8>>>,
    notices_sent: Vec<Open<Vec<u8>>>,
}

impl MpiLink {
    /// Initialises MPI on this thread, which must be the one that uses the link.
    pub fn connect(world: &World) -> Result<MpiLink, CommError> {
        // FUNNELED: there are other threads, and this one makes every call.
        let (universe, provided) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| refused("MPI is initialised already: connect once in a process".into()))?;
        if provided < Threading::Funneled {
            return Err(refused("this MPI library allows no other threads (MPI_THREAD_FUNNELED)".into()));
        }
        // SAFETY: MPI is initialised; the handle is a constant of the library, and both calls write one number each.
        let (communicator, rank, size) = unsafe {
            let communicator = ffi::RSMPI_COMM_WORLD;
            let (mut rank, mut size) = (0, 0);
            ffi::MPI_Comm_set_errhandler(communicator, ffi::RSMPI_ERRORS_RETURN);
            ffi::MPI_Comm_rank(communicator, &mut rank);
            ffi::MPI_Comm_size(communicator, &mut size);
            (communicator, rank as usize, size as usize)
        };
        if (rank, size) != (world.rank, world.size) {
            std::mem::forget(universe); // finalising may wait for ranks that do not know of this
            return Err(refused(format!(
                "the environment ({}) says rank {} of {}, but MPI says rank {rank} of {size}: start all ranks by one mpirun",
                world.launcher, world.rank, world.size
            )));
        }
        Ok(MpiLink {
            universe: Some(universe),
            communicator,
            rank,
            size,
            sends: VecDeque::new(),
            receives: VecDeque::new(),
            notice: None,
            notices_sent: Vec::new(),
        })
    }

    /// Begins to send `bytes`, which must stay where they are until the request is complete.
    fn begin_send(&self, bytes: &[u8], to: usize, tag: c_int) -> Result<MPI_Request, LinkError> {
        let mut request = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for the length, and the callers keep the memory in an `Open` until the end.
        unsafe {
            let (bytes, len) = (bytes.as_ptr().cast(), bytes.len() as c_int);
            let kind = ffi::RSMPI_UINT8_T;
            check(ffi::MPI_Isend(bytes, len, kind, to as c_int, tag, self.communicator, request.as_mut_ptr()))?;
            Ok(request.assume_init())
        }
    }

    /// Begins to receive into `bytes`, which must stay where they are until the request is complete.
    fn begin_receive(&self, bytes: &mut [u8], from: c_int, tag: c_int) -> Result<MPI_Request, LinkError> {
        let mut request = MaybeUninit::uninit();
        // SAFETY: as in `begin_send`, and the memory is exclusive.
        unsafe {
            let (bytes, len) = (bytes.as_mut_ptr().cast(), bytes.len() as c_int);
            let kind = ffi::RSMPI_UINT8_T;
            check(ffi::MPI_Irecv(bytes, len, kind, from, tag, self.communicator, request.as_mut_ptr()))?;
            Ok(request.assume_init())
        }
    }

    fn keep_receives_open(&mut self, pool: &mut Pool) -> Result<(), LinkError> {
        let previous = (self.rank + self.size - 1) % self.size;
        while self.receives.len() < MESSAGES_UNDER_WAY {
            let mut memory = pool.take();
            let request = self.begin_receive(memory.memory_mut(), previous as c_int, RING_TAG)?;
            self.receives.push_back(Open { memory, request });
        }
        Ok(())
    }
}

impl Link for MpiLink {
    const ENDS_TOGETHER: bool = true; // MPI_Finalize waits for all ranks

    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn library(&self) -> Option<String> {
        let words = mpi::environment::library_version().ok()?;
        // "Open MPI v4.1.4, package: …": what follows the comma says who built it.
        words.split([',', '\n', '\0']).next().map(|name| name.trim().to_owned())
    }

    fn can_send(&mut self) -> bool {
        self.sends.len() < MESSAGES_UNDER_WAY
    }

    fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        let request = self.begin_send(frame.message(), (self.rank + 1) % self.size, RING_TAG)?;
        self.sends.push_back(Open { memory: frame, request });
        Ok(())
    }

    fn receive(&mut self, pool: &mut Pool) -> Result<Option<Frame>, LinkError> {
        self.keep_receives_open(pool)?;
        // Messages of one rank arrive in the order in which receives were opened.
        let Some(first) = self.receives.front_mut() else { return Ok(None) };
        let Some(len) = test(&mut first.request)? else { return Ok(None) };
        let Some(Open { memory: mut frame, .. }) = self.receives.pop_front() else { return Ok(None) };
        self.keep_receives_open(pool)?;
        match frame.set_len(len) {
            true => Ok(Some(frame)),
            false => Err(LinkError::Failed(format!("a message of {len} bytes, which is none of this program's"))),
        }
    }

    fn reclaim(&mut self, pool: &mut Pool) -> Result<bool, LinkError> {
        let mut any = false;
        while let Some(first) = self.sends.front_mut() {
            if test(&mut first.request)?.is_none() {
                break;
            }
            any = true;
            self.sends.pop_front().into_iter().for_each(|sent| pool.give(sent.memory));
        }
        Ok(any)
    }

    fn is_flushed(&self) -> bool {
        self.sends.is_empty()
    }

    fn notify(&mut self, to: usize, notice: &Notice) {
        self.notices_sent.retain_mut(|sent| matches!(test(&mut sent.request), Ok(None)));
        let memory = notice.encode().to_vec();
        if let Ok(request) = self.begin_send(&memory, to, NOTICE_TAG) {
            self.notices_sent.push(Open { memory, request });
        }
    }

    fn hear(&mut self) -> Option<Notice> {
        if self.notice.is_none() {
            let mut memory = vec![0; NOTICE_BYTES];
            // SAFETY: reads a constant of the library.
            let anyone = unsafe { ffi::RSMPI_ANY_SOURCE };
            let request = self.begin_receive(&mut memory, anyone, NOTICE_TAG).ok()?;
            self.notice = Some(Open { memory, request });
        }
        let open = self.notice.as_mut()?;
        test(&mut open.request).ok()??;
        Notice::decode(&self.notice.take()?.memory)
    }

    fn close(mut self) {
        let requests = self.receives.iter_mut().map(|open| &mut open.request);
        for request in requests.chain(self.notice.iter_mut().map(|open| &mut open.request)) {
            // SAFETY: an open request of ours; after the wait MPI has let go of its memory.
            unsafe {
                ffi::MPI_Cancel(request);
                ffi::MPI_Wait(request, ffi::RSMPI_STATUS_IGNORE);
            }
        }
        self.receives.clear();
        self.notice = None;
        drop(self.universe.take()); // MPI_Finalize
    }

    fn abort(&mut self, exit_code: i32) -> ! {
        // SAFETY: MPI is initialised, and this is its thread.
        unsafe { ffi::MPI_Abort(self.communicator, exit_code) };
        crate::handle::leave(exit_code)
    }
}

impl Drop for MpiLink {
    /// A link that was not closed ends without finalising, which would wait for ranks that may never come. MPI may still
    /// read and write the memory of open requests, so it stays.
    fn drop(&mut self) {
        std::mem::forget(self.universe.take());
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.receives));
        std::mem::forget(self.notice.take());
        std::mem::forget(std::mem::take(&mut self.notices_sent));
    }
}

/// Whether a request is complete, and how many bytes came with it (for a send the number means nothing).
fn test(request: &mut MPI_Request) -> Result<Option<usize>, LinkError> {
    let (mut complete, mut status) = (0, MaybeUninit::<MPI_Status>::zeroed());
    // SAFETY: the request is open, or null, for which the answer is "complete, 0 bytes"; the status is plain numbers, for
    // which zeros are valid too.
    unsafe {
        check(ffi::MPI_Test(request, &mut complete, status.as_mut_ptr()))?;
        if complete == 0 {
            return Ok(None);
        }
        let mut len = 0;
        check(ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut len))?;
        Ok(Some(usize::try_from(len).unwrap_or(0)))
    }
}

/// MPI's code as a result, in MPI's words.
fn check(code: c_int) -> Result<(), LinkError> {
    if code == 0 {
        return Ok(()); // MPI_SUCCESS
    }
    let mut words = [0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut len = 0;
    // SAFETY: the memory is as long as the standard asks for.
    unsafe { ffi::MPI_Error_string(code, words.as_mut_ptr().cast(), &mut len) };
    let len = usize::try_from(len).unwrap_or(0).min(words.len());
    Err(LinkError::Failed(format!("MPI: {}", String::from_utf8_lossy(&words[..len]))))
}

fn refused(reason: String) -> CommError {
    CommError::Connect { reason, transient: false }
}
