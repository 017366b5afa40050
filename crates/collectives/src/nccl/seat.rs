//! `Seat`: what a rank tells the others before they join by NCCL, and what must not be the case.

use std::collections::BTreeMap;
use std::ffi::c_int;

use super::api::in_words;
use super::places::refused;
use crate::error::ranks_in_words;
use crate::{CommError, Communicator, Phase};

/// Where a rank sits, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub host: String,
    /// Index of the GPU, among those that the process sees.
    pub device: usize,
    /// Which GPU (or which part of one, under MIG) that is, wherever it is seen from, as `nvidia-smi -L` writes it.
    pub uuid: String,
    /// Of NCCL, where it was loaded.
    pub version: Option<c_int>,
}

impl Seat {
    /// A seat on this host.
    pub fn new(device: usize, uuid: [u8; 16], version: Option<c_int>) -> Seat {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let parts = [&uuid[..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..]].map(hex);
        Seat { host: host(), device, uuid: format!("GPU-{}", parts.join("-")), version }
    }
}

/// Tells the other ranks this one's seat, or why it has none, and checks that they may join. All ranks make this call.
pub(super) fn compare(ranks: &dyn Communicator, seat: &Result<Seat, String>) -> Result<(), CommError> {
    agree(&ranks.all_gather(Phase::new("what GPUs ranks have"), &encode(seat))?)
}

/// A seat, or why there is none; as bytes for the other ranks.
fn encode(seat: &Result<Seat, String>) -> Vec<u8> {
    let text = match seat {
        Ok(Seat { host, device, uuid, version }) => {
            let version = version.map_or_else(String::new, |version| version.to_string());
            format!("seat\n{version}\n{device}\n{uuid}\n{host}")
        }
        Err(reason) => format!("none\n{reason}"),
    };
    text.into_bytes()
}

fn decode(bytes: &[u8]) -> Result<Seat, String> {
    let text = String::from_utf8_lossy(bytes);
    if let Some(reason) = text.strip_prefix("none\n") {
        return Err(reason.into());
    }
    let mut parts = text.splitn(5, '\n').skip(1);
    let mut next = || parts.next().unwrap_or_default().to_string();
    let (version, device, uuid, host) = (next(), next().parse(), next(), next());
    let version = if version.is_empty() { Ok(None) } else { version.parse().map(Some) };
    match (version, device) {
        (Ok(version), Ok(device)) => Ok(Seat { host, device, uuid, version }),
        _ => Err("it speaks of its device in words of another version of this program".into()),
    }
}

/// Whether ranks may join: all have a GPU of their own, and the same NCCL. `told` is what every rank has encoded.
fn agree(told: &[Vec<u8>]) -> Result<(), CommError> {
    let mut seats = Vec::with_capacity(told.len());
    for (rank, bytes) in told.iter().enumerate() {
        let seat = decode(bytes).map_err(|reason| refused(format!("rank {rank} cannot use its GPU: {reason}")))?;
        seats.push(seat);
    }
    if let Some(crowds) = crowds(&seats) {
        return Err(refused(format!(
            "{crowds}. Start no more ranks on a host than it has GPUs (`--nproc`, `srun --ntasks-per-node`), and let each \
             rank see all of them or one of its own (`srun --gpus-per-task=1`, CUDA_VISIBLE_DEVICES)"
        )));
    }
    let ranks_with = |version: Option<c_int>| -> Vec<usize> {
        seats.iter().enumerate().filter(|(_, seat)| seat.version == version).map(|(rank, _)| rank).collect()
    };
    let words = |version: Option<c_int>| version.map_or_else(|| "no NCCL".to_owned(), in_words);
    match seats.iter().find(|seat| seat.version != seats[0].version) {
        None => Ok(()),
        Some(seat) => Err(refused(format!(
            "{} with {}, but {} with {}: install the same version on all hosts",
            ranks_in_words(&ranks_with(seats[0].version)),
            words(seats[0].version),
            ranks_in_words(&ranks_with(seat.version)),
            words(seat.version)
        ))),
    }
}

/// The GPUs that several ranks have, in words with ranks and host; `None` where there are none.
fn crowds(seats: &[Seat]) -> Option<String> {
    let mut ranks_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (rank, seat) in seats.iter().enumerate() {
        ranks_of.entry(&seat.uuid).or_default().push(rank);
    }
    let mut shared: Vec<&Vec<usize>> = ranks_of.values().filter(|ranks| ranks.len() > 1).collect();
    shared.sort();
    let words = |ranks: &Vec<usize>| {
        let Seat { host, device, uuid, .. } = &seats[ranks[0]];
        format!("{} have the same GPU, device {device} of {host} ({uuid})", ranks_in_words(ranks))
    };
    (!shared.is_empty()).then(|| shared.into_iter().map(words).collect::<Vec<_>>().join("; "))
}

/// The name of this host, for people to read.
fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: writes at most as many bytes as there are.
    let code = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
    if code == 0 { String::from_utf8_lossy(&name[..end]).into_owned() } else { "this host".into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::local_ranks;

    fn seat(host: &str, device: usize, version: c_int) -> Result<Seat, String> {
        let uuid = format!("GPU-{device:02x}{}", &host[..1]);
        Ok(Seat { host: host.into(), device, uuid, version: Some(version) })
    }

    fn error(seats: &[Result<Seat, String>]) -> String {
        agree(&seats.iter().map(encode).collect::<Vec<_>>()).unwrap_err().to_string()
    }

    /// What each of some ranks of one host finds, all on device 0 of their own view, with these last bytes of the UUIDs.
    fn compared(last_bytes: &[u8]) -> Vec<Result<(), CommError>> {
        let ranks = local_ranks(last_bytes.len(), Duration::from_secs(60));
        std::thread::scope(|scope| {
            let played = ranks.into_iter().zip(last_bytes).map(|(rank, &last)| {
                scope.spawn(move || {
                    let uuid = std::array::from_fn(|byte| if byte == 15 { last } else { byte as u8 });
                    compare(&*rank, &Ok(Seat::new(0, uuid, None)))
                })
            });
            let played: Vec<_> = played.collect();
            played.into_iter().map(|thread| thread.join().expect("a rank")).collect()
        })
    }

    #[test]
    fn ranks_that_each_see_only_their_own_gpu_agree() {
        assert_eq!(compared(&[3, 1, 2, 0]), vec![Ok(()); 4]);
    }

    #[test]
    fn every_gpu_that_ranks_share_is_named_on_all() {
        for found in compared(&[1, 2, 2, 1, 3, 1]) {
            let error = found.expect_err("ranks share GPUs");
            assert_eq!(error.exit(), Some(world::Exit::Config));
            let (text, host) = (error.to_string(), host());
            let first = format!(
                "ranks 0, 3 and 5 have the same GPU, device 0 of {host} (GPU-00010203-0405-0607-0809-0a0b0c0d0e01)"
            );
            let second = format!(
                "ranks 1 and 2 have the same GPU, device 0 of {host} (GPU-00010203-0405-0607-0809-0a0b0c0d0e02)"
            );
            assert!(text.contains(&format!("{first}; {second}. Start no more ranks")), "{text}");
            assert!(text.contains("--gpus-per-task=1") && !text.contains("rank 4"), "{text}");
        }
    }

    #[test]
    fn a_seat_travels_as_it_is() {
        let without_nccl = seat("a", 0, 0).map(|seat| Seat { version: None, ..seat });
        for seat in [seat("a host\nof two lines", 7, 22_809), without_nccl, Err("no driver\nat all".into())] {
            assert_eq!(decode(&encode(&seat)), seat);
        }
        assert!(decode(b"garbage").is_err());
    }

    #[test]
    fn ranks_with_gpus_of_their_own_and_one_version_agree() {
        let seats = [seat("a", 0, 22_809), seat("a", 1, 22_809), seat("b", 0, 22_809)];
        assert_eq!(agree(&seats.each_ref().map(encode)), Ok(()));
    }

    #[test]
    fn ranks_on_one_gpu_are_named() {
        let text = error(&[seat("a", 0, 22_809), seat("b", 1, 22_809), seat("c", 0, 22_809), seat("b", 1, 22_809)]);
        assert!(text.contains("ranks 1 and 3 have the same GPU, device 1 of b"), "{text}");
    }

    #[test]
    fn ranks_of_another_version_are_named() {
        let text = error(&[seat("a", 0, 22_809), seat("a", 1, 22_809), seat("b", 0, 22_703)]);
        assert!(text.contains("ranks 0 and 1 with NCCL 2.28.9, but rank 2 with NCCL 2.27.3"), "{text}");
    }

    #[test]
    fn a_rank_without_gpu_is_named() {
        let text = error(&[seat("a", 0, 22_809), Err("there is no device 3: this process sees 2".into())]);
        assert!(text.contains("rank 1 cannot use its GPU: there is no device 3"), "{text}");
    }
}
