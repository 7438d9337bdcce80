//! What a worker says, and that it says something while it works.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::Reply;

/// Progress is told this often, and so often is looked whether it is time to.
const OFTEN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(500);
/// What a driver may count on.
const PROMISED: Duration = Duration::from_secs(10);
const _: () = assert!(OFTEN.as_millis() + LOOK.as_millis() < PROMISED.as_millis());

/// Writes replies, and lines of progress between them as long as there is any. Its clones are the same voice.
#[derive(Clone)]
pub struct Voice(Arc<Mutex<Work>>);

/// What is being worked on.
struct Work {
    /// None while nothing was asked.
    verb: Option<&'static str>,
    begun: Instant,
    /// When the last line was written.
    spoke: Instant,
    /// Whether anything has happened since then. What cannot tell (reading data, a driver that compiles) is believed.
    alive: bool,
    tells: bool,
    done: u64,
    total: u64,
}

impl Voice {
    /// With a thread that watches the clock.
    pub fn new() -> Self {
        let now = Instant::now();
        let work = Work { verb: None, begun: now, spoke: now, alive: false, tells: false, done: 0, total: 0 };
        let voice = Voice(Arc::new(Mutex::new(work)));
        let clock = voice.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(LOOK);
                clock.work().progress();
            }
        });
        voice
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is worked on from now on.
    pub fn begin(&self, verb: &'static str) {
        let now = Instant::now();
        let tells = verb == "step";
        *self.work() = Work { verb: Some(verb), begun: now, spoke: now, alive: true, tells, done: 0, total: 0 };
    }

    /// So much of the present unit is done.
    pub fn progress(&self, done: u64, total: u64) {
        let mut work = self.work();
        (work.done, work.total, work.alive) = (done, total, true);
    }

    /// Something was done.
    pub fn live(&self) {
        self.work().alive = true;
    }

    /// Answers the request.
    pub fn say(&self, reply: &Reply) {
        let mut work = self.work();
        work.verb = None;
        work.write(reply);
    }
}

impl Work {
    fn progress(&mut self) {
        let Some(verb) = self.verb else { return };
        if self.spoke.elapsed() < OFTEN || self.tells && !self.alive {
            return;
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        self.write(&Reply::Progress { verb: verb.to_owned(), done: self.done, total: self.total, seconds });
        self.alive = false;
    }

    /// A line, whole. That nobody reads it any more is told by the end of standard input.
    fn write(&mut self, reply: &Reply) {
        let line = serde_json::to_string(reply).expect("replies are plain values") + "\n";
        let mut output = std::io::stdout().lock();
        let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        self.spoke = Instant::now();
    }
}
