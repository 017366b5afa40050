//! How fast a loader is, where its time goes and what holds it back: `rectify-data bench`.

use std::fmt;
use std::time::{Duration, Instant};

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
    /// What the loader waited for.
    pub bottleneck: Stage,
}

/// Where time goes, and what can hold a loader back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Report {
    /// Images a second.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
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
        for _ in 0..BUFFERS {
            batches.next()?;
        }
        let (before, began) = (Reading::take(&stats), Instant::now());
        let mut images = 0;
        while began.elapsed() < duration {
            let Some(lease) = batches.next()? else { break };
            images += lease.len() as u64;
        }
        Ok(report(images, began.elapsed().as_secs_f64(), &before, &Reading::take(&stats), spec.worker_threads()))
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

fn report(images: u64, seconds: f64, before: &Reading, after: &Reading, workers: usize) -> Report {
    let prepared = (after.prepared - before.prepared).max(1) as f64;
    let mut stages_ms = after.stages;
    for ((_, time), (_, earlier)) in stages_ms.iter_mut().zip(&before.stages) {
        *time = (*time - earlier) * 1e3 / prepared;
    }
    let waited = (after.workers_waited - before.workers_waited) / (seconds * workers as f64);
    let no_memory = (after.memory_waited - before.memory_waited) / seconds;
    let processor = after.processor.zip(before.processor).map(|(after, before)| (after - before) / seconds);
    Report { images, seconds, stages_ms, cores_used: processor, bottleneck: bottleneck(&stages_ms, waited, no_memory) }
}

/// Workers that wait for a quarter of their time lack bytes, or memory to write to; otherwise their longest stage is it.
fn bottleneck(stages_ms: &[(Stage, f64); 4], workers_waited: f64, no_memory: f64) -> Stage {
    const MUCH: f64 = 0.25;
    if workers_waited > MUCH {
        return if no_memory > MUCH { Stage::Consumer } else { Stage::Storage };
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
        assert_eq!(bottleneck(&stages, 0.0, 0.0), Stage::Resize);
        assert_eq!(bottleneck(&stages, 0.9, 0.0), Stage::Storage);
        assert_eq!(bottleneck(&stages, 0.9, 0.9), Stage::Consumer);
    }
}
