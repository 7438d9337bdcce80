//! Small recurrent and dense networks in f64, with their derivatives, for the searchers that learn.

use super::draws::Draws;

/// A layer y = W x + b within a vector of parameters: rows of W, each followed by its b.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Where its parameters begin.
    pub at: usize,
    /// Numbers that come in.
    pub inputs: usize,
    /// Numbers that go out.
    pub outputs: usize,
}

impl Linear {
    /// How many parameters it has.
    pub fn count(&self) -> usize {
        self.outputs * (self.inputs + 1)
    }

    /// Draws its parameters: uniform within ±1/√inputs.
    pub fn draw(&self, parameters: &mut [f64], draws: &mut dyn Draws) {
        let scale = 1.0 / (self.inputs as f64).sqrt();
        parameters[self.at..][..self.count()].iter_mut().for_each(|p| *p = scale * (2.0 * draws.uniform() - 1.0));
    }

    /// What goes out.
    pub fn forward(&self, parameters: &[f64], x: &[f64]) -> Vec<f64> {
        let rows = parameters[self.at..][..self.count()].chunks_exact(self.inputs + 1);
        rows.map(|row| row[self.inputs] + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
    }

    /// Adds the derivatives by the parameters, and returns those by what came in.
    pub fn backward(&self, parameters: &[f64], x: &[f64], dy: &[f64], gradient: &mut [f64]) -> Vec<f64> {
        let mut dx = vec![0.0; self.inputs];
        let rows = parameters[self.at..][..self.count()].chunks_exact(self.inputs + 1);
        let slopes = gradient[self.at..][..self.count()].chunks_exact_mut(self.inputs + 1);
        for ((row, slopes), dy) in rows.zip(slopes).zip(dy) {
            for j in 0..self.inputs {
                dx[j] += dy * row[j];
                slopes[j] += dy * x[j];
            }
            slopes[self.inputs] += dy;
        }
        dx
    }
}

/// A long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates): input, forget and output gates and the
/// candidate, of what comes in and of the last state.
#[derive(Clone, Copy, Debug)]
pub struct Lstm {
    gates: Linear,
    /// The size of its state.
    pub hidden: usize,
}

/// A step of an [`Lstm`]: what its derivatives need.
#[derive(Clone, Debug)]
pub struct Step {
    joined: Vec<f64>,
    /// Input, forget, candidate, output.
    gates: Vec<f64>,
    before: Vec<f64>,
    cell: Vec<f64>,
    /// The state after it.
    pub state: Vec<f64>,
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Lstm {
    /// With parameters that begin at a place.
    pub fn new(at: usize, inputs: usize, hidden: usize) -> Self {
        Lstm { gates: Linear { at, inputs: inputs + hidden, outputs: 4 * hidden }, hidden }
    }

    /// How many parameters it has.
    pub fn count(&self) -> usize {
        self.gates.count()
    }

    /// Draws its parameters.
    pub fn draw(&self, parameters: &mut [f64], draws: &mut dyn Draws) {
        self.gates.draw(parameters, draws);
    }

    /// The step after others.
    pub fn step(&self, parameters: &[f64], before: Option<&Step>, x: &[f64]) -> Step {
        let zeros = vec![0.0; self.hidden];
        let (state, cell) = before.map_or((&zeros, &zeros), |step| (&step.state, &step.cell));
        let joined: Vec<f64> = x.iter().chain(state).copied().collect();
        let mut gates = self.gates.forward(parameters, &joined);
        for (k, gate) in gates.iter_mut().enumerate() {
            *gate = if k / self.hidden == 2 { gate.tanh() } else { logistic(*gate) };
        }
        let h = self.hidden;
        let next: Vec<f64> = (0..h).map(|k| gates[k] * gates[2 * h + k] + gates[h + k] * cell[k]).collect();
        let state = (0..h).map(|k| gates[3 * h + k] * next[k].tanh()).collect();
        Step { joined, gates, before: cell.clone(), cell: next, state }
    }

    /// Adds the derivatives by the parameters, given those by the states of all steps.
    pub fn backward(&self, parameters: &[f64], steps: &[Step], by_state: &[Vec<f64>], gradient: &mut [f64]) {
        let h = self.hidden;
        let (mut carried, mut by_cell) = (vec![0.0; h], vec![0.0; h]);
        for (step, by_state) in steps.iter().zip(by_state).rev() {
            let mut by_gates = vec![0.0; 4 * h];
            for k in 0..h {
                let [i, f, g, o] = [0, 1, 2, 3].map(|part| step.gates[part * h + k]);
                let (slope, bent) = (by_state[k] + carried[k], step.cell[k].tanh());
                by_cell[k] += slope * o * (1.0 - bent * bent);
                by_gates[k] = by_cell[k] * g * i * (1.0 - i);
                by_gates[h + k] = by_cell[k] * step.before[k] * f * (1.0 - f);
                by_gates[2 * h + k] = by_cell[k] * i * (1.0 - g * g);
                by_gates[3 * h + k] = slope * bent * o * (1.0 - o);
                by_cell[k] *= f;
            }
            let by_joined = self.gates.backward(parameters, &step.joined, &by_gates, gradient);
            carried = by_joined[self.gates.inputs - h..].to_vec();
        }
    }
}

/// Adam (Kingma and Ba 2015) with its usual constants but for the rate.
#[derive(Clone, Debug)]
pub struct Adam {
    rate: f64,
    steps: i32,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl Adam {
    /// For so many parameters.
    pub fn new(count: usize, rate: f64) -> Self {
        Adam { rate, steps: 0, means: vec![0.0; count], squares: vec![0.0; count] }
    }

    /// A step downhill.
    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        const KEPT: (f64, f64) = (0.9, 0.999);
        self.steps += 1;
        let rate = self.rate * (1.0 - KEPT.1.powi(self.steps)).sqrt() / (1.0 - KEPT.0.powi(self.steps));
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((parameter, slope), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            *mean = KEPT.0 * *mean + (1.0 - KEPT.0) * slope;
            *square = KEPT.1 * *square + (1.0 - KEPT.1) * slope * slope;
            *parameter -= rate * *mean / (square.sqrt() + 1e-8);
        }
    }
}

/// A network with two hidden layers of one size and one number that goes out.
#[derive(Clone, Copy, Debug)]
pub struct Regression {
    layers: [Linear; 3],
}

impl Regression {
    /// Of so many numbers, with hidden layers of this size.
    pub fn new(inputs: usize, hidden: usize) -> Self {
        let mut at = 0;
        let layers = [(inputs, hidden), (hidden, hidden), (hidden, 1)].map(|(inputs, outputs)| {
            let layer = Linear { at, inputs, outputs };
            at += layer.count();
            layer
        });
        Regression { layers }
    }

    /// How many parameters it has.
    pub fn count(&self) -> usize {
        self.layers.iter().map(Linear::count).sum()
    }

    /// Draws its parameters.
    pub fn draw(&self, draws: &mut dyn Draws) -> Vec<f64> {
        let mut parameters = vec![0.0; self.count()];
        self.layers.iter().for_each(|layer| layer.draw(&mut parameters, draws));
        parameters
    }

    /// What it predicts.
    pub fn predict(&self, parameters: &[f64], x: &[f64]) -> f64 {
        let [first, second, last] = self.layers;
        let bent = |y: Vec<f64>| y.into_iter().map(f64::tanh).collect::<Vec<f64>>();
        last.forward(parameters, &bent(second.forward(parameters, &bent(first.forward(parameters, x)))))[0]
    }

    /// Half the squared error of a prediction; its derivatives are added.
    pub fn error(&self, parameters: &[f64], x: &[f64], wanted: f64, gradient: &mut [f64]) -> f64 {
        let [first, second, last] = self.layers;
        let bent = |y: Vec<f64>| y.into_iter().map(f64::tanh).collect::<Vec<f64>>();
        let one = bent(first.forward(parameters, x));
        let two = bent(second.forward(parameters, &one));
        let error = last.forward(parameters, &two)[0] - wanted;
        let unbent = |slopes: Vec<f64>, bent: &[f64]| -> Vec<f64> {
            slopes.iter().zip(bent).map(|(slope, y)| slope * (1.0 - y * y)).collect()
        };
        let by_two = unbent(last.backward(parameters, &two, &[error], gradient), &two);
        let by_one = unbent(second.backward(parameters, &one, &by_two, gradient), &one);
        first.backward(parameters, x, &by_one, gradient);
        0.5 * error * error
    }
}

#[cfg(test)]
mod tests {
    use super::super::draws::{Occasion, stream};
    use super::*;

    #[track_caller]
    fn is_difference(parameters: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
        for k in 0..parameters.len() {
            let at = |h: f64| {
                let mut moved = parameters.to_vec();
                moved[k] += h;
                f(&moved)
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[k] - difference).abs() < 1e-8, "{k}: {} {difference}", gradient[k]);
        }
    }

    #[test]
    fn derivatives_are_differences() {
        let mut draws = stream(1, 0, Occasion::Point);
        let lstm = Lstm::new(0, 2, 3);
        let head = Linear { at: lstm.count(), inputs: 3, outputs: 2 };
        let mut parameters = vec![0.0; lstm.count() + head.count()];
        lstm.draw(&mut parameters, &mut draws);
        head.draw(&mut parameters, &mut draws);
        let inputs: Vec<Vec<f64>> = (0..4).map(|t| vec![f64::from(t).sin(), 0.3 * f64::from(t)]).collect();
        let run = |parameters: &[f64]| {
            let mut steps: Vec<Step> = vec![];
            for x in &inputs {
                steps.push(lstm.step(parameters, steps.last(), x));
            }
            steps
        };
        // A sum of outputs at all steps, each with a weight of its own.
        let weight = |t: usize, k: usize| 1.0 + t as f64 - 2.0 * k as f64;
        let total = |parameters: &[f64]| -> f64 {
            let outputs = run(parameters).into_iter().map(|step| head.forward(parameters, &step.state)).enumerate();
            outputs.map(|(t, y)| y.iter().enumerate().map(|(k, y)| weight(t, k) * y * y).sum::<f64>()).sum()
        };
        let mut gradient = vec![0.0; parameters.len()];
        let steps = run(&parameters);
        let by_state: Vec<Vec<f64>> = (steps.iter().enumerate())
            .map(|(t, step)| {
                let y = head.forward(&parameters, &step.state);
                let dy: Vec<f64> = y.iter().enumerate().map(|(k, y)| 2.0 * weight(t, k) * y).collect();
                head.backward(&parameters, &step.state, &dy, &mut gradient)
            })
            .collect();
        lstm.backward(&parameters, &steps, &by_state, &mut gradient);
        is_difference(&parameters, &gradient, total);

        let network = Regression::new(3, 4);
        let parameters = network.draw(&mut draws);
        let x = [0.3, -0.8, 0.5];
        let mut gradient = vec![0.0; network.count()];
        network.error(&parameters, &x, 0.7, &mut gradient);
        is_difference(&parameters, &gradient, |p| 0.5 * (network.predict(p, &x) - 0.7).powi(2));
    }

    #[test]
    fn adam_goes_downhill() {
        let mut x = [3.0, -2.0];
        let mut adam = Adam::new(2, 0.05);
        for _ in 0..800 {
            let slopes = [2.0 * (x[0] - 1.0), 20.0 * (x[1] - 0.5)];
            adam.step(&mut x, &slopes);
        }
        assert!((x[0] - 1.0).abs() < 1e-3 && (x[1] - 0.5).abs() < 1e-3, "{x:?}");
    }
}
