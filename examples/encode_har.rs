//! Makes `data/har/subset.bin` and `data/har/rest.bin` from the published recordings:
//! `cargo run --release --example encode_har [SHARED/data/har]`.

#[path = "../tests/data_support/mod.rs"]
mod data_support;

use stackelberg::data::har::builtin::{SUBSET_SUBJECTS, encode};
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).or_else(data_support::har_folder);
    let Some(folder) = folder else { std::process::exit(1) };
    let recordings = data_support::recordings(&folder);
    let places = data_support::places(&folder);
    let published = data_support::published(&folder);
    for (name, first_piece) in [("subset.bin", true), ("rest.bin", false)] {
        let mine = |subject| SUBSET_SUBJECTS.contains(&subject) == first_piece;
        let runs = data_support::runs(&recordings, &places, &published, mine);
        let file = encode(&runs);
        println!("{name}: {} runs, {} bytes", runs.len(), file.len());
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/har").join(name), file)?;
    }
    Ok(())
}
