//! `rectify train`: checks, places, starts and watches the ranks of a run, again if that is worth it, and says how it went.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plan::Config;
use world::Exit;

use crate::command::{self, Circumstances, CommandLine};
use crate::ending::Ending;
use crate::hosts::{self, Host, is_this_machine};
use crate::placement::{self, Placement, Start, Wish};
use crate::restart::{self, Decision};
use crate::screen::Screen;
use crate::supervisor::{Ended, Supervisor};
use crate::{cause, check, cli, dry_run, machine, mpi, tools, verdict};

/// Runs the subcommand to its end.
pub fn train(arguments: &cli::Train) -> Result<(), Ending> {
    refuse_to_be_a_rank()?;
    let config = check::config(&arguments.config, &arguments.sets)?;
    let hosts = read_hosts(arguments.hostfile.as_deref())?;
    let placement = place(arguments.nproc, hosts).map_err(Ending::config)?;
    let most_ranks = placement.ranks_per_host.iter().map(|&(_, ranks)| ranks).max();
    if let (Some(first), Some(ranks)) = (arguments.metrics_port, most_ranks) {
        metrics::check_ports(first, ranks).map_err(Ending::config)?;
    }
    if arguments.dry_run {
        let (plan, data) = check::without_data(config, placement.nproc)?;
        print!("{}", dry_run::describe(&plan, data));
        return Ok(());
    }
    let planned = check_plan(&config, &placement)?;
    let trainer = tools::find(tools::TRAINER).map_err(Ending::config)?;
    mpi::require(&placement).map_err(Ending::config)?;

    let run = Run::new(arguments, &config, placement, trainer);
    if arguments.print_command {
        println!("{}", run.shown(&arguments.resume));
        return Ok(());
    }
    eprintln!("{planned}\n{}\n{}\n", run.placement.reason, run.shown(&arguments.resume));
    run.to_the_end(arguments)
}

/// The placement of `nproc` ranks on these machines, or on this one.
pub fn place(nproc: Option<usize>, hosts: Vec<Host>) -> Result<Placement, placement::PlacementError> {
    let slurm_tasks = std::env::var("SLURM_JOB_ID").ok().map(|_| {
        let tasks = ["SLURM_NTASKS", "SLURM_NPROCS"].iter().find_map(|name| std::env::var(name).ok()?.parse().ok());
        tasks.unwrap_or(0)
    });
    let (cores, physical_cores) = (world::cores(), machine::physical_cores());
    placement::place(&Wish { nproc, hosts, cores, physical_cores, slurm_tasks })
}

/// The machines of the hostfile, if there is one.
pub fn read_hosts(path: Option<&Path>) -> Result<Vec<Host>, Ending> {
    path.map_or(Ok(Vec::new()), |path| hosts::read(path, &machine::hostname()).map_err(Ending::config))
}

/// What of this machine and of the environment shapes the command line.
pub fn circumstances(hostfile: Option<&Path>, placement: &Placement) -> Circumstances {
    let hostname = machine::hostname();
    let local = |(name, _): &(String, usize)| is_this_machine(name, &hostname);
    let all_here = placement.start == Start::Mpirun && placement.ranks_per_host.iter().all(local);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Circumstances {
        hostfile: hostfile.map(Path::to_path_buf),
        is_root: machine::is_root(),
        single_copy: machine::allows_single_copy(),
        needs_no_remote_shell: all_here && ["ssh", "rsh"].iter().all(|name| tools::find_on_path(name).is_none()),
        variables: command::variables_to_forward(names),
    }
}

/// A rank that starts ranks would start them once for each of its peers.
pub fn refuse_to_be_a_rank() -> Result<(), Ending> {
    if std::env::var_os("OMPI_COMM_WORLD_SIZE").is_none() {
        return Ok(());
    }
    Err(Ending::config(
        "this is already a rank of mpirun (OMPI_COMM_WORLD_SIZE is set): run `mpirun … rectify-trainer train CONFIG`, \
         or `rectify train CONFIG --nproc N` without mpirun",
    ))
}

fn check_plan(config: &Config, placement: &Placement) -> Result<String, Ending> {
    let hostname = machine::hostname();
    let here = placement.ranks_per_host.iter().any(|(name, _)| is_this_machine(name, &hostname));
    if here || placement.start == Start::MpirunInSlurm {
        let (facts, words) = check::data(config)?;
        return Ok(format!("{words}\n{}", check::plan(config.clone(), Some(facts), placement.nproc)?));
    }
    let words = check::plan(config.clone(), None, placement.nproc)?;
    Ok(format!("data not checked: no rank runs on this machine ({hostname})\n{words}"))
}

/// One run, whatever number of tries it takes.
struct Run {
    dir: PathBuf,
    name: String,
    config: PathBuf,
    sets: Vec<String>,
    activation: Option<String>,
    flags: Vec<(&'static str, Option<String>)>,
    targets: Vec<PathBuf>,
    placement: Placement,
    circumstances: Circumstances,
    trainer: PathBuf,
}

impl Run {
    fn new(arguments: &cli::Train, config: &Config, placement: Placement, trainer: PathBuf) -> Run {
        let dir = arguments.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&config.name));
        let mut targets = vec![dir.join("prometheus").join("targets.json")];
        targets.extend(arguments.prometheus_targets.as_ref().map(|to| to.join(format!("{}.json", config.name))));
        Run {
            name: config.name.clone(),
            config: arguments.config.clone(),
            sets: arguments.sets.clone(),
            activation: config.model.activation.as_ref().map(|activations| activations.default.name.clone()),
            flags: vec![
                ("--run-dir", Some(dir.to_string_lossy().into_owned())),
                ("--metrics-port", arguments.metrics_port.map(|port| port.to_string())),
                ("--metrics-host", arguments.metrics_host.map(|host| host.to_string())),
            ],
            targets,
            circumstances: circumstances(arguments.hostfile.as_deref(), &placement),
            placement,
            trainer,
            dir,
        }
    }

    fn line(&self, resume: &str, circumstances: &Circumstances) -> CommandLine {
        let resume = Some(resume).filter(|resume| *resume != "none").map(String::from);
        let flags: Vec<_> = self.flags.iter().cloned().chain([("--resume", resume)]).collect();
        let program = command::trainer_words(&self.trainer, &self.config, &self.sets, &flags);
        command::compose(&self.placement, circumstances, &program)
    }

    /// The line for a person to copy. Only how progress is told differs from the line that is run: see [`Run::watched`].
    fn shown(&self, resume: &str) -> String {
        self.line(resume, &self.circumstances).for_shell()
    }

    /// The line that is run: rank 0, on whatever machine, tells progress to us and not to a person.
    fn watched(&self, resume: &str) -> CommandLine {
        let mut circumstances = self.circumstances.clone();
        if circumstances.hostfile.is_some() || self.placement.start == Start::MpirunInSlurm {
            circumstances.variables.retain(|name| name != metrics::PROGRESS_VARIABLE);
            circumstances.variables.push(metrics::PROGRESS_VARIABLE.into());
        }
        self.line(resume, &circumstances)
    }

    fn to_the_end(&self, arguments: &cli::Train) -> Result<(), Ending> {
        let grace = Duration::from_secs(arguments.grace_s);
        let mut supervisor = Supervisor::new(grace)?;
        let mut resume = arguments.resume.clone();
        let mut restarts = 0;
        loop {
            let mut screen = Screen::new(&self.dir.join("logs"), self.targets.clone(), grace);
            screen.note(&self.watched(&resume).for_shell());
            let wire = (metrics::PROGRESS_VARIABLE.to_string(), metrics::ProgressMode::Wire.name().to_string());
            let ended = supervisor.run(&self.watched(&resume), &[wire], &mut screen)?;
            let code = self.tell(&ended, &mut screen);
            screen.close();
            let asked_to_stop = ended.asked_to_stop;
            match restart::decide(restart::Ended { code, asked_to_stop, restarts, allowed: arguments.restarts }) {
                Decision::Restart(reason) => eprintln!("\n{reason}\n"),
                Decision::Stop(_) if code == Exit::Done.code() => return Ok(()),
                Decision::Stop(reason) => {
                    if arguments.restarts > 0 {
                        eprintln!("not started again: {reason}");
                    }
                    return Err(Ending::said(code));
                }
            }
            restarts += 1;
            resume = "auto".into();
        }
    }

    /// Says how a try ended; returns the exit code that stands for it.
    fn tell(&self, ended: &Ended, screen: &mut Screen) -> i32 {
        if ended.code == 0 {
            screen.release();
            print!("\n{}", verdict::success(&self.dir, screen.last_checkpoint(), &self.next()));
            return 0;
        }
        let with_mpirun = self.placement.start != Start::Alone;
        let found = cause::find(&screen.reports(), ended.code, &screen.errors(), with_mpirun);
        if ended.asked_to_stop && found.is_an_answer_to_a_stop(ended.enforced) {
            screen.release();
            eprintln!("\n{}", verdict::stopped(&self.dir, screen.last_checkpoint(), &self.again()));
            return Exit::Retry.code();
        }
        let held = screen.take_held();
        eprint!("\n{}", verdict::failure(&found, &self.dir, &held));
        found.exit_code()
    }

    /// The command that goes on with this run.
    fn again(&self) -> String {
        let words = self.rectify_words(&self.dir, &["--resume".into(), "auto".into()]);
        CommandLine(words).for_shell()
    }

    /// The next thing to try: the same with the other activation, to compare.
    fn next(&self) -> String {
        let other = if self.activation.as_deref() == Some("crrelu") { "gelu" } else { "crrelu" };
        let dir = self.dir.with_file_name(format!("{}-{other}", self.name));
        let words = self.rectify_words(&dir, &["--set".into(), format!("model.activation={other}")]);
        format!("the same with {other}, to compare:\n  {}", CommandLine(words).for_shell())
    }

    fn rectify_words(&self, dir: &Path, more: &[String]) -> Vec<String> {
        let nproc = self.placement.nproc.to_string();
        let this = std::env::args().next().unwrap_or_else(|| "rectify".into());
        let mut words = vec![this, "train".into(), self.config.to_string_lossy().into_owned()];
        words.extend(["--nproc".to_string(), nproc]);
        if let Some(hostfile) = &self.circumstances.hostfile {
            words.extend(["--hostfile".to_string(), hostfile.to_string_lossy().into_owned()]);
        }
        words.extend(self.sets.iter().flat_map(|set| ["--set".to_string(), set.clone()]));
        if dir != Path::new("runs").join(&self.name) {
            words.extend(["--run-dir".to_string(), dir.to_string_lossy().into_owned()]);
        }
        words.extend_from_slice(more);
        words
    }
}
