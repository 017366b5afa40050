//! `RollCall`: who has said that it is there, when a wait lasts long.

/// Opened at half of the time-out by the rank that waits; every rank that waits in some operation answers.
pub(crate) struct RollCall {
    call: Option<u64>,
    present: Vec<bool>,
}

impl RollCall {
    pub fn new(size: usize) -> RollCall {
        RollCall { call: None, present: vec![false; size] }
    }

    /// Nobody is asked any more.
    pub fn close(&mut self) {
        self.call = None;
    }

    pub fn is_open(&self) -> bool {
        self.call.is_some()
    }

    /// Asks everybody anew under the number `call`.
    pub fn open(&mut self, call: u64) {
        self.call = Some(call);
        self.present.fill(false);
    }

    /// Counts an answer; one to an earlier call says nothing about now.
    pub fn answered(&mut self, rank: usize, call: u64) {
        if self.call == Some(call) && rank < self.present.len() {
            self.present[rank] = true;
        }
    }

    /// The ranks other than `asking` that did not answer; `None` if all did, or nobody was asked.
    pub fn missing(&self, asking: usize) -> Option<Vec<usize>> {
        self.call?;
        let missing: Vec<_> = (0..self.present.len()).filter(|&rank| rank != asking && !self.present[rank]).collect();
        (!missing.is_empty()).then_some(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_did_not_answer_this_call_are_missing() {
        let mut roll_call = RollCall::new(4);
        roll_call.answered(1, 7);
        assert_eq!(roll_call.missing(0), None);
        roll_call.open(8);
        roll_call.answered(2, 7);
        roll_call.answered(3, 8);
        assert_eq!(roll_call.missing(0), Some(vec![1, 2]));
        roll_call.answered(1, 8);
        roll_call.answered(2, 8);
        assert_eq!(roll_call.missing(0), None);
    }
}
