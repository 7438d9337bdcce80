//! The raw recordings of HAPT (Reyes-Ortiz et al. 2016) as they were published: `acc_exp01_user01.txt` and
//! `gyro_exp01_user01.txt`, and in `labels.txt` which rows of which experiment show which activity.

use std::collections::BTreeMap;

use super::read::{Labels, NONE, Recording};
use super::source::Files;
use crate::data::DataError;

/// Samples a second.
const RATE: f64 = 50.0;
/// A recording has some ten thousand rows of 30 bytes.
const LIMIT_MIB: u64 = 64;

/// What its six signals are called.
pub const SIGNALS: [&str; 6] =
    ["acc x (g)", "acc y (g)", "acc z (g)", "gyro x (rad/s)", "gyro y (rad/s)", "gyro z (rad/s)"];

/// A stretch of rows, counted from 1, of an experiment of somebody.
struct Stretch {
    user: u32,
    label: u32,
    from: usize,
    to: usize,
}

/// Its recordings, if this is it.
pub fn recordings(files: &mut Files) -> Result<Option<(Vec<Recording>, Labels)>, DataError> {
    let paths: Vec<String> = files.paths().map(str::to_owned).collect();
    let named = |name: &str| paths.iter().position(|path| path.rsplit('/').next() == Some(name));
    let of_sensor =
        |sensor: &str, experiment: u32, user: u32| named(&format!("{sensor}_exp{experiment:02}_user{user:02}.txt"));
    let Some(table) = named("labels.txt") else { return Ok(None) };
    if !paths.iter().any(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("acc_exp"))) {
        return Ok(None);
    }
    let mut names = BTreeMap::new();
    if let Some(at) = named("activity_labels.txt") {
        for line in files.text(at, LIMIT_MIB)?.lines() {
            let mut words = line.split_whitespace();
            if let (Some(number), Some(name)) = (words.next().and_then(|word| word.parse::<u32>().ok()), words.next()) {
                names.insert(number, name.to_lowercase().replace('_', " "));
            }
        }
    }
    let mut labels = Labels::default();
    let mut experiments: BTreeMap<u32, Vec<Stretch>> = BTreeMap::new();
    for (at, line) in files.text(table, LIMIT_MIB)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let wrong = |problem: &str| {
            let mend = "copy or download it again";
            Err(DataError::at(&paths[table], format!("line {}", at + 1), problem.to_owned(), mend))
        };
        let [experiment, user, activity, from, to] = numbers[..] else {
            return wrong("it is not five numbers: experiment, user, activity, first and last row");
        };
        if from == 0 || to < from {
            return wrong("its rows do not go from 1 or more upwards");
        }
        let name = names.get(&activity).cloned().unwrap_or_else(|| activity.to_string());
        let label = labels.of(&name, &[]);
        let (from, to) = (from as usize, to as usize);
        experiments.entry(experiment).or_default().push(Stretch { user, label, from, to });
    }
    let mut all = vec![];
    for (experiment, stretches) in experiments {
        let user = stretches[0].user;
        let mut columns: Vec<Vec<f32>> = vec![];
        let mut name = String::new();
        for sensor in ["acc", "gyro"] {
            let wanted = format!("{sensor}_exp{experiment:02}_user{user:02}.txt");
            let at = of_sensor(sensor, experiment, user)
                .ok_or_else(|| DataError::MissingFile { place: files.name().to_owned(), file: wanted })?;
            let mut own = vec![vec![]; 3];
            for (row, line) in
                files.text(at, LIMIT_MIB)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
            {
                let values: Vec<f32> = line
                    .split_whitespace()
                    .filter_map(|word| word.parse().ok())
                    .filter(|x: &f32| x.is_finite())
                    .collect();
                let [x, y, z] = values[..] else {
                    let problem = "it is not three finite numbers".to_owned();
                    return Err(DataError::at(
                        &paths[at],
                        format!("line {}", row + 1),
                        problem,
                        "copy or download it again",
                    ));
                };
                own.iter_mut().zip([x, y, z]).for_each(|(column, value)| column.push(value));
            }
            columns.extend(own);
            if name.is_empty() {
                name.clone_from(&paths[at]);
            }
        }
        let rows = columns.iter().map(Vec::len).min().unwrap_or(0);
        let mut of_rows = vec![NONE; rows];
        for Stretch { label, from, to, .. } in stretches {
            let (from, to) = (from.min(rows + 1), to.min(rows));
            of_rows[from - 1..to.max(from - 1)].fill(label);
        }
        all.push(Recording {
            name,
            person: Some(user.to_string()),
            times: (0..rows).map(|row| row as f64 / RATE).collect(),
            signals: (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect(),
            labels: of_rows,
        });
    }
    Ok(Some((all, labels)))
}
