//! Every row of the scalar table on the GPU.

mod engine_support;

use engine_support::{gpu, scalars};

#[test]
fn every_row_is_within_its_bound() {
    let Some(mut engine) = gpu() else { return };
    scalars::every_row_is_within_its_bound(&mut engine);
}

#[test]
fn select_takes_words_too() {
    let Some(mut engine) = gpu() else { return };
    scalars::select_takes_words_too(&mut engine);
}
