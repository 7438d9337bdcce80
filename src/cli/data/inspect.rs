//! `stackelberg data inspect`: what is seen in recordings of one's own, before anything is trained on them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use stackelberg::data::recordings::{Columns, Files, Mapping, Report, read};
use stackelberg::data::{Dataset, SubjectSplit, visible};
use stackelberg::experiment::config::words;

use crate::cli::{CliError, print};

/// Show how recordings are read: what is where in them, what was counted, the windows that come out
///
/// What is guessed can be overruled here and in `tune --data PATH` with the same options, or with the lines for run.toml that
/// are printed at the end.
#[derive(clap::Args)]
pub struct Args {
    /// A table (CSV, TSV, blanks between), a folder or a zip of them
    path: PathBuf,

    #[arg(long, value_name = "LIST", value_parser = Columns::of_line, help = format!("{}", words::COLUMNS))]
    columns: Option<Columns>,

    #[arg(long, value_name = "HZ", help = words::RATE)]
    rate: Option<f64>,

    #[arg(long, value_name = "N", help = words::WINDOW_LENGTH)]
    window: Option<u32>,

    #[arg(long, value_name = "X", help = words::OVERLAP)]
    overlap: Option<f64>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// All that was seen.
#[derive(Serialize)]
struct Seen<'a> {
    #[serde(flatten)]
    report: &'a Report,
    windows: usize,
    fingerprint: String,
}

pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let columns = args.columns.clone().unwrap_or_default();
    let mapping = Mapping { rate: args.rate, window: args.window, overlap: args.overlap, columns };
    let (data, report) = read(&mut Files::of_path(&args.path)?, &mapping)?;
    let text = if args.json {
        let fingerprint = format!("{:016x}", data.fingerprint());
        let all = Seen { report: &report, windows: data.len(), fingerprint };
        serde_json::to_string_pretty(&all).expect("reports are plain values") + "\n"
    } else {
        shown(&data, &report)?
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// How many of a list are shown.
const SHOWN: usize = 12;

fn shown(data: &Dataset, report: &Report) -> Result<String, CliError> {
    let mut text = String::new();
    let listed = |names: Vec<String>| {
        let more = names.len().saturating_sub(SHOWN);
        let shown = names.into_iter().take(SHOWN).map(|name| visible(&name)).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11} {value}");
    };
    line("Files", format!("{}: {}", report.files.len(), listed(report.files.clone())));
    if !report.left_out.is_empty() {
        line("Left out", listed(report.left_out.clone()));
    }
    line("Written", report.written.clone());
    let counted = [
        (report.damaged, "damaged"),
        (report.duplicates, "with the time of the one before"),
        (report.missing, "values missing"),
        (report.gaps, "gaps in time"),
        (report.back, "times that go back"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("; {count} {what}"));
    line("Rows", format!("{}{}", report.rows, counted.collect::<String>()));
    let Mapping { rate, window, overlap, .. } = &report.mapping;
    if let Some(rate) = rate {
        let measured = match report.measured_hz {
            Some(measured) if measured != *rate => format!(" ({measured:.4} measured)"),
            Some(_) => " (measured)".to_owned(),
            None => String::new(),
        };
        let even = if report.resampled > 0 { "interpolated to an even grid" } else { "as they are" };
        line("Rate", format!("{rate} samples a second{measured}, {even}"));
    }
    line("Recordings", format!("{}, in {} pieces without gaps", report.recordings, report.pieces));
    let each = match (window, rate, overlap) {
        (Some(window), Some(rate), Some(overlap)) => {
            let seconds = f64::from(*window) / rate;
            format!(" of {window} samples ({seconds:.2} s), each repeating {:.0} % of the one before", 100.0 * overlap)
        }
        (Some(window), ..) => format!(" of {window} samples"),
        _ => String::new(),
    };
    let dropped = match report.unlabelled + report.between {
        0 => String::new(),
        dropped => format!("; {dropped} more have no one label or lie between blocks of time"),
    };
    line("Windows", format!("{}{each}{dropped}", data.len()));
    for (at, channel) in report.channels.iter().enumerate() {
        let unit = if channel.unit.is_empty() { String::new() } else { format!(" {}", visible(&channel.unit)) };
        let name = if at == 0 { "Channels" } else { "" };
        line(name, format!("{} {} … {}{unit}", visible(&channel.name), channel.least, channel.greatest));
    }
    if !report.unused.is_empty() {
        line("Not used", listed(report.unused.clone()));
    }
    let classes = report.classes.iter().map(|(name, count)| format!("{name} {count}")).collect();
    line("Classes", listed(classes));
    let people = report.people.iter().map(|person| match person.name == person.number.to_string() {
        true => format!("{} ({} windows)", person.number, person.windows),
        false => format!("{} = {} ({} windows)", person.number, person.name, person.windows),
    });
    line(if report.by_people { "People" } else { "Blocks" }, listed(people.collect()));
    let split = stackelberg::data::Split::by_people(data, &SubjectSplit::default())?;
    let of = |part: &Dataset| part.present_people().iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    line("Validation", format!("on {}, unless --validation-subjects says otherwise", of(&split.validation)));
    line("Test", format!("on {}, unless --test-subjects says otherwise", of(&split.test)));
    line("Hash", format!("{:016x}", data.fingerprint()));
    preview(data, &mut text);
    for note in &report.notes {
        let _ = writeln!(text, "Note: {}", visible(note));
    }
    let settings = toml::to_string(&report.mapping).expect("a mapping is plain values");
    let _ = write!(text, "\n# How it was read, for run.toml:\n{settings}");
    Ok(text)
}

/// The first window of each class, each channel from its least to its greatest value.
fn preview(data: &Dataset, text: &mut String) {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 48;
    let channels = &data.about().channels;
    for (class, name) in data.about().outputs.iter().enumerate().take(SHOWN) {
        let Some(first) = data.labels().iter().position(|&label| label as usize == class) else { continue };
        let _ = writeln!(text, "  A window of {}:", visible(name));
        let window = data.example(first);
        for (c, channel) in channels.iter().enumerate().take(6) {
            let values: Vec<f32> = window.iter().skip(c).step_by(channels.len()).copied().collect();
            let (least, greatest) =
                values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
            let bar = |k: usize| {
                let value = values[k * values.len() / WIDTH.min(values.len())];
                let share = if greatest > least { (value - least) / (greatest - least) } else { 0.5 };
                BARS[((share * 8.0) as usize).min(7)]
            };
            let bars: String = (0..WIDTH.min(values.len())).map(bar).collect();
            let _ = writeln!(text, "    {:<16} {bars}", visible(&channel.name));
        }
    }
}
