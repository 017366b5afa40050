//! `Events`: marks on streams, used again when nobody looks at them any more.

use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{Device, Handle};

/// Events at rest. After the first few exchanges none is made any more.
pub(super) struct Events {
    device: Arc<Device>,
    at_rest: Mutex<Vec<Handle>>,
}

/// One mark; its clones are the same one.
#[derive(Clone)]
pub(super) struct Event(Arc<Inner>);

struct Inner {
    handle: Handle,
    home: Arc<Events>,
}

impl Events {
    pub fn new(device: &Arc<Device>) -> Arc<Events> {
        Arc::new(Events { device: Arc::clone(device), at_rest: Mutex::new(Vec::new()) })
    }

    /// An event that nobody else has. The device must be the current one.
    pub fn take(self: &Arc<Events>) -> Result<Event, String> {
        let at_rest = self.at_rest.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let handle = at_rest.map_or_else(|| self.device.event(), Ok)?;
        Ok(Event(Arc::new(Inner { handle, home: Arc::clone(self) })))
    }
}

impl Event {
    pub fn handle(&self) -> Handle {
        self.0.handle
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Waits for it that are on a stream already mean what was marked then, also when it marks something else.
        self.home.at_rest.lock().unwrap_or_else(PoisonError::into_inner).push(self.handle);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let Ok(_entered) = self.device.enter() else { return };
        let at_rest = self.at_rest.get_mut().unwrap_or_else(PoisonError::into_inner);
        at_rest.iter().for_each(|&event| self.device.destroy_event(event));
    }
}
