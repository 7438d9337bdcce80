// reduce: acc = Σ value, then the stores, for every element of the domain.
//
// One invocation an element. It adds in row-major order of the reduced axes, so the sum is the
// same bits every time. The generator replaces the hooks; as it stands this sums the rows of a
// matrix.

// #hook constants
/// Elements of the domain, invocations of a workgroup, and workgroups along x.
const ELEMENTS: u32 = 1u;
const GROUP: u32 = 64u;
const GRID_X: u32 = 1u;
// #end
// #hook bindings
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
// #end
// #hook functions
// #end

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let flat = (group.y * GRID_X + group.x) * GROUP + lane;
    if flat >= ELEMENTS {
        return;
    }
    // #hook element: what does not change in the loop
    let row = flat * 8u;
    // #end
    // #hook sum: the loops over the reduced axes
    var acc = 0.0;
    for (var r0 = 0u; r0 < 8u; r0++) {
        acc = acc + source[row + r0];
    }
    // #end
    // #hook finish: the stores
    result[flat] = acc;
    // #end
}
