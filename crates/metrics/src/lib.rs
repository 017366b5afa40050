//! What is measured and where it goes.
//!
//! [`catalogue`] declares every metric once. A [`StepClock`] times the phases of a step; a [`Recorder`] passes what was
//! measured to the sinks: a Prometheus [`Endpoint`], `metrics.jsonl` ([`JsonLines`]) and the console ([`Progress`]).
//! [`Summary`] and [`draw_curves`] describe a finished run.
//!
//! ```
//! use metrics::{Identity, Metrics, Phase, Progress, ProgressMode, Recorder, RunShape, StepClock, StepReport};
//! let metrics = Metrics::new(&Identity { run: "demo".into(), rank: 0, host: "node1".into() });
//! let shape = RunShape { total_steps: 1, start_step: 0, epochs: 1.0, global_batch: 32, world_size: 1 };
//! let mut recorder = Recorder::new(metrics.clone(), None, Progress::new(ProgressMode::Off), shape);
//! let mut clock = StepClock::new();
//! clock.enter(Phase::DataWait);
//! clock.enter(Phase::Forward);
//! recorder.step(&clock.finish_step(), 32);
//! recorder.record(StepReport { step: 1, epoch: 1.0, loss: 2.3, learning_rate: 1e-3, ..StepReport::default() }).unwrap();
//! assert!(metrics.text().contains("rectify_loss{"));
//! ```

mod atomic;
mod bar;
pub mod catalogue;
mod clock;
mod curves;
mod endpoint;
mod error;
mod handle;
mod lines;
mod progress;
mod recent;
mod record;
mod recorder;
mod summary;
mod targets;

pub use bar::{PROGRESS_VARIABLE, Progress, ProgressMode};
pub use clock::{Phase, StepClock, StepTimes, Window};
pub use curves::draw_curves;
pub use endpoint::{Endpoint, check_ports, port_of_rank};
pub use error::MetricsError;
pub use handle::{Identity, Metrics};
pub use lines::{JsonLines, Resumed, read_records};
pub use progress::{Event, PREFIX, RunShape, parse};
pub use record::{AverageReport, EvalRecord, EvalReport, LayerEntropies, LoaderReport, Record, StepRecord, StepReport};
pub use recorder::Recorder;
pub use summary::{Summary, Versions};
pub use targets::{Target, render_targets, write_targets};
