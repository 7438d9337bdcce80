//! Where the layers of a model lie: checked one after another, each with its place in the vectors.

use super::layer::{Function, Layer, LayerRole};
use super::parameters::{Parameter, Role, Statistic};
use super::reading::{Affine, Norm};

/// A layer that does not fit what comes before it.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("layer {position} ({layer}): {problem}")]
pub struct ModelError {
    /// Counted from 1; inside a residual block with the block's before it, as in `3.2` or `3.projection.1`.
    pub position: String,
    /// Its type and name.
    pub layer: String,
    /// What does not fit.
    pub problem: String,
}

impl ModelError {
    fn new(layer: &Layer, position: &str, problem: String) -> Self {
        ModelError { position: position.to_owned(), layer: layer.label(), problem }
    }
}

/// A place where activations may be dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Shape of one example's activations.
    pub shape: Vec<usize>,
    /// Share that is dropped.
    pub rate: f64,
}

/// A layer in its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Affine(Affine),
    Norm(Norm),
    Drop(usize),
    Residual { body: Vec<Step>, projection: Vec<Step> },
    Function(Function),
}

/// What layers have laid out so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arrays {
    pub parameters: Vec<Parameter>,
    pub statistics: Vec<Statistic>,
    pub places: Vec<Place>,
    names: Vec<String>,
}

impl Arrays {
    pub fn parameter_count(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.offset + p.len())
    }

    pub fn parameter_layers(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.layer + 1)
    }

    pub fn statistic_count(&self) -> usize {
        self.statistics.last().map_or(0, |s| s.offset + s.len)
    }

    /// Lays out a list of layers; gives the shape of what they make of `input`.
    pub fn list(
        &mut self,
        layers: &[Layer],
        input: &[usize],
        within: &str,
    ) -> Result<(Vec<Step>, Vec<usize>), ModelError> {
        let mut shape = input.to_vec();
        let mut steps = vec![];
        for (k, layer) in layers.iter().enumerate() {
            let position = format!("{within}{}", k + 1);
            steps.push(self.step(layer, &shape, &position)?);
            shape = layer.output(&shape).map_err(|problem| ModelError::new(layer, &position, problem))?;
        }
        Ok((steps, shape))
    }

    /// Lays out one layer. Whether it takes activations of this shape is for the caller to ask.
    fn step(&mut self, layer: &Layer, shape: &[usize], position: &str) -> Result<Step, ModelError> {
        let wrong = |problem| ModelError::new(layer, position, problem);
        if shape.contains(&0) {
            return Err(wrong(format!("is given activations of shape {shape:?}, which hold nothing")));
        }
        Ok(match layer.role() {
            LayerRole::Affine { name, kernel, bias, map } => {
                let shapes = [(Role::Kernel, kernel.clone())].into_iter();
                let shapes = shapes.chain(bias.then(|| (Role::Bias, kernel[kernel.len() - 1..].to_vec())));
                let mut parameters = self.parameters(name, shapes.collect()).map_err(wrong)?.into_iter();
                let kernel = parameters.next().expect("a kernel was asked for");
                Step::Affine(Affine { kernel, bias: parameters.next(), map })
            }
            LayerRole::Norm { name, channels, scale, offset, epsilon, statistics } => {
                let given = [(Role::Scale, scale), (Role::Offset, offset)].into_iter();
                let shapes = given.filter(|(_, has)| *has).map(|(role, _)| (role, vec![channels]));
                let parameters = self.parameters(name, shapes.collect()).map_err(wrong)?;
                let parameter = |role| parameters.iter().find(|p| p.role == role).cloned();
                let [mean, variance] =
                    [("mean", 0.0), ("variance", 1.0)].map(|(of, start)| self.statistic(name, of, channels, start));
                let (scale, offset) = (parameter(Role::Scale), parameter(Role::Offset));
                Step::Norm(Norm { scale, offset, mean, variance, epsilon, statistics })
            }
            LayerRole::Drop { rate } => {
                self.places.push(Place { shape: shape.to_vec(), rate });
                Step::Drop(self.places.len() - 1)
            }
            LayerRole::Residual { layers, projection } => Step::Residual {
                body: self.list(layers, shape, &format!("{position}."))?.0,
                projection: self.list(projection, shape, &format!("{position}.projection."))?.0,
            },
            LayerRole::Function(function) => Step::Function(function),
        })
    }

    /// Lays out the parameters of a layer, one after another.
    fn parameters(&mut self, name: &str, shapes: Vec<(Role, Vec<usize>)>) -> Result<Vec<Parameter>, String> {
        if name.is_empty() {
            return Err("has no name, by which records and files know its weights".to_owned());
        }
        if self.names.iter().any(|other| other == name) {
            return Err(format!(
                "is called `{name}`, as another layer is; records and files know weights by that name"
            ));
        }
        self.names.push(name.to_owned());
        let layer = self.parameter_layers();
        let mut laid = vec![];
        for (role, shape) in shapes {
            let what = role.name();
            if shape.contains(&0) {
                return Err(format!("has a {what} of shape {shape:?}, which holds no weight"));
            }
            // Arrays are counted in four bytes.
            let size = shape.iter().try_fold(1usize, |size, &n| size.checked_mul(n));
            if size.is_none_or(|size| size.saturating_add(self.parameter_count()) > i32::MAX as usize) {
                return Err(format!("has a {what} of shape {shape:?}, with which there are 2³¹ weights or more"));
            }
            let parameter =
                Parameter { name: format!("{name}.{what}"), role, shape, offset: self.parameter_count(), layer };
            self.parameters.push(parameter.clone());
            laid.push(parameter);
        }
        Ok(laid)
    }

    fn statistic(&mut self, layer: &str, of: &str, len: usize, start: f32) -> Statistic {
        let statistic = Statistic { name: format!("{layer}.{of}"), len, offset: self.statistic_count(), start };
        self.statistics.push(statistic.clone());
        statistic
    }
}
