//! What the visitor wants of a run that is under way.

use std::cell::{Cell, RefCell};

use futures_channel::oneshot;

use crate::bilevel::Flow;

/// What the visitor wants of a run.
#[derive(Default)]
pub struct Control {
    pub wish: Cell<Wish>,
    /// Wakes a held run.
    wake: RefCell<Option<oneshot::Sender<()>>>,
}

/// One of these at a time.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Wish {
    #[default]
    Run,
    /// To the end of an outer iteration.
    Step,
    Hold,
    Stop,
}

impl Control {
    pub fn pause(&self) {
        if matches!(self.wish.get(), Wish::Run | Wish::Step) {
            self.wish.set(Wish::Hold);
        }
    }

    pub fn step(&self) {
        if self.wish.get() != Wish::Stop {
            self.change(Wish::Step);
        }
    }

    pub fn resume(&self) {
        if self.wish.get() == Wish::Hold {
            self.change(Wish::Run);
        }
    }

    pub fn stop(&self) {
        self.change(Wish::Stop);
    }

    pub fn flow(&self) -> Flow {
        if self.wish.get() == Wish::Stop { Flow::Stop } else { Flow::Continue }
    }

    fn change(&self, wish: Wish) {
        self.wish.set(wish);
        if let Some(wake) = self.wake.take() {
            // The run may have ended meanwhile.
            let _ = wake.send(());
        }
    }

    /// Waits for the next [`change`](Self::change).
    pub async fn changed(&self) {
        let (wake, woken) = oneshot::channel();
        *self.wake.borrow_mut() = Some(wake);
        let _ = woken.await;
    }
}
