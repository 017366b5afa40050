//! The doctor's look at ranks: starts a few as `rectify train` would, and shows where each runs and on which cores.

use std::path::Path;
use std::process::Command;

use super::findings::Finding;
use crate::ending::Ending;
use crate::placement::Start;
use crate::{command, machine, mpi, train};

/// What a rank of [`look`] prints: rank, host, cores.
pub fn own_report() -> String {
    let world = world::World::from_env().map_or_else(
        |error| format!("? of ? on {}: {error}", machine::hostname()),
        |world| format!("{} of {} on {}", world.rank, world.size, world.host),
    );
    let cores = machine::affinity().unwrap_or_else(|| "unknown".into());
    format!("{world}, cores {cores}")
}

/// Starts `nproc` ranks of this program with the flags of a real run.
pub fn look(nproc: usize, hostfile: Option<&Path>) -> Result<Vec<Finding>, Ending> {
    let hosts = train::read_hosts(hostfile)?;
    let placement = train::place(Some(nproc), hosts).map_err(Ending::config)?;
    mpi::require(&placement).map_err(Ending::config)?;
    let this = std::env::current_exe().map_err(anyhow::Error::from)?;
    let program = [this.to_string_lossy().into_owned(), "doctor".into(), "--rank-report".into()];
    let line = command::compose(&placement, &train::circumstances(hostfile, &placement), &program);

    let output = Command::new(&line.0[0]).args(&line.0[1..]).output().map_err(anyhow::Error::from)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut reports: Vec<&str> = text.lines().collect();
    reports.sort_by_key(|line| line.split(' ').next().and_then(|rank| rank.parse::<usize>().ok()));
    let mut found = vec![Finding::ok("placement", placement.reason.clone())];
    if !output.status.success() || reports.len() != nproc {
        let says = String::from_utf8_lossy(&output.stderr).trim().to_string();
        let words = format!("{} of {nproc} ranks answered\n{says}", reports.len());
        found.push(Finding::missing("ranks", words, format!("try the line by hand: {}", line.for_shell())));
        return Ok(found);
    }
    let pinned = placement.start == Start::Mpirun && reports.iter().any(|report| cores_of(report) < world::cores());
    let words = reports.join("\n");
    found.push(match pinned && hostfile.is_none() {
        true => Finding::warning("ranks", words, "a rank may use fewer cores than this process: something pins it"),
        false => Finding::ok("ranks", words),
    });
    Ok(found)
}

fn cores_of(report: &str) -> usize {
    report.rsplit_once("cores ").map_or(0, |(_, list)| machine::count_cores(list))
}
