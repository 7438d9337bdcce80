//! From a launch of a program to a WGSL kernel: the hand-written templates of `shaders/` with
//! their hooks filled by generated expressions.

mod body;
mod kernel;
mod source;
mod statements;
mod tile;
mod values;

pub use kernel::{Binding, Kernel, KernelError, MAX_BINDINGS};
pub use source::{FILES, TemplateError};
pub use tile::{Target, Tile};

use crate::compile::{Core, Dispatch, Place, Program};
use crate::ir::numel;
use statements::type_name;
use tile::Domain;
use values::Values;

/// Fewest and most invocations of a workgroup. Small grids of long sums take small groups, so that
/// all cores get some.
const WORKGROUP: [usize; 2] = [8, 64];

/// Terms for which waking another core costs more than it saves (llvmpipe: a dispatch of one group
/// takes 15 µs, one of several groups up to 60).
const LITTLE: usize = 100_000;

/// Most workgroups along one axis of a grid (WebGPU's default limit).
const MAX_GROUPS: usize = 65_535;

/// The kernel of a launch, each dispatch with the tile that suits its shape. No domain is empty.
pub fn kernel(program: &Program, launch: &[Dispatch], target: Target) -> Result<Kernel, KernelError> {
    kernel_tiled(program, launch, |dispatch| choose_tile(program, dispatch, target))
}

fn choose_tile(program: &Program, dispatch: &Dispatch, target: Target) -> Result<Tile, KernelError> {
    let Core::Contract { extent, .. } = &dispatch.core else { return Ok(Tile::ONE) };
    // All members keep the target busy together.
    let domain = Domain::of(dispatch);
    let tile = Domain { batch: domain.batch * program.members, ..domain }.contract_tile(target);
    if extent.iter().rfind(|&&length| length > 1).is_some_and(|length| length.is_multiple_of(4)) {
        let stepped = Tile { steps: 4, ..tile };
        if Values::new(program, dispatch, stepped)?.has_step_vectors() {
            return Ok(stepped);
        }
    }
    Ok(tile)
}

/// The kernel of a launch with given tiles; only contractions have one larger than [`Tile::ONE`].
pub fn kernel_tiled(
    program: &Program,
    launch: &[Dispatch],
    tile: impl Fn(&Dispatch) -> Result<Tile, KernelError>,
) -> Result<Kernel, KernelError> {
    let values = launch.iter().map(|dispatch| Values::new(program, dispatch, tile(dispatch)?));
    let mut parts = values.collect::<Result<Vec<_>, _>>()?;
    let bindings = bind(&mut parts);
    if bindings.len() > MAX_BINDINGS {
        return Err(KernelError::TooManyArrays(bindings.len()));
    }
    let group = parts.iter().map(Values::group).min().unwrap_or(WORKGROUP[1]);
    let groups: Vec<usize> = parts.iter().map(|part| part.tiles().div_ceil(group)).collect();
    let all: usize = groups.iter().sum();
    let grid = [all.min(MAX_GROUPS), all.div_ceil(MAX_GROUPS), program.members];
    if grid[1] > MAX_GROUPS {
        return Err(KernelError::TooLarge(launch.iter().map(|dispatch| numel(&dispatch.domain)).sum()));
    }
    if grid[2] > MAX_GROUPS {
        return Err(KernelError::TooMany(program.members));
    }
    let launched = [("GROUP", group), ("GRID_X", grid[0])];
    let (declared, imports) = (declarations(&bindings), statements::imports(&parts));
    let wgsl = match &mut parts[..] {
        [part] => {
            let constants = constants(&[&part.constants()[..], &launched].concat());
            let outside = [("constants", constants), ("bindings", declared), ("functions", imports)];
            source::expand(part.template(), &[&outside[..], &part.body()?].concat())?
        }
        parts => {
            let (mut functions, mut choice, mut begin) = (imports, String::new(), 0);
            for (at, (part, count)) in parts.iter_mut().zip(groups).enumerate() {
                // Each counts its workgroups along x alone.
                let constants = constants(&[&part.constants()[..], &[("GRID_X", 1)]].concat());
                functions +=
                    &source::function(part.template(), &format!("loop{at}"), &indent(&constants), &part.body()?)?;
                let end = begin + count;
                choice += &format!(
                    "if at < {end}u {{\n    loop{at}(vec3(at - {begin}u, 0u, group.z), lane);\n    return;\n}}\n"
                );
                begin = end;
            }
            let hooks = [("bindings", declared), ("functions", functions), ("choice", choice)];
            source::expand("launch", &[&[("constants", constants(&launched))][..], &hooks].concat())?
        }
    };
    Ok(Kernel { wgsl, grid: grid.map(|groups| groups as u32), bindings })
}

fn constants(constants: &[(&str, usize)]) -> String {
    constants.iter().map(|(name, value)| format!("const {name} = {value}u;\n")).collect()
}

/// The arrays that all parts of a kernel touch, each once; one that is read four at a time by some and singly by others
/// twice, as far as there is room.
fn bind(parts: &mut [Values]) -> Vec<Binding> {
    let mut all: Vec<Binding> = vec![];
    for part in &mut *parts {
        for own in &part.bindings {
            match all.iter_mut().find(|other| other.place == own.place && other.vectors == own.vectors) {
                Some(other) => other.written |= own.written,
                None => all.push(*own),
            }
        }
    }
    if all.len() > MAX_BINDINGS {
        let single: Vec<Place> = all.iter().filter(|binding| !binding.vectors).map(|binding| binding.place).collect();
        all.retain(|binding| !binding.vectors || !single.contains(&binding.place));
        parts.iter_mut().for_each(|part| part.load_singly(&single));
    }
    for part in parts {
        let place = |own: &Binding| all.iter().position(|b| b.place == own.place && b.vectors == own.vectors);
        part.numbers = part.bindings.iter().filter_map(place).collect();
    }
    all
}

fn declarations(bindings: &[Binding]) -> String {
    let declare = |(at, binding): (usize, &Binding)| {
        let access = if binding.written { "read_write" } else { "read" };
        let scalar = type_name(binding.dtype);
        let element = if binding.vectors { format!("vec4<{scalar}>") } else { scalar.to_owned() };
        format!("@group(0) @binding({at}) var<storage, {access}> b{at}: array<{element}>;\n")
    };
    bindings.iter().enumerate().map(declare).collect()
}

fn indent(code: &str) -> String {
    code.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Buffer, BufferIndex, Expr, ExprId, Store};
    use crate::ir::{DType, Scalar};

    /// c[row, column] = Σ a[row, k] · b[k, column] with the sum doubled as it is stored.
    fn product(rows: usize, steps: usize, columns: usize) -> Program {
        let word = |n: usize| Expr::ConstU(n as u32);
        let op = |scalar, arguments: [u32; 2]| Expr::Scalar(scalar, arguments.map(ExprId).to_vec());
        let exprs = vec![
            Expr::Coord(0),
            Expr::Coord(1),
            Expr::Reduced(0),
            word(steps),
            op(Scalar::MulU, [0, 3]),
            op(Scalar::AddU, [4, 2]),
            Expr::Load { buffer: BufferIndex(0), index: ExprId(5) },
            word(columns),
            op(Scalar::MulU, [2, 7]),
            op(Scalar::AddU, [8, 1]),
            Expr::Load { buffer: BufferIndex(1), index: ExprId(9) },
            Expr::Acc,
            op(Scalar::Add, [11, 11]),
        ];
        let array = |name: &str, len, place| Buffer {
            name: name.to_owned(),
            dtype: DType::F32,
            len,
            copies: 1,
            step: 0,
            place,
        };
        Program {
            name: "product".to_owned(),
            buffers: vec![
                array("a", rows * steps, Place::Input(0)),
                array("b", steps * columns, Place::Input(1)),
                array("c", rows * columns, Place::Output(0)),
            ],
            inputs: vec![BufferIndex(0), BufferIndex(1)],
            outputs: vec![BufferIndex(2)],
            scratch: vec![],
            members: 1,
            launches: vec![1],
            dispatches: vec![Dispatch {
                label: "product".to_owned(),
                domain: vec![rows, columns],
                core: Core::Contract { batch: 0, rows: 1, extent: vec![steps], a: ExprId(6), b: ExprId(10) },
                exprs,
                stores: vec![Store { buffer: BufferIndex(2), offset: 0, value: ExprId(12) }],
            }],
        }
    }

    fn tiled(program: &Program, tile: Tile) -> Kernel {
        kernel_tiled(program, &program.dispatches, |_| Ok(tile)).unwrap()
    }

    fn tile(rows: usize, steps: usize, columns: usize, target: Target) -> [usize; 3] {
        let program = product(rows, steps, columns);
        let tile = choose_tile(&program, &program.dispatches[0], target).unwrap();
        [tile.rows, tile.columns, tile.steps]
    }

    #[test]
    fn tiles_follow_shape_and_target() {
        assert_eq!(tile(8064, 27, 64, Target::Processor), [8, 8, 1]);
        assert_eq!(tile(8064, 64, 64, Target::Processor), [8, 8, 4]);
        assert_eq!(tile(8064, 64, 64, Target::Gpu), [4, 8, 4]);
        // Too few elements to keep a GPU busy with large tiles, columns that a large tile wastes.
        assert_eq!(tile(64, 64, 64, Target::Gpu), [1, 1, 4]);
        assert_eq!(tile(640, 100, 2, Target::Processor), [8, 2, 4]);
        assert_eq!(tile(1, 5, 1, Target::Processor), [1, 1, 1]);
    }

    #[test]
    fn aligned_neighbours_are_loaded_as_vectors() {
        let vectors = |steps: usize, columns: usize| {
            let program = product(16, steps, columns);
            let kernel = tiled(&program, Tile { rows: 4, columns: 4, steps: 4 });
            kernel.bindings.iter().map(|binding| binding.vectors).collect::<Vec<_>>()
        };
        assert_eq!(vectors(8, 12), [true, true, false]);
        assert_eq!(vectors(8, 10), [true, false, false]);
        assert_eq!(vectors(12, 8), [true, true, false]);
        let program = product(16, 6, 8);
        assert!(!tiled(&program, Tile { rows: 4, columns: 4, steps: 1 }).bindings[0].vectors);
    }

    #[test]
    fn a_kernel_reads_like_this() {
        let program = product(5, 3, 2);
        let kernel = tiled(&program, Tile { rows: 2, columns: 1, steps: 1 });
        let body = kernel.wgsl.split_once("    let row_r0").unwrap().1;
        assert_eq!(
            body,
            " = min(first_row + 0u, ROWS - 1u);
    let row_r1 = min(first_row + 1u, ROWS - 1u);
    let column = first_column + 0u;
    let i0_r0 = row_r0;
    let i0_r1 = row_r1;
    let i1 = column;
    let v4_r0 = (i0_r0 * 3u);
    let v4_r1 = (i0_r1 * 3u);
    var acc_r0 = 0.0;
    var acc_r1 = 0.0;
    for (var r0 = 0u; r0 < 3u; r0 += 1u) {
        let v5_r0 = (v4_r0 + r0);
        let v5_r1 = (v4_r1 + r0);
        let v6_r0 = b0[v5_r0];
        let v6_r1 = b0[v5_r1];
        let v8 = (r0 * 2u);
        let v9 = (v8 + i1);
        let v10 = b1[v9];
        acc_r0 = fma(v6_r0, v10, acc_r0);
        acc_r1 = fma(v6_r1, v10, acc_r1);
    }
    let flat_r0 = (batch * ROWS + row_r0) * COLUMNS + column;
    let flat_r1 = (batch * ROWS + row_r1) * COLUMNS + column;
    let v12_r0 = (acc_r0 + acc_r0);
    let v12_r1 = (acc_r1 + acc_r1);
    b2[flat_r0] = v12_r0;
    if first_row + 1u < ROWS {
        b2[flat_r1] = v12_r1;
    }
}
"
        );
        assert_eq!((kernel.grid, kernel.bindings.len()), ([1, 1, 1], 3));
    }

    /// d[row, column] = Σ a[row, k] · b[k, column] of the same arrays, beside c.
    fn products(rows: usize, steps: usize, columns: usize) -> Program {
        let mut program = product(rows, steps, columns);
        let other = Buffer { name: "d".to_owned(), place: Place::Output(1), ..program.buffers[2].clone() };
        program.buffers.push(other);
        program.outputs.push(BufferIndex(3));
        let mut second = program.dispatches[0].clone();
        second.stores[0].buffer = BufferIndex(3);
        program.dispatches.push(second);
        program.launches = vec![2];
        program
    }

    #[test]
    fn loops_launched_together_have_workgroups_of_their_own() {
        let program = products(5, 3, 2);
        program.verify().unwrap();
        let kernel = tiled(&program, Tile { rows: 2, columns: 1, steps: 1 });
        // Six tiles each fit one group.
        assert_eq!((kernel.grid, kernel.bindings.len()), ([2, 1, 1], 4));
        let [first, second] = ["fn loop0(", "fn loop1("].map(|name| kernel.wgsl.find(name).unwrap());
        assert!(kernel.wgsl[first..second].contains("b2[flat_r0] = v12_r0;"), "{}", kernel.wgsl);
        assert!(kernel.wgsl[second..].contains("b3[flat_r0] = v12_r0;"), "{}", kernel.wgsl);
        assert!(kernel.wgsl.contains("if at < 2u {\n        loop1(vec3(at - 1u, 0u, group.z), lane);"));
        source::validate(&kernel.wgsl);
    }

    #[test]
    fn an_array_is_bound_twice_where_only_some_load_vectors_of_it() {
        let program = products(16, 8, 8);
        let wide = Tile { rows: 4, columns: 4, steps: 4 };
        let tiles = std::cell::Cell::new([Tile::ONE, wide]);
        let next = |_: &Dispatch| {
            let [first, second] = tiles.get();
            tiles.set([second, first]);
            Ok(first)
        };
        let kernel = kernel_tiled(&program, &program.dispatches, next).unwrap();
        let vectors: Vec<bool> = kernel.bindings.iter().map(|binding| binding.vectors).collect();
        assert_eq!(vectors, [false, false, false, true, true, false]);
        source::validate(&kernel.wgsl);
    }

    #[test]
    fn impossible_dispatches_are_refused() {
        let mut program = product(2, 40_000, 2);
        assert_eq!(kernel(&program, &program.dispatches, Target::Gpu).unwrap_err(), KernelError::TooLong(40_000));
        program = product(2, 2, 2);
        program.dispatches[0].exprs[11] = Expr::Const(f64::INFINITY.to_bits());
        let error = kernel(&program, &program.dispatches, Target::Gpu).unwrap_err();
        assert_eq!(error.to_string(), "the constant inf is not a finite 32-bit float");
    }
}
