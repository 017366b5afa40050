//! The communication thread: takes requests in order, moves messages around the ring, and knows how long it has waited.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};

use crate::buffer::Numbers;
use crate::communicator::{Exchange, Wire};
use crate::form::{Bf16, Form};
use crate::frame::{Frame, Pool};
use crate::gather::{AllGather, Broadcast};
use crate::handle::Control;
use crate::link::{Link, LinkError};
use crate::notice::{News, Notice};
use crate::operation::{Kind, Operation};
use crate::patience::{Patience, allow_short_naps};
use crate::ring::Ring;
use crate::roll_call::RollCall;
use crate::transfer::{Fate, Malformed, Transfer};
use crate::{Buffer, CommError, Phase};

/// A call of a `Communicator`, with where its answer goes.
pub(crate) enum Request {
    Exchange {
        phase: Phase,
        buffer: Buffer,
        exchange: Exchange,
        wire: Wire,
        answer: Sender<Result<Buffer, CommError>>,
    },
    Broadcast {
        phase: Phase,
        bytes: Vec<u8>,
        root: usize,
        answer: Sender<Result<Vec<u8>, CommError>>,
    },
    AllGather {
        phase: Phase,
        bytes: Vec<u8>,
        answer: Sender<Result<Vec<Vec<u8>>, CommError>>,
    },
    Barrier {
        phase: Phase,
        answer: Sender<Result<(), CommError>>,
    },
    /// Nothing to do but to look at `Control`.
    Wake,
}

pub(crate) struct Engine<L> {
    link: L,
    requests: Receiver<Request>,
    control: Arc<Control>,
    timeout: Duration,
    pool: Pool,
    passing_on: VecDeque<Frame>, // empty between operations
    sequence: u64,
    calls: u64,
    failure: Option<CommError>,
}

impl<L: Link> Engine<L> {
    pub fn new(link: L, requests: Receiver<Request>, control: Arc<Control>, timeout: Duration) -> Engine<L> {
        let (pool, passing_on) = (Pool::default(), VecDeque::new());
        Engine { link, requests, control, timeout, pool, passing_on, sequence: 0, calls: 0, failure: None }
    }

    /// Serves requests until the last handle is dropped.
    pub fn run(mut self) {
        allow_short_naps();
        while let Ok(request) = self.requests.recv() {
            self.obey();
            self.serve(request);
        }
        if !L::ENDS_TOGETHER || self.failure.is_some() || self.control.must_leave() {
            return; // without finalising: it would wait for ranks that may never come
        }
        if self.barrier(Kind::Close, Phase::new("the end of the run")).is_ok() {
            self.link.close();
        }
    }

    /// Does what the answer's receiver asked for. Who no longer listens has its reasons, so a failed answer is no error.
    fn serve(&mut self, request: Request) {
        match request {
            Request::Exchange { phase, buffer, exchange, wire, answer } => {
                let result = self.exchange(phase, buffer, exchange, wire);
                let _ = answer.send(result);
            }
            Request::Broadcast { phase, bytes, root, answer } => {
                let mut transfer = Broadcast::new(&bytes, self.link.rank(), self.link.size(), root);
                let result = self.perform(Kind::Broadcast, root as u64, phase, &mut transfer);
                let received = transfer.into_received();
                let _ = answer.send(result.map(|()| received.unwrap_or(bytes)));
            }
            Request::AllGather { phase, bytes, answer } => {
                let mut transfer = AllGather::new(&bytes, self.link.rank(), self.link.size());
                let result = self.perform(Kind::AllGather, 0, phase, &mut transfer);
                let _ = answer.send(result.map(|()| transfer.into_blocks()));
            }
            Request::Barrier { phase, answer } => {
                let result = self.barrier(Kind::Barrier, phase);
                let _ = answer.send(result);
            }
            Request::Wake => {}
        }
    }

    fn exchange(
        &mut self,
        phase: Phase,
        mut buffer: Buffer,
        exchange: Exchange,
        wire: Wire,
    ) -> Result<Buffer, CommError> {
        let Some(numbers) = buffer.numbers() else {
            return Err(CommError::OnDevice { rank: self.link.rank(), phase: phase.to_string() });
        };
        match (numbers, wire) {
            (Numbers::F32(data), Wire::Full) => self.go_round::<f32>(phase, data, exchange)?,
            (Numbers::F32(data), Wire::Bf16) => self.go_round::<Bf16>(phase, data, exchange)?,
            (Numbers::F64(data), _) => self.go_round::<f64>(phase, data, exchange)?,
        }
        Ok(buffer)
    }

    fn go_round<F: Form>(&mut self, phase: Phase, data: &mut [F::Number], exchange: Exchange) -> Result<(), CommError> {
        let (rank, size, len) = (self.link.rank(), self.link.size(), data.len() as u64);
        let mut ring = Ring::<F>::new(data, rank, size, exchange);
        self.perform(Kind::Exchange(exchange, F::ELEMENT), len, phase, &mut ring)
    }

    /// An all-gather of nothing: it ends when every rank's message is here.
    fn barrier(&mut self, kind: Kind, phase: Phase) -> Result<(), CommError> {
        let mut transfer = AllGather::new(&[], self.link.rank(), self.link.size());
        self.perform(kind, 0, phase, &mut transfer)
    }

    /// One operation, from its first message to its last. The first failure is the last operation.
    fn perform(&mut self, kind: Kind, extent: u64, phase: Phase, transfer: &mut dyn Transfer) -> Result<(), CommError> {
        if let Some(first) = &self.failure {
            return Err(CommError::Poisoned { first: Box::new(first.clone()) });
        }
        self.sequence += 1;
        let operation = Operation::new(self.sequence, kind, extent, phase);
        let result = self.drive(&operation, transfer);
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    fn drive(&mut self, operation: &Operation, transfer: &mut dyn Transfer) -> Result<(), CommError> {
        let mut roll_call = RollCall::new(self.link.size());
        let mut patience = Patience::new();
        self.hear(operation, &mut roll_call)?;
        loop {
            let mut moved = self.link.reclaim(&mut self.pool).map_err(|e| self.broken(operation, e))?;
            while self.link.can_send() {
                let Some(frame) = self.next_frame(operation, transfer) else { break };
                self.link.send(frame).map_err(|e| self.broken(operation, e))?;
                self.link.reclaim(&mut self.pool).map_err(|e| self.broken(operation, e))?;
                moved = true;
            }
            while transfer.expects_more() {
                let arrived = self.link.receive(&mut self.pool).map_err(|e| self.broken(operation, e))?;
                let Some(frame) = arrived else { break };
                match self.accept(operation, transfer, &frame)? {
                    Fate::PassOn => self.passing_on.push_back(frame),
                    Fate::Keep => self.link.put_away(frame, &mut self.pool),
                }
                moved = true;
            }
            let all_sent = !transfer.is_ready() && self.passing_on.is_empty();
            if !transfer.expects_more() && all_sent && self.link.is_flushed() {
                return Ok(());
            }
            if moved {
                patience = Patience::new();
                roll_call.close();
            } else {
                self.wait(operation, transfer.expects_more(), &mut patience, &mut roll_call)?;
            }
        }
    }

    fn next_frame(&mut self, operation: &Operation, transfer: &mut dyn Transfer) -> Option<Frame> {
        if !transfer.is_ready() {
            return self.passing_on.pop_front();
        }
        let mut frame = self.pool.take();
        frame.begin(operation);
        transfer.produce(&mut frame);
        Some(frame)
    }

    fn accept(&mut self, ours: &Operation, transfer: &mut dyn Transfer, frame: &Frame) -> Result<Fate, CommError> {
        let malformed = || LinkError::Failed("a message of another version of this program, or damaged".into());
        let Some(theirs) = frame.operation() else { return Err(self.broken(ours, malformed())) };
        if theirs != *ours {
            return Err(self.mismatch(ours, self.previous(), theirs));
        }
        transfer.accept(frame.payload()).map_err(|Malformed| self.broken(ours, malformed()))
    }

    /// Nothing moved: look at orders and notices, look at the clock, and let others work.
    fn wait(
        &mut self,
        operation: &Operation,
        receiving: bool,
        patience: &mut Patience,
        roll_call: &mut RollCall,
    ) -> Result<(), CommError> {
        let Some(nap) = patience.pause() else { return Ok(()) };
        self.obey();
        self.hear(operation, roll_call)?;
        let waited = patience.waited();
        if waited >= self.timeout {
            let direct = if receiving { self.previous() } else { self.next() };
            let waiting_for = roll_call.missing(self.link.rank()).unwrap_or(vec![direct]);
            return Err(self.stop_all(operation, News::TimedOut { waiting_for, waited }));
        }
        if waited >= self.timeout / 2 && !roll_call.is_open() {
            self.calls += 1;
            roll_call.open(self.calls);
            self.tell_all(operation, News::WhoIsThere(self.calls));
        }
        self.link.idle(nap);
        Ok(())
    }

    /// Reads all notices: answers calls, counts answers, stops when another rank has stopped.
    fn hear(&mut self, ours: &Operation, roll_call: &mut RollCall) -> Result<(), CommError> {
        while let Some(notice) = self.link.hear() {
            if let Some(error) = notice.error() {
                return Err(error);
            }
            let theirs = notice.operation;
            if theirs.sequence == ours.sequence && theirs != *ours {
                return Err(self.mismatch(ours, notice.from, theirs));
            }
            match notice.news {
                News::WhoIsThere(call) => self.tell(notice.from, ours, News::Here(call)),
                News::Here(call) => roll_call.answered(notice.from, call),
                _ => {}
            }
        }
        Ok(())
    }

    /// Two ranks in different operations. One that is ending has simply gone, for those that go on.
    fn mismatch(&mut self, ours: &Operation, peer: usize, theirs: Operation) -> CommError {
        if ours.kind == Kind::Close {
            let gone = self.link.rank();
            return self.stop_all(&theirs, News::Gone { peer: gone });
        }
        if theirs.kind == Kind::Close {
            return self.stop_all(ours, News::Gone { peer });
        }
        self.stop_all(ours, News::Mismatch { peer, theirs })
    }

    fn broken(&mut self, operation: &Operation, error: LinkError) -> CommError {
        match error {
            // A rank that stopped for a reason has told it before it went.
            LinkError::Gone(peer) => match std::iter::from_fn(|| self.link.hear()).find_map(|notice| notice.error()) {
                Some(reason) => reason,
                None => self.stop_all(operation, News::Gone { peer }),
            },
            LinkError::Failed(message) => {
                CommError::Transport { rank: self.link.rank(), phase: operation.phase(), message }
            }
        }
    }

    /// Tells all ranks why this one stops, and returns the same as an error.
    fn stop_all(&mut self, operation: &Operation, news: News) -> CommError {
        self.tell_all(operation, news.clone());
        let notice = Notice { from: self.link.rank(), operation: *operation, news };
        notice.error().expect("this news stops ranks")
    }

    fn tell_all(&mut self, operation: &Operation, news: News) {
        for to in (0..self.link.size()).filter(|&to| to != self.link.rank()).collect::<Vec<_>>() {
            self.tell(to, operation, news.clone());
        }
    }

    fn tell(&mut self, to: usize, operation: &Operation, news: News) {
        self.link.notify(to, &Notice { from: self.link.rank(), operation: *operation, news });
    }

    fn previous(&self) -> usize {
        (self.link.rank() + self.link.size() - 1) % self.link.size()
    }

    fn next(&self) -> usize {
        (self.link.rank() + 1) % self.link.size()
    }

    /// Ends the process if that was ordered.
    fn obey(&mut self) {
        if let Some(exit_code) = self.control.abort_ordered() {
            self.link.abort(exit_code);
        }
    }
}
