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
    notices: Receiver<Notice>,
    to_all: Vec<Sender<Notice>>,
}

/// The links of `size` ranks, in order.
pub(crate) fn links(size: usize) -> Vec<LocalLink> {
    let (mut senders, mut receivers): (Vec<_>, Vec<_>) = (0..size).map(|_| bounded(MESSAGES_BETWEEN)).unzip();
    let (to_all, notices): (Vec<_>, Vec<_>) = (0..size).map(|_| unbounded()).unzip();
    senders.rotate_left(1); // rank r receives from channel r and sends to channel r+1
    let ends = senders.drain(..).zip(receivers.drain(..)).zip(notices);
    ends.enumerate()
        .map(|(rank, ((to_next, from_previous), notices))| {
            let to_all = to_all.clone();
            LocalLink { rank, to_next, from_previous, notices, to_all }
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

    fn reclaim(&mut self, _: &mut Pool) -> Result<bool, LinkError> {
        Ok(false) // frames go to the next rank's pool
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
