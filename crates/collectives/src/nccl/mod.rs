//! GPUs as ranks: exchanges of numbers in their memory by NCCL, beside a communicator of their hosts.

mod api;
mod calls;
mod cast;
mod devices;
mod driver;
mod enqueued;
mod events;
mod functions;
mod group;
mod places;
mod seat;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::api::{ID_BYTES, Nccl, UniqueId};
use self::devices::Devices;
use self::driver::Device;
pub(crate) use self::enqueued::Enqueued;
use self::group::Group;
use self::seat::Seat;
use crate::{CommError, Communicator, Phase};

/// Joins the ranks of `host` by NCCL, each with the GPU of index `device`; see [`crate::connect_devices`].
pub(crate) fn connect(
    host: Arc<dyn Communicator>,
    device: usize,
    folders: &[PathBuf],
    timeout: Duration,
) -> Result<Arc<dyn Communicator>, CommError> {
    let parts = load(folders).and_then(|nccl| {
        let device = Device::open(device).map_err(places::refused)?;
        Ok((nccl, Arc::new(device)))
    });
    // All ranks come here, whatever they have found, so that all know why they cannot go on.
    let seat = parts.as_ref().map(|(nccl, gpu)| Seat::new(device, gpu.uuid, Some(nccl.version)));
    let agreed = seat::compare(&*host, &seat.map_err(reason));
    let (nccl, gpu) = parts?;
    agreed?;
    let id = share_id(&*host, &nccl, &gpu)?;
    let group = Group::join(nccl, gpu, id, (host.rank(), host.size()), timeout)?;
    Ok(Arc::new(Devices::new(host, group, api::in_words(nccl.version))?))
}

/// Checks that each rank has a GPU of its own; see [`crate::check_distinct_devices`].
pub(crate) fn check_distinct(host: &dyn Communicator, device: usize) -> Result<(), CommError> {
    let gpu = Device::open(device).map_err(places::refused);
    let agreed = seat::compare(host, &gpu.as_ref().map(|gpu| Seat::new(device, gpu.uuid, None)).map_err(reason));
    gpu?;
    agreed
}

/// The words of an error for other ranks.
fn reason(error: &CommError) -> String {
    match error {
        CommError::Connect { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

fn load(folders: &[PathBuf]) -> Result<Nccl, CommError> {
    let [named, search] = [places::VARIABLE, "LD_LIBRARY_PATH"].map(std::env::var_os);
    let is_named = named.as_ref().is_some_and(|path| !path.is_empty());
    let library = match places::loaded().filter(|_| !is_named) {
        Some(library) => library,
        None => places::open(&places::candidates(named.as_deref(), folders, search.as_deref()))?,
    };
    Nccl::of(library).map_err(places::refused)
}

/// The id by which ranks find each other, made by rank 0.
fn share_id(host: &dyn Communicator, nccl: &Nccl, gpu: &Device) -> Result<UniqueId, CommError> {
    const MADE: u8 = 1;
    let mut bytes = Vec::new();
    if host.rank() == 0 {
        let made = gpu.enter().and_then(|_entered| nccl.unique_id());
        bytes = match made {
            Ok(UniqueId(id)) => [&[MADE], &id[..]].concat(),
            Err(reason) => [&[0], reason.as_bytes()].concat(),
        };
    }
    host.broadcast(Phase::new("the id of NCCL"), &mut bytes, 0)?;
    let id = match bytes.split_first() {
        Some((&MADE, id)) => <[u8; ID_BYTES]>::try_from(id).map_err(|_| "an id of another length".to_string()),
        Some((_, reason)) => Err(String::from_utf8_lossy(reason).into_owned()),
        None => Err("no id".into()),
    };
    id.map(UniqueId).map_err(|reason| places::refused(format!("rank 0 cannot open NCCL to the others: {reason}")))
}
