//! What the tests of lessons share.

use std::collections::BTreeMap;

use super::{Answer, Curve, Ground, LessonError, Page, Settings, named};
use crate::cpu::CpuEngine;
use crate::engine::LocalFuture;
use crate::experiment::machine::Machine;
use crate::rig::{Device, Flow, Monitor};

/// All that a lesson told.
#[derive(Default)]
pub struct Told {
    numbers: BTreeMap<String, f64>,
    curves: BTreeMap<String, Curve>,
}

impl Monitor for Told {
    fn progress(&mut self, _done: u64, _total: u64) {}

    fn breathe(&mut self) -> LocalFuture<'_, Flow> {
        Box::pin(std::future::ready(Flow::Continue))
    }
}

impl Page for Told {
    fn tell(&mut self, answer: Answer) {
        self.numbers.extend(answer.numbers);
        self.curves.extend(answer.curves.into_iter().map(|curve| (curve.name.clone(), curve)));
    }
}

impl Told {
    pub fn number(&self, name: &str) -> f64 {
        *self.numbers.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.numbers.keys()))
    }

    pub fn curve(&self, name: &str) -> &Curve {
        self.curves.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.curves.keys()))
    }
}

/// What a lesson tells on the processor engine, at these settings.
pub fn told(name: &str, settings: &[(&str, f64)], factor: f64) -> Result<Told, LessonError> {
    asked(name, settings, &ground(factor))
}

/// What is under it.
pub fn machine(name: &str, settings: &[(&str, f64)]) -> Machine {
    let ground = ground(1.0);
    ground.want_machine();
    asked(name, settings, &ground).expect("an answer");
    ground.machine().expect("a machine")
}

/// The processor engine, whose every hypergradient is so many times what it is.
pub fn ground(factor: f64) -> Ground {
    #[cfg(feature = "builtin-data")]
    let recordings = Some(crate::data::har::builtin::subset().unwrap().into());
    #[cfg(not(feature = "builtin-data"))]
    let recordings = None;
    let mut ground = Ground::new(Device::new(CpuEngine::new(1)), factor);
    ground.recordings = recordings;
    ground
}

fn asked(name: &str, settings: &[(&str, f64)], ground: &Ground) -> Result<Told, LessonError> {
    let settings = Settings(settings.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
    let mut told = Told::default();
    pollster::block_on(named(name).expect("a lesson").answer(&settings, ground, &mut told))?;
    Ok(told)
}

/// Holds numbers against known ones, in single precision.
pub fn near(got: f64, wanted: f64, what: &str) {
    assert!((got - wanted).abs() <= 2e-5 * wanted.abs().max(0.05), "{what}: {got} is not {wanted}");
}

/// The same, where the answer must be another.
pub fn far(got: f64, wanted: f64, what: &str) {
    assert!((got - wanted).abs() > 0.05 * wanted.abs(), "{what}: {got} is still {wanted}");
}
