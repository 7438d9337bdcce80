//! What a step of a self-tuning network costs beside one of plain training of the same network.
//!
//! `cargo bench --bench selftune -- [--widths 256,1200] [--repeat N]`
//!
//! Prints a table in Markdown: operations on floats as the programs count them, and CPU seconds on one thread (median of
//! the repeats, of the steps of a submission each), for dense layers 784-w-w-10 with dropout before each, batches of 128.

#[path = "har_cnn/process.rs"]
#[expect(dead_code, reason = "memory is not asked for here")]
mod host;

use stackelberg::bilevel::selftune::{
    Act, Augmentation, Constraint, Counts, Multiplier, SelfTuned, Session, Supply, Tie, Tuning, Variant,
};
use stackelberg::bilevel::{Loss, Set, Targets, Transform};
use stackelberg::cpu::CpuEngine;
use stackelberg::engine::Values;
use stackelberg::nn::optim::{Momentum, RmsProp};
use stackelberg::nn::{Layer, Model};
use stackelberg::rig::{Compiled, Device};
use stackelberg::rng::{Purpose, Stream};

const PIXELS: usize = 28 * 28;
const OUTPUTS: usize = 10;
const EXAMPLES: usize = 1024;
const BATCH: usize = 128;

const CONSTRAINT: Constraint =
    Constraint { tie: Tie::Mean, slack: 1e-6, start: 1e-3, multiplier: Multiplier::Fixed, planes: 1 };
const VARIANTS: [(&str, Variant); 4] = [
    ("plain", Variant::Plain),
    ("STN", Variant::Stn),
    ("Δ-STN", Variant::DeltaStn),
    ("CPMLHO", Variant::Cpmlho { constraint: Some(CONSTRAINT), validation: 1.0 }),
];

fn main() {
    host::main();
}

/// Does what the options ask.
async fn run(arguments: &[String]) {
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let widths = option("--widths").unwrap_or_else(|| "256,1200".to_owned());
    let repeat = option("--repeat").map_or(11, |n| n.parse().expect("--repeat takes a number"));
    host::print(
        "| width | method | training step, MFLOP | to plain | CPU ms | to plain | tuning step, MFLOP | CPU ms |",
    );
    host::print("|---|---|---|---|---|---|---|---|");
    for width in widths.split(',') {
        let width = width.parse().expect("--widths takes numbers");
        let mut plain = [f64::NAN; 2];
        for (name, variant) in VARIANTS {
            let mut session = open(width, variant).await;
            let mut cells = vec![];
            for act in [Act::Train, Act::Tune] {
                let Some(work) = session.work(act) else { continue };
                cells.push([work.flops as f64 / 1e6, 1e3 * cost(&mut session, act, repeat).await]);
            }
            if variant == Variant::Plain {
                plain = cells[0];
            }
            let [flops, cpu] = cells[0];
            let tuned = match cells.get(1) {
                Some([flops, cpu]) => format!("{flops:.0} | {cpu:.2}"),
                None => "– | –".to_owned(),
            };
            let ratios = [flops / plain[0], cpu / plain[1]];
            host::print(&format!(
                "| {width} | {name} | {flops:.0} | {:.2} | {cpu:.2} | {:.2} | {tuned} |",
                ratios[0], ratios[1]
            ));
        }
    }
}

async fn open(width: usize, variant: Variant) -> Session {
    let widths = [PIXELS, width, width, OUTPUTS];
    let mut layers = vec![];
    for (k, pair) in widths.windows(2).enumerate() {
        layers.extend((k > 0).then_some(Layer::Relu));
        let dense = Layer::Dense { name: format!("dense{k}"), inputs: pair[0], outputs: pair[1], bias: true };
        layers.extend([Layer::Dropout { rate: 0.0 }, dense]);
    }
    let network = SelfTuned {
        model: Model::new(layers, &[PIXELS]).expect("layers that fit"),
        loss: Loss::CrossEntropy,
        domains: vec![Transform::Within { low: 0.0, high: 0.95 }; 3],
        augmentations: (0..3).map(|place| (Augmentation::Dropout(place), place)).collect(),
        entropy: 1e-3,
    };
    let counts = Counts {
        training: EXAMPLES,
        validation: EXAMPLES,
        test: 0,
        batch: BATCH,
        validation_batch: BATCH,
        draws: network.draw_shapes(BATCH),
        bytes: None,
        supply: Supply::Keyed { records: 0 },
    };
    let (parameters, response) = (network.model.parameter_count(), network.gates().response_len());
    let general = network.model.initial_parameters(0);
    let tuning = Tuning { network, variant, inner: Momentum.into(), outer: RmsProp.into() };
    let device = Device::new(CpuEngine::new(1));
    let session = Session::open(&device, tuning, counts, &Compiled::default()).await;
    let session = session.unwrap_or_else(|error| panic!("{error}"));
    let mut stream = Stream::new(0, Purpose::Search, 0);
    let set = Set {
        x: (0..EXAMPLES * PIXELS).map(|_| stream.uniform() as f32).collect::<Vec<_>>().into(),
        targets: Targets::Labels((0..EXAMPLES).map(|k| (k % OUTPUTS) as u32).collect()),
        count: EXAMPLES,
    };
    let padded = |mut values: Vec<f32>, len: usize| {
        values.resize(len, 0.0);
        values
    };
    let filled = async {
        session.put("", &set)?;
        session.put("_validation", &set)?;
        session.fill("inner_rates", Values::F64(&[1e-3, 0.9]))?;
        if variant != Variant::Plain {
            session.fill("outer_rates", Values::F64(&[1e-2, 0.99]))?;
        }
        session.fill("general", Values::F32(&padded(general.clone(), 2 * parameters)))?;
        session.fill("response", Values::F32(&padded(general, 2 * response)))?;
        session.fill("leader", Values::F64(&[[-2.9; 3], [0.54; 3], [0.0; 3], [0.0; 3]].concat()))?;
        session.begin(0)
    };
    filled.await.unwrap_or_else(|error| panic!("{error}"));
    session
}

/// Median CPU seconds of a step; the first, which warms up, is not counted.
async fn cost(session: &mut Session, act: Act, repeat: usize) -> f64 {
    let mut all = vec![];
    for at in 0..=repeat {
        let begun = host::processor_seconds().await;
        session.time(act).await.unwrap_or_else(|error| panic!("{error}"));
        if at > 0 {
            all.push(host::processor_seconds().await - begun);
        }
    }
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
