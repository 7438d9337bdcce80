//! Genuine files, damaged at random: every reader takes them or says what is wrong, and none panics. `PROPTEST_CASES` says how many are
//! tried of each.

mod data_support;

use std::io::{Cursor, Write};

use data_support::uci_har;
use proptest::prelude::*;
use stackelberg::data::cifar::CIFAR_10;
use stackelberg::data::recordings::{self, Columns, Files, Mapping};
use stackelberg::data::{idx, omniglot};
use stackelberg::experiment::archive;
use stackelberg::search::Space;
use stackelberg::search::journal::Journal;
use zip::{ZipWriter, write::SimpleFileOptions};

/// What happens to a file, at a place that is a share of its length.
#[derive(Clone, Debug)]
enum Damage {
    Flip(f64, u8),
    Cut(f64, usize),
    Insert(f64, &'static [u8]),
    Repeat(f64, usize),
    End(f64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = || 0.0..1.0;
    const WORDS: &[&[u8]] = &[
        b",",
        b";",
        b"\t",
        b"\n",
        b"\"",
        b"nan",
        b"?",
        b"-",
        b"1e999",
        b"\0",
        b":",
        b"@data\n",
        b"\xff\xfe",
        b"99999999999999999999",
        b"{",
        b"}",
        b"[",
        b"\xff\xff\xff\xff",
    ];
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (place(), 1usize..40).prop_map(|(at, count)| Damage::Cut(at, count)),
        (place(), prop::sample::select(WORDS)).prop_map(|(at, word)| Damage::Insert(at, word)),
        (place(), 1usize..200).prop_map(|(at, count)| Damage::Repeat(at, count)),
        place().prop_map(Damage::End),
    ]
}

fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let at = |share: f64| (share * bytes.len() as f64) as usize;
        match *damage {
            _ if bytes.is_empty() => {}
            Damage::Flip(share, bits) => {
                let at = at(share);
                bytes[at] ^= bits;
            }
            Damage::Cut(share, count) => {
                let at = at(share);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Damage::Insert(share, word) => {
                let at = at(share);
                bytes.splice(at..at, word.iter().copied());
            }
            Damage::Repeat(share, count) => {
                let at = at(share);
                let again = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Damage::End(share) => bytes.truncate(at(share)),
        }
    }
    bytes
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    for (path, bytes) in files {
        // Not packed, so that damage gets to what is in it.
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(*path, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The space of the study in `search/optuna-5.0.0.log`.
const SPACE: &str = r#"
[[dimension]]
name = "lr"
type = "float"
low = 1e-4
high = 1.0
log = true

[[dimension]]
name = "width"
type = "int"
low = 4
high = 64
log = true

[[dimension]]
name = "kind"
type = "categorical"
choices = [3, "adam", "sgd"]

[[dimension]]
name = "momentum"
type = "float"
low = 0.0
high = 1.0
when = { parent = "kind", values = ["sgd"] }
"#;

/// Two people, two activities.
fn table() -> String {
    let row = |t: usize| {
        let (label, person) = (["walk", "sit"][t / 30 % 2], t / 60);
        format!("{:.2},{:.3},{:.3},{label},{person}\n", t as f64 * 0.02, (t as f64).sin(), (t as f64 * 0.7).cos())
    };
    format!("time,x,y,activity,person\n{}", (0..240).map(row).collect::<String>())
}

fn own(path: &str, bytes: Vec<u8>) {
    let mapping = Mapping { window: Some(8), ..Mapping::default() };
    for labelled in [true, false] {
        let Ok(mut files) = Files::of_bytes("given", vec![(path.to_owned(), bytes.clone())]) else { return };
        let _ = match labelled {
            true => recordings::read(&mut files, &mapping).map(drop),
            false => recordings::read_unlabelled(&mut files, &mapping, &Columns::default()).map(drop),
        };
    }
    if let Ok(mut files) = Files::of_bytes("given", vec![(path.to_owned(), bytes)]) {
        let _ = recordings::look(&mut files, &mapping);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

fn some() -> impl Strategy<Value = Vec<Damage>> {
    prop::collection::vec(damage(), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables(damages in some(), form in 0usize..3) {
        let text = [table(), table().replace(',', ";").replace('.', ","), table().replace(',', "\t")];
        own("own.csv", damaged(text[form].as_bytes(), &damages));
    }

    #[test]
    fn zips_of_tables(damages in some(), outer in any::<bool>()) {
        let inner = zipped(&[("a/walk/1.csv", table().as_bytes()), ("a/sit/2.csv", table().as_bytes())]);
        let zip = if outer { zipped(&[("inner.zip", &inner)]) } else { inner };
        own("own.zip", damaged(&zip, &damages));
    }

    #[test]
    fn series_of_the_archive(damages in some(), ts in any::<bool>()) {
        let rows = |end: &dyn Fn(usize) -> String| (0..30).map(|k| format!("{k},2.5,-3e1,4{}\n", end(k % 2))).collect::<String>();
        let ts_text = format!("@problemName b\n@classLabel true 0 1\n@data\n{}", rows(&|k| format!(":{k}")));
        let arff_text = format!("@relation b\n@data\n{}", rows(&|k| format!(",{k}")));
        let (path, text) = if ts { ("b_TRAIN.ts", ts_text) } else { ("b.arff", arff_text) };
        own(path, damaged(text.as_bytes(), &damages));
    }

    #[test]
    fn published_windows(damages in some()) {
        let files = uci_har::files();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
        let _ = uci_har::from_zip("given.zip", &damaged(&zipped(&files), &damages));
    }

    #[test]
    fn images(damages in some()) {
        let pixels: Vec<u8> = [2051u32, 2, 3, 3].iter().flat_map(|n| n.to_be_bytes()).chain([7; 18]).collect();
        if let Ok(bytes) = idx::unpacked("f", damaged(&pixels, &damages)) {
            let _ = idx::images("f", &bytes);
        }
        let labels: Vec<u8> = [2049u32, 4].iter().flat_map(|n| n.to_be_bytes()).chain([1, 2, 3, 0]).collect();
        if let Ok(bytes) = idx::unpacked("g", damaged(&labels, &damages)) {
            let _ = idx::labels("g", &bytes, 10);
        }
        let _ = CIFAR_10.from_binary("batch", &damaged(&[3; 2 * 3073], &damages));
    }

    #[test]
    fn drawings(damages in some()) {
        let mut drawing = vec![];
        let mut encoder = png::Encoder::new(&mut drawing, 5, 5);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[255; 25]).unwrap();
        let path = |person: usize| format!("images/Greek/character01/0001_{person:02}.png");
        let [one, two] = [path(1), path(2)];
        let zip = zipped(&[(&one, &drawing), (&two, &drawing)]);
        let _ = omniglot::from_archive("given.zip", &damaged(&zip, &damages));
    }

    #[test]
    fn kept_trainings(damages in some()) {
        let kept = archive::pack_value(&(vec![1.0f32; 9], "a name".to_owned(), 17u64));
        let _ = archive::unpack(&damaged(&kept, &damages));
        let _ = archive::unpack_value::<(Vec<f32>, String, u64)>(&damaged(&kept, &damages));
    }

    #[test]
    fn journals(damages in some()) {
        let space = Space::from_toml(SPACE).unwrap();
        prop_assert!(Journal::read(include_str!("search/optuna-5.0.0.log"), "fixture", &space).is_ok());
        let text = damaged(include_bytes!("search/optuna-5.0.0.log"), &damages);
        let text = String::from_utf8_lossy(&text);
        let _ = Journal::studies(&text);
        let _ = Journal::read(&text, "fixture", &space);
    }
}
