use super::*;

// Long because every layout of a table is made here as people write it, and read back.

/// Samples of each recording; labels change half-way.
const SAMPLES: usize = 300;
const PEOPLE: [&str; 4] = ["s1", "s2", "s3", "s4"];

fn value(person: usize, sample: usize, channel: usize) -> f64 {
    // Four decimals are written as they are.
    (((person * 131 + sample * 37 + channel * 71) % 2001) as f64 - 1000.0) / 1000.0
}

/// How a table may be written.
#[derive(Clone, Copy, Debug)]
struct Form {
    separator: &'static str,
    comma: bool,
    header: bool,
    quoted: bool,
    end: &'static str,
    unit: &'static str,
    mark: bool,
}

const USUAL: Form =
    Form { separator: ",", comma: false, header: true, quoted: false, end: "\n", unit: "ms", mark: false };

fn time(unit: &str, sample: usize) -> String {
    match unit {
        "s" => format!("{:.2}", sample as f64 * 0.02),
        "ms" => (sample * 20).to_string(),
        "us" => (1_600_000_000_000_000 + sample * 20_000).to_string(),
        "ns" => (sample * 20_000_000).to_string(),
        _ => format!("2024-05-01T10:{:02}:{:06.3}Z", sample / 3000, (sample % 3000) as f64 * 0.02),
    }
}

fn label(sample: usize) -> &'static str {
    if sample < SAMPLES / 2 { "walk" } else { "sit" }
}

/// The rows of some people, with the columns before and behind the signals that are asked for.
fn table(form: Form, people: std::ops::Range<usize>, person: bool, labelled: bool) -> String {
    let mut text = if form.mark { "\u{feff}".to_owned() } else { String::new() };
    let number = |text: String| if form.comma { text.replace('.', ",") } else { text };
    let quoted = |text: String| if form.quoted { format!("\"{text}\"") } else { text };
    let mut line = |fields: Vec<String>| {
        text.push_str(&fields.into_iter().map(quoted).collect::<Vec<_>>().join(form.separator));
        text.push_str(form.end);
    };
    if form.header {
        let names =
            [person.then_some("subject"), Some("timestamp"), Some("ax"), Some("ay"), labelled.then_some("activity")];
        line(names.into_iter().flatten().map(str::to_owned).collect());
    }
    for p in people {
        for sample in 0..SAMPLES {
            let time = time(form.unit, sample);
            let time = if form.unit == "s" { number(time) } else { time };
            let signals = (0..2).map(|c| number(format!("{:.4}", value(p, sample, c))));
            let mut fields: Vec<String> = person.then(|| PEOPLE[p].to_owned()).into_iter().collect();
            fields.push(time);
            fields.extend(signals);
            fields.extend(labelled.then(|| label(sample).to_owned()));
            line(fields);
        }
    }
    text
}

fn read_files(given: Vec<(String, String)>, mapping: &Mapping) -> Result<(Dataset, Report), DataError> {
    let bytes = given.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    read(&mut Files::of_bytes("given", bytes)?, mapping)
}

fn columns(line: &str) -> Mapping {
    Mapping { columns: Columns::of_line(line).unwrap(), ..Mapping::default() }
}

fn wanted() -> u64 {
    read_files(vec![("all.csv".to_owned(), table(USUAL, 0..4, true, true))], &Mapping::default())
        .unwrap()
        .0
        .fingerprint()
}

#[test]
fn a_table_is_the_same_data_however_it_is_written() {
    let (data, report) =
        read_files(vec![("all.csv".to_owned(), table(USUAL, 0..4, true, true))], &Mapping::default()).unwrap();
    assert_eq!(data.about().shape, [128, 2]);
    assert_eq!(data.about().outputs, ["sit", "walk"]);
    assert_eq!(data.present_people(), [1, 2, 3, 4]);
    assert_eq!(report.measured_hz, Some(50.0));
    // Of each person 300 samples: windows begin at 0, 64, 128.
    assert_eq!(data.len(), 4 * 3);
    assert_eq!(data.example(0)[..4], [0, 1].map(|s| [0, 1].map(|c| value(0, s, c) as f32)).concat());
    let wanted = data.fingerprint();
    let mut seen = 0;
    for separator in [",", ";", "\t", "|", " "] {
        for comma in [false, true] {
            for header in [false, true] {
                for quoted in [false, true] {
                    for end in ["\n", "\r\n", "\r"] {
                        // A decimal comma between commas is quoted, or it is no table; blanks leave no quotes.
                        if separator == "," && comma && !quoted || separator == " " && quoted {
                            continue;
                        }
                        // Every unit meets every way to separate and to end lines.
                        for unit in [["s", "ms", "us", "ns", "iso"][seen % 5], ["us", "ns", "iso", "s", "ms"][seen % 5]]
                        {
                            let mark = seen % 3 == 0;
                            let form = Form { separator, comma, header, quoted, end, unit, mark };
                            let given = vec![("all.csv".to_owned(), table(form, 0..4, true, true))];
                            // Without names, people by words stand beside labels by words.
                            let said = columns("person=1; label=5");
                            let said = if header { Mapping::default() } else { said };
                            let (data, report) = read_files(given, &said).unwrap_or_else(|e| panic!("{form:?}: {e}"));
                            assert_eq!(data.fingerprint(), wanted, "{form:?}: {report:?}");
                        }
                        seen += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen, (3 * 2 + 3 * 4 * 2 + 2 * 2) * 3, "with commas three ways to write numbers, with blanks two");
}

#[test]
fn layouts_of_files_and_folders_are_the_same_data() {
    let one_each = |name: &dyn Fn(usize, &str) -> String| {
        let mut files = vec![];
        for p in 0..4 {
            for (half, activity) in ["walk", "sit"].into_iter().enumerate() {
                let text = table(USUAL, p..p + 1, false, false);
                let mut lines = text.lines();
                let header = lines.next().unwrap();
                let rows: Vec<&str> = lines.skip(half * SAMPLES / 2).take(SAMPLES / 2).collect();
                files.push((name(p, activity), format!("{header}\n{}\n", rows.join("\n"))));
            }
        }
        files
    };
    let counts = |files| {
        let (data, report) = read_files(files, &Mapping::default()).unwrap();
        assert_eq!(data.about().outputs, ["sit", "walk"], "{report:?}");
        assert_eq!(data.present_people(), [1, 2, 3, 4], "{report:?}");
        // Of each half 150 samples: one window.
        assert_eq!(data.len(), 4 * 2);
        data.fingerprint()
    };
    let by_class = counts(one_each(&|p, activity| format!("data/{activity}/{}.csv", PEOPLE[p])));
    counts(one_each(&|p, activity| format!("data/{}/{activity}.csv", PEOPLE[p])));
    counts(one_each(&|p, activity| format!("{activity}_{}.csv", PEOPLE[p])));
    counts(one_each(&|p, activity| format!("rec-{}-{activity}-01.csv", PEOPLE[p])));
    // The same in a zip in a zip.
    let zipped = |files: Vec<(String, Vec<u8>)>| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
        for (path, bytes) in files {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut zip, &bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let files = one_each(&|p, activity| format!("data/{activity}/{}.csv", PEOPLE[p]));
    let inner = zipped(files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect());
    let outer = zipped(vec![("inner.zip".to_owned(), inner), ("__MACOSX/._x.csv".to_owned(), b"1,2\n".to_vec())]);
    let (data, _) =
        read(&mut Files::of_bytes("given", vec![("outer.zip".to_owned(), outer)]).unwrap(), &Mapping::default())
            .unwrap();
    assert_eq!(data.fingerprint(), by_class);
}

#[test]
fn gaps_missing_values_and_doubled_rows_are_counted_and_cut_nothing_else() {
    let text = table(USUAL, 0..4, true, true);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // A missing value within, a row twice, and of the second person ten rows that were never recorded.
    lines[20] = lines[20]
        .rsplit_once(",")
        .map(|(rest, label)| format!("{},,{label}", rest.rsplit_once(',').unwrap().0))
        .unwrap();
    lines.insert(40, lines[40].clone());
    lines.drain(1 + SAMPLES + 150..1 + SAMPLES + 160);
    let (data, report) = read_files(vec![("all.csv".to_owned(), lines.join("\n"))], &Mapping::default()).unwrap();
    assert_eq!((report.missing, report.duplicates, report.gaps, report.damaged), (1, 1, 1, 0));
    // Of the second person there is one window before the gap and one behind it.
    assert_eq!(data.len(), 3 * 3 + 2, "{report:?}");
    // The missing value lies between its neighbours.
    let row = 19;
    let wanted = (value(0, row - 1, 1) + value(0, row + 1, 1)) / 2.0;
    assert!((f64::from(data.example(0)[row * 2 + 1]) - wanted).abs() < 1e-6);
}

#[test]
fn other_rates_are_interpolated_on_times() {
    let mapping = Mapping { rate: Some(25.0), ..Mapping::default() };
    let (data, report) = read_files(vec![("all.csv".to_owned(), table(USUAL, 0..4, true, true))], &mapping).unwrap();
    assert_eq!(data.about().shape, [64, 2]);
    assert!(report.resampled > 0 && data.about().recording.unwrap().rate_hz == 25.0);
    for t in 0..10 {
        assert!((f64::from(data.example(0)[2 * t]) - value(0, 2 * t, 0)).abs() < 1e-6, "every second sample");
    }
}

#[test]
fn a_rate_that_would_make_up_most_of_a_recording_leaves_it_out() {
    let rows = |apart: f64, from: usize| -> String {
        (0..SAMPLES).map(|s| format!("{},{},a\n", (from + s) as f64 * apart, value(0, s, 0))).collect()
    };
    // Two rows of the second file are a year apart; asked for is what would be 3,000 samples between its rows.
    let texts = [rows(0.02, 0), format!("{}{}", rows(60.0, 0), rows(60.0, 1 << 19))];
    let files = [0, 1].map(|f| (format!("{f}/a.csv"), format!("time,x,label\n{}", texts[f])));
    let mapping = Mapping { rate: Some(50.0), window: Some(50), ..Mapping::default() };
    let (alone, _) = read_files(vec![files[0].clone()], &mapping).unwrap();
    let (data, report) = read_files(files.into(), &mapping).unwrap();
    assert_eq!((data.len(), data.values()), (alone.len(), alone.values()), "the first file's");
    let said =
        "1/a.csv is left out: its rows lie 60.000 s apart, and at 50 samples a second most of it would be made up";
    assert!(report.notes.iter().any(|note| note == said), "{:?}", report.notes);
}

#[test]
fn sensors_that_were_off_for_a_year_are_joined_around_it() {
    let sensor = |rate: f64, year: f64| -> String {
        let times = (0..400).map(|s| s as f64 / rate).chain((0..400).map(|s| year + s as f64 / rate));
        format!("time,x\n{}", times.map(|t| format!("{t:.5},{:.5}\n", t.sin())).collect::<String>())
    };
    let mut files = vec![];
    for person in &PEOPLE[..3] {
        for activity in ["walk", "sit"] {
            let own = |name| (format!("rec/{person}/{activity}/{name}.csv"), sensor(50.0, 3.2e7));
            files.extend(["Accelerometer", "Gyroscope"].map(own));
        }
    }
    let mapping = Mapping { window: Some(100), overlap: Some(0.0), ..Mapping::default() };
    let (data, report) = read_files(files, &mapping).unwrap();
    assert_eq!((data.len(), report.gaps), (6 * 8, 6), "{report:?}");
    assert!(data.example(7).chunks(2).all(|row| row[0] == row[1]));
}

#[test]
fn without_people_blocks_of_time_stand_in_and_do_not_touch() {
    let long: String = (0..4000)
        .map(|s| {
            let [a, b] = [0, 1].map(|c| value(s / 97, s, c));
            format!("{},{a},{b},{}\n", s * 20, if s % 400 < 200 { "a" } else { "b" })
        })
        .collect();
    let columns = Columns { label_rule: Some(LabelRule::Pure), ..Columns::default() };
    let mapping = Mapping { window: Some(50), columns, ..Mapping::default() };
    let (data, report) = read_files(vec![("one.csv".to_owned(), format!("t,x,y,label\n{long}"))], &mapping).unwrap();
    assert!(!report.by_people && report.between > 0);
    assert!(report.notes.iter().any(|note| note.contains("blocks of time")));
    assert_eq!(data.present_people().len(), 10);
    let split = crate::data::Split::by_people(&data, &crate::data::SubjectSplit::default()).unwrap();
    for part in [&split.train, &split.validation, &split.test] {
        assert!([0, 1].iter().all(|class| part.labels().contains(class)), "each part has all classes");
    }
}

#[test]
fn wisdm_lines_are_read_as_they_are() {
    let mut text = String::new();
    for (person, activity, from) in [(33, "Jogging", 0), (33, "Walking", 1), (17, "Jogging", 0), (20, "Walking", 3)] {
        for s in 0..300 {
            let [x, y, z] = [0, 1, 2].map(|c| value(person, s + from, c));
            text += &format!(
                "{person},{activity},{},{x},{y},{z};\n",
                49_105_962_326_000u64 + (s + 300 * from) as u64 * 50_000_000
            );
        }
    }
    text += "33,Walking,;\n";
    let (data, report) = read_files(vec![("WISDM_ar_v1.1_raw.txt".to_owned(), text)], &Mapping::default()).unwrap();
    assert_eq!(data.about().outputs, ["Jogging", "Walking"]);
    assert_eq!(data.present_people(), [17, 20, 33]);
    assert_eq!((data.about().channels.len(), report.measured_hz, report.damaged), (3, Some(20.0), 1), "{report:?}");
    assert_eq!(data.about().shape, [51, 3]);
}

#[test]
fn a_file_for_each_sensor_is_joined_on_time() {
    let mut files = vec![];
    for (p, activity) in [(0, "walk"), (0, "sit"), (1, "walk"), (1, "sit"), (2, "walk"), (2, "sit")] {
        let sensor = |rate: f64, start: f64| {
            let rows = (0..400).map(|s| {
                let t = start + s as f64 / rate;
                format!("{},{t:.5},{:.5},{:.5}\n", (t * 1e9) as u64, t, 2.0 * t)
            });
            format!("time,seconds_elapsed,x,y\n{}", rows.collect::<String>())
        };
        files.push((format!("rec/{}/{activity}/Accelerometer.csv", PEOPLE[p]), sensor(50.0, 0.0)));
        files.push((format!("rec/{}/{activity}/Gyroscope.csv", PEOPLE[p]), sensor(40.0, 0.3)));
        files.push((format!("rec/{}/{activity}/Metadata.csv", PEOPLE[p]), "device,version\nphone,1\n".to_owned()));
    }
    let (data, report) = read_files(files, &Mapping::default()).unwrap();
    let names: Vec<&str> = data.about().channels.iter().map(|channel| &*channel.name).collect();
    assert_eq!(names, ["Accelerometer x", "Accelerometer y", "Gyroscope x", "Gyroscope y"], "{report:?}");
    assert_eq!(
        (data.about().outputs.clone(), data.present_people()),
        (vec!["sit".to_owned(), "walk".to_owned()], vec![1, 2, 3])
    );
    let first = data.example(0);
    for row in first.chunks(4) {
        assert!(
            (row[0] - row[2]).abs() < 1e-4 && (row[1] - 2.0 * row[2]).abs() < 1e-3,
            "both at the same time: {row:?}"
        );
    }
}

#[test]
fn rows_that_are_windows_are_taken_as_such() {
    let mut text = (0..2).flat_map(|c| (0..40).map(move |t| format!("{}_{t},", ["ax", "ay"][c]))).collect::<String>();
    text += "subject,activity\n";
    for row in 0..60 {
        let values = (0..80).map(|k| format!("{},", value(row, k % 40, k / 40))).collect::<String>();
        text += &format!("{values}{},{}\n", 1 + row / 15, ["run", "rest"][row % 2]);
    }
    let (data, _) = read_files(vec![("wide.csv".to_owned(), text)], &Mapping::default()).unwrap();
    assert_eq!((data.about().shape.clone(), data.len()), (vec![40, 2], 60));
    let row = data.example(7);
    assert_eq!(row[2 * 5..2 * 5 + 2], [0, 1].map(|c| value(7, 5, c) as f32));
    assert_eq!(data.about().channels[1].name, "ay");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_mends_it() {
    let error = |path: &str, text: &str, line: &str| {
        read_files(vec![(path.to_owned(), text.to_owned())], &columns(line)).unwrap_err().to_string()
    };
    let text = table(USUAL, 0..4, true, true);
    let says =
        |error: String, parts: &[&str]| parts.iter().for_each(|part| assert!(error.contains(part), "{part}: {error}"));
    says(
        error("a.csv", &text, "label=activty"),
        &["a.csv", "no column `activty` (for labels)", "`activity`", "number from 1"],
    );
    says(error("a.csv", &text, "label=none"), &["nothing says what is done", "label=folder"]);
    says(error("a.csv", "", ""), &["a.csv is empty"]);
    says(error("a.csv", "hello\nworld\n", ""), &["no table of recordings", "a.csv (one column)"]);
    says(error("readme.md", "x", ""), &["no table of recordings", "readme.md (no table)"]);
    let mut damaged: Vec<String> = text.lines().map(str::to_owned).collect();
    damaged[3] = "s1,40,zero,0.1,walk".to_owned();
    for line in damaged.iter_mut().skip(100).step_by(20) {
        *line = line.replace("0.", "O.");
    }
    says(
        error("a.csv", &damaged.join("\n"), "channels=ax,ay"),
        &["a.csv, line 4", "`zero` in column `ax` is not a number", "rows are like that"],
    );
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let wide =
        read(&mut Files::of_bytes("g", vec![("a.csv".to_owned(), utf16)]).unwrap(), &Mapping::default()).unwrap_err();
    says(wide.to_string(), &["UTF-16", "save it as UTF-8"]);
    let short: String = text.lines().take(100).map(|line| format!("{line}\n")).collect();
    says(error("a.csv", &short, ""), &["no window has a label", "has 99 samples, and a window has 128", "`--window`"]);
    let line = |text: &str| Columns::of_line(text).unwrap_err();
    assert!(line("label").contains("KEY=VALUE") && line("lable=x").contains("there are time,"));
    assert!(line("label=a; time=t; label=b").contains("`label` is given twice"));
    assert!(line("filter=haar").contains("`filter` takes `uci`"));
    assert!(line("label=file word x").contains("needs a number") && line("time_unit=min").contains("`ms`"));
}

#[test]
fn a_mapping_is_written_as_it_is_read() {
    let mapping = columns("time=t; label=file word 2; person=folder 2; channels=ax, ay; unlabelled=0, none");
    let text = toml::to_string(&mapping).unwrap();
    assert_eq!(toml::from_str::<Mapping>(&text).unwrap(), mapping, "{text}");
    for origin in ["none", "folder", "folder 3", "file", "file word 1", "column none", "a b"] {
        assert_eq!(origin.parse::<Origin>().unwrap().to_string(), origin);
    }
    assert_eq!(wanted(), wanted());
}

#[test]
fn files_of_the_archive_are_series_with_a_published_test_part() {
    let body = |from: usize| {
        let row = |k: usize| {
            let signal = |c: usize| (0..8).map(|t| value(k, t, c).to_string()).collect::<Vec<_>>().join(",");
            format!("{}:{}:{}\n", signal(0), signal(1), ["up", "down"][k % 2])
        };
        (from..from + 30).map(row).collect::<String>()
    };
    let head = "#Basic\n@problemName Basic\n@timeStamps false\n@classLabel true up down\n@data\n";
    let ts = |part: &str, from| (format!("Basic_{part}.ts"), format!("{head}{}", body(from)));
    let (data, report) = read_files(vec![ts("TRAIN", 0), ts("TEST", 30)], &Mapping::default()).unwrap();
    assert_eq!((data.about().shape.clone(), data.len()), (vec![8, 2], 60));
    assert_eq!(data.about().held_out.test, [11]);
    assert_eq!(report.people.last().unwrap().windows, 30);
    // Paths are in order: TEST comes before TRAIN.
    assert_eq!(data.example(0)[..2], [0, 1].map(|c| value(30, 0, c) as f32));
    let arff = |text: &str| {
        text.lines()
            .map(|line| {
                let (series, label) = line.rsplit_once(':').unwrap();
                format!("'{}',{label}\n", series.replace(':', "\\n"))
            })
            .collect::<String>()
    };
    let arff = |part: &str, from| (format!("Basic_{part}.arff"), format!("@relation b\n@data\n{}", arff(&body(from))));
    let (same, _) = read_files(vec![arff("TRAIN", 0), arff("TEST", 30)], &Mapping::default()).unwrap();
    assert_eq!(same.fingerprint(), data.fingerprint());
    let short = read_files(vec![("a.ts".to_owned(), format!("{head}1,2:3,4:up\n1,2:3:up\n"))], &Mapping::default());
    let error = short.unwrap_err().to_string();
    assert!(error.contains("a.ts, line 7") && error.contains("its signal 2 has 1 values"), "{error}");
}

#[test]
fn of_series_of_different_lengths_the_middle_is_taken_and_missing_values_at_the_end_are_the_end() {
    let series = |k: usize, long: usize| (0..long).map(|t| value(k, t, 0).to_string()).collect::<Vec<_>>().join(",");
    let rows = |fill: &dyn Fn(usize) -> String| -> String {
        let row = |k: usize| format!("{},{}\n", fill(k), ["up", "down", "?"][k % 3]);
        format!("@relation b\n@data\n{}", (0..60).map(row).collect::<String>())
    };
    let long = |k: usize| if k.is_multiple_of(2) { 12 } else { 8 };
    let read =
        |text: String, window| read_files(vec![("b.arff".to_owned(), text)], &Mapping { window, ..Mapping::default() });
    let (data, report) = read(rows(&|k| series(k, long(k))), None).unwrap();
    assert_eq!((data.about().shape.clone(), data.len(), report.unlabelled), (vec![8, 1], 40, 20));
    assert_eq!([data.example(0)[0], data.example(1)[0]], [value(0, 2, 0) as f32, value(1, 0, 0) as f32]);
    assert!(report.notes.iter().any(|note| note.contains("8 to 12 samples: the middle 8")), "{:?}", report.notes);
    let (filled, _) = read(rows(&|k| series(k, long(k)) + &",?".repeat(12 - long(k))), None).unwrap();
    assert_eq!(filled.fingerprint(), data.fingerprint());
    let (longer, report) = read(rows(&|k| series(k, long(k))), Some(10)).unwrap();
    assert_eq!((longer.about().shape[0], longer.len()), (10, 20));
    assert!(report.notes.iter().any(|note| note.starts_with("30 series are left out")), "{:?}", report.notes);
    let error = read(rows(&|k| format!("?,{}", series(k, 8))), None).unwrap_err().to_string();
    assert!(error.contains("b.arff, line 3") && error.contains("a value is missing that others follow"), "{error}");
    let error = read("@data\n1,2,\n3,4,\n".to_owned(), None).unwrap_err().to_string();
    assert!(error.contains("no window has a label"), "{error}");
}

#[test]
fn the_raw_recordings_of_hapt_have_their_labels_in_a_file_of_their_own() {
    let mut files = vec![
        ("labels.txt".to_owned(), String::new()),
        ("activity_labels.txt".to_owned(), "1 WALKING\n4 SIT_DOWN\n".to_owned()),
    ];
    for user in 1..=3 {
        for (sensor, c) in [("acc", 0), ("gyro", 3)] {
            let row = |s: usize| format!("{} {} {}\n", value(user, s, c), value(user, s, c + 1), value(user, s, c + 2));
            files.push((format!("RawData/{sensor}_exp{user:02}_user{user:02}.txt"), (0..600).map(row).collect()));
        }
        files[0].1 += &format!("{user} {user} 1 1 300\n{user} {user} 4 301 580\n");
    }
    let (data, _) = read_files(files.clone(), &Mapping::default()).unwrap();
    assert_eq!(
        (data.about().outputs.clone(), data.present_people()),
        (vec!["sit down".to_owned(), "walking".to_owned()], vec![1, 2, 3])
    );
    assert_eq!((data.about().shape.clone(), data.about().channels[3].unit.as_str()), (vec![128, 6], "rad/s"));
    assert_eq!(data.example(0)[..6], [0, 1, 2, 3, 4, 5].map(|c| value(1, 0, c) as f32));
    files.retain(|(path, _)| !path.contains("gyro_exp02"));
    let error = read_files(files, &Mapping::default()).unwrap_err().to_string();
    assert!(error.contains("gyro_exp02_user02.txt"), "{error}");
}

#[test]
fn columns_that_tell_the_label_are_no_signals_and_a_bad_cell_costs_a_row() {
    let text = table(USUAL, 0..4, true, true);
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let code = if line.ends_with("activity") {
                "label_id,is_walking,az"
            } else if line.ends_with("walk") {
                "1,1,0"
            } else {
                "2,0,0"
            };
            format!("{line},{code}")
        })
        .collect();
    lines[700] = lines[700].replacen("0.", "abc", 1);
    let (data, report) = read_files(vec![("all.csv".to_owned(), lines.join("\n"))], &Mapping::default()).unwrap();
    let names: Vec<&str> = data.about().channels.iter().map(|channel| &*channel.name).collect();
    assert_eq!((names, report.damaged), (vec!["ax", "ay"], 1), "{report:?}");
    assert_eq!(
        report.unused,
        ["label_id (follows from the label)", "is_walking (follows from the label)", "az (never changes)"]
    );
    assert!(report.notes[0].contains("1 damaged row of all.csv left out; the first is line 701"), "{:?}", report.notes);
    // Files of other columns are named, and Latin-1 is read.
    let latin = text.replace("activity", "activit\u{e9}").chars().map(|c| c as u8).collect();
    let given = vec![("a.csv".to_owned(), text.into_bytes()), ("b.csv".to_owned(), b"u,v\n1,2\n3,4\n".to_vec())];
    let (_, report) = read(&mut Files::of_bytes("given", given).unwrap(), &Mapping::default()).unwrap();
    assert!(report.notes.iter().any(|note| note.starts_with("Left out: b.csv (other columns)")), "{:?}", report.notes);
    let mapping = columns("label=activité");
    let (_, report) =
        read(&mut Files::of_bytes("given", vec![("a.csv".to_owned(), latin)]).unwrap(), &mapping).unwrap();
    assert!(report.columns.contains(&"activité".to_owned()));
}

/// Of each person two files, with columns in another order in the second.
fn of_words(names: &[&str]) -> Vec<(String, String)> {
    let text = table(USUAL, 0..1, false, true);
    let turned = |line: &str| line.split(',').rev().collect::<Vec<_>>().join(",");
    let other: String = text.lines().map(|line| format!("{}\n", turned(line))).collect();
    names
        .iter()
        .flat_map(|name| [(format!("{name}_am.csv"), text.clone()), (format!("{name}_pm.csv"), other.clone())])
        .collect()
}

#[test]
fn people_by_words_are_guessed_where_each_has_several_files_or_labels() {
    let person = |files: Vec<(String, String)>| {
        let (_, report) = read_files(files, &Mapping::default()).unwrap();
        (report.mapping.columns.person.unwrap().to_string(), report.by_people)
    };
    assert_eq!(person(of_words(&["anna", "ben", "cleo"])), ("file word 1".to_owned(), true));
    let one_each = |text: &str| ["anna", "ben", "cleo"].map(|name| (format!("{name}.csv"), text.to_owned())).to_vec();
    let text = table(USUAL, 0..1, false, true);
    assert_eq!(person(one_each(&text)), ("file".to_owned(), true), "each has both labels");
    let of_one_label: String = text.lines().take(1 + SAMPLES / 2).map(|line| format!("{line}\n")).collect();
    let mut files = one_each(&text);
    files[1].1 = of_one_label;
    assert_eq!(person(files), ("none".to_owned(), false), "one has one file with one label");
    assert_eq!(person(of_words(&["left", "right"])), ("none".to_owned(), false), "nothing can be divided by two");
    // Folders of people with more activities than people, and the other way round.
    let folders = |path: &dyn Fn(&str, &str) -> String| {
        let unlabelled = table(USUAL, 0..1, false, false);
        let mut files = vec![];
        for name in ["anna", "ben", "cleo"] {
            files.extend(
                ["walking", "sitting", "stairs", "jogging"].map(|activity| (path(name, activity), unlabelled.clone())),
            );
        }
        let (_, report) = read_files(files, &Mapping::default()).unwrap();
        [report.mapping.columns.label.unwrap(), report.mapping.columns.person.unwrap()].map(|origin| origin.to_string())
    };
    assert_eq!(folders(&|name, activity| format!("{name}/{activity}.csv")), ["file", "folder"]);
    assert_eq!(folders(&|name, activity| format!("{activity}/{name}.csv")), ["folder", "file"]);
}

#[test]
fn columns_in_another_order_are_the_same_columns() {
    let turned = read_files(of_words(&["anna", "ben", "cleo"]), &Mapping::default()).unwrap();
    assert_eq!(turned.1.left_out, [""; 0]);
    let text = table(USUAL, 0..1, false, true);
    let plain = of_words(&["anna", "ben", "cleo"]).into_iter().map(|(name, _)| (name, text.clone())).collect();
    assert_eq!(turned.0.fingerprint(), read_files(plain, &Mapping::default()).unwrap().0.fingerprint());
    // A unit that a table does not name, or another, is no other column.
    let named = read_files(of_words(&["anna", "ben", "cleo"]), &columns("channels=AX (g), ay (m/s²)")).unwrap();
    assert_eq!(named.0.fingerprint(), turned.0.fingerprint());
    // Numbers are those of the first table.
    let by_number = read_files(of_words(&["anna", "ben", "cleo"]), &columns("channels=2,3; time=1; label=4")).unwrap();
    assert_eq!(by_number.0.fingerprint(), turned.0.fingerprint());
}

#[test]
fn dates_are_read_where_day_and_month_are_told() {
    let with = |date: &dyn Fn(usize) -> String| {
        let text = table(Form { unit: "ms", ..USUAL }, 0..4, true, true);
        let mut sample = 0;
        let line = |line: &str| {
            let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            if fields[1] != "timestamp" {
                fields[1] = date(sample % SAMPLES);
                sample += 1;
            }
            fields.join(",") + "\n"
        };
        read_files(vec![("all.csv".to_owned(), text.lines().map(line).collect())], &Mapping::default())
    };
    let clock = |sample: usize| format!("10:00:{:06.3}", sample as f64 * 0.02);
    for date in ["31.03.2024", "03/31/2024", "31/03/2024", "2024-03-31"] {
        let (data, report) = with(&|sample| format!("{date} {}", clock(sample))).unwrap();
        assert_eq!((report.measured_hz, data.fingerprint()), (Some(50.0), wanted()), "{date}");
    }
    let error = with(&|sample| format!("03/04/2024 {}", clock(sample))).unwrap_err().to_string();
    assert!(error.contains("which number is the day") && error.contains("2024-03-31 12:00:00"), "{error}");
}

#[test]
fn tables_in_other_forms_are_named_with_the_way_to_csv() {
    let error = |path: &str, bytes: &[u8]| {
        let files = Files::of_bytes(path, vec![(path.to_owned(), bytes.to_vec())]);
        files.and_then(|mut files| read(&mut files, &Mapping::default())).unwrap_err().to_string()
    };
    for (path, bytes, part) in [
        ("a.xlsx", &b"PK\x03\x04 and more"[..], "export each sheet as CSV"),
        ("a.csv.gz", b"\x1f\x8b", "unpack it"),
        ("a.json", b"[]", "export it as CSV, a row for each sample"),
        ("a.parquet", b"PAR1", "`to_csv` of pandas"),
    ] {
        let error = error(path, bytes);
        assert!(error.starts_with(path) && error.contains(part), "{error}");
    }
}

#[test]
fn the_filter_of_uci_har_makes_its_nine_channels_of_six() {
    let mut text = "subject,t,ax,ay,az,gx,gy,gz,activity\n".to_owned();
    for (p, name) in PEOPLE.iter().enumerate() {
        for s in 0..SAMPLES {
            let signals: Vec<String> = (0..6).map(|c| value(p, s, c).to_string()).collect();
            text += &format!("{name},{},{},{}\n", s * 20, signals.join(","), label(s));
        }
    }
    let read = |mapping: &Mapping| read_files(vec![("all.csv".to_owned(), text.clone())], mapping);
    let (data, report) = read(&columns("filter=uci")).unwrap();
    let names: Vec<&str> = data.about().channels.iter().map(|channel| &*channel.name).collect();
    assert_eq!(names[..4], ["body_acc_x", "body_acc_y", "body_acc_z", "body_gyro_x"]);
    assert_eq!((data.about().shape.clone(), report.channels.len()), (vec![128, 9], 9));
    let raw: Vec<[f64; 6]> = (0..SAMPLES).map(|s| std::array::from_fn(|c| f64::from(value(0, s, c) as f32))).collect();
    let filtered = crate::data::har::signal::channels(&raw);
    assert!(data.example(0)[..] == filtered[..128].concat(), "the first window of the first person");
    let refused = |mapping: &Mapping| read(mapping).unwrap_err().to_string();
    let error = refused(&columns("filter=uci; channels=ax, ay, az"));
    assert!(error.contains("six channels") && error.contains("channels=ax, ay, az, gx, gy, gz"), "{error}");
    let slow = refused(&Mapping { rate: Some(25.0), ..columns("filter=uci") });
    assert!(slow.contains("at 50 samples a second") && slow.contains("`--rate 50`"), "{slow}");
}

mod bytes {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are near enough to a table to get deep into its reading.
    fn nearly_tables() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&str] = &[
            "time,x,y,label\n",
            "t;x\n",
            "1,",
            "0.5;",
            "\"",
            "walk",
            "\n",
            "\r",
            "\t",
            " ",
            "nan",
            "1e999",
            "-1,5",
            ":",
            "'",
            "@data\n",
            "#",
            "sep=;\n",
            "2024-05-01T10:00:00Z",
            "\u{feff}",
            "99999999999999999999",
            ",,,,",
            "é",
        ];
        let text =
            prop::collection::vec(prop::sample::select(PIECES), 0..200).prop_map(|parts| parts.concat().into_bytes());
        prop_oneof![3 => text, 1 => prop::collection::vec(any::<u8>(), 0..400)]
    }

    proptest! {
        // `PROPTEST_CASES` says how many.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in nearly_tables(), more in nearly_tables(), path in 0usize..5) {
            let path = ["a/b.csv", "labels.txt", "x.ts", "y.arff", "z.zip"][path];
            let given = vec![(path.to_owned(), bytes), ("acc_exp01_user01.txt".to_owned(), more)];
            for labelled in [true, false] {
                let Ok(mut files) = Files::of_bytes("given", given.clone()) else { continue };
                let mapping = Mapping { window: Some(4), ..Mapping::default() };
                let _ = if labelled { read(&mut files, &mapping).map(drop) } else { read_unlabelled(&mut files, &mapping, &Columns::default()).map(drop) };
            }
        }
    }
}
