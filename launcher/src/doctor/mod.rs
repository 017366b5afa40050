//! `rectify doctor`: what this machine has, what is missing, and what to do about it.

mod findings;
mod graphics;
mod libtorch;
mod programs;
mod ranks;
mod resources;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use crate::cli;
use crate::ending::Ending;
use findings::{Finding, State};

/// Runs the subcommand: exit 0 unless something that training needs is missing (exit 2).
pub fn doctor(arguments: &cli::Doctor) -> Result<(), Ending> {
    if arguments.rank_report {
        println!("{}", ranks::own_report());
        return Ok(());
    }
    let mut found = Vec::new();
    found.extend(programs::look());
    found.extend(libtorch::look());
    found.extend(graphics::look());
    found.extend(resources::look());
    if let Some(nproc) = arguments.nproc {
        found.extend(ranks::look(nproc, arguments.hostfile.as_deref())?);
    }
    let missing = found.iter().filter(|finding| finding.state == State::Missing).count();
    if arguments.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "ok": missing == 0, "findings": found }));
        println!("{}", text.map_err(anyhow::Error::from)?);
    } else {
        print!("{}", render(&found));
    }
    if missing > 0 { Err(Ending::said(world::Exit::Config.code())) } else { Ok(()) }
}

fn render(found: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(120);
    }
    table.set_header(["", "state", "found"]);
    for finding in found {
        let color = match finding.state {
            State::Ok => Color::Green,
            State::Absent => Color::Reset,
            State::Warning => Color::Yellow,
            State::Missing => Color::Red,
        };
        let text = match &finding.advice {
            Some(advice) => format!("{}\n→ {advice}", finding.found),
            None => finding.found.clone(),
        };
        table.add_row([Cell::new(finding.part), Cell::new(finding.state.word()).fg(color), Cell::new(text)]);
    }
    let count = |state| found.iter().filter(|finding| finding.state == state).count();
    let verdict = match (count(State::Missing), count(State::Warning)) {
        (0, 0) => "Ready to train.".to_string(),
        (0, warnings) => format!("Ready to train, with {warnings} warning(s)."),
        (missing, _) => format!("Not ready: {missing} required part(s) missing."),
    };
    format!("{table}\n{verdict}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do() {
        let found = [Finding::ok("a", "here"), Finding::missing("b", "nowhere", "get it")];
        let text = render(&found);
        assert!(text.contains("missing") && text.contains("→ get it") && text.contains("Not ready: 1"), "{text}");
        assert!(render(&found[..1]).contains("Ready to train."));
    }
}
