//! A self-tuning training on a device.

use super::perturbation::Leader;
use super::schedule::Act;
use super::step::{Batch, Follower, Rates, TrainingBatch, Tuning, Variant};
use crate::bilevel::SolveError;
use crate::engine::Values;
use crate::ir::{DType, Graph, NodeId};
use crate::rig::{Device, Function, Rig};

/// How much there is of what a session is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Training examples.
    pub training: usize,
    /// Validation examples.
    pub validation: usize,
    /// Training examples in a batch.
    pub batch: usize,
    /// Validation examples in a batch.
    pub validation_batch: usize,
    /// Shape of the draw of each augmentation, the batch first.
    pub draws: Vec<Vec<usize>>,
}

/// A training whose state stays on the device. Its arrays are filled by name before a step reads them:
///
/// | arrays | what |
/// |---|---|
/// | `general`, `response`, `leader`, `planes` | the states, at first |
/// | `inner_rates`, `outer_rates` | learning rate and scalars of the optimisers |
/// | `x`, `y`, `x_validation`, `y_validation` | all examples |
/// | `rows`, `rows_validation`, `rows_other` | which of them are in the batch of training, validation, and the training batch that CPMLHO's hyperparameters see |
/// | `xi`, `xi_validation`, `xi_other` | ξ, standard normal draws `[batch, n]` |
/// | `draw0`, …; `central0`, … | draws of the augmentations: see [`TrainingBatch`]; `central` for Δ-STN |
///
/// After a step, `loss`, `outer_loss` and `values` (of the planes) hold what it found.
pub struct Session {
    counts: Counts,
    classes: Option<usize>,
    rig: Rig,
}

/// A graph that reads what it is given by name.
struct Reader<'a> {
    tuning: &'a Tuning,
    counts: &'a Counts,
    function: Function,
}

impl Session {
    /// Compiles the steps and makes the arrays, which hold zeros.
    ///
    /// # Errors
    /// If the training has no rule for something, or the device fails.
    pub async fn open(device: &Device, tuning: Tuning, counts: Counts) -> Result<Session, SolveError> {
        tuning.check()?;
        let (given, wanted) = (counts.draws.len(), tuning.network.augmentations.len());
        if given != wanted {
            return Err(SolveError::Length { what: "shapes of draws, one an augmentation".to_owned(), given, wanted });
        }
        let mut rig = Rig::new(device);
        let reader = |name| Reader { tuning: &tuning, counts: &counts, function: Function::new(name) };
        let mut functions = vec![reader(TRAIN).train(), reader(TUNE).tune()];
        if tuning.planes().is_some() {
            functions.push(reader(CUT).cut());
        }
        for function in functions {
            for (name, node) in function.graph.inputs() {
                declare(&mut rig, &function.graph, name, *node)?;
            }
            for output in &function.outputs {
                declare(&mut rig, &function.graph, &output.name, output.node)?;
            }
            rig.load(&function, &function.compile()?).await?;
        }
        let network = &tuning.network;
        let classes = network.loss.has_classes().then(|| network.model.output()[0]);
        Ok(Session { counts, classes, rig })
    }

    /// Writes an array whole.
    ///
    /// # Errors
    /// If there is no such array, it takes another number of values, or a row or label is none.
    pub fn fill(&self, name: &str, values: Values) -> Result<(), SolveError> {
        let below = match name {
            "rows" | "rows_other" => Some(self.counts.training),
            "rows_validation" => Some(self.counts.validation),
            "y" | "y_validation" => self.classes,
            _ => None,
        };
        if let (Values::U32(words), Some(below)) = (values, below)
            && let Some(word) = words.iter().find(|&&word| word as usize >= below)
        {
            let what = format!("holds {word}, counted from 0, but there are {below}");
            return Err(SolveError::Data { set: name.to_owned(), what });
        }
        Ok(self.rig.fill(name, values)?)
    }

    /// Takes a step.
    ///
    /// # Errors
    /// If the device fails, or a plane is to be cut where there are none.
    pub fn act(&mut self, act: Act) -> Result<(), SolveError> {
        let program = match act {
            Act::Train => TRAIN,
            Act::Tune => TUNE,
            Act::Cut if self.rig.is_loaded(CUT) => CUT,
            Act::Cut => return Err(SolveError::Problem("only CPMLHO has cutting planes".to_owned())),
        };
        let binding = self.rig.bind(program, &[])?;
        Ok(self.rig.submit(&[binding])?)
    }

    /// What an array holds.
    ///
    /// # Errors
    /// If there is no such array, or the device fails.
    pub async fn read(&self, name: &str) -> Result<Vec<f64>, SolveError> {
        let array = self.rig.array(name)?;
        Ok(self.rig.read(&[array]).await?.remove(0))
    }
}

const TRAIN: &str = "selftune_train";
const TUNE: &str = "selftune_tune";
const CUT: &str = "selftune_cut";

fn declare(rig: &mut Rig, graph: &Graph, name: &str, node: NodeId) -> Result<(), SolveError> {
    if !rig.holds(name) {
        rig.create(name, graph.dtype(node), graph.shape(node).iter().product())?;
    }
    Ok(())
}

impl Reader<'_> {
    fn input(&mut self, name: &str, shape: &[usize]) -> NodeId {
        self.function.graph.input(name, shape, DType::F32)
    }

    /// Rows of the examples called `of`, chosen by those called `at`.
    fn batch(&mut self, of: &str, at: &str, counts: [usize; 2]) -> Batch {
        let [all, batch] = counts;
        let network = &self.tuning.network;
        let loss = network.loss;
        let targets = if loss.takes_labels() { vec![all] } else { [&[all], network.model.output()].concat() };
        let x = self.input(&format!("x{of}"), &[&[all], network.model.input()].concat());
        let y = self.function.graph.input(&format!("y{of}"), &targets, loss.target_type());
        let rows = self.function.graph.input(&format!("rows{at}"), &[batch], DType::U32);
        let draws = self.input(&format!("xi{at}"), &[batch, network.domains.len()]);
        let g = &mut self.function.graph;
        Batch { x: g.take_rows(x, rows), y: g.take_rows(y, rows), draws }
    }

    fn follower(&mut self) -> Follower {
        let gates = self.tuning.network.gates();
        let [general, response] = [gates.model.parameter_count(), gates.response_len()];
        let lengths = [general, response].map(|len| self.tuning.inner.state_len(len));
        let planes = self.tuning.planes().map(|planes| planes.state_len());
        Follower {
            general: self.input("general", &[lengths[0]]),
            response: self.input("response", &[lengths[1]]),
            planes: planes.map(|len| self.input("planes", &[len])),
        }
    }

    fn leader_state(&mut self) -> NodeId {
        let len = self.tuning.outer.state_len(2 * self.tuning.network.domains.len());
        self.input("leader", &[len])
    }

    fn leader(&mut self) -> Leader {
        let state = self.leader_state();
        self.tuning.leader(&mut self.function.graph, state)
    }

    /// The learning rate and the scalars of an optimiser.
    fn rates(&mut self, name: &str, scalars: usize) -> Vec<NodeId> {
        let all = self.input(name, &[1 + scalars]);
        (0..=scalars).map(|k| self.function.graph.segment(all, k, 1)).collect()
    }

    fn result(&mut self, name: &str, scalar: NodeId) {
        let number = self.function.graph.reshape(scalar, &[1]);
        self.function.output(name, number);
    }

    fn train(mut self) -> Function {
        let (follower, leader) = (self.follower(), self.leader());
        let examples = self.batch("", "", [self.counts.training, self.counts.batch]);
        let shapes = self.counts.draws.clone();
        let centred = self.tuning.variant == Variant::DeltaStn;
        let mut draws = |name: &str| -> Vec<NodeId> {
            shapes.iter().enumerate().map(|(k, shape)| self.input(&format!("{name}{k}"), shape)).collect()
        };
        let perturbed = draws("draw");
        let central = if centred { draws("central") } else { vec![] };
        let rates = self.rates("inner_rates", self.tuning.inner.scalars().len());
        let batch = TrainingBatch { examples, perturbed: &perturbed, central: &central };
        let rates = Rates { rate: rates[0], scalars: &rates[1..] };
        let trained = self.tuning.train(&mut self.function.graph, follower, leader, batch, rates);
        self.function.update(follower.general, trained.follower.general);
        self.function.update(follower.response, trained.follower.response);
        if let (Some(before), Some(after), Some(values)) = (follower.planes, trained.follower.planes, trained.values) {
            self.function.update(before, after);
            self.function.output("values", values);
        }
        self.result("loss", trained.loss);
        self.function
    }

    fn tune(mut self) -> Function {
        let (follower, state) = (self.follower(), self.leader_state());
        let validation =
            self.batch("_validation", "_validation", [self.counts.validation, self.counts.validation_batch]);
        let mixed = matches!(self.tuning.variant, Variant::Cpmlho { .. });
        let other = mixed.then(|| self.batch("", "_other", [self.counts.training, self.counts.batch]));
        let rates = self.rates("outer_rates", self.tuning.outer.scalars().len());
        let rates = Rates { rate: rates[0], scalars: &rates[1..] };
        let tuned = self.tuning.tune(&mut self.function.graph, follower, state, validation, other, rates);
        self.function.update(state, tuned.leader);
        self.result("outer_loss", tuned.loss);
        self.function
    }

    fn cut(mut self) -> Function {
        let (follower, leader) = (self.follower(), self.leader());
        let cut = self.tuning.cut(&mut self.function.graph, follower, leader);
        if let (Some(before), Some(after)) = (follower.planes, cut.planes) {
            self.function.update(before, after);
        }
        self.function
    }
}
