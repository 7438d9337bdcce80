#!/usr/bin/env bash
# Runs tests of src/cpu/, the only folder with unsafe code, under Miri, which sees undefined behaviour. It interprets, so
# only small tests are chosen; the rest of that folder's tests run natively in `cargo xtask test`.
# Needs a nightly toolchain: rustup toolchain install nightly --component miri --component rust-src
set -euo pipefail
cd "$(dirname "$0")/.."
tests=(
    members_see_their_own_copies
    operands_whose_loops_are_cut_at_different_places
    scratch_and_arrays_updated_in_place
    what_scratch_memory_held_before_changes_nothing
)
# Of the two models of aliasing the stricter, older one is broken by crossbeam-epoch, which rayon shares work with. Its
# threads and what they hold end with the process.
export MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-ignore-leaks"
export CARGO_TARGET_DIR=target/miri
exec rustup run nightly cargo miri test --test cpu_engine -- --exact "${tests[@]}"
