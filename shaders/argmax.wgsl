// argmax: acc = first index along the reduced axis with the largest value, for every element of
// the domain.
//
// One invocation an element. The generator replaces the hooks; as it stands this finds the largest
// entry of each row of a matrix.

// #hook constants
/// Elements of the domain, invocations of a workgroup, and workgroups along x.
const ELEMENTS: u32 = 1u;
const GROUP: u32 = 64u;
const GRID_X: u32 = 1u;
// #end
// #hook bindings
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
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
    // #hook search: the loop over the reduced axis
    var acc = 0u;
    var best = source[row];
    for (var r0 = 1u; r0 < 8u; r0++) {
        if source[row + r0] > best {
            best = source[row + r0];
            acc = r0;
        }
    }
    // #end
    // #hook finish: the stores
    result[flat] = acc;
    // #end
}
