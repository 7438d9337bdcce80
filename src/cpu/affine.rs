//! Where loads and stores fall: word expressions as affine forms over the axes of a box.
//!
//! A dispatch's coordinates range over a box. Its index expressions are sums of coordinates with
//! constant factors once quotients, remainders and bounds tests are decided; where they cannot be
//! decided for the whole box, the box is cut until they can. What is left undecided is computed
//! point by point.

use crate::compile::{Dispatch, Expr, ExprId};
use crate::ir::{Scalar, strides};

/// Most boxes that a dispatch is cut into.
const MOST_PIECES: usize = 64;
/// Axes up to this size are cut into single coordinates where a bounds test spans several axes.
const FEW: usize = 8;

/// `constant + Σ factor · coordinate` over axes of a box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affine {
    pub constant: i64,
    /// Factor of each axis; those left out are 0.
    factors: Vec<i64>,
}

impl Affine {
    pub fn constant(constant: i64) -> Self {
        Affine { constant, factors: vec![] }
    }

    fn axis(axis: usize) -> Self {
        let mut factors = vec![0; axis + 1];
        factors[axis] = 1;
        Affine { constant: 0, factors }
    }

    pub fn factor(&self, axis: usize) -> i64 {
        self.factors.get(axis).copied().unwrap_or(0)
    }

    fn axes(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        self.factors.iter().copied().enumerate().filter(|(_, factor)| *factor != 0)
    }

    /// `self + scale · other`
    pub fn plus(&self, scale: i64, other: &Affine) -> Affine {
        let len = self.factors.len().max(other.factors.len());
        let factors = (0..len).map(|axis| self.factor(axis) + scale * other.factor(axis)).collect();
        Affine { constant: self.constant + scale * other.constant, factors }
    }

    pub fn is_constant(&self) -> bool {
        self.as_constant().is_some()
    }

    fn as_constant(&self) -> Option<i64> {
        self.factors.iter().all(|&factor| factor == 0).then_some(self.constant)
    }

    /// The same form where coordinate `axis` is `factor · (new axis) + offset`.
    fn substitute(&mut self, axis: usize, factor: i64, offset: i64) {
        let old = self.factor(axis);
        self.constant += old * offset;
        if old != 0 {
            self.factors[axis] = old * factor;
        }
    }
}

/// A part of a dispatch's index space.
#[derive(Clone, Debug)]
pub struct Region {
    pub sizes: Vec<usize>,
    /// Which coordinate of the dispatch (domain, then reduced) each axis comes from.
    pub origins: Vec<usize>,
    /// Each coordinate of the dispatch over the axes.
    pub coordinates: Vec<Affine>,
}

/// How a region is divided so that an expression becomes decided.
enum Cut {
    /// The axis becomes two: `coordinate = factor · outer + inner`.
    Factor { axis: usize, factor: usize },
    /// One region for each remainder of the coordinate.
    Residues { axis: usize, factor: usize },
    /// One region below `at`, one from there on.
    At { axis: usize, at: usize },
}

impl Region {
    fn whole(dispatch: &Dispatch) -> Self {
        let sizes = [&dispatch.domain, dispatch.core.extent()].concat();
        let axes = 0..sizes.len();
        Region { origins: axes.clone().collect(), coordinates: axes.map(Affine::axis).collect(), sizes }
    }

    /// Smallest and largest value.
    pub fn range(&self, form: &Affine) -> (i64, i64) {
        form.axes().fold((form.constant, form.constant), |(low, high), (axis, factor)| {
            let reach = factor * (self.sizes[axis] as i64 - 1);
            (low + reach.min(0), high + reach.max(0))
        })
    }

    fn cut(&self, cut: Cut) -> Vec<Region> {
        match cut {
            Cut::Factor { axis, factor } => {
                let mut region = self.clone();
                region.sizes[axis] /= factor;
                region.sizes.insert(axis + 1, factor);
                region.origins.insert(axis + 1, self.origins[axis]);
                for form in &mut region.coordinates {
                    let inner = form.factor(axis);
                    if form.factors.len() > axis {
                        form.factors.insert(axis + 1, inner);
                    }
                    form.substitute(axis, factor as i64, 0);
                }
                vec![region]
            }
            Cut::Residues { axis, factor } => {
                let part = |residue: usize| {
                    let size = (self.sizes[axis] - residue).div_ceil(factor);
                    self.part(axis, size, factor as i64, residue as i64)
                };
                (0..factor.min(self.sizes[axis])).map(part).collect()
            }
            Cut::At { axis, at } => {
                vec![self.part(axis, at, 1, 0), self.part(axis, self.sizes[axis] - at, 1, at as i64)]
            }
        }
    }

    fn part(&self, axis: usize, size: usize, factor: i64, offset: i64) -> Region {
        let mut region = self.clone();
        region.sizes[axis] = size;
        region.coordinates.iter_mut().for_each(|form| form.substitute(axis, factor, offset));
        region
    }
}

/// What is known of an expression in a region.
#[derive(Clone, Debug)]
enum Known {
    Word(Affine),
    /// Computed point by point.
    Point,
}

/// A region in which the needed expressions are known as far as they will be.
pub struct Piece<'a> {
    pub dispatch: &'a Dispatch,
    pub region: Region,
    known: Vec<Option<Known>>,
}

/// Divides a dispatch's index space until the indices that `roots` need are affine.
///
/// With `cuts` false there is one piece, of the whole space.
pub fn pieces<'a>(dispatch: &'a Dispatch, roots: &[ExprId], cuts: bool) -> Vec<Piece<'a>> {
    let (mut waiting, mut done) = (vec![Region::whole(dispatch)], vec![]);
    while let Some(region) = waiting.pop() {
        let may_cut = cuts && waiting.len() + done.len() + FEW < MOST_PIECES;
        let mut piece = Piece { dispatch, region, known: vec![None; dispatch.exprs.len()] };
        match roots.iter().try_for_each(|&root| piece.learn(root, may_cut)) {
            Ok(()) => done.push(piece),
            Err(cut) => waiting.extend(piece.region.cut(cut).into_iter().rev()),
        }
    }
    done
}

impl Piece<'_> {
    /// The affine form of a word expression, if it has one here.
    pub fn word(&self, id: ExprId) -> Option<&Affine> {
        match &self.known[id.0 as usize] {
            Some(Known::Word(form)) => Some(form),
            _ => None,
        }
    }

    fn decided(&self, id: ExprId) -> Option<bool> {
        self.word(id).and_then(Affine::as_constant).map(|word| word != 0)
    }

    /// The expression that is left of a selection whose condition is decided here.
    pub fn resolve(&self, id: ExprId) -> ExprId {
        let Expr::Scalar(Scalar::Select, args) = self.dispatch.expr(id) else { return id };
        match self.decided(args[0]) {
            Some(true) => self.resolve(args[1]),
            Some(false) => self.resolve(args[2]),
            None => id,
        }
    }

    /// The position of the point in the domain, row-major.
    pub fn flat(&self) -> Affine {
        self.position(&strides(&self.dispatch.domain))
    }

    /// `Σ stride · coordinate` over the dispatch's coordinates.
    pub fn position(&self, strides: &[usize]) -> Affine {
        let terms = strides.iter().zip(&self.region.coordinates);
        terms.fold(Affine::default(), |sum, (&stride, coordinate)| sum.plus(stride as i64, coordinate))
    }

    /// The place a load reads, if it is affine and inside the buffer.
    pub fn place(&self, index: ExprId, len: usize) -> Option<Affine> {
        let mut form = self.word(index)?.clone();
        let (low, _) = self.region.range(&form);
        form.constant -= low.div_euclid(1 << 32) << 32;
        let (_, high) = self.region.range(&form);
        (high < len as i64).then_some(form)
    }

    /// Finds out what is known of an expression and all that it needs here, or how to cut.
    fn learn(&mut self, id: ExprId, may_cut: bool) -> Result<(), Cut> {
        if self.known[id.0 as usize].is_some() {
            return Ok(());
        }
        let domain = self.dispatch.domain.len();
        let known = match self.dispatch.expr(id).clone() {
            Expr::Const(_) | Expr::Acc => Known::Point,
            Expr::ConstU(word) => Known::Word(Affine::constant(word.into())),
            Expr::Flat => Known::Word(self.flat()),
            Expr::Coord(axis) => Known::Word(self.region.coordinates[axis].clone()),
            Expr::Reduced(axis) => Known::Word(self.region.coordinates[domain + axis].clone()),
            Expr::Load { index, .. } => {
                self.learn(index, may_cut)?;
                Known::Point
            }
            Expr::Scalar(Scalar::Select, args) => {
                self.learn(args[0], may_cut)?;
                match self.decided(args[0]) {
                    Some(condition) => {
                        let chosen = if condition { args[1] } else { args[2] };
                        self.learn(chosen, may_cut)?;
                        self.known[chosen.0 as usize].clone().unwrap_or(Known::Point)
                    }
                    None => {
                        args[1..].iter().try_for_each(|&arg| self.learn(arg, may_cut))?;
                        Known::Point
                    }
                }
            }
            Expr::Scalar(f, args) => {
                args.iter().try_for_each(|&arg| self.learn(arg, may_cut))?;
                self.scalar(f, &args, may_cut)?
            }
        };
        self.known[id.0 as usize] = Some(known);
        Ok(())
    }

    fn scalar(&self, f: Scalar, args: &[ExprId], may_cut: bool) -> Result<Known, Cut> {
        // A condition that is false (or true) decides these whatever the other is.
        let either = |value: bool| args.iter().any(|&arg| self.decided(arg) == Some(value));
        match f {
            Scalar::AndU if either(false) => return Ok(Known::Word(Affine::constant(0))),
            Scalar::OrU if either(true) => return Ok(Known::Word(Affine::constant(1))),
            _ => {}
        }
        let words: Vec<&Affine> = args.iter().filter_map(|&arg| self.word(arg)).collect();
        let &[a, b] = &words[..] else { return Ok(Known::Point) };
        let decided = |answer: Result<bool, Option<Cut>>| match answer {
            Ok(condition) => Ok(Known::Word(Affine::constant(condition.into()))),
            Err(Some(cut)) if may_cut => Err(cut),
            Err(_) => Ok(Known::Point),
        };
        match f {
            Scalar::AddU => Ok(Known::Word(a.plus(1, b))),
            Scalar::SubU => Ok(Known::Word(a.plus(-1, b))),
            Scalar::MulU => Ok(match (a.as_constant(), b.as_constant()) {
                (_, Some(b)) => Known::Word(Affine::default().plus(b, a)),
                (Some(a), _) => Known::Word(Affine::default().plus(a, b)),
                _ => Known::Point,
            }),
            Scalar::DivU | Scalar::RemU => match b.as_constant().map(|divisor| self.divide(a, divisor)) {
                Some(Ok((quotient, remainder))) => {
                    Ok(Known::Word(if f == Scalar::DivU { quotient } else { remainder }))
                }
                Some(Err(Some(cut))) if may_cut => Err(cut),
                _ => Ok(Known::Point),
            },
            Scalar::LtU => decided(self.less(a, b)),
            Scalar::EqU => match self.region.range(&a.plus(-1, b)) {
                (0, 0) => decided(Ok(true)),
                (low, high) if low > 0 || high < 0 => decided(Ok(false)),
                _ => Ok(Known::Point),
            },
            // Neither settled the matter above.
            Scalar::AndU | Scalar::OrU if a.as_constant().and(b.as_constant()).is_some() => {
                decided(Ok(f == Scalar::AndU))
            }
            _ => Ok(Known::Point),
        }
    }

    /// Quotient and remainder by a constant.
    fn divide(&self, form: &Affine, divisor: i64) -> Result<(Affine, Affine), Option<Cut>> {
        let form = self.nonnegative(form)?;
        let mut quotient = Affine::constant(form.constant.div_euclid(divisor));
        let mut rest = Affine::constant(form.constant.rem_euclid(divisor));
        for (axis, factor) in form.axes() {
            let part = if factor % divisor == 0 { (&mut quotient, factor / divisor) } else { (&mut rest, factor) };
            *part.0 = part.0.plus(part.1, &Affine::axis(axis));
        }
        let (low, high) = self.region.range(&rest);
        if low.div_euclid(divisor) == high.div_euclid(divisor) {
            let whole = low.div_euclid(divisor);
            quotient.constant += whole;
            rest.constant -= whole * divisor;
            return Ok((quotient, rest));
        }
        let parts = |(axis, factor): (usize, i64)| {
            let parts = divisor / factor.abs();
            (divisor % factor == 0 && parts > 1).then_some((axis, parts as usize))
        };
        let Some((axis, factor)) = rest.axes().find_map(parts) else { return Err(None) };
        let size = self.region.sizes[axis];
        Err(match size {
            _ if size > factor && size.is_multiple_of(factor) => Some(Cut::Factor { axis, factor }),
            _ if factor <= FEW => Some(Cut::Residues { axis, factor }),
            _ if size <= factor => {
                // The coordinate at which the remainder starts again.
                let step = rest.factor(axis);
                let (low, _) = self.region.range(&rest);
                let at = (low.div_euclid(divisor) + 1) * divisor - low;
                let at = (at + step.abs() - 1) / step.abs();
                let at = if step > 0 { at as usize } else { size.saturating_sub(at as usize) };
                (0 < at && at < size).then_some(Cut::At { axis, at })
            }
            _ => None,
        })
    }

    /// The form as a number that is not negative: words wrap.
    fn nonnegative(&self, form: &Affine) -> Result<Affine, Option<Cut>> {
        let (low, high) = self.region.range(form);
        let wraps = low.div_euclid(1 << 32);
        if wraps != high.div_euclid(1 << 32) {
            return Err(self.settle(form));
        }
        Ok(form.plus(-1, &Affine::constant(wraps << 32)))
    }

    fn less(&self, a: &Affine, b: &Affine) -> Result<bool, Option<Cut>> {
        let mut slack = self.nonnegative(b)?.plus(-1, &self.nonnegative(a)?);
        slack.constant -= 1;
        match self.region.range(&slack) {
            (low, _) if low >= 0 => Ok(true),
            (_, high) if high < 0 => Ok(false),
            _ => Err(self.settle(&slack)),
        }
    }

    /// How to cut so that the sign of a form becomes known.
    fn settle(&self, form: &Affine) -> Option<Cut> {
        let sizes = &self.region.sizes;
        let several = form.axes().filter(|(axis, _)| sizes[*axis] > 1).count() > 1;
        let few = form.axes().map(|(axis, _)| axis).filter(|&axis| (2..=FEW).contains(&sizes[axis]));
        if let Some(axis) = few.min_by_key(|&axis| sizes[axis]).filter(|_| several) {
            return Some(Cut::Residues { axis, factor: sizes[axis] });
        }
        let mut axes: Vec<(usize, i64)> = form.axes().collect();
        axes.sort_by_key(|(_, factor)| -factor.abs());
        axes.into_iter().find_map(|(axis, factor)| {
            let (low, high) = self.region.range(&form.plus(-factor, &Affine::axis(axis)));
            // Along this axis the form is `factor · k` plus something between `low` and `high`.
            let size = sizes[axis] as i64;
            let at = [low, high].map(|rest| sign_change(factor, rest)).into_iter().find(|&at| 0 < at && at < size)?;
            Some(Cut::At { axis, at: at as usize })
        })
    }
}

/// The first k from which on `factor · k + rest` has, or has no longer, a negative value.
fn sign_change(factor: i64, rest: i64) -> i64 {
    if factor > 0 { -rest.div_euclid(factor) } else { rest.div_euclid(-factor) + 1 }
}
