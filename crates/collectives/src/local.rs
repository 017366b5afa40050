//! `LocalLink`: threads of one process as ranks, with channels between them.

use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, unbounded};

use crate::frame::{Frame, Pool};
use crate::handle::leave;
use crate::link::{Link, LinkError};
use crate::notice::Notice;

/// Messages that may lie between two ranks; a fast sender waits then, as it does on a network.
const MESSAGES_BETWEEN: usize = 8;

pub(crate) struct LocalLink {
    rank: usize,
    to_next: Sender<Frame>,
    from_previous: Receiver<Frame>,
    back_to_previous: Sender<Frame>,
    back_from_next: Receiver<Frame>,
    notices: Receiver<Notice>,
    to_all: Vec<Sender<Notice>>,
}

/// The links of `size` ranks, in order.
pub(crate) fn links(size: usize) -> Vec<LocalLink> {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| bounded(MESSAGES_BETWEEN)).unzip();
    let (back, mut backs): (Vec<_>, Vec<_>) = (0..size).map(|_| bounded(2 * MESSAGES_BETWEEN)).unzip();
    let (to_all, notices): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded()).unzip();
    senders.rotate_left(1); // rank r receives from channel r and sends to channel r+1
    backs.rotate_left(1); // and the other way round for empty frames
    let ends = senders.into_iter().zip(receivers).zip(back.into_iter().zip(backs)).zip(notices);
    ends.enumerate()
        .map(|(rank, (((to_next, from_previous), (back_to_previous, back_from_next)), notices))| {
            let to_all = to_all.clone();
            LocalLink { rank, to_next, from_previous, back_to_previous, back_from_next, notices, to_all }
        })
        .collect()
}

impl Link for LocalLink {
    const ENDS_TOGETHER: bool = false;

    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to_all.len()
    }

    fn can_send(&mut self) -> bool {
        !self.to_next.is_full()
    }

    fn send(&mut self, frame: Frame) -> Result<(), LinkError> {
        // There is room: this thread alone sends into the channel, and has asked.
        self.to_next.send(frame).map_err(|_| LinkError::Gone((self.rank + 1) % self.size()))
    }

    fn receive(&mut self, _: &mut Pool) -> Result<Option<Frame>, LinkError> {
        match self.from_previous.try_recv() {
            Ok(frame) => Ok(Some(frame)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(LinkError::Gone((self.rank + self.size() - 1) % self.size())),
        }
    }

    fn reclaim(&mut self, pool: &mut Pool) -> Result<bool, LinkError> {
        let mut any = false;
        while let Ok(frame) = self.back_from_next.try_recv() {
            pool.give(frame);
            any = true;
        }
        Ok(any)
    }

    fn put_away(&mut self, frame: Frame, _: &mut Pool) {
        // Where it came from. One too many, or one of a rank that has ended, is freed.
        let _ = self.back_to_previous.try_send(frame);
    }

    fn is_flushed(&self) -> bool {
        true
    }

    fn notify(&mut self, to: usize, notice: &Notice) {
        let _ = self.to_all[to].send(notice.clone());
    }

    fn hear(&mut self) -> Option<Notice> {
        self.notices.try_recv().ok()
    }

    fn close(self) {}

    fn abort(&mut self, exit_code: i32) -> ! {
        leave(exit_code)
    }

    fn idle(&mut self, at_most: Duration) {
        std::thread::sleep(at_most);
    }
}
