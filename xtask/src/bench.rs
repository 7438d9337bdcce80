//! `cargo xtask bench`: the work on the HAR network by us and by others, in turns, so that a slow spell of the machine hits all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Rounds in turns.
    pub rounds: u32,
    /// One short round, to see that all of it runs.
    pub quick: bool,
    /// Whether PyTorch takes part, which is large.
    pub torch: bool,
    /// Whether the table goes into docs/benchmarks.md.
    pub record: bool,
}

/// Where something is computed, and what is compared there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// CPU time of one thread, on one core where the system can pin a process.
    Thread,
    /// Wall time of all cores.
    Cores,
    /// Wall time of the NVIDIA GPU.
    Gpu,
}

const PLACES: [Place; 3] = [Place::Thread, Place::Cores, Place::Gpu];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Thread => "one thread, CPU time",
            Place::Cores => "all cores, wall time",
            Place::Gpu => "GPU, wall time",
        }
    }

    /// The name of a measure here.
    fn measure(self, name: &str) -> String {
        match self {
            Place::Thread => match name.strip_suffix("ms") {
                Some(stem) => format!("{stem}cpu_ms"),
                None => format!("cpu_{name}"),
            },
            Place::Cores | Place::Gpu => name.to_owned(),
        }
    }
}

/// A row of the table: what it is called, the work, the measure and its unit.
const ROWS: [(&str, &str, &str, &str); 5] = [
    ("training step", "W1", "ms", "ms"),
    ("gradient", "W3", "grad_ms", "ms"),
    ("Hessian-vector product", "W3", "hvp_ms", "ms"),
    ("hypergradient, T = 20", "W2.T20", "s", "s"),
    ("hypergradient, T = 200", "W2.T200", "s", "s"),
];

/// Where the table stands in the document.
const MARKS: [&str; 2] = ["<!-- cargo xtask bench -->", "<!-- its end -->"];

/// A measurement: place, round, who, and the line that it wrote.
type Line = (Place, u32, Value);

/// Measures, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    let gpu = process::first_line(process::command("nvidia-smi").args(["--query-gpu=name", "--format=csv,noheader"]));
    let folder = process::root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let python = environment(options.torch, gpu.is_some())?;
    let ours = executable("har_cnn")?;
    let (rounds, works): (u32, &[&[&str]]) = match options.quick {
        true => (1, &[&["--work", "w1,w3,w2", "--T", "20", "--repeat", "1"]]),
        false => (
            options.rounds,
            &[
                &["--work", "w1,w3", "--repeat", "5"],
                &["--work", "w2", "--T", "20", "--repeat", "3"],
                &["--work", "w2", "--T", "200", "--repeat", "1"],
            ],
        ),
    };
    let mut lines: Vec<Line> = vec![];
    for round in 1..=rounds {
        for place in PLACES.into_iter().filter(|place| *place != Place::Gpu || gpu.is_some()) {
            for work in works {
                for mut command in contestants(place, &ours, &python, options.torch) {
                    let file = folder.join("last.jsonl");
                    let _ = fs::remove_file(&file);
                    command.args(*work).args(["--round", &round.to_string(), "--json"]).arg(&file);
                    process::run(&mut command)?;
                    let text =
                        fs::read_to_string(&file).with_context(|| format!("{} wrote nothing", file.display()))?;
                    for line in text.lines() {
                        lines.push((place, round, serde_json::from_str(line)?));
                    }
                }
            }
        }
    }
    let machine = format!("{}; {}", cores(), gpu.as_deref().unwrap_or("no NVIDIA GPU"));
    let table = table(&lines, &machine);
    let results = folder.join("results.json");
    let of = |(place, round, line): &Line| serde_json::json!({"place": place.name(), "round": round, "line": line});
    let all = serde_json::json!({"machine": machine, "lines": lines.iter().map(of).collect::<Vec<_>>()});
    fs::write(&results, serde_json::to_string_pretty(&all)? + "\n")?;
    println!("\n{table}\nThe lines are in {}", results.display());
    if options.record {
        let path = process::root().join("docs/benchmarks.md");
        let recorded = within(&fs::read_to_string(&path)?, &table)?;
        fs::write(&path, recorded)?;
        println!("The table is in {}", path.display());
    }
    Ok(())
}

/// Everybody who takes part at a place, us first.
fn contestants(place: Place, ours: &Path, python: &Path, torch: bool) -> Vec<Command> {
    let pinned = place == Place::Thread && process::which("taskset").is_some();
    let start = |program: &Path| match pinned {
        true => {
            let mut command = process::command("taskset");
            command.args(["-c", "0"]).arg(program);
            command
        }
        false => process::command(program),
    };
    let peers = process::root().join("benches/peers");
    let script = |name: &str| {
        let mut command = start(python);
        // Everything that JAX may use, it uses, whatever its flags say; memory taken beforehand would say nothing.
        command.current_dir(&peers).arg(name).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("XLA_PYTHON_CLIENT_PREALLOCATE", "false").env("GOMP_SPINCOUNT", "0");
        if place != Place::Gpu {
            command.env("JAX_PLATFORMS", "cpu");
        }
        command
    };
    let mut own = start(ours);
    own.args(["--device", ["cpu:1", "cpu", "nvidia"][place as usize]]);
    let mut all = vec![own, script("jax_har.py")];
    if torch {
        let mut torch = script("torch_har.py");
        match place {
            Place::Thread => torch.args(["--threads", "1"]),
            Place::Cores => &mut torch,
            Place::Gpu => torch.args(["--device", "cuda"]),
        };
        all.push(torch);
    }
    all
}

/// A Python with the peers, in an environment of its own under `target`.
fn environment(torch: bool, gpu: bool) -> Result<PathBuf> {
    let jax = if gpu { "jax[cuda12]==0.10.2" } else { "jax==0.10.2" };
    let packages = ["numpy", jax].into_iter().chain(torch.then_some("torch==2.15.0"));
    process::python("peers", packages)
}

/// A benchmark of this package, built.
fn executable(name: &str) -> Result<PathBuf> {
    let mut build = process::cargo("bench");
    let said = process::output(build.args(["--bench", name, "--no-run", "--message-format=json-render-diagnostics"]))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter(|message| message["target"]["name"] == name);
    let mut paths = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    paths.next_back().with_context(|| format!("cargo did not say where it has put {name}"))
}

/// How many cores there are, and of what.
fn cores() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim()));
    format!("{count} cores, {}", model.unwrap_or("of an unknown kind"))
}

/// Who wrote a line: a peer by its name, and of ours the way.
fn who(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    match text("peer").as_str() {
        "stackelberg" => {
            let way = text("variant").split_once(' ').map(|(_, way)| way.to_owned()).unwrap_or_default();
            if line["work"].as_str().is_some_and(|work| work.starts_with("W2")) {
                format!("ours, {way}")
            } else {
                "ours".to_owned()
            }
        }
        "jax" => "JAX".to_owned(),
        "torch" => "PyTorch".to_owned(),
        other => other.to_owned(),
    }
}

/// The medians by place, work and who, ours also divided by JAX's of the same round.
fn table(lines: &[Line], machine: &str) -> String {
    let mut text = format!("{machine}. Medians; in brackets ours ÷ JAX by round.\n\n| | | |\n|---|---|---|\n");
    for place in PLACES {
        for (name, work, measure, unit) in ROWS {
            let measure = place.measure(measure);
            let mut found: BTreeMap<String, Vec<(u32, f64)>> = BTreeMap::new();
            for (_, round, line) in lines.iter().filter(|(at, _, line)| *at == place && line["work"] == work) {
                found.entry(who(line)).or_default().extend(line[&measure].as_f64().map(|value| (*round, value)));
            }
            let peer = found.get("JAX").cloned().unwrap_or_default();
            let cells = found.iter().map(|(who, values)| {
                let mut cell = format!("{who} {}", digits(median(values.iter().map(|(_, value)| *value))));
                let ratios = values.iter().filter_map(|(round, value)| {
                    peer.iter().find(|(of, _)| of == round).map(|(_, peer)| format!("{:.2}", value / peer))
                });
                let ratios: Vec<String> = ratios.collect();
                if who.starts_with("ours") && !ratios.is_empty() {
                    let _ = write!(cell, " ({})", ratios.join(", "));
                }
                cell
            });
            let cells: Vec<String> = cells.collect();
            if !cells.is_empty() {
                let _ = writeln!(text, "| {} | {name}, {unit} | {} |", place.name(), cells.join("; "));
            }
        }
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Three digits.
fn digits(value: f64) -> String {
    let places = (2 - value.abs().log10().floor() as i32).clamp(0, 6);
    format!("{value:.*}", places as usize)
}

/// A document with the table where the marks are.
fn within(document: &str, table: &str) -> Result<String> {
    let [begin, end] = MARKS;
    let place = document.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    ensure!(place.is_some(), "docs/benchmarks.md lacks the marks {begin} and {end} that the table stands between");
    let (before, after) = place.unwrap_or_default();
    Ok(format!("{before}{begin}\n\n{table}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_stand_beside_each_other() {
        let ours = |round, s: f64| {
            let line =
                json!({"peer": "stackelberg", "work": "W2.T20", "variant": "cpu:1 store all", "cpu_s": s, "s": 9.0});
            (Place::Thread, round, line)
        };
        let theirs = |round, s: f64| {
            (Place::Thread, round, json!({"peer": "jax", "work": "W2.T20", "variant": "cpu", "cpu_s": s}))
        };
        let step = (
            Place::Gpu,
            1,
            json!({"peer": "stackelberg", "work": "W1", "variant": "nvidia", "ms": 0.5, "cpu_ms": 7.0}),
        );
        let lines = [ours(1, 1.0), theirs(1, 2.0), ours(2, 3.0), theirs(2, 3.0), step];
        let text = table(&lines, "a machine");
        assert!(
            text.contains(
                "| one thread, CPU time | hypergradient, T = 20, s | JAX 2.50; ours, store all 2.00 (0.50, 1.00) |"
            ),
            "{text}"
        );
        assert!(text.contains("| GPU, wall time | training step, ms | ours 0.500 |"), "{text}");
        assert_eq!(text.matches("\n| ").count(), 3, "{text}");
    }

    #[test]
    fn the_table_replaces_that_of_before() {
        let [begin, end] = MARKS;
        let document = format!("a\n{begin}\nold\n{end}\nb");
        let once = within(&document, "new\n").unwrap();
        assert_eq!(once, format!("a\n{begin}\n\nnew\n\n{end}\nb"));
        assert_eq!(within(&once, "new\n").unwrap(), once);
        assert!(within("nothing", "new").is_err());
    }

    #[test]
    fn the_document_has_the_marks() {
        let document = fs::read_to_string(process::root().join("docs/benchmarks.md")).unwrap();
        assert!(within(&document, "").is_ok());
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.012345, 0.5, 9.876, 123.4, 1234.0].map(digits), ["0.0123", "0.500", "9.88", "123", "1234"]);
    }
}
