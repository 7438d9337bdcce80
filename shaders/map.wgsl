// map: values for every element of the domain, no loop.
//
// One invocation an element. The generator replaces the hooks; as it stands this doubles an array.

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
    // #hook finish: the stores
    result[flat] = source[flat] * 2.0;
    // #end
}
