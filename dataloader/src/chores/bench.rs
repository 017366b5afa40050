//! How fast a loader is, where its time goes and what holds it back: `rectify-data bench`.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{DataError, LoaderSpec, LoaderStats, Source, with_batches};

/// Batches in flight while measuring, the one that is taken included.
const BUFFERS: usize = 4;

/// What a measurement found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Images delivered while it was measured.
    pub images: u64,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// Milliseconds an image of each stage, summed over the threads.
    pub stages_ms: [(Stage, f64); 4],
    /// Processor time over wall time; `None` where the system does not tell.
    pub cores_used: Option<f64>,
    /// Seconds from the start of the loader's threads to the first batch.
    pub first_batch_seconds: f64,
    /// Decode threads, and the share of their time that they worked, in `[0, 1]`.
    pub workers: Crew,
    /// Reading threads, and the share of their time that they read, in `[0, 1]`.
    pub readers: Crew,
    /// What the loader waited for.
    pub bottleneck: Stage,
}

/// Threads of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Crew {
    /// How many.
    pub threads: usize,
    /// The share of their time that they had something to do, in `[0, 1]`.
    pub busy: f64,
}

/// Where time goes, and what can hold a loader back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reading files.
    Storage,
    /// Decoding them.
    Decode,
    /// Cropping, resizing and mirroring.
    Resize,
    /// Normalising into the batch.
    Write,
    /// Whoever takes the batches.
    Consumer,
    /// Nothing in the loader: its threads wait to be run.
    Machine,
}

impl Report {
    /// Images a second.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    /// What holds the loader back and what would help, in words.
    pub fn explanation(&self) -> String {
        let Crew { threads, busy } = self.workers;
        let workers = if threads == 1 { "1 worker is".to_owned() } else { format!("{threads} workers are") };
        let readers = match self.readers.threads {
            1 => "1 reader is".to_owned(),
            threads => format!("{threads} readers are"),
        };
        let (busy, reading) = (100.0 * busy, 100.0 * self.readers.busy);
        match self.bottleneck {
            Stage::Storage => format!(
                "storage: the {workers} busy only {busy:.0} % of the time, for they wait for files; the {readers} busy \
                 {reading:.0} % of it; more readers or faster storage would help, more workers would not"
            ),
            Stage::Consumer => format!(
                "consumer: the {workers} busy only {busy:.0} % of the time, for no batch memory is free; whoever takes the \
                 batches is slower than the loader"
            ),
            Stage::Machine => format!(
                "machine: the {workers} busy only {busy:.0} % of the time and the {readers} busy {reading:.0} % of it: \
                 they wait to be run, for other programs have the cores"
            ),
            stage => format!(
                "{stage}: the {workers} busy {busy:.0} % of the time, and {:.0} % of that is {}; {}",
                100.0 * self.share(stage),
                stage.doing(),
                self.remedy()
            ),
        }
    }

    /// The report on one line, for programs.
    pub fn to_json(&self) -> String {
        let stages: serde_json::Map<_, _> =
            self.stages_ms.iter().map(|&(stage, time)| (stage.to_string(), time.into())).collect();
        serde_json::json!({
            "images_per_second": self.images_per_second(),
            "images": self.images,
            "seconds": self.seconds,
            "first_batch_seconds": self.first_batch_seconds,
            "stages_ms": stages,
            "cores_used": self.cores_used,
            "workers": self.workers,
            "readers": self.readers,
            "bottleneck": self.bottleneck,
            "explanation": self.explanation(),
        })
        .to_string()
    }

    /// The share that one stage has of the workers' work.
    fn share(&self, stage: Stage) -> f64 {
        let [_, of_workers @ ..] = self.stages_ms;
        let all: f64 = of_workers.iter().map(|(_, time)| time).sum();
        of_workers.iter().find(|(of, _)| *of == stage).map_or(0.0, |(_, time)| time / all.max(f64::MIN_POSITIVE))
    }

    /// What would help workers that have enough to do.
    fn remedy(&self) -> &'static str {
        match self.cores_used {
            Some(cores) if cores < 0.8 * self.workers.threads as f64 * self.workers.busy => {
                "but they do not get a core each: fewer workers, or a machine with less beside them, would do as well"
            }
            _ => "more cores would help",
        }
    }
}

impl Stage {
    fn doing(self) -> &'static str {
        match self {
            Stage::Storage => "reading",
            Stage::Decode => "decoding",
            Stage::Resize => "resizing",
            Stage::Write => "writing into the batch",
            Stage::Consumer | Stage::Machine => "waiting",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Storage => "storage",
            Stage::Decode => "decode",
            Stage::Resize => "resize",
            Stage::Write => "write",
            Stage::Consumer => "consumer",
            Stage::Machine => "machine",
        })
    }
}

/// Loads batches for `duration` after a warm-up of one round of buffers, and throws them away.
///
/// # Errors
/// When the loader fails; a sequential order ends sooner.
pub fn run(source: &dyn Source, spec: &LoaderSpec, duration: Duration) -> Result<Report, DataError> {
    let memory = vec![vec![0.0f32; spec.batch_bytes().div_ceil(size_of::<f32>())]; BUFFERS];
    let stats = LoaderStats::new();
    with_batches(source, spec, memory, &stats, |batches| {
        let started = Instant::now();
        batches.next()?;
        let first_batch_seconds = started.elapsed().as_secs_f64();
        for _ in 1..BUFFERS {
            batches.next()?;
        }
        let (before, began) = (Reading::take(&stats), Instant::now());
        let mut images = 0;
        while began.elapsed() < duration {
            let Some(lease) = batches.next()? else { break };
            images += lease.len() as u64;
        }
        let measured = Measured { images, seconds: began.elapsed().as_secs_f64(), first_batch_seconds };
        Ok(report(&measured, &before, &Reading::take(&stats), spec))
    })?
}

/// The counters at one moment, in seconds.
struct Reading {
    prepared: u64,
    stages: [(Stage, f64); 4],
    workers_waited: f64,
    memory_waited: f64,
    processor: Option<f64>,
}

impl Reading {
    fn take(stats: &LoaderStats) -> Reading {
        Reading {
            prepared: stats.images(),
            stages: [
                (Stage::Storage, stats.reading().as_secs_f64()),
                (Stage::Decode, stats.decoding().as_secs_f64()),
                (Stage::Resize, stats.resizing().as_secs_f64()),
                (Stage::Write, stats.writing().as_secs_f64()),
            ],
            workers_waited: stats.workers_waited().as_secs_f64(),
            memory_waited: stats.memory_waited().as_secs_f64(),
            processor: processor_seconds(),
        }
    }
}

/// What the caller of the loader saw.
struct Measured {
    images: u64,
    seconds: f64,
    first_batch_seconds: f64,
}

fn report(measured: &Measured, before: &Reading, after: &Reading, spec: &LoaderSpec) -> Report {
    let &Measured { images, seconds, first_batch_seconds } = measured;
    let (workers, readers) = (spec.worker_threads(), spec.reader_threads());
    let prepared = (after.prepared - before.prepared).max(1) as f64;
    let mut stages_ms = after.stages;
    for ((_, time), (_, earlier)) in stages_ms.iter_mut().zip(&before.stages) {
        *time = (*time - earlier) * 1e3 / prepared;
    }
    let waited = (after.workers_waited - before.workers_waited) / (seconds * workers as f64);
    let no_memory = (after.memory_waited - before.memory_waited) / seconds;
    let reading = (after.stages[0].1 - before.stages[0].1) / (seconds * readers as f64);
    Report {
        images,
        seconds,
        stages_ms,
        cores_used: after.processor.zip(before.processor).map(|(after, before)| (after - before) / seconds),
        first_batch_seconds,
        workers: Crew { threads: workers, busy: (1.0 - waited).clamp(0.0, 1.0) },
        readers: Crew { threads: readers, busy: reading.clamp(0.0, 1.0) },
        bottleneck: bottleneck(&stages_ms, waited, no_memory, reading),
    }
}

/// Workers that wait for a quarter of their time lack memory to write to, or bytes; otherwise their longest stage is it.
/// Where readers do little and bytes are missing all the same, the threads are not run.
fn bottleneck(stages_ms: &[(Stage, f64); 4], workers_waited: f64, no_memory: f64, reading: f64) -> Stage {
    const MUCH: f64 = 0.25;
    if workers_waited > MUCH {
        return match () {
            () if no_memory > MUCH => Stage::Consumer,
            () if reading > MUCH => Stage::Storage,
            () => Stage::Machine,
        };
    }
    let [_, of_workers @ ..] = stages_ms;
    of_workers.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Stage::Decode, |longest| longest.0)
}

/// Processor time of this process so far, from Linux's `/proc` (`man 5 proc`: fields 14 and 15, in hundredths).
fn processor_seconds() -> Option<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold spaces; the fields after it are numbered from 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_the_bottleneck() {
        let stages = [(Stage::Storage, 9.0), (Stage::Decode, 2.0), (Stage::Resize, 3.0), (Stage::Write, 1.0)];
        assert_eq!(bottleneck(&stages, 0.0, 0.0, 0.9), Stage::Resize);
        assert_eq!(bottleneck(&stages, 0.9, 0.0, 0.9), Stage::Storage);
        assert_eq!(bottleneck(&stages, 0.9, 0.9, 0.9), Stage::Consumer);
        assert_eq!(bottleneck(&stages, 0.9, 0.0, 0.1), Stage::Machine);
    }

    #[test]
    fn a_report_says_what_would_help() {
        let report = |bottleneck, busy, cores| Report {
            images: 100,
            seconds: 1.0,
            stages_ms: [(Stage::Storage, 1.0), (Stage::Decode, 7.0), (Stage::Resize, 2.0), (Stage::Write, 1.0)],
            cores_used: Some(cores),
            first_batch_seconds: 0.1,
            workers: Crew { threads: 2, busy },
            readers: Crew { threads: 1, busy: 1.0 },
            bottleneck,
        };
        let decode = report(Stage::Decode, 0.97, 2.0).explanation();
        let expected =
            "decode: the 2 workers are busy 97 % of the time, and 70 % of that is decoding; more cores would help";
        assert_eq!(decode, expected);
        assert!(report(Stage::Decode, 0.97, 1.0).explanation().contains("do not get a core each"));
        assert!(report(Stage::Storage, 0.4, 1.0).explanation().contains("more readers"));
        assert!(report(Stage::Consumer, 0.4, 1.0).explanation().contains("whoever takes the batches"));
        let json: serde_json::Value = serde_json::from_str(&report(Stage::Decode, 0.97, 2.0).to_json()).expect("JSON");
        assert_eq!((&json["bottleneck"], &json["stages_ms"]["decode"]), (&"decode".into(), &7.0.into()));
    }
}
