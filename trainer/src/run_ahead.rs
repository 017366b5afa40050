//! How far the host may run ahead of the device: the steps that it has asked for and the device has not finished.

use kernels::KernelError;
use kernels::cuda::Event;
use tch::Device;

/// Steps that may be asked for and not finished. Each holds a batch in the device's memory.
const STEPS: usize = 2;

/// A point in the work of a device.
pub trait Mark {
    /// Moves it behind all that the device was asked to do so far.
    ///
    /// # Errors
    /// When the device has failed.
    fn record(&mut self) -> Result<(), KernelError>;

    /// Waits until the device has come to it.
    ///
    /// # Errors
    /// When the device has failed.
    fn wait(&self) -> Result<(), KernelError>;
}

/// Holds the host back until the device has finished the step before the last one.
///
/// Without it nothing bounds how many steps the host asks for, where steps are CUDA graphs: two calls a step.
pub struct RunAhead<M> {
    /// Behind the last steps, in turn.
    marks: [M; STEPS],
    steps: usize,
}

impl<M: Mark> RunAhead<M> {
    /// Before the first step.
    pub fn new(marks: [M; STEPS]) -> RunAhead<M> {
        RunAhead { marks, steps: 0 }
    }

    /// Comes after the host has asked for all of step k; returns when the device has finished step k − 2.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn end_step(&mut self) -> Result<(), KernelError> {
        let mark = &mut self.marks[self.steps % STEPS];
        if self.steps >= STEPS {
            mark.wait()?;
        }
        mark.record()?;
        self.steps += 1;
        Ok(())
    }
}

impl Mark for Event {
    fn record(&mut self) -> Result<(), KernelError> {
        Event::record(self)
    }

    fn wait(&self) -> Result<(), KernelError> {
        self.synchronize()
    }
}

/// For steps on `device`; `None` on a CPU, which does at once what it is asked to.
///
/// # Errors
/// When the device gives no events.
pub fn on(device: Device) -> Result<Option<RunAhead<Event>>, KernelError> {
    let Device::Cuda(index) = device else { return Ok(None) };
    Ok(Some(RunAhead::new([Event::new(index)?, Event::new(index)?])))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// A device that does nothing until it is waited for, and then just what is needed.
    #[derive(Default)]
    struct Queue {
        asked: usize,
        done: usize,
        waits: Vec<usize>,
    }

    /// Behind so many steps of the queue.
    struct Place {
        queue: Rc<RefCell<Queue>>,
        behind: Option<usize>,
    }

    impl Mark for Place {
        fn record(&mut self) -> Result<(), KernelError> {
            self.behind = Some(self.queue.borrow().asked);
            Ok(())
        }

        fn wait(&self) -> Result<(), KernelError> {
            let behind = self.behind.ok_or(KernelError { what: "an event", message: "was not recorded".into() })?;
            let mut queue = self.queue.borrow_mut();
            queue.done = queue.done.max(behind);
            queue.waits.push(behind);
            Ok(())
        }
    }

    #[test]
    fn the_host_is_never_more_than_two_steps_ahead() {
        let queue = Rc::new(RefCell::new(Queue::default()));
        let mut ahead = RunAhead::new([0, 1].map(|_| Place { queue: Rc::clone(&queue), behind: None }));
        for step in 1..=7 {
            queue.borrow_mut().asked = step;
            ahead.end_step().expect("a device that works");
            let queue = queue.borrow();
            assert_eq!(queue.asked - queue.done, step.min(STEPS), "after step {step}");
        }
        assert_eq!(queue.borrow().waits, [1, 2, 3, 4, 5], "each step is waited for once, two steps later");
    }

    #[test]
    fn a_cpu_needs_none() {
        assert!(on(Device::Cpu).expect("nothing to make").is_none());
    }
}
