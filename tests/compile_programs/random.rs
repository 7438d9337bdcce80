//! Random graphs, compiled and run on the reference engine, give what the interpreter gives.

use crate::engine_support::graphs::Drawn;
use crate::support::{close, run};
use proptest::prelude::*;
use stackelberg::interp;

proptest! {
    #[test]
    fn compiled_graphs_compute_what_the_interpreter_computes(
        words in prop::collection::vec(any::<u32>(), 10..400),
        seed in 0u32..1 << 20,
    ) {
        let drawn = Drawn::new(&words, seed);
        let want = interp::eval(&drawn.graph, &drawn.nodes(), &drawn.inputs);
        let got = run(&drawn.graph, &drawn.outputs, &drawn.inputs);
        for (output, (got, want)) in drawn.outputs.iter().zip(got.iter().zip(&want)) {
            prop_assert!(close(got, want, 1e-12), "{}: {got:?} instead of {want:?} in\n{}", output.name, drawn.print());
        }
    }
}
