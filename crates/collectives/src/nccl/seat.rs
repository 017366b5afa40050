//! `Seat`: what a rank tells the others before they join by NCCL, and what must not be the case.

use std::ffi::c_int;

use super::api::in_words;
use super::places::refused;
use crate::CommError;
use crate::error::ranks_in_words;

/// Where a rank sits, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub host: String,
    /// Index of the GPU, among those that the process sees.
    pub device: usize,
    /// Which GPU that is, wherever it is seen from, in hexadecimal.
    pub uuid: String,
    pub version: c_int,
}

/// A seat, or why there is none; as bytes for the other ranks.
pub(super) fn encode(seat: &Result<Seat, String>) -> Vec<u8> {
    let text = match seat {
        Ok(Seat { host, device, uuid, version }) => format!("seat\n{version}\n{device}\n{uuid}\n{host}"),
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
    let (version, device, uuid, host) = (next().parse(), next().parse(), next(), next());
    match (version, device) {
        (Ok(version), Ok(device)) => Ok(Seat { host, device, uuid, version }),
        _ => Err("it speaks of its device in words of another version of this program".into()),
    }
}

/// Whether ranks may join: all have a GPU of their own, and the same NCCL. `told` is what every rank has encoded.
pub(super) fn agree(told: &[Vec<u8>]) -> Result<(), CommError> {
    let mut seats = Vec::with_capacity(told.len());
    for (rank, bytes) in told.iter().enumerate() {
        let seat = decode(bytes).map_err(|reason| refused(format!("rank {rank} cannot use its GPU: {reason}")))?;
        seats.push(seat);
    }
    let ranks_with = |holds: &dyn Fn(&Seat) -> bool| -> Vec<usize> {
        seats.iter().enumerate().filter(|(_, seat)| holds(seat)).map(|(rank, _)| rank).collect()
    };
    for seat in &seats {
        let sharing = ranks_with(&|other| other.uuid == seat.uuid);
        if sharing.len() > 1 {
            return Err(refused(format!(
                "{} have the same GPU, device {} of {}: give each a GPU of its own, and a host no more ranks than it has GPUs",
                ranks_in_words(&sharing),
                seat.device,
                seat.host
            )));
        }
        if seat.version != seats[0].version {
            let [first, other] = [seats[0].version, seat.version];
            return Err(refused(format!(
                "{} with {}, but {} with {}: install the same version on all hosts",
                ranks_in_words(&ranks_with(&|one| one.version == first)),
                in_words(first),
                ranks_in_words(&ranks_with(&|one| one.version == other)),
                in_words(other)
            )));
        }
    }
    Ok(())
}

/// The name of this host, for people to read.
pub(super) fn host() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: writes at most as many bytes as there are.
    let code = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
    if code == 0 { String::from_utf8_lossy(&name[..end]).into_owned() } else { "this host".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(host: &str, device: usize, version: c_int) -> Result<Seat, String> {
        Ok(Seat { host: host.into(), device, uuid: format!("{device:02x}{}", &host[..1]), version })
    }

    fn error(seats: &[Result<Seat, String>]) -> String {
        agree(&seats.iter().map(encode).collect::<Vec<_>>()).unwrap_err().to_string()
    }

    #[test]
    fn a_seat_travels_as_it_is() {
        for seat in [seat("a host\nof two lines", 7, 22_809), Err("no driver\nat all".into())] {
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
