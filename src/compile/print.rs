//! A program as text: the same program always prints the same.

use std::fmt::{Display, Formatter, Result};

use super::{Core, Dispatch, Expr, ExprId, Place, Program};
use crate::ir::Scalar;

impl Display for Program {
    fn fmt(&self, f: &mut Formatter) -> Result {
        writeln!(f, "program {}", self.name)?;
        let scratch = self.scratch_bytes();
        writeln!(
            f,
            "{} launches, {} scratch slots, {scratch} bytes of scratch",
            self.launches.len(),
            self.scratch.len()
        )?;
        for (slot, bytes) in self.scratch.iter().enumerate() {
            writeln!(f, "  slot {slot}: {bytes} bytes")?;
        }
        writeln!(f, "\nbuffers")?;
        for (k, buffer) in self.buffers.iter().enumerate() {
            let place = match buffer.place {
                Place::Input(k) => format!("input {k}"),
                Place::Output(k) => format!("output {k}"),
                Place::InPlace { input, output } => format!("input {input}, output {output}"),
                Place::Scratch(slot) => format!("slot {slot}"),
            };
            let dtype = format!("{:?}", buffer.dtype).to_lowercase();
            let copies = if buffer.copies > 1 { format!("{} × ", buffer.copies) } else { String::new() };
            let bytes = 4 * buffer.elements();
            writeln!(f, "  b{k} {}: {copies}{dtype}[{}], {bytes} bytes, {place}", buffer.name, buffer.len)?;
        }
        for (k, launch) in self.launches().enumerate() {
            for (at, dispatch) in launch.iter().enumerate() {
                let number = if launch.len() > 1 { format!("{k}.{at}") } else { k.to_string() };
                writeln!(f, "\n{number}. {}\n{}", dispatch.label, dispatch.listing().trim_end())?;
            }
        }
        Ok(())
    }
}

impl Dispatch {
    /// The loop and its expressions: i is the element, c its coordinates, r those of the sum; a
    /// value used more than once has a line of its own.
    pub fn listing(&self) -> String {
        let mut uses = vec![0; self.exprs.len()];
        let args = self.exprs.iter().flat_map(Expr::args);
        args.chain(self.roots()).for_each(|id| uses[id.0 as usize] += 1);
        let mut listing = Listing { exprs: &self.exprs, uses, lines: vec![] };
        listing.lines.push(format!("  for each of {}", sizes(&self.domain)));
        let looped = self.exprs.iter().position(|expr| *expr == Expr::Acc).unwrap_or(self.exprs.len());
        listing.shared(0..looped);
        let values: Vec<String> = self.core.values().map(|id| listing.show(id)).collect();
        let extent = sizes(self.core.extent());
        match &self.core {
            Core::Map => {}
            Core::Reduce { .. } => listing.lines.push(format!("    acc = Σ over {extent} of {}", values[0])),
            Core::ArgMax { .. } => listing.lines.push(format!("    acc = argmax over {extent} of {}", values[0])),
            Core::Contract { batch, rows, .. } => {
                let (batch_axes, rest) = self.domain.split_at(*batch);
                let (row_axes, cols) = rest.split_at(*rows);
                let axes = [("batch", batch_axes), ("rows", row_axes), ("columns", cols)];
                let axes: Vec<String> = axes.iter().map(|(name, axes)| format!("{name} [{}]", sizes(axes))).collect();
                listing.lines.push(format!("    acc = Σ over {extent} of a · b, {}", axes.join(", ")));
                listing.lines.push(format!("      a = {}", values[0]));
                listing.lines.push(format!("      b = {}", values[1]));
            }
        }
        listing.shared(looped..self.exprs.len());
        for store in &self.stores {
            let offset = if store.offset == 0 { String::new() } else { format!("{} + ", store.offset) };
            let value = listing.show(store.value);
            listing.lines.push(format!("    b{}[{offset}i] = {value}", store.buffer.0));
        }
        listing.lines.join("\n") + "\n"
    }
}

fn sizes(axes: &[usize]) -> String {
    axes.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

struct Listing<'a> {
    exprs: &'a [Expr],
    uses: Vec<usize>,
    lines: Vec<String>,
}

impl Listing<'_> {
    fn is_shared(&self, place: usize) -> bool {
        self.uses[place] > 1 && matches!(self.exprs[place], Expr::Scalar(..) | Expr::Load { .. })
    }

    fn shared(&mut self, places: std::ops::Range<usize>) {
        for place in places.filter(|&place| self.is_shared(place)).collect::<Vec<_>>() {
            self.lines.push(format!("    x{place} = {}", self.spell(place)));
        }
    }

    fn show(&self, id: ExprId) -> String {
        let place = id.0 as usize;
        if self.is_shared(place) { format!("x{place}") } else { self.spell(place) }
    }

    fn spell(&self, place: usize) -> String {
        match &self.exprs[place] {
            Expr::Const(bits) => format!("{:?}", f64::from_bits(*bits)),
            Expr::ConstU(word) => word.to_string(),
            Expr::Flat => "i".to_owned(),
            Expr::Coord(axis) => format!("c{axis}"),
            Expr::Reduced(axis) => format!("r{axis}"),
            Expr::Acc => "acc".to_owned(),
            Expr::Load { buffer, index } => format!("b{}[{}]", buffer.0, self.show(*index)),
            Expr::Scalar(f, args) => {
                let args: Vec<String> = args.iter().map(|&id| self.show(id)).collect();
                let infix = match f {
                    Scalar::Add | Scalar::AddU => "+",
                    Scalar::SubU => "-",
                    Scalar::Mul | Scalar::MulU => "*",
                    Scalar::DivU => "/",
                    Scalar::RemU => "%",
                    Scalar::Lt | Scalar::LtU => "<",
                    Scalar::EqU => "==",
                    Scalar::AndU => "and",
                    Scalar::OrU => "or",
                    _ => return format!("{}({})", format!("{f:?}").to_lowercase(), args.join(", ")),
                };
                format!("({} {infix} {})", args[0], args[1])
            }
        }
    }
}
