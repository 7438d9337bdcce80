//! Random points, grids and Sobol points.

use std::collections::BTreeSet;

use stackelberg::search::draws::{Occasion, stream};
use stackelberg::search::random::random_point;
use stackelberg::search::{
    Condition, Dimension, Domain, Full, Grid, History, Limits, Point, Sample, Sampler, Search, Simulation, Sobol,
    Space, Value,
};

use crate::vectors::{categories, float, int, space};

fn points(sampler: impl Sampler, space: &Space, trials: u64) -> Vec<Point> {
    let searcher = Search { sampler, schedule: Full { budget: 1 } };
    let (history, _) =
        Simulation::new(&searcher, space, &|_: &Point, _: u64| 0.0, 1, 1, Limits::trials(trials)).run().unwrap();
    history.trials().iter().map(|trial| trial.point.clone()).collect()
}

#[test]
fn random_points_have_the_distributions_of_their_domains() {
    let space =
        space([float(-2.0, 3.0, false), float(1e-4, 1.0, true), int(1, 6, false), int(1, 20, true), categories(5)]);
    let n = 2000;
    let drawn: Vec<Point> = (0..n).map(|trial| random_point(&space, &mut stream(11, trial, Occasion::Point))).collect();
    let column = |j: usize| drawn.iter().map(|point| point.get(j).unwrap()).collect::<Vec<f64>>();
    for j in [0, 1] {
        let mut units: Vec<f64> = column(j).iter().map(|x| space.domain(j).unit(*x)).collect();
        units.sort_by(f64::total_cmp);
        let gap = |(i, u): (usize, &f64)| ((i + 1) as f64 / n as f64 - u).max(u - i as f64 / n as f64);
        let distance = units.iter().enumerate().map(gap).fold(0.0, f64::max);
        // Kolmogorov and Smirnov: p = 0.001.
        assert!(distance < 1.949 / (n as f64).sqrt(), "dimension {j}: {distance}");
    }
    for (j, quantile) in [(2, 20.52), (3, 43.82), (4, 18.47)] {
        let domain = space.domain(j);
        let (low, high) = domain.modelled_ends();
        let chance = |k: usize| match j {
            3 => {
                let value = domain.level(k);
                ((value + 0.5).ln() - (value - 0.5).ln()) / (high - low)
            }
            _ => 1.0 / domain.count().unwrap() as f64,
        };
        let statistic: f64 = (0..domain.count().unwrap())
            .map(|k| {
                let want = chance(k) * n as f64;
                let got = column(j).iter().filter(|value| **value == domain.level(k)).count() as f64;
                (got - want).powi(2) / want
            })
            .sum();
        // χ² of p = 0.001 for as many degrees of freedom as there are values less one.
        assert!(statistic < quantile, "dimension {j}: χ² = {statistic}");
    }
}

#[test]
fn a_grid_has_all_of_its_points_in_their_order() {
    let space = space([float(0.0, 1.0, false), float(0.01, 1.0, true), int(1, 3, false), categories(2)]);
    let grid = points(Grid { levels: 3 }, &space, 1000);
    assert_eq!(grid.len(), 3 * 3 * 3 * 2);
    let at = |x: [f64; 4]| Point(x.map(Some).to_vec());
    assert_eq!(grid[0], at([0.0, 0.01, 1.0, 0.0]));
    assert_eq!(grid[1], at([0.0, 0.01, 1.0, 1.0]));
    assert_eq!(grid[2], at([0.0, 0.01, 2.0, 0.0]));
    assert_eq!(grid[53], at([1.0, 1.0, 3.0, 1.0]));
    let middle = grid[6].get(1).unwrap();
    assert!((middle - 0.1).abs() < 1e-12, "geometric: {middle}");
    let distinct: BTreeSet<String> = grid.iter().map(|point| format!("{point:?}")).collect();
    assert_eq!(distinct.len(), grid.len());
    assert_eq!(Grid::default().levels_of(&int(1, 64, true)), [1.0, 3.0, 8.0, 23.0, 64.0]);
}

fn conditional() -> Space {
    let dimension = |name: &str, domain, when| Dimension { name: name.to_owned(), domain, when, structural: false };
    let when = |value| Some(Condition { parent: "a".to_owned(), values: vec![Value::Int(value)] });
    Space::new(vec![
        dimension("a", categories(3), None),
        dimension("b", int(1, 4, false), when(1)),
        dimension("c", float(0.0, 1.0, false), when(2)),
    ])
    .unwrap()
}

#[test]
fn a_grid_leaves_out_what_does_not_count() {
    let grid = points(Grid { levels: 4 }, &conditional(), 1000);
    assert_eq!(grid.len(), 1 + 4 + 4);
    let distinct: BTreeSet<String> = grid.iter().map(|point| format!("{point:?}")).collect();
    assert_eq!(distinct.len(), grid.len());
}

#[test]
fn sobol_points_are_even_in_each_dimension_and_reach_beyond_the_sequence() {
    let space = space((0..120).map(|_| int(0, 63, false)));
    let sampled: Vec<Point> = (0..64)
        .map(|trial| match Sobol.sample(&space, &History::default(), 3, trial) {
            Sample::Point(point, _) => point,
            other => panic!("{other:?}"),
        })
        .collect();
    for j in 0..100 {
        let mut column: Vec<u64> = sampled.iter().map(|point| point.get(j).unwrap() as u64).collect();
        column.sort_unstable();
        assert!(column.into_iter().eq(0..64), "dimension {j}");
    }
    let beyond: BTreeSet<u64> = sampled.iter().map(|point| point.get(119).unwrap() as u64).collect();
    assert!(beyond.len() > 20, "drawn");
    let other = Sobol.sample(&space, &History::default(), 4, 0);
    assert_ne!(other, Sample::from(sampled[0].clone()), "the seed shifts the sequence");
}

#[test]
fn domains_with_one_value_are_no_trouble() {
    let space = space([Domain::Int { low: 3, high: 3, log: false, step: 1 }, float(2.0, 2.0, false), categories(1)]);
    assert_eq!(points(Grid::default(), &space, 10).len(), 1);
    let want = Point(vec![Some(3.0), Some(2.0), Some(0.0)]);
    let tpe = stackelberg::search::Tpe::OPTUNA5;
    assert!(points(tpe, &space, 30).iter().all(|point| *point == want));
}
