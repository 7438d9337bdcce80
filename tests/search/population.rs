//! Populations against DEAP, pyswarms and Ray: genes, swarms, exploits, bandits; and a walk with a memory.

use serde_json::Value;
use stackelberg::search::draws::{Draw, Occasion, Tape, stream};
use stackelberg::search::genetic::{Genes, Genetic};
use stackelberg::search::history::{Event, State};
use stackelberg::search::pb2::{Form, Model, Observations, Parameters, bound, choose, confidence, kernel};
use stackelberg::search::pbt::quantiles;
use stackelberg::search::pso::{Particle, Pso};
use stackelberg::search::{
    Domain, Explore, Full, Limits, Pb2, Pbt, Point, Population, Search, Simulation, Space, Tabu, Task,
};

use crate::vectors::{all_close, close, float, index, indices, int, number, numbers, rows, space, vectors};

#[test]
fn a_generation_is_deaps() {
    let Some(v) = vectors("heuristics.json") else { return };
    let case = &v["ga"];
    let space = space([float(0.0, 1.0, false), float(0.0, 1.0, false)]);
    let draws = case["draws"].as_array().unwrap().iter().map(|draw| match draw[0].as_str().unwrap() {
        "u" => Draw::Uniform(number(&draw[1])),
        "z" => Draw::Normal(number(&draw[1])),
        _ => Draw::Below(index(&draw[1]), index(&draw[2])),
    });
    let mut tape = Tape::new(draws);
    let genes = |row: Vec<f64>| row.into_iter().map(Some).collect::<Genes>();
    let parents: Vec<Genes> = rows(&case["population"]).into_iter().map(genes).collect();
    let children = Genetic::default().children(&space, &parents, &numbers(&case["loss"]), &mut tape);
    let want = rows(&case["offspring"]);
    assert_eq!((children.len(), tape.left()), (want.len(), 0));
    for (child, want) in children.iter().zip(&want) {
        let child: Vec<f64> = child.iter().map(|gene| gene.unwrap()).collect();
        all_close(&child, want, 1e-14);
    }
}

#[test]
fn a_swarm_moves_as_pyswarms_does() {
    let Some(v) = vectors("heuristics.json") else { return };
    let case = &v["pso_pyswarms"];
    let (positions, velocities, bests) = (rows(&case["position"]), rows(&case["velocity"]), rows(&case["pbest"]));
    let swarm: Vec<Particle> = (0..positions.len())
        .map(|i| Particle { position: positions[i].clone(), velocity: velocities[i].clone(), best: bests[i].clone() })
        .collect();
    let draws = ["r1", "r2"].iter().flat_map(|name| rows(&case[*name])).flatten().map(Draw::Uniform);
    let mut tape = Tape::new(draws);
    let pso =
        Pso { inertia: number(&case["w"]), pull: number(&case["c1"]), fastest: number(&case["clamp"]), particles: 4 };
    let moved = pso.moved(&swarm, &numbers(&case["gbest"]), &mut tape);
    assert_eq!(tape.left(), 0);
    let (want_velocities, want_positions) = (rows(&case["new_velocity"]), rows(&v["pso_position_reflective"]));
    for (i, (position, velocity)) in moved.iter().enumerate() {
        all_close(position, &want_positions[i], 1e-14);
        for (j, got) in velocity.iter().enumerate() {
            // Ours turns where the border was in the way.
            let turned = (positions[i][j] + want_velocities[i][j] - position[j]).abs() > 1e-12;
            let want = if turned { -want_velocities[i][j] } else { want_velocities[i][j] };
            close(*got, want, 1e-14);
        }
    }
}

#[test]
fn quantiles_are_rays() {
    let Some(v) = vectors("population.json") else { return };
    for case in v["quantiles"].as_array().unwrap() {
        let rewards: Vec<Option<f64>> = case["scores"].as_array().unwrap().iter().map(Value::as_f64).collect();
        let (worst, best) = quantiles(&rewards, number(&case["fraction"]));
        assert_eq!(worst, indices(&case["lower_upper"][0]), "{case}");
        assert_eq!(best, indices(&case["lower_upper"][1]), "{case}");
    }
}

#[test]
fn exploration_is_rays() {
    let Some(v) = vectors("population.json") else { return };
    let batches = [4, 8, 16, 32, 64];
    let choices = batches.map(stackelberg::search::Value::Int).to_vec();
    let space =
        space([float(1e-5, 0.2, true), float(0.7, 0.99, false), Domain::Categorical { choices }, int(1, 1000, false)]);
    let names = ["lr", "momentum", "batch", "n"];
    let begin = Point([0.01, 0.9, 3.0, 100.0].map(Some).to_vec());
    let explore = Explore { clip: false, ..Explore::default() };
    let mut clipped = 0;
    for case in v["explore"].as_array().unwrap() {
        let mut recorded = case["draws"].as_array().unwrap().iter().map(|draw| match draw[0].as_str().unwrap() {
            "u" => Draw::Uniform(number(&draw[1])),
            _ => Draw::Below(index(&draw[1]), index(&draw[2])),
        });
        let mut draws = vec![];
        let mut want = vec![];
        for (j, name) in names.iter().enumerate() {
            draws.push(recorded.next().unwrap());
            let new = number(&case["new"][name]);
            // Where a number was drawn afresh, the reference's draw is not on its tape: the one that leads there.
            match case["ops"][name].as_str().unwrap() {
                "resample" if *name != "batch" => draws.push(Draw::Uniform(space.domain(j).unit(new))),
                _ => draws.push(recorded.next().unwrap()),
            }
            let place = batches.iter().position(|batch| *batch as f64 == new);
            want.push(if *name == "batch" { place.unwrap() as f64 } else { new });
        }
        let mut tape = Tape::new(draws.clone());
        let got = explore.changed(&space, &begin, &mut tape);
        assert_eq!(tape.left(), 0);
        all_close(&got.0.iter().map(|x| x.unwrap()).collect::<Vec<_>>(), &want, 1e-12);
        let inside = Explore::default().changed(&space, &begin, &mut Tape::new(draws));
        for (j, want) in want.iter().enumerate() {
            let (low, high) = space.domain(j).ends();
            close(inside.get(j).unwrap(), want.clamp(low, high), 1e-12);
            clipped += usize::from(!(low..=high).contains(want));
        }
    }
    assert!(clipped > 0, "the reference leaves the ranges somewhere");
}

/// As the vectors have them: the first value between 0 and 10, the second between 0 and 1; the member that goes on stands at
/// time 3 with reward 0.6.
fn observations(inputs: &Value, changes: &Value) -> Observations {
    let (rows, changes) = (rows(inputs), numbers(changes));
    Observations { rows, changes, ends: vec![(0.0, 10.0), (0.0, 1.0)], now: vec![3.0, 0.6] }
}

#[test]
fn the_bandits_model_is_rays() {
    let Some(v) = vectors("population.json") else { return };
    let of = |variance, length, forgetting| Parameters { variance, length, forgetting, noise: 0.0 };
    let points = rows(&v["tv_kernel"]["Z"]);
    let matrix = |parameters: Parameters| -> Vec<Vec<(f64, [f64; 3])>> {
        points.iter().map(|a| points.iter().map(|b| kernel(&parameters, a, b)).collect()).collect()
    };
    for (row, want) in matrix(of(1.0, 1.0, 0.1)).iter().zip(rows(&v["tv_kernel"]["K"])) {
        all_close(&row.iter().map(|k| k.0).collect::<Vec<_>>(), &want, 1e-9);
    }
    let case = &v["tv_kernel_grad_log(var,len,eps)"];
    let parameters = of(number(&case["var"]), number(&case["len"]), number(&case["eps"]));
    for (k, want) in case["G"].as_array().unwrap().iter().enumerate() {
        for (row, want) in matrix(parameters).iter().zip(rows(want)) {
            all_close(&row.iter().map(|pair| pair.1[k]).collect::<Vec<_>>(), &want, 1e-9);
        }
    }

    let case = &v["pb2_scaled"];
    let seen = observations(&case["Xraw"], &case["yraw"]);
    let data = seen.scaled(12);
    data.inputs.iter().zip(rows(&case["X"])).for_each(|(got, want)| all_close(got, &want, 1e-9));
    all_close(&data.targets, &numbers(&case["y"]), 1e-9);
    all_close(&data.fixed, &numbers(&case["fixed"]), 1e-9);

    let start = Model::new(&data.inputs, &data.targets, of(1.0, 1.0, 0.1)).unwrap();
    close(start.log_likelihood(), number(&v["pb2_fit"]["lml_at_start"]), 1e-9);
    // With the reference's parameters all is the reference's; our fit is as likely at least.
    let theirs = numbers(&v["pb2_fit"]["theta_exp(var,len,eps)"]);
    let model = Model::new(&data.inputs, &data.targets, of(theirs[0], theirs[1], theirs[2])).unwrap();
    close(model.log_likelihood(), number(&v["pb2_fit"]["lml"]), 1e-9);
    let fitted = Model::fit(&data.inputs, &data.targets, Form::Ray260).unwrap();
    assert!(fitted.log_likelihood() >= model.log_likelihood() - 1e-6, "{}", fitted.log_likelihood());
    for (x, want) in rows(&v["pb2_ucb"]["x"]).iter().zip(numbers(&v["pb2_ucb"]["value"])) {
        let (value, slopes) = bound(Form::Ray260, &model, &model, &data.fixed, x);
        close(value, want, 1e-6);
        for (j, slope) in slopes.iter().enumerate() {
            let at = |h: f64| {
                let mut x = x.clone();
                x[j] += h;
                bound(Form::Ray260, &model, &model, &data.fixed, &x).0
            };
            close(*slope, (at(1e-5) - at(-1e-5)) / 2e-5, 1e-5);
        }
    }
    for (n, want) in v["pb2_kappa_by_n"].as_object().unwrap() {
        close(confidence(n.parse().unwrap()), number(want), 1e-9);
    }

    // The bound has several maxima: the one that is chosen is no lower than the reference's, nor than any on a grid.
    let chosen = choose(Form::Ray260, &seen, &[], &mut stream(0, 0, Occasion::Point));
    let share = |x: &[f64]| vec![x[0] / 10.0, x[1]];
    let value = |x: &[f64]| bound(Form::Ray260, &fitted, &fitted, &data.fixed, x).0;
    assert!(value(&chosen) >= value(&share(&numbers(&v["pb2_next_seed0"]))) - 1e-6);
    let likely = (fitted.log_likelihood() - model.log_likelihood()).abs() < 1e-4;
    assert!(!likely || value(&chosen) >= number(&v["pb2_grid_best"]["value"]) - 1e-3);
    // With a point pending, the bound has several maxima: ours is no lower than the reference's.
    let chosen = choose(Form::Ray260, &seen, &[vec![0.2, 0.5]], &mut stream(0, 0, Occasion::Point));
    let mut inputs = data.inputs.clone();
    inputs.push(vec![data.fixed[0], data.fixed[1], 0.2, 0.5]);
    let targets: Vec<f64> = data.targets.iter().copied().chain([0.0]).collect();
    let pending = Model::fit(&inputs, &targets, Form::Ray260).unwrap();
    let theirs = numbers(&v["pb2_next_with_pending"]);
    let [ours, theirs] =
        [chosen, vec![theirs[0] / 10.0, theirs[1]]].map(|x| bound(Form::Ray260, &fitted, &pending, &data.fixed, &x).0);
    assert!(ours >= theirs - 1e-6, "{ours}, the reference's {theirs}");
}

#[test]
fn noise_makes_rays_bandit_random_and_not_ours() {
    let Some(v) = vectors("population.json") else { return };
    let data = observations(&v["pb2_scaled"]["Xraw"], &v["pb2_fit_on_noise"]["yraw"]).scaled(12);
    let [variance, length, forgetting] = numbers(&v["pb2_fit_on_noise"]["theta_exp(var,len,eps)"])[..] else {
        panic!()
    };
    let theirs = Parameters { variance, length, forgetting, noise: 0.0 };
    let rays = Model::new(&data.inputs, &data.targets, theirs).unwrap();
    let fitted = Model::fit(&data.inputs, &data.targets, Form::Ray260).unwrap();
    assert!(fitted.log_likelihood() >= rays.log_likelihood() - 1e-6, "{:?}", fitted.parameters());
    let bounds: Vec<f64> =
        rows(&v["pb2_ucb"]["x"]).iter().map(|x| bound(Form::Ray260, &rays, &rays, &data.fixed, x).0).collect();
    all_close(&bounds, &numbers(&v["pb2_fit_on_noise"]["ucb_at_points"]), 1e-6);
    let ours = Model::fit(&data.inputs, &data.targets, Form::Noisy).unwrap();
    assert!(ours.parameters().length > 1e-3, "{:?}", ours.parameters());
}

/// A training whose loss falls by how near its value is to the best, which it keeps.
struct Descent;

impl Task for Descent {
    type State = f64;

    fn begin(&self, _: u64, _: &Point) -> f64 {
        1.0
    }

    fn advance(&self, state: &mut f64, point: &Point, _: u64) -> Option<f64> {
        *state *= 1.0 - 0.1 * (-(10.0 * (point.get(0)? - 0.6)).powi(2)).exp();
        Some(*state)
    }
}

fn population(fraction: f64) -> Population {
    Population { members: 8, budget: 60, interval: 5, fraction }
}

fn unit() -> Space {
    space([float(0.0, 1.0, false)])
}

#[test]
fn without_exploits_members_are_runs_of_their_own() {
    let pbt = Pbt { population: population(0.0), explore: Explore::default() };
    let (history, _) = Simulation::new(&pbt, &unit(), &Descent, 3, 8, Limits::trials(8)).run().unwrap();
    for trial in history.trials() {
        let mut state = 1.0;
        let values: Vec<f64> = (1..=60).map(|step| Descent.advance(&mut state, &trial.begun, step).unwrap()).collect();
        assert_eq!(trial.reports.iter().map(|report| report.value).collect::<Vec<_>>(), values);
        assert_eq!((trial.state, trial.changes.len()), (State::Complete, 0));
    }
}

#[test]
fn exploits_take_over_the_whole_training() {
    let pbt = Pbt { population: population(0.25), explore: Explore::default() };
    let (history, _) = Simulation::new(&pbt, &unit(), &Descent, 3, 8, Limits::trials(8)).run().unwrap();
    let mut exploits = 0;
    for trial in history.trials() {
        for change in &trial.changes {
            let donor = history.trial(change.from).unwrap().value_at(change.from_step).unwrap();
            assert!(donor < trial.value_at(change.step).unwrap(), "the donor is better");
            let next = trial.value_at(change.step + 1).unwrap();
            let mut state = donor;
            assert_eq!(next, Descent.advance(&mut state, &change.point, 0).unwrap());
            exploits += 1;
        }
    }
    assert!(exploits >= 4, "{exploits}");
}

/// The mean over seeds of the least loss of a population.
fn reached(searcher: &dyn stackelberg::search::Searcher) -> f64 {
    let least = |seed| {
        let (history, _) = Simulation::new(searcher, &unit(), &Descent, seed, 8, Limits::trials(8)).run().unwrap();
        history.trials().iter().map(|trial| trial.score()).fold(f64::INFINITY, f64::min)
    };
    (100..130).map(least).sum::<f64>() / 30.0
}

#[test]
fn populations_do_better_than_their_members_alone() {
    let alone = reached(&Pbt { population: population(0.0), explore: Explore::default() });
    let pbt = reached(&Pbt { population: population(0.25), explore: Explore::default() });
    let pb2 = reached(&Pb2 { population: population(0.25), form: Form::Noisy });
    // All the way at the best value: 0.9⁶⁰ = 0.0018.
    assert!(pbt < 0.2 * alone && pb2 < 0.2 * alone, "alone {alone}, PBT {pbt}, PB2 {pb2}");
}

#[test]
fn the_walk_leaves_a_local_minimum_and_finds_the_global_one() {
    const TABLE: [[f64; 5]; 5] = [
        [4.0, 3.0, 4.5, 6.0, 7.0],
        [3.0, 1.0, 3.0, 5.0, 6.0],
        [4.0, 2.0, 3.5, 4.0, 3.0],
        [5.0, 4.0, 3.0, 2.0, 0.0],
        [6.0, 5.0, 4.0, 3.0, 1.5],
    ];
    let value = |x: &[usize]| TABLE[x[0]][x[1]];
    // The walk by hand: from a place to its best neighbour that is not forbidden.
    let (mut here, mut forbidden, mut best) = (vec![0usize, 0], vec![], value(&[0, 0]));
    let mut path = vec![here.clone()];
    while here != [3, 4] {
        let moves = path.len() - 1;
        let mut neighbours = vec![];
        for j in 0..2 {
            for next in [here[j].checked_sub(1), Some(here[j] + 1).filter(|up| *up < 5)].into_iter().flatten() {
                let mut place = here.clone();
                place[j] = next;
                let tabu = forbidden.iter().any(|(d, v, until)| (*d, *v) == (j, next) && moves < *until);
                if !tabu || value(&place) < best {
                    neighbours.push((j, place));
                }
            }
        }
        let (j, next) = neighbours.into_iter().reduce(|a, b| if value(&b.1) < value(&a.1) { b } else { a }).unwrap();
        forbidden.push((j, here[j], moves + 1 + 7));
        best = best.min(value(&next));
        here = next;
        path.push(here.clone());
        assert!(path.len() < 30, "{path:?}");
    }
    assert!(path.contains(&vec![1, 1]), "through the local minimum: {path:?}");

    let space = space([int(0, 4, false), int(0, 4, false)]);
    let task = |point: &Point, _: u64| value(&[point.get(0).unwrap() as usize, point.get(1).unwrap() as usize]);
    let start = Some(Point(vec![Some(0.0), Some(0.0)]));
    let searcher = Search { sampler: Tabu { start, ..Tabu::default() }, schedule: Full { budget: 1 } };
    let (history, _) = Simulation::new(&searcher, &space, &task, 0, 1, Limits::trials(25)).run().unwrap();
    let tried: Vec<[usize; 2]> =
        history.trials().iter().map(|t| [0, 1].map(|j| t.point.get(j).unwrap() as usize)).collect();
    // It tries the neighbours of each place on the path, in order, as far as they are new, and nothing else before.
    let mut want: Vec<[usize; 2]> = vec![[0, 0]];
    for place in &path[..path.len() - 1] {
        for j in 0..2 {
            for next in [place[j].checked_sub(1), Some(place[j] + 1).filter(|up| *up < 5)].into_iter().flatten() {
                let mut new = [place[0], place[1]];
                new[j] = next;
                if !want.contains(&new) {
                    want.push(new);
                }
            }
        }
    }
    assert_eq!(tried[..want.len()], want[..]);
    assert_eq!(history.best().unwrap().score(), 0.0);
}

#[test]
fn members_that_broke_are_left_out() {
    struct Breaking;
    impl Task for Breaking {
        type State = u64;
        fn begin(&self, trial: u64, _: &Point) -> u64 {
            trial
        }
        fn advance(&self, state: &mut u64, _: &Point, step: u64) -> Option<f64> {
            (state.is_multiple_of(2) || step < 7).then_some(*state as f64)
        }
    }
    let pbt = Pbt { population: population(0.25), explore: Explore::default() };
    let (history, records) = Simulation::new(&pbt, &unit(), &Breaking, 0, 3, Limits::trials(8)).run().unwrap();
    assert!(history.trials().iter().any(|trial| trial.state == State::Failed));
    assert!(history.trials().iter().all(|trial| !trial.is_open()));
    assert!(records.iter().any(|record| matches!(record.event, Event::Failed { .. })));
}
