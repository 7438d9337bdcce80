//! Trainings and searches that are saved midway.

use serde_json::Value;

use super::search::{self, PlainSearch, Sampler};
use super::*;
use crate::cpu::CpuEngine;
use crate::experiment::event::Nobody;
use crate::experiment::trainables::digits::easy_digits;

/// 510 to train on, which are three whole batches and a smaller one, and 90 to validate on.
const IMAGES: usize = 600;
const PROTOCOL: Protocol = Protocol { learning_rate: 0.05, warm_up: 2, steps: 6, every: 2 };

fn task() -> Task {
    Task::Digits { hidden: vec![8] }
}

fn settings(method: Method) -> Settings {
    Settings { task: task(), method, protocol: PROTOCOL, start: Some(vec![0.1, 0.3]), images: Some(IMAGES), seed: 4 }
}

fn library() -> (tempfile::TempDir, Library) {
    let directory = tempfile::tempdir().unwrap();
    easy_digits(directory.path());
    let library = Library::new(directory.path().to_owned());
    (directory, library)
}

#[test]
fn a_training_goes_on_to_the_same_bits_and_its_hyperparameters_have_moved() {
    let (_directory, library) = library();
    let device = Device::new(CpuEngine::new(1));
    let mixed = Method::Cpmlho { multiplier: Some(0.01), validation: Some(1.0) };
    for method in [Method::Plain, Method::Stn, Method::DeltaStn, mixed] {
        let job = SelfTuning.job(&serde_json::to_value(settings(method)).unwrap(), &library).unwrap();
        assert_eq!(job.units(), 5);
        pollster::block_on(async {
            let [mut whole, mut first, mut second] =
                [job.open(&device).await.unwrap(), job.open(&device).await.unwrap(), job.open(&device).await.unwrap()];
            let end = whole.advance(u64::MAX, &mut Nobody).await.unwrap();
            assert_eq!((end.done, end.ending), (5, Ending::Finished));
            assert_eq!(first.advance(3, &mut Nobody).await.unwrap().ending, Ending::Running);
            second.load(&first.save().await.unwrap()).await.unwrap();
            assert_eq!(second.advance(9, &mut Nobody).await.unwrap(), end);
            assert!(whole.save().await.unwrap() == second.save().await.unwrap(), "{method:?}");
            let metrics = whole.score(&mut Nobody).await.unwrap();
            assert_eq!(second.score(&mut Nobody).await.unwrap(), metrics);
            assert!(metrics["validation_loss"] < metrics["validation_loss.0000"], "{metrics:?}");
            assert_eq!(metrics["validation_loss"], metrics["validation_loss.0006"]);
            assert!(metrics["test_accuracy"] > 0.5, "{metrics:?}");
            let moved = (metrics["dropout0"] - 0.1).abs() > 1e-6 && (metrics["dropout1"] - 0.3).abs() > 1e-6;
            assert_eq!(moved, method != Method::Plain, "{metrics:?}");
            // Two epochs of 4 steps and 30 more, in gradients of an example by plain training.
            let steps = metrics["gradients"] / 128.0;
            let (least, most) = match method {
                Method::Plain => (38.0, 38.0),
                Method::Stn => (1.5 * 38.0, 2.6 * 38.0),
                Method::DeltaStn => (2.0 * 38.0, 3.5 * 38.0),
                Method::Cpmlho { .. } => (1.5 * 38.0, 3.5 * 38.0),
            };
            assert!(steps >= least && steps <= most, "{method:?}: {steps}");
        });
    }
}

/// Stops at the second breath.
struct Hasty(u32);

impl Observer for Hasty {
    fn event(&mut self, _: crate::experiment::event::Event) -> crate::experiment::event::Observed {
        Ok(())
    }

    fn breathe(&mut self) -> crate::engine::LocalFuture<'_, crate::rig::Flow> {
        self.0 += 1;
        let flow = if self.0 > 1 { crate::rig::Flow::Stop } else { crate::rig::Flow::Continue };
        Box::pin(std::future::ready(flow))
    }
}

#[test]
fn a_training_that_was_stopped_midway_goes_on_as_if_it_had_not() {
    let (_directory, library) = library();
    let device = Device::new(CpuEngine::new(1));
    let job = SelfTuning.job(&serde_json::to_value(settings(Method::DeltaStn)).unwrap(), &library).unwrap();
    pollster::block_on(async {
        let [mut whole, mut stopped] = [job.open(&device).await.unwrap(), job.open(&device).await.unwrap()];
        whole.advance(u64::MAX, &mut Nobody).await.unwrap();
        stopped.advance(2, &mut Nobody).await.unwrap();
        let report = stopped.advance(9, &mut Hasty(0)).await.unwrap();
        assert_eq!((report.done, report.ending), (2, Ending::Stopped));
        stopped.advance(9, &mut Nobody).await.unwrap();
        assert!(whole.save().await.unwrap() == stopped.save().await.unwrap());
    });
}

#[test]
fn a_search_goes_on_where_it_was_saved_and_has_the_best_point() {
    let (_directory, library) = library();
    let device = Device::new(CpuEngine::new(1));
    let mut points = vec![];
    for sampler in [Sampler::Random, Sampler::Gp] {
        let settings =
            search::Settings { task: task(), sampler, trainings: 7, protocol: PROTOCOL, images: Some(IMAGES), seed: 4 };
        let job = PlainSearch.job(&serde_json::to_value(settings).unwrap(), &library).unwrap();
        pollster::block_on(async {
            let [mut whole, mut first, mut second] =
                [job.open(&device).await.unwrap(), job.open(&device).await.unwrap(), job.open(&device).await.unwrap()];
            let end = whole.advance(u64::MAX, &mut Nobody).await.unwrap();
            assert_eq!((end.done, end.ending), (7, Ending::Finished));
            first.advance(3, &mut Nobody).await.unwrap();
            second.load(&first.save().await.unwrap()).await.unwrap();
            assert_eq!(second.advance(9, &mut Nobody).await.unwrap(), end);
            assert!(whole.save().await.unwrap() == second.save().await.unwrap(), "{sampler:?}");
            let metrics = whole.score(&mut Nobody).await.unwrap();
            assert_eq!(metrics["validation_loss"], metrics["best_of.07"]);
            assert!(metrics["best_of.07"] <= metrics["best_of.03"], "{metrics:?}");
            assert_eq!(metrics["gradients"], 7.0 * 38.0 * 128.0);
            points.push((metrics["best_of.05"], metrics["best_of.07"]));
        });
    }
    assert_eq!(points[0].0, points[1].0, "the first points are the same");
}

#[test]
fn what_cannot_be_is_refused_with_its_name() {
    let (_directory, library) = library();
    let refused = |settings: Settings| {
        let settings: Value = serde_json::to_value(settings).unwrap();
        SelfTuning.job(&settings, &library).err().unwrap().to_string()
    };
    let sound = settings(Method::Stn);
    let start = |values: &[f64]| refused(Settings { start: Some(values.to_vec()), ..sound.clone() });
    assert!(start(&[0.1]).contains("1 values for 2 hyperparameters: dropout0, dropout1"));
    assert!(start(&[0.1, 0.95]).contains("dropout1 is 0.95, but must lie between 0 and 0.95"));
    let protocol = |protocol: Protocol| refused(Settings { protocol, ..sound.clone() });
    assert!(protocol(Protocol { learning_rate: 0.0, ..PROTOCOL }).contains("learning rate is above 0"));
    assert!(protocol(Protocol { every: 4, ..PROTOCOL }).contains("`steps` is a multiple of `every`"));
    let images = refused(Settings { images: Some(601), ..sound.clone() });
    assert!(images.contains("600") && images.contains("601"), "{images}");
    let wide = refused(Settings { task: Task::Digits { hidden: vec![4; 8] }, ..sound });
    assert!(wide.contains("8 hidden layers; take 7 or fewer"), "{wide}");
}
