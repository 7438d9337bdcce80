// launch: several loops that do not need each other, each on workgroups of its own.
//
// An invocation owns what the kernel of its loop gives it: workgroups are counted through, loop after
// loop, and all of a workgroup run the same one. The generator replaces the hooks; as it stands one
// loop doubles an array and the other negates one.

// #hook constants
/// Invocations of a workgroup, and workgroups along x.
const GROUP: u32 = 64u;
const GRID_X: u32 = 2u;
// #end
// #hook bindings
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> doubled: array<f32>;
@group(0) @binding(2) var<storage, read_write> negated: array<f32>;
// #end
// #hook functions: the loops, as in their own kernels
fn loop0(group: vec3<u32>, lane: u32) {
    doubled[lane] = source[lane] * 2.0;
}
fn loop1(group: vec3<u32>, lane: u32) {
    negated[lane] = -source[lane];
}
// #end

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.y * GRID_X + group.x;
    // #hook choice: the loop whose workgroup this is
    if at < 1u {
        loop0(vec3(at, 0u, group.z), lane);
        return;
    }
    if at < 2u {
        loop1(vec3(at - 1u, 0u, group.z), lane);
        return;
    }
    // #end
}
