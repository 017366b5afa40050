//! How a process joins its ranks: which backend carries the messages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use world::World;

use crate::alone::Alone;
use crate::handle::Handle;
use crate::{CommError, Communicator, local};

/// What carries messages between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Nothing for a world of one, MPI for a larger one.
    Auto,
    /// Channels within this process: a world of one, or [`local_ranks`].
    Local,
    /// MPI, also for a world of one that `mpirun` started.
    Mpi,
}

/// Joins the ranks of `world`. No wait of the communicator is longer than `timeout` without an error that names the ranks
/// that did not come. Called once in a process.
pub fn connect(backend: Backend, world: &World, timeout: Duration) -> Result<Arc<dyn Communicator>, CommError> {
    match backend {
        Backend::Auto | Backend::Local if world.size == 1 => Ok(Arc::new(Alone)),
        Backend::Local => Err(CommError::Connect {
            reason: format!(
                "this process is rank {} of {}, and the backend \"local\" joins nothing but threads of one process: \
                 set [parallel] backend = \"auto\", or start one process",
                world.rank, world.size
            ),
            transient: false,
        }),
        Backend::Auto | Backend::Mpi => connect_mpi(world, timeout),
    }
}

#[cfg(feature = "mpi")]
fn connect_mpi(world: &World, timeout: Duration) -> Result<Arc<dyn Communicator>, CommError> {
    let world = world.clone();
    if world.size == 1 {
        return Ok(Arc::new(Alone)); // MPI is not needed to agree with oneself
    }
    Ok(Arc::new(Handle::start(move || crate::mpi_link::MpiLink::connect(&world), timeout)?))
}

#[cfg(not(feature = "mpi"))]
fn connect_mpi(world: &World, _: Duration) -> Result<Arc<dyn Communicator>, CommError> {
    Err(CommError::Connect {
        reason: format!(
            "this process is rank {} of {}, and this program was built without MPI: build it with the feature `mpi`, \
             or start one process",
            world.rank, world.size
        ),
        transient: false,
    })
}

/// Joins the ranks of `host` by NCCL as well, each with a GPU of its own: `device` is its index among those that this process
/// sees. Exchanges of a [`Buffer::on_device`](crate::Buffer::on_device) then go from GPU to GPU, and everything else goes on
/// over `host`. No wait is longer than `timeout` without an error.
///
/// NCCL (2.18 or later) is loaded at run time: the file that `RECTIFY_NCCL_LIBRARY` names; else the `libnccl.so.2` that this
/// process has loaded already, as libtorch's CUDA half does; else that in one of `folders`, in one of `LD_LIBRARY_PATH`, or
/// where the system's loader finds it. All ranks make this call together.
///
/// # Errors
/// [`CommError::Connect`], on every rank, where one has no NCCL, no driver or no such device, where two have the same GPU, or
/// different versions of NCCL; and on ranks that NCCL does not join in time.
pub fn connect_devices(
    host: Arc<dyn Communicator>,
    device: usize,
    folders: &[PathBuf],
    timeout: Duration,
) -> Result<Arc<dyn Communicator>, CommError> {
    #[cfg(feature = "nccl")]
    return crate::nccl::connect(host, device, folders, timeout);
    #[cfg(not(feature = "nccl"))]
    {
        let _ = (host, device, folders, timeout);
        let reason = "this program was built without NCCL: build it with the feature `nccl`, or train on CPUs".into();
        Err(CommError::Connect { reason, transient: false })
    }
}

/// Checks that no two ranks of `host` have the same GPU, by UUIDs: `device` is this rank's, its index among those that this
/// process sees. All ranks make this call together; [`connect_devices`] does the same by itself.
///
/// A build without the feature `nccl` does not know UUIDs, and finds nothing wrong.
///
/// # Errors
/// [`CommError::Connect`], on every rank, where ranks share a GPU, which it names with ranks and host, or where one has no
/// driver or no such device.
pub fn check_distinct_devices(host: &dyn Communicator, device: usize) -> Result<(), CommError> {
    #[cfg(feature = "nccl")]
    return crate::nccl::check_distinct(host, device);
    #[cfg(not(feature = "nccl"))]
    {
        let _ = (host, device);
        Ok(())
    }
}

/// `size` ranks within this process, in order: one for each thread that plays a rank.
///
/// # Panics
/// If `size` is 0, or the operating system starts no more threads.
pub fn local_ranks(size: usize, timeout: Duration) -> Vec<Arc<dyn Communicator>> {
    assert!(size > 0, "a world has at least one rank");
    if size == 1 {
        return vec![Arc::new(Alone)];
    }
    let handles = local::links(size).into_iter().map(|link| Handle::start(move || Ok(link), timeout));
    handles.map(|handle| Arc::new(handle.expect("a thread for each rank")) as Arc<dyn Communicator>).collect()
}
