//! Which machines take part: Open MPI's hostfile, read so that a mistake in it is told before anything starts.

use std::path::{Path, PathBuf};

/// One machine and how many ranks it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name as the hostfile spells it.
    pub name: String,
    /// Ranks it takes before it counts as oversubscribed, at least 1.
    pub slots: usize,
}

/// What is wrong with a hostfile; every message says where and what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostfileError {
    /// The file cannot be read.
    #[error("cannot read the hostfile {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// No line names a machine.
    #[error("the hostfile {path} names no machine; write one on each line, such as `node1 slots=4`")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that cannot be understood.
    #[error("{path}:{line}: {problem}; write `NAME slots=N`, with N the ranks that the machine takes")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads the hostfile at `path`; `hostname` is the name of this machine.
pub fn read(path: &Path, hostname: &str) -> Result<Vec<Host>, HostfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| HostfileError::Unreadable { path: path.into(), reason: error.to_string() })?;
    parse(&text, path, hostname)
}

/// The machines of a hostfile's text, in order. Open MPI takes a machine without `slots=` as having one for each of its cores,
/// which nobody here can know of another machine, so `slots=` is asked for; a machine named twice is refused as there.
pub fn parse(text: &str, path: &Path, hostname: &str) -> Result<Vec<Host>, HostfileError> {
    let mut hosts: Vec<Host> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem: String| HostfileError::Line { path: path.into(), line: index + 1, problem };
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(name) = words.next() else { continue };
        let host = Host { name: name.to_string(), slots: slots(name, words).map_err(wrong)? };
        let same = |other: &&Host| {
            other.name == host.name || (is_this_machine(&other.name, hostname) && is_this_machine(&host.name, hostname))
        };
        if let Some(other) = hosts.iter().find(same) {
            return Err(wrong(format!("`{}` is the machine `{}` of a line above", host.name, other.name)));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(HostfileError::Empty { path: path.into() });
    }
    Ok(hosts)
}

fn slots<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Result<usize, String> {
    let mut slots = None;
    // Open MPI allows blanks around the equals sign.
    let rest = words.collect::<Vec<_>>().join(" ").replace(" =", "=").replace("= ", "=");
    for word in rest.split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("slots", value)) => slots = Some(at_least_one(value)?),
            Some(("max_slots" | "max-slots", value)) => drop(at_least_one(value)?),
            _ => return Err(format!("`{word}` is not understood")),
        }
    }
    slots.ok_or_else(|| format!("`{name}` does not say how many ranks it takes"))
}

fn at_least_one(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|&slots| slots > 0).ok_or_else(|| format!("`{value}` is not a number of ranks ≥ 1"))
}

/// Whether `name` means the machine that this process runs on, whose name is `hostname`. Nothing is looked up.
pub fn is_this_machine(name: &str, hostname: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    matches!(name, "localhost" | "127.0.0.1" | "::1") || name == hostname || {
        let is_address = name.parse::<std::net::IpAddr>().is_ok();
        // `node1` and `node1.cluster` are one machine; `node1.a` and `node1.b` are not known to be.
        !is_address && (!name.contains('.') || !hostname.contains('.')) && short(name) == short(hostname)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Host>, String> {
        parse(text, Path::new("hosts"), "node1.cluster").map_err(|error| error.to_string())
    }

    #[test]
    fn machines_slots_comments_and_blanks() {
        let hosts = parsed("# two machines\nnode1 slots=4\n\n node2  slots = 2 max_slots=8 # second\n").unwrap();
        assert_eq!(
            hosts,
            [Host { name: "node1".into(), slots: 4 }, Host { name: "node2".into(), slots: 2 }],
            "in the order of the file"
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            ("node1 slots=1\nnode2\n", "hosts:2: `node2` does not say how many ranks it takes"),
            ("node1 slots=0", "hosts:1: `0` is not a number of ranks ≥ 1"),
            ("node1 slot=3", "hosts:1: `slot=3` is not understood"),
            ("node2 slots=1\nnode2 slots=1", "hosts:2: `node2` is the machine `node2` of a line above"),
            ("localhost slots=1\nnode1 slots=1", "hosts:2: `node1` is the machine `localhost` of a line above"),
            ("# nothing", "the hostfile hosts names no machine"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn this_machine_goes_by_several_names() {
        for name in ["localhost", "127.0.0.1", "node1", "node1.cluster"] {
            assert!(is_this_machine(name, "node1.cluster"), "{name}");
        }
        for name in ["node2", "node1.elsewhere", "10.0.0.1"] {
            assert!(!is_this_machine(name, "node1.cluster"), "{name}");
        }
    }
}
