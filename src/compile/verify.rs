//! What every engine may take for granted about a program.

use std::collections::BTreeSet;

use super::store::MOST_BUFFERS;
use super::{BufferIndex, Core, Dispatch, Expr, ExprId, MAX_EXTENT, Place, Program, memory};
use crate::ir::{DType, Scalar, numel};

/// A rule that a program breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("program `{program}`{}: {rule}", dispatch.as_ref().map(|d| format!(", dispatch `{d}`")).unwrap_or_default())]
pub struct VerifyError {
    /// Name of the program.
    pub program: String,
    /// Label of the dispatch that breaks it, if it is one.
    pub dispatch: Option<String>,
    /// What should hold, with the numbers that do not.
    pub rule: String,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, rule: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(rule()) }
}

impl Program {
    /// Checks the program against the rules of [`Dispatch`] and of WebGPU's buffers: types agree,
    /// values exist before they are read, nothing is read after another value took its place, and no
    /// memory is read and written at different elements by one dispatch.
    pub fn verify(&self) -> Result<(), VerifyError> {
        let error = |dispatch: Option<&Dispatch>, rule: String| VerifyError {
            program: self.name.clone(),
            dispatch: dispatch.map(|d| d.label.clone()),
            rule,
        };
        let launched: usize = self.launches.iter().sum();
        ensure(launched == self.dispatches.len() && !self.launches.contains(&0), || {
            format!("launches of {:?} dispatches, of which there are {}", self.launches, self.dispatches.len())
        })
        .map_err(|rule| error(None, rule))?;
        self.check_places().map_err(|rule| error(None, rule))?;
        let mut written = Written::new(self);
        for launch in self.launches() {
            for dispatch in launch {
                let checks = [Self::check_shape, Self::check_exprs, Self::check_stores, Self::check_aliases];
                checks
                    .iter()
                    .try_for_each(|check| check(self, dispatch))
                    .map_err(|rule| error(Some(dispatch), rule))?;
                written.read(self, dispatch).map_err(|rule| error(Some(dispatch), rule))?;
            }
            self.check_launch(launch).map_err(|rule| error(launch.first(), rule))?;
            for dispatch in launch {
                written.write(self, dispatch).map_err(|rule| error(Some(dispatch), rule))?;
            }
        }
        written.finish(self).map_err(|rule| error(None, rule))
    }

    /// Inputs, outputs and slots are where the lists say.
    fn check_places(&self) -> Checked {
        for (k, buffer) in self.buffers.iter().enumerate() {
            let name = &buffer.name;
            let index = BufferIndex(k as u32);
            ensure(buffer.len > 0, || format!("buffer `{name}` is empty"))?;
            let shared = buffer.copies == 1 && matches!(buffer.place, Place::Input(_));
            let apart = buffer.copies == 1 || buffer.step >= buffer.len;
            ensure((shared || buffer.copies == self.members) && apart, || {
                format!("buffer `{name}` has {} copies for {} members", buffer.copies, self.members)
            })?;
            let (input, output) = match buffer.place {
                Place::Input(input) => (Some(input), None),
                Place::Output(output) => (None, Some(output)),
                Place::InPlace { input, output } => (Some(input), Some(output)),
                Place::Scratch(slot) => {
                    let bytes = self.scratch.get(slot).copied().unwrap_or(0);
                    ensure(4 * buffer.elements() <= bytes, || format!("buffer `{name}` does not fit slot {slot}"))?;
                    (None, None)
                }
            };
            let listed =
                |list: &[BufferIndex], place: Option<usize>| place.is_none_or(|place| list.get(place) == Some(&index));
            ensure(listed(&self.inputs, input) && listed(&self.outputs, output), || {
                format!("buffer `{name}` is not where the lists of inputs and outputs say")
            })?;
        }
        let scratch: Vec<BufferIndex> = (0..self.buffers.len() as u32).map(BufferIndex).collect();
        let lives = |&index: &BufferIndex| {
            let Place::Scratch(slot) = self.buffer(index).place else { return None };
            Some((slot, memory::lifetime(self, index)?, index))
        };
        let lives: Vec<_> = scratch.iter().filter_map(lives).collect();
        for (k, &(slot, (first, last), a)) in lives.iter().enumerate() {
            for &(other, (other_first, other_last), b) in &lives[..k] {
                let apart = slot != other || last < other_first || other_last < first;
                let names = || format!("`{}` and `{}`", self.buffer(a).name, self.buffer(b).name);
                ensure(apart, || format!("{} share slot {slot} while both are needed", names()))?;
            }
        }
        Ok(())
    }

    fn check_shape(&self, dispatch: &Dispatch) -> Checked {
        let Dispatch { domain, core, .. } = dispatch;
        let positive = !domain.is_empty() && domain.iter().chain(core.extent()).all(|&n| n > 0);
        ensure(positive, || format!("domain {domain:?} or extent {:?} is empty", core.extent()))?;
        ensure(numel(domain) < 1 << 31, || format!("domain {domain:?} exceeds 31 bits"))?;
        ensure(numel(core.extent()) <= MAX_EXTENT, || format!("extent {:?} exceeds {MAX_EXTENT}", core.extent()))?;
        if let Core::Contract { batch, rows, .. } = core {
            ensure(batch + rows <= domain.len(), || "more batch and row axes than axes".to_owned())?;
        }
        Ok(())
    }

    /// Arguments precede their users and have the right types; coordinates exist; every load that can
    /// be bounded is in range.
    fn check_exprs(&self, dispatch: &Dispatch) -> Checked {
        let len = dispatch.exprs.len();
        for (place, expr) in dispatch.exprs.iter().enumerate() {
            ensure(expr.args().all(|id| (id.0 as usize) < place), || {
                format!("expression {place} precedes its arguments")
            })?;
            let known = match expr {
                Expr::Load { buffer, .. } => (buffer.0 as usize) < self.buffers.len(),
                Expr::Coord(axis) => *axis < dispatch.domain.len(),
                Expr::Reduced(axis) => *axis < dispatch.core.extent().len(),
                Expr::Acc => dispatch.core != Core::Map && dispatch.core.values().all(|id| (id.0 as usize) < place),
                _ => true,
            };
            ensure(known, || format!("expression {place}, {expr:?}, names what is not there"))?;
        }
        ensure(dispatch.roots().all(|id| (id.0 as usize) < len), || "a value is not there".to_owned())?;
        self.check_types(dispatch)?;
        self.check_contexts(dispatch)?;
        let ranges = ranges(dispatch);
        for expr in &dispatch.exprs {
            if let Expr::Load { buffer, index } = expr {
                let (low, _) = ranges[index.0 as usize];
                let buffer = self.buffer(*buffer);
                ensure(low < buffer.len as u64, || format!("a load of `{}` is out of range", buffer.name))?;
            }
        }
        Ok(())
    }

    fn check_types(&self, dispatch: &Dispatch) -> Checked {
        let dtypes = dispatch.dtypes(&self.buffers);
        let dtype = |id: ExprId| dtypes[id.0 as usize];
        for expr in &dispatch.exprs {
            let sound = match expr {
                Expr::Load { index, .. } => dtype(*index) == DType::U32,
                Expr::Scalar(Scalar::Select, args) => {
                    args.len() == 3 && dtype(args[0]) == DType::U32 && dtype(args[1]) == dtype(args[2])
                }
                Expr::Scalar(f, args) => args.iter().map(|&id| dtype(id)).eq(f.signature().0.iter().copied()),
                _ => true,
            };
            ensure(sound, || format!("types of {expr:?} do not fit"))?;
        }
        let floats = match dispatch.core {
            Core::ArgMax { value, .. } => dtype(value) == DType::F32,
            Core::Contract { a, b, .. } => dtype(a) == DType::F32 && dtype(b) == DType::F32,
            _ => true,
        };
        ensure(floats, || "the core takes floats".to_owned())
    }

    /// No current element inside a core, no summed coordinate outside; the operands of a
    /// contraction vary along their own axes only.
    fn check_contexts(&self, dispatch: &Dispatch) -> Checked {
        let under = |roots: Vec<ExprId>| reachable(dispatch, &roots);
        let inside = under(dispatch.core.values().collect());
        let outside = under(dispatch.stores.iter().map(|store| store.value).collect());
        for (place, expr) in dispatch.exprs.iter().enumerate() {
            ensure(!inside.contains(&place) || !matches!(expr, Expr::Flat | Expr::Acc), || {
                format!("{expr:?} inside the core")
            })?;
            ensure(!outside.contains(&place) || !matches!(expr, Expr::Reduced(_)), || {
                format!("{expr:?} outside the core")
            })?;
        }
        if let Core::Contract { batch, rows, a, b, .. } = dispatch.core {
            let varies = |id: ExprId, axes: std::ops::Range<usize>| {
                under(vec![id])
                    .into_iter()
                    .any(|place| matches!(dispatch.exprs[place], Expr::Coord(k) if axes.contains(&k)))
            };
            ensure(!varies(a, batch + rows..dispatch.domain.len()), || "`a` varies along a column axis".to_owned())?;
            ensure(!varies(b, batch..batch + rows), || "`b` varies along a row axis".to_owned())?;
        }
        Ok(())
    }

    fn check_stores(&self, dispatch: &Dispatch) -> Checked {
        let dtypes = dispatch.dtypes(&self.buffers);
        let count = numel(&dispatch.domain);
        ensure(!dispatch.stores.is_empty(), || "nothing is stored".to_owned())?;
        for (k, store) in dispatch.stores.iter().enumerate() {
            let buffer = self.buffers.get(store.buffer.0 as usize).ok_or("a store to a buffer that is not there")?;
            let name = &buffer.name;
            ensure(!matches!(buffer.place, Place::Input(_)), || format!("a store to input `{name}`"))?;
            ensure(dtypes[store.value.0 as usize] == buffer.dtype, || format!("a store of another type to `{name}`"))?;
            ensure(store.offset + count <= buffer.len, || format!("a store beyond the end of `{name}`"))?;
            let apart = dispatch.stores[..k].iter().all(|other| {
                other.buffer != store.buffer
                    || other.offset + count <= store.offset
                    || store.offset + count <= other.offset
            });
            ensure(apart, || format!("two stores to the same element of `{name}`"))?;
        }
        Ok(())
    }

    /// No buffer is read elsewhere than where it is written.
    fn check_aliases(&self, dispatch: &Dispatch) -> Checked {
        let (loads, writes) = (dispatch.loads(), dispatch.writes());
        for &buffer in loads.intersection(&writes) {
            let whole = dispatch.stores.iter().all(|store| store.buffer != buffer || store.offset == 0);
            let here = dispatch.exprs.iter().all(|expr| match expr {
                Expr::Load { buffer: read, index } => *read != buffer || *dispatch.expr(*index) == Expr::Flat,
                _ => true,
            });
            let name = &self.buffer(buffer).name;
            ensure(whole && here, || format!("`{name}` is read elsewhere than where it is written"))?;
        }
        Ok(())
    }

    /// At most eight buffers, each with memory of its own, and none read by one dispatch and written by another.
    fn check_launch(&self, launch: &[Dispatch]) -> Checked {
        let all: BTreeSet<BufferIndex> = launch.iter().flat_map(Dispatch::touches).collect();
        ensure(all.len() <= MOST_BUFFERS, || format!("{} buffers, of at most {MOST_BUFFERS}", all.len()))?;
        for (k, one) in launch.iter().enumerate() {
            for other in launch.iter().enumerate().filter(|(other, _)| *other != k).map(|(_, other)| other) {
                if let Some(&both) = one.loads().intersection(&other.writes()).next() {
                    let name = &self.buffer(both).name;
                    return Err(format!("`{name}` is read and written by one launch"));
                }
            }
        }
        let slot = |&index: &BufferIndex| match self.buffer(index).place {
            Place::Scratch(slot) => Some(slot),
            _ => None,
        };
        let slots: Vec<usize> = all.iter().filter_map(slot).collect();
        let distinct: BTreeSet<usize> = slots.iter().copied().collect();
        ensure(slots.len() == distinct.len(), || "two buffers in one slot".to_owned())
    }
}

/// Positions of the expressions that `roots` are made of.
fn reachable(dispatch: &Dispatch, roots: &[ExprId]) -> BTreeSet<usize> {
    let mut open: Vec<ExprId> = roots.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id.0 as usize) {
            open.extend(dispatch.expr(id).args());
        }
    }
    seen
}

/// Least and greatest value of each word; everything where it may wrap.
fn ranges(dispatch: &Dispatch) -> Vec<(u64, u64)> {
    const ANY: (u64, u64) = (0, u32::MAX as u64);
    let below = |n: usize| (0, n as u64 - 1);
    let mut ranges: Vec<(u64, u64)> = vec![];
    for expr in &dispatch.exprs {
        let arg = |args: &[ExprId], k: usize| ranges[args[k].0 as usize];
        let range = match expr {
            Expr::ConstU(word) => (u64::from(*word), u64::from(*word)),
            Expr::Flat => below(numel(&dispatch.domain)),
            Expr::Coord(axis) => below(dispatch.domain[*axis]),
            Expr::Reduced(axis) => below(dispatch.core.extent()[*axis]),
            Expr::Scalar(f, args) => match f {
                Scalar::AddU => (arg(args, 0).0 + arg(args, 1).0, arg(args, 0).1 + arg(args, 1).1),
                Scalar::SubU if arg(args, 0).0 >= arg(args, 1).1 => {
                    (arg(args, 0).0 - arg(args, 1).1, arg(args, 0).1 - arg(args, 1).0)
                }
                Scalar::MulU => (arg(args, 0).0 * arg(args, 1).0, arg(args, 0).1 * arg(args, 1).1),
                Scalar::DivU if arg(args, 1).0 > 0 => {
                    (arg(args, 0).0 / arg(args, 1).1, arg(args, 0).1 / arg(args, 1).0)
                }
                Scalar::RemU if arg(args, 1).0 > 0 => (0, arg(args, 0).1.min(arg(args, 1).1 - 1)),
                Scalar::Select => (arg(args, 1).0.min(arg(args, 2).0), arg(args, 1).1.max(arg(args, 2).1)),
                _ => ANY,
            },
            _ => ANY,
        };
        ranges.push(if range.1 > ANY.1 { ANY } else { range });
    }
    ranges
}

/// Which elements of each buffer hold their value so far.
struct Written {
    /// Runs of elements, by buffer.
    runs: Vec<Vec<(usize, usize)>>,
    /// In-place buffers that hold their new value.
    replaced: BTreeSet<BufferIndex>,
}

impl Written {
    fn new(program: &Program) -> Self {
        let given = |place: Place| matches!(place, Place::Input(_) | Place::InPlace { .. });
        let runs = program.buffers.iter().map(|b| if given(b.place) { vec![(0, b.len)] } else { vec![] }).collect();
        Written { runs, replaced: BTreeSet::new() }
    }

    fn is_complete(&self, program: &Program, index: BufferIndex) -> bool {
        let mut runs = self.runs[index.0 as usize].clone();
        runs.sort_unstable();
        let end = runs.iter().fold(0, |end, &(from, to)| if from <= end { to.max(end) } else { end });
        end == program.buffer(index).len
    }

    fn read(&self, program: &Program, dispatch: &Dispatch) -> Checked {
        for load in dispatch.loads() {
            let name = &program.buffer(load).name;
            ensure(self.is_complete(program, load), || format!("`{name}` is read before it is written"))?;
        }
        Ok(())
    }

    fn write(&mut self, program: &Program, dispatch: &Dispatch) -> Checked {
        let count = numel(&dispatch.domain);
        for store in &dispatch.stores {
            let place = program.buffer(store.buffer).place;
            let run = (store.offset, store.offset + count);
            let runs = &mut self.runs[store.buffer.0 as usize];
            if matches!(place, Place::InPlace { .. }) && self.replaced.insert(store.buffer) {
                runs.clear();
            }
            let name = &program.buffer(store.buffer).name;
            ensure(runs.iter().all(|old| old.1 <= run.0 || run.1 <= old.0), || format!("`{name}` is written twice"))?;
            runs.push(run);
        }
        Ok(())
    }

    fn finish(&self, program: &Program) -> Checked {
        for &output in &program.outputs {
            let name = &program.buffer(output).name;
            ensure(self.is_complete(program, output), || format!("output `{name}` is not written"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Output, Store, compile};
    use crate::ir::Graph;

    /// Two dispatches: y = Σ over rows of x, then z = y broadcast − x, over x.
    fn program() -> Program {
        let mut g = Graph::new();
        let x = g.input("x", &[40, 3], DType::F32);
        let y = g.sum(x, &[0]);
        let wide = g.broadcast_to(y, &[40, 3]);
        let z = g.sub(wide, x);
        compile("means", &g, &[Output::new("y", y), Output::over("x", z, 0)]).unwrap()
    }

    fn rule(program: &Program) -> String {
        program.verify().expect_err("an unsound program passed").rule
    }

    #[test]
    fn sound_programs_pass_and_each_broken_rule_is_named() {
        let sound = program();
        sound.verify().unwrap();

        let mut swapped = sound.clone();
        swapped.dispatches.swap(0, 1);
        assert!(rule(&swapped).contains("read before it is written"));

        let mut dropped = sound.clone();
        dropped.dispatches.remove(0);
        assert!(rule(&dropped).contains("launches of [1, 1] dispatches, of which there are 1"));
        dropped.launches.pop();
        assert!(rule(&dropped).contains("read before it is written"));
        dropped.dispatches.clear();
        dropped.launches.clear();
        assert!(rule(&dropped).contains("output `y` is not written"));

        let mut joined = sound.clone();
        joined.launches = vec![2];
        assert!(rule(&joined).contains("read before it is written"));

        let mut moved = sound.clone();
        moved.dispatches[1].stores[0].offset = 1;
        assert!(rule(&moved).contains("beyond the end"));

        let mut shifted = sound.clone();
        let update = &mut shifted.dispatches[1];
        let x = shifted.inputs[0];
        let flat = update.exprs.iter().position(|expr| *expr == Expr::Flat).unwrap();
        update.exprs[flat] = Expr::ConstU(0);
        assert!(update.writes().contains(&x));
        assert!(rule(&shifted).contains("read elsewhere than where it is written"));

        let mut twice = sound.clone();
        let again = twice.dispatches[0].stores[0].clone();
        twice.dispatches[0].stores.push(again);
        assert!(rule(&twice).contains("two stores"));

        let mut typed = sound.clone();
        let word = ExprId(typed.dispatches[0].exprs.len() as u32);
        typed.dispatches[0].exprs.push(Expr::ConstU(1));
        typed.dispatches[0].stores[0] = Store { value: word, ..typed.dispatches[0].stores[0].clone() };
        assert!(rule(&typed).contains("another type"));

        let mut escaped = sound.clone();
        let reduced = ExprId(escaped.dispatches[0].exprs.len() as u32);
        escaped.dispatches[0].exprs.push(Expr::Reduced(0));
        let float = ExprId(reduced.0 + 1);
        escaped.dispatches[0].exprs.push(Expr::Scalar(Scalar::ToFloat, vec![reduced]));
        escaped.dispatches[0].stores[0].value = float;
        assert!(rule(&escaped).contains("outside the core"));

        let mut long = sound.clone();
        if let Core::Reduce { extent, .. } = &mut long.dispatches[0].core {
            extent[0] = MAX_EXTENT + 1;
        }
        assert!(rule(&long).contains("exceeds"));
    }
}
