//! What the page is told of recordings of a visitor's own.

use crate::data::recordings::{Labelled, Outlook, Report};

use super::protocol::*;

/// Columns and files that are named; a page of them is enough.
const SHOWN: usize = 64;

/// Recordings that were cut into windows.
pub fn seen(outlook: Outlook, cut: &Labelled) -> Seen {
    // The first of a class often begins in what was done before.
    let middle_of = |class: usize, windows: u64| {
        let mut own = cut.windows().zip(&cut.labels).filter(|&(_, &label)| label as usize == class);
        own.nth(windows as usize / 2).map(|(window, _)| window.to_vec())
    };
    let class = |(at, (name, windows)): (usize, &(String, u64))| SeenClass {
        name: name.clone(),
        windows: *windows as u32,
        samples: middle_of(at, *windows).unwrap_or_default(),
    };
    let classes = cut.report.classes.iter().enumerate().take(SHOWN).map(class).collect();
    let windows = cut.labels.len() as u32;
    let fingerprint = Some(format!("{:016x}", cut.fingerprint()));
    Seen { classes, windows, fingerprint, ..of(outlook, cut.report.clone()) }
}

/// Recordings that cannot be read, with why.
pub fn unread(outlook: Outlook, problem: String) -> Seen {
    let report = outlook.report.clone();
    Seen { problem: Some(problem), ..of(outlook, report) }
}

fn of(outlook: Outlook, report: Report) -> Seen {
    let Outlook { examples, places, .. } = outlook;
    let remark = |name: &String| {
        let own = |unused: &String| {
            unused.strip_prefix(name.as_str())?.strip_prefix(" (")?.strip_suffix(')').map(str::to_owned)
        };
        report.unused.iter().find_map(own)
    };
    let columns = report.columns.iter().zip(examples).take(SHOWN);
    let columns = columns.map(|(name, examples)| SeenColumn { name: name.clone(), examples, remark: remark(name) });
    let counts = [
        (report.rows, "rows"),
        (report.damaged, "rows damaged and left out"),
        (report.missing, "values missing"),
        (report.duplicates, "rows with the time of the one before"),
        (report.gaps, "gaps in time"),
        (report.back, "times that go back"),
        (report.resampled, "samples interpolated"),
        (report.recordings, "recordings"),
        (report.pieces, "pieces without gaps"),
        (report.unlabelled, "windows without one label"),
        (report.between, "windows between blocks of time"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let place = |(origin, values): (crate::data::recordings::Origin, Vec<String>)| SeenPlace {
        origin: origin.to_string(),
        values: values.into_iter().take(SHOWN).collect(),
    };
    Seen {
        name: report.name.clone(),
        files: report.files.iter().take(SHOWN).cloned().collect(),
        left_out: report.left_out.iter().take(SHOWN).cloned().collect(),
        written: report.said().remove(0),
        columns: columns.collect(),
        places: places.into_iter().map(place).collect(),
        reading: report.mapping.clone().into(),
        measured_hz: report.measured_hz,
        counts: counts.map(|&(count, what)| Count { what: what.to_owned(), count: count as f64 }).collect(),
        windows: 0,
        fingerprint: None,
        classes: vec![],
        people: report
            .people
            .iter()
            .map(|person| SeenPerson {
                number: person.number,
                name: person.name.clone(),
                windows: person.windows as u32,
            })
            .collect(),
        by_people: report.by_people,
        channels: report
            .channels
            .iter()
            .map(|channel| SeenChannel {
                name: channel.name.clone(),
                unit: channel.unit.clone(),
                least: channel.least,
                greatest: channel.greatest,
            })
            .collect(),
        notes: report.notes.clone(),
        problem: None,
    }
}
