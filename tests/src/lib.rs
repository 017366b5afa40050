//! A small language for tests that drive the real binaries: a workshop with data, configs and runs.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A test fails rather than hangs after this long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A binary of the workspace, in the folder that this test was built into.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps").join(name);
    assert!(path.exists(), "{} is missing: build it first, with `cargo build --release`", path.display());
    path
}

/// The digits of `rectify-data sample`, written once for all tests of a program.
pub fn digits() -> &'static Path {
    static DIGITS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = DIGITS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let status = Command::new(binary("rectify-data")).arg("sample").arg(folder.path().join("digits")).output();
        assert!(status.expect("rectify-data starts").status.success());
        folder
    });
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| folder.path().join("digits"))
}

/// Copies `images` images of every class of the digits, in both splits.
pub fn copy_of_digits(to: &Path, images: usize) {
    for split in ["train", "val"] {
        for class in fs::read_dir(digits().join(split)).expect("a split").flatten() {
            let folder = to.join(split).join(class.file_name());
            fs::create_dir_all(&folder).expect("a folder");
            let mut files: Vec<_> = fs::read_dir(class.path()).expect("a class").flatten().map(|e| e.path()).collect();
            files.sort();
            for file in &files[..images] {
                fs::copy(file, folder.join(file.file_name().expect("a name"))).expect("a copy");
            }
        }
    }
}

/// A folder of one test: a config that trains in seconds, and the runs that use it.
pub struct Workshop {
    folder: tempfile::TempDir,
}

/// Trains a ViT of width 32 and depth 2 on the digits: augmentation and drop-path on, 24 images a step.
const CONFIG: &str = r#"
name = "small"
[data]
path = "DATA"
workers = 1
[augment]
scale = [0.6, 1.0]
flip = 0.0
eval_crop_pct = 1.0
[model]
name = "vit_tiny_patch16_224"
image_size = 32
patch_size = 8
embed_dim = 32
depth = 2
num_heads = 2
drop_path = 0.2
activation = "crrelu"
[optimizer]
learning_rate = 1e-3
clip_norm = 1.0
[schedule]
epochs = 1
warmup_epochs = 0.1
[train]
batch_size = 24
threads = 1
[checkpoint]
every_steps = 10
keep = 3
[log]
every_steps = 3
[parallel]
timeout_s = 60
"#;

impl Workshop {
    /// A workshop whose config trains on the digits.
    pub fn new() -> Workshop {
        Workshop::with_data(digits())
    }

    /// A workshop whose config trains on the images in `data`.
    pub fn with_data(data: &Path) -> Workshop {
        let workshop = Workshop { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::write(workshop.config(), CONFIG.replace("DATA", &data.display().to_string())).expect("a config");
        workshop
    }

    /// The config.
    pub fn config(&self) -> PathBuf {
        self.path("small.toml")
    }

    /// A path in the workshop.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rectify train` on `ranks` ranks, into the folder `run`.
    pub fn rectify(&self, ranks: usize, run: &str) -> Job {
        let mut job = Job::new(&binary("rectify"), self.folder.path());
        job.arguments(["train"]).argument(self.config()).arguments(["--nproc", &ranks.to_string()]);
        job.arguments(["--run-dir"]).argument(self.path(run));
        job
    }

    /// `mpirun -np ranks rectify-trainer train`, into the folder `run`.
    pub fn mpirun(&self, ranks: usize, run: &str) -> Job {
        let mut job = Job::new(Path::new("mpirun"), self.folder.path());
        job.arguments(["--oversubscribe", "--bind-to", "none", "-np", &ranks.to_string()]);
        job.argument(binary("rectify-trainer")).arguments(["train"]).argument(self.config());
        job.arguments(["--run-dir"]).argument(self.path(run));
        job
    }

    /// What a run wrote into `metrics.jsonl`.
    pub fn metrics(&self, run: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).expect("metrics.jsonl");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// A run's `summary.json`.
    pub fn summary(&self, run: &str) -> serde_json::Value {
        let text = fs::read_to_string(self.path(run).join("summary.json")).expect("summary.json");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The names of a run's checkpoints, oldest first.
    pub fn checkpoints(&self, run: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(run).join("checkpoints")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|n| !n.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    /// The bytes of a file of a run's checkpoint.
    pub fn checkpoint_file(&self, run: &str, step: u64, file: &str) -> Vec<u8> {
        let path = self.path(run).join(format!("checkpoints/step-{step:08}")).join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Default for Workshop {
    fn default() -> Workshop {
        Workshop::new()
    }
}

/// A command to be started.
pub struct Job {
    command: Command,
}

impl Job {
    /// A program in a folder, with an environment in which Open MPI runs anywhere.
    pub fn new(program: &Path, folder: &Path) -> Job {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        Job { command }
    }

    /// Adds arguments.
    pub fn arguments<const N: usize>(&mut self, arguments: [&str; N]) -> &mut Job {
        self.command.args(arguments);
        self
    }

    /// Adds one argument.
    pub fn argument(&mut self, argument: impl AsRef<std::ffi::OsStr>) -> &mut Job {
        self.command.arg(argument);
        self
    }

    /// Changes one key of the config.
    pub fn set(&mut self, assignment: &str) -> &mut Job {
        self.arguments(["--set", assignment])
    }

    /// Sets an environment variable.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Job {
        self.command.env(name, value);
        self
    }

    /// Starts it.
    pub fn start(&mut self) -> Running {
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let output = [drain(child.stdout.take()), drain(child.stderr.take())];
        Running { child, output }
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> Ended {
        self.start().wait()
    }
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> JoinHandle<String> {
    let mut pipe = pipe.expect("the pipe was asked for");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A started command.
pub struct Running {
    child: Child,
    output: [JoinHandle<String>; 2],
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the process takes signals");
    }

    /// Waits for its end; a command that outlasts [`PATIENCE`] is killed and fails the test.
    pub fn wait(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the process can be waited for") {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let [out, err] = self.output.map(|thread| thread.join().unwrap_or_default());
                panic!("no end after {PATIENCE:?}\n--- stdout\n{out}\n--- stderr\n{err}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let [out, err] = self.output.map(|thread| thread.join().unwrap_or_default());
        Ended { status, out, err }
    }
}

/// What a command left.
pub struct Ended {
    status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ended {
    /// Everything it printed.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Ended {
        assert_eq!(self.status.code(), Some(expected), "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// Checks that it printed all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ended {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        }
        self
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come true within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line names `needle`, such as a run's folder: `(id, command line)`.
pub fn processes_naming(needle: &str) -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = std::process::id() as i32;
    entries
        .filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (id != own && line.contains(needle)).then_some((id, line))
        })
        .collect()
}
