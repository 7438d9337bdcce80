//! Runs a study: asks its searcher, lets trainings take turns on a device, and writes what happens to the journal.

use std::thread::sleep;
use std::time::Duration;

use super::about::About;
use super::ledger::{Ledger, LedgerError, Page};
use super::subject::Subject;
use super::trainings::{Came, Trainings};
use crate::experiment::error::TuneError;
use crate::experiment::event::Observer;
use crate::rig::Device;
use crate::search::history::HistoryError;
use crate::search::journal::Journal;
use crate::search::{Event, History, Searcher, Slots, Space, State, Trial, Verdict};

/// So many trials that break, and no other, are no accident.
const ALL_BROKE: u64 = 10;

/// How long to wait before looking again what other processes have written.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a study could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Its journal.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its journal makes no sense.
    #[error("the journal makes no sense: {0}")]
    History(#[from] HistoryError),
    /// The device, or whoever watches.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// Every trial.
    #[error("all of the first {ALL_BROKE} trials broke; the last one: {0}")]
    AllBroke(#[source] TuneError),
}

/// How a study's run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The budget is spent.
    Spent,
    /// The searcher wants nothing any more.
    Done,
    /// Whoever watches wanted to stop.
    Stopped,
}

/// Who watches a study.
pub trait Watch: Observer {
    /// Something happened, and stands in the journal.
    fn happened(&mut self, study: &Journal, event: &Event);

    /// A trial broke.
    fn broke(&mut self, trial: u64, error: &TuneError);

    /// There is nothing to do until other processes have reported.
    fn waits(&mut self);

    /// Whether to stop; asked between reports.
    fn is_over(&self) -> bool;
}

/// What a study has cost, in whole trainings of so many steps: what was noted, and else the steps trained.
pub fn spent(study: &Journal, whole: u64) -> f64 {
    let of = |trial: &Trial| {
        let noted = study.spent.get(&trial.number).copied();
        noted.unwrap_or_else(|| trial.trained() as f64 / whole.max(1) as f64)
    };
    study.history.trials().iter().map(of).sum()
}

/// A study under way in this process.
pub struct Executor<'a> {
    ledger: Ledger,
    course: Course<'a>,
}

/// All of it but the journal.
struct Course<'a> {
    searcher: Box<dyn Searcher>,
    space: Space,
    seed: u64,
    slots: Slots,
    trainings: Trainings<'a>,
    /// What happened and is told once it stands in the file.
    untold: Vec<Event>,
}

impl<'a> Executor<'a> {
    /// A study that begins, or goes on with its journal. Trials that a process has left are taken over.
    ///
    /// # Errors
    /// If the journal cannot be written, or makes no sense.
    pub fn new(
        ledger: Ledger,
        about: &About,
        searcher: Box<dyn Searcher>,
        subject: &'a dyn Subject,
        device: &'a Device,
    ) -> Result<Self, SearchError> {
        let course = Course {
            searcher,
            space: about.space.clone(),
            seed: about.seed.into(),
            slots: Slots::new(about.workers.max(1), about.size.least),
            trainings: Trainings::new(subject, device, about.size.most),
            untold: vec![],
        };
        let mut executor = Executor { ledger, course };
        let Executor { ledger, course } = &mut executor;
        let mut page = ledger.page()?;
        course.take_up(&mut page)?;
        page.close()?;
        Ok(executor)
    }

    /// The study as far as this process knows it.
    pub fn journal(&self) -> &Journal {
        self.ledger.journal()
    }

    /// Goes on until so many whole trainings are spent, by all processes together, or nothing is left to do.
    ///
    /// # Errors
    /// If the journal cannot be written, the device is lost, or every trial breaks. What stands in the journal is gone
    /// on with the next time.
    pub async fn run(&mut self, budget: f64, watch: &mut dyn Watch) -> Result<Ended, SearchError> {
        let Executor { ledger, course } = self;
        let mut waited = false;
        loop {
            let mut page = ledger.page()?;
            let left = spent(page.journal(), course.trainings.whole) < budget;
            while left && course.assign(&mut page)? {}
            page.close()?;
            course.tell(ledger.journal(), watch);
            let next = course.slots.next().filter(|_| left);
            if watch.is_over() {
                return Ok(Ended::Stopped);
            }
            let Some((slot, turn)) = next else {
                let trials = ledger.journal().history.trials();
                let others = trials.iter().any(|trial| trial.state == State::Running);
                match (left, others) {
                    (false, _) => return Ok(Ended::Spent),
                    (true, false) => return Ok(Ended::Done),
                    (true, true) if !waited => watch.waits(),
                    (true, true) => {}
                }
                waited = true;
                sleep(PAUSE);
                continue;
            };
            let Some(trial) = ledger.journal().history.trial(turn.trial).cloned() else { continue };
            let came = course.trainings.turn(&ledger.states, &trial, turn.step, watch).await;
            let mut page = ledger.page()?;
            let (number, mut broken) = (turn.trial, None);
            match came? {
                Came::Stopped => return Ok(Ended::Stopped),
                Came::Broke(error) => {
                    course.happen(&mut page, slot, Event::Failed { trial: number })?;
                    broken = Some(error);
                }
                Came::Value(value, cost) => {
                    course.slots.set_clock(turn.ends);
                    course.happen(&mut page, slot, Event::Reported { trial: number, step: turn.step, value })?;
                    cost.map_or(Ok(()), |cost| page.spend(number, cost))?;
                    course.settle(&mut page, slot, number)?;
                }
            }
            page.close()?;
            ledger
                .states
                .forget(number, ledger.journal().history.trial(number).filter(|t| t.is_open()).map(Trial::step));
            course.tell(ledger.journal(), watch);
            if let Some(error) = broken {
                watch.broke(number, &error);
                let trials = ledger.journal().history.trials();
                if trials.len() as u64 >= ALL_BROKE && trials.iter().all(|trial| trial.state == State::Failed) {
                    return Err(SearchError::AllBroke(error));
                }
            }
        }
    }
}

impl Course<'_> {
    /// Puts trials that other processes have left where they were on the virtual clock.
    fn take_up(&mut self, page: &mut Page) -> Result<(), SearchError> {
        let events = page.journal().events.clone();
        let left: Vec<bool> = page.journal().owners.iter().map(|owner| page.states().is_gone(owner)).collect();
        let mut past = History::default();
        for event in &events {
            let waited = past.trial(event.trial()).is_some_and(|trial| trial.state == State::Paused);
            past.record(event.clone())?;
            if !left[event.trial() as usize] {
                continue;
            }
            if let (Event::Reported { trial, .. }, Some((slot, turn))) = (event, self.slots.of(event.trial())) {
                self.slots.set_clock(turn.ends);
                self.begin(&past, slot, *trial);
            } else {
                let slot = self.slots.of(event.trial()).map(|(slot, _)| slot);
                if let Some(slot) = slot.or_else(|| self.slots.idle()) {
                    self.turn(&past, slot, event, waited);
                }
            }
        }
        let taken: Vec<(usize, u64)> = self.slots.busy().map(|(slot, turn)| (slot, turn.trial)).collect();
        for (slot, number) in taken {
            page.adopt(number)?;
            // What became of the last report may not have been written any more.
            let reported = matches!(events.last(), Some(Event::Reported { trial, .. }) if *trial == number);
            let trained = page.journal().history.trial(number).is_some_and(|trial| trial.step() >= trial.budget);
            if reported || trained {
                self.settle(page, slot, number)?;
            }
        }
        Ok(())
    }

    /// Gives the first free slot something to do, if there is anything.
    fn assign(&mut self, page: &mut Page) -> Result<bool, SearchError> {
        let Some(slot) = self.slots.idle() else { return Ok(false) };
        let journal = page.journal();
        let running = journal.history.trials().iter().filter(|trial| trial.state == State::Running);
        let left = |trial: &&Trial| {
            self.slots.of(trial.number).is_none() && page.states().is_gone(&journal.owners[trial.number as usize])
        };
        if let Some(number) = running.clone().find(left).map(|trial| trial.number) {
            page.adopt(number)?;
            self.begin(&page.journal().history, slot, number);
            return Ok(true);
        }
        let next = journal.history.next();
        let ask = self.searcher.ask(&self.space, &journal.history, self.seed, next);
        let Some(event) = ask.event(next) else { return Ok(false) };
        self.happen(page, slot, event)?;
        Ok(true)
    }

    /// Asks what becomes of a trial that has reported.
    fn settle(&mut self, page: &mut Page, slot: usize, trial: u64) -> Result<(), SearchError> {
        let history = &page.journal().history;
        let verdict = self.searcher.judge(&self.space, history, self.seed, trial);
        let verdict = match verdict {
            // There is nothing left of it to take over.
            Verdict::Exploit { from, .. } if history.trial(from).is_none_or(Trial::has_diverged) => Verdict::Continue,
            verdict => verdict,
        };
        match verdict.event(history, trial) {
            Some(event) => self.happen(page, slot, event),
            None => {
                self.begin(history, slot, trial);
                Ok(())
            }
        }
    }

    /// Writes what happens.
    fn happen(&mut self, page: &mut Page, slot: usize, event: Event) -> Result<(), SearchError> {
        let number = event.trial();
        let waited = page.journal().history.trial(number).is_some_and(|trial| trial.state == State::Paused);
        page.add(event.clone())?;
        match &event {
            Event::Changed { change, .. } => {
                self.trainings.take_over(page.states(), number, change)?;
            }
            Event::Started { .. } | Event::Resumed { .. } | Event::Reported { .. } => {}
            Event::Paused { .. } => self.trainings.close(number),
            Event::Completed { .. } | Event::Pruned { .. } | Event::Failed { .. } => {
                self.trainings.close(number);
                page.states().forget(number, None);
            }
        }
        self.turn(&page.journal().history, slot, &event, waited);
        self.untold.push(event);
        Ok(())
    }

    /// What an event means for a slot.
    fn turn(&mut self, history: &History, slot: usize, event: &Event, waited: bool) {
        match event {
            Event::Started { trial, .. } | Event::Resumed { trial, .. } | Event::Changed { trial, .. } => {
                self.begin(history, slot, *trial);
            }
            Event::Reported { .. } => {}
            // A trial that waits has no slot.
            _ if waited => {}
            Event::Paused { .. } | Event::Completed { .. } | Event::Pruned { .. } | Event::Failed { .. } => {
                self.slots.free(slot);
            }
        }
    }

    /// A trial trains until its next report. What has diverged takes no time.
    fn begin(&mut self, history: &History, slot: usize, trial: u64) {
        if let Some(trial) = history.trial(trial) {
            let step = if self.trainings.is_lost(trial) { 0.0 } else { 1.0 };
            self.slots.begin(slot, trial, |_| step);
        }
    }

    fn tell(&mut self, study: &Journal, watch: &mut dyn Watch) {
        self.untold.drain(..).for_each(|event| watch.happened(study, &event));
    }
}
