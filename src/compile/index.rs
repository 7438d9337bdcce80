//! Index arithmetic: expressions shared by hashing, and words in a normal form that makes a
//! reshape of a contiguous array vanish.

use std::collections::HashMap;

use super::{Expr, ExprId};
use crate::ir::Scalar;

/// The expressions of one dispatch; equal ones are shared, constants folded.
#[derive(Default)]
pub(super) struct Exprs {
    pub list: Vec<Expr>,
    memo: HashMap<Expr, ExprId>,
}

impl Exprs {
    pub fn push(&mut self, expr: Expr) -> ExprId {
        if let Some(&id) = self.memo.get(&expr) {
            return id;
        }
        let id = ExprId(self.list.len() as u32);
        self.memo.insert(expr.clone(), id);
        self.list.push(expr);
        id
    }

    pub fn float(&mut self, value: f64) -> ExprId {
        self.push(Expr::Const(value.to_bits()))
    }

    pub fn word(&mut self, value: u32) -> ExprId {
        self.push(Expr::ConstU(value))
    }

    pub fn as_word(&self, id: ExprId) -> Option<u32> {
        match self.list[id.0 as usize] {
            Expr::ConstU(value) => Some(value),
            _ => None,
        }
    }

    /// A scalar function; identities of words and known conditions are folded.
    pub fn scalar(&mut self, f: Scalar, args: &[ExprId]) -> ExprId {
        use Scalar::*;
        let words: Vec<Option<u32>> = args.iter().map(|&a| self.as_word(a)).collect();
        match (f, words.as_slice()) {
            (AddU, [Some(0), _]) | (MulU, [Some(1), _]) | (AndU, [Some(1), _]) | (OrU, [Some(0), _]) => args[1],
            (AddU | SubU, [_, Some(0)]) | (MulU | DivU, [_, Some(1)]) => args[0],
            (AndU, [_, Some(1)]) | (OrU, [_, Some(0)]) => args[0],
            (MulU | AndU, [Some(0), _]) | (MulU | AndU, [_, Some(0)]) | (RemU, [_, Some(1)]) => self.word(0),
            (OrU, [Some(1), _]) | (OrU, [_, Some(1)]) => self.word(1),
            (Select, [Some(0), ..]) => args[2],
            (Select, [Some(_), ..]) => args[1],
            (Select, _) if args[1] == args[2] => args[1],
            (AddU | SubU | MulU | DivU | RemU | LtU | EqU, [Some(a), Some(b)])
                if *b != 0 || !matches!(f, DivU | RemU) =>
            {
                self.word(f.eval(&[f64::from(*a), f64::from(*b)]) as u32)
            }
            _ => self.push(Expr::Scalar(f, args.to_vec())),
        }
    }

    /// Both conditions, where none stands for one that always holds.
    pub fn both(&mut self, a: Option<ExprId>, b: Option<ExprId>) -> Option<ExprId> {
        match (a, b) {
            (Some(a), Some(b)) if a != b => Some(self.scalar(Scalar::AndU, &[a, b])),
            (a, b) => a.or(b),
        }
    }
}

/// One digit of a mixed-radix number: `(base / div) % size`, where `base < count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Digit {
    pub base: ExprId,
    count: u64,
    pub div: u64,
    pub size: u64,
}

impl Digit {
    /// The highest digit needs no remainder.
    pub fn is_top(&self) -> bool {
        self.div * self.size >= self.count
    }
}

/// A word as Σ coefficient · digit + constant, with the range it is known to lie in.
///
/// Neighbouring digits of one base join when added, so taking an index apart and putting it
/// together again gives back the index. Where a guard is at work, the range is what holds under it
/// and may be narrower than [`Word::bounds`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    terms: Vec<(Digit, i64)>,
    constant: i64,
    range: (i64, i64),
}

/// Whether a word lies in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Always,
    Never,
    /// Where this condition holds.
    If(ExprId),
}

impl Word {
    pub fn constant(value: usize) -> Word {
        let value = value as i64;
        Word { terms: vec![], constant: value, range: (value, value) }
    }

    /// An expression known to be below `count`.
    pub fn atom(base: ExprId, count: usize) -> Word {
        let count = count as u64;
        Word::of(vec![(Digit { base, count, div: 1, size: count }, 1)], 0)
    }

    fn of(mut terms: Vec<(Digit, i64)>, constant: i64) -> Word {
        while let Some((i, j, sum)) = joinable(&terms) {
            terms[i] = sum;
            terms.remove(j);
        }
        terms.retain(|(digit, coefficient)| digit.size > 1 && *coefficient != 0);
        terms.sort();
        let mut word = Word { terms, constant, range: (0, 0) };
        word.range = word.bounds();
        word
    }

    /// The range that follows from the digits alone.
    pub fn bounds(&self) -> (i64, i64) {
        self.terms.iter().fold((self.constant, self.constant), |(low, high), (digit, coefficient)| {
            let reach = coefficient * (digit.size as i64 - 1);
            (low + reach.min(0), high + reach.max(0))
        })
    }

    fn narrowed(mut self, low: i64, high: i64) -> Word {
        self.range = (self.range.0.max(low), self.range.1.min(high));
        self
    }

    /// The same word where it is known to be below `count`.
    pub fn below(self, count: usize) -> Word {
        self.narrowed(0, count as i64 - 1)
    }

    pub fn plus(&self, other: &Word) -> Word {
        let terms = self.terms.iter().chain(&other.terms).copied().collect();
        let (low, high) = (self.range.0 + other.range.0, self.range.1 + other.range.1);
        Word::of(terms, self.constant + other.constant).narrowed(low, high)
    }

    pub fn offset(&self, by: i64) -> Word {
        let (low, high) = self.range;
        Word { terms: self.terms.clone(), constant: self.constant + by, range: (low + by, high + by) }
    }

    pub fn times(&self, factor: i64) -> Word {
        let terms = self.terms.iter().map(|&(digit, c)| (digit, c * factor)).collect();
        let ends = [self.range.0 * factor, self.range.1 * factor];
        Word::of(terms, self.constant * factor).narrowed(ends[0].min(ends[1]), ends[0].max(ends[1]))
    }

    /// The word itself if it is one whole expression.
    pub fn as_atom(&self) -> Option<ExprId> {
        match self.terms.as_slice() {
            [(digit, 1)] if self.constant == 0 && digit.div == 1 && digit.is_top() => Some(digit.base),
            _ => None,
        }
    }

    /// Row-major position of an index.
    pub fn linear(index: &[Word], shape: &[usize]) -> Word {
        index
            .iter()
            .zip(crate::ir::strides(shape))
            .fold(Word::constant(0), |sum, (word, stride)| sum.plus(&word.times(stride as i64)))
    }
}

/// Two of the terms that are one, and that one.
fn joinable(terms: &[(Digit, i64)]) -> Option<(usize, usize, (Digit, i64))> {
    let pairs = (0..terms.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.filter_map(|(i, j)| Some((i, j, join(terms[i], terms[j])?))).next()
}

/// `a + b` as one term, if it is one.
fn join(a: (Digit, i64), b: (Digit, i64)) -> Option<(Digit, i64)> {
    let same = |(x, c): (Digit, i64), (y, d): (Digit, i64)| (x == y).then_some((x, c + d));
    let stacked = |(high, c): (Digit, i64), (low, d): (Digit, i64)| {
        let fits = high.base == low.base && high.count == low.count && high.div == low.div * low.size;
        (fits && c == d * low.size as i64).then(|| {
            let size = (low.size * high.size).min(low.count.div_ceil(low.div));
            (Digit { size, ..low }, d)
        })
    };
    same(a, b).or_else(|| stacked(a, b)).or_else(|| stacked(b, a))
}

/// Words turned into expressions. `digit` writes one digit.
pub(super) trait EmitWords {
    fn exprs(&mut self) -> &mut Exprs;
    fn digit(&mut self, digit: &Digit) -> ExprId;

    fn emit(&mut self, word: &Word) -> ExprId {
        let mut sum = None;
        let mut add = |me: &mut Self, term: ExprId, f: Scalar| {
            let before = sum.unwrap_or_else(|| me.exprs().word(0));
            sum = Some(me.exprs().scalar(f, &[before, term]));
        };
        for (sign, f) in [(1, Scalar::AddU), (-1, Scalar::SubU)] {
            for (digit, coefficient) in word.terms.iter().rev().filter(|(_, c)| c.signum() == sign) {
                let digit = self.digit(digit);
                let factor = self.exprs().word(coefficient.unsigned_abs() as u32);
                let term = self.exprs().scalar(Scalar::MulU, &[digit, factor]);
                add(self, term, f);
            }
            if word.constant.signum() == sign {
                let term = self.exprs().word(word.constant.unsigned_abs() as u32);
                add(self, term, f);
            }
        }
        sum.unwrap_or_else(|| self.exprs().word(0))
    }

    /// Whether the word lies in `0..count`. A negative one wraps to a large one, so one comparison
    /// is enough.
    fn inside(&mut self, word: &Word, count: usize) -> Inside {
        let (low, high) = word.range;
        if low >= 0 && high < count as i64 {
            return Inside::Always;
        }
        if high < 0 || low >= count as i64 {
            return Inside::Never;
        }
        let word = self.emit(word);
        let count = self.exprs().word(count as u32);
        Inside::If(self.exprs().scalar(Scalar::LtU, &[word, count]))
    }

    /// The word as an expression that is in its range whether or not the guard holds.
    fn safe(&mut self, word: &Word, guard: Option<ExprId>) -> ExprId {
        let value = self.emit(word);
        let (low, high) = word.bounds();
        match guard {
            Some(guard) if low < 0 || high > word.range.1 => {
                let zero = self.exprs().word(0);
                self.exprs().scalar(Scalar::Select, &[guard, value, zero])
            }
            _ => value,
        }
    }

    /// Quotient and remainder of a word that is not negative under the guard.
    fn div_rem(&mut self, word: &Word, n: usize, guard: Option<ExprId>) -> (Word, Word) {
        if word.range.0 >= 0 && word.range.1 < n as i64 {
            return (Word::constant(0), word.clone());
        }
        let quotient = |multiple: &Word| {
            let terms = multiple.terms.iter().map(|&(digit, c)| (digit, c / n as i64)).collect();
            Word::of(terms, multiple.constant / n as i64)
        };
        let (multiple, rest) = split(word, n as i64, true);
        let (low, high) = rest.bounds();
        if low >= 0 && high < n as i64 {
            return (quotient(&multiple), rest);
        }
        // What is cut out of a digit would not join with the rest again where that has to be divided all the same.
        let (multiple, rest) = split(word, n as i64, false);
        let (quotient, whole) =
            if rest.bounds().0 >= 0 { (quotient(&multiple), rest) } else { (Word::constant(0), word.clone()) };
        let base = self.safe(&whole, guard);
        let count = whole.range.1 as u64 + 1;
        let digit = |div: u64, size: u64| Word::of(vec![(Digit { base, count, div, size }, 1)], 0);
        let n = n as u64;
        (quotient.plus(&digit(n, count.div_ceil(n))), digit(1, n.min(count)))
    }

    /// The index into `shape` of a row-major position.
    fn unravel(&mut self, position: &Word, shape: &[usize], guard: Option<ExprId>) -> Vec<Word> {
        let mut rest = position.clone();
        let mut index = vec![Word::constant(0); shape.len()];
        let first = shape.iter().position(|&n| n > 1).unwrap_or(0);
        for axis in (first..shape.len()).rev() {
            if axis == first {
                index[axis] = rest.clone().below(shape[axis]);
            } else {
                (rest, index[axis]) = self.div_rem(&rest, shape[axis], guard);
            }
        }
        index
    }
}

/// The word as a multiple of `n` and a rest; digits that are only partly one are cut, or belong to the rest.
fn split(word: &Word, n: i64, cut: bool) -> (Word, Word) {
    let (mut multiple, mut rest) = (vec![], vec![]);
    for &(digit, c) in &word.terms {
        let part = if cut && c > 0 && n % c == 0 { (n / c) as u64 } else { 0 };
        if c % n == 0 {
            multiple.push((digit, c));
        } else if part > 0 && digit.size > part && (digit.is_top() || digit.size % part == 0) {
            rest.push((Digit { size: part, ..digit }, c));
            multiple.push((Digit { div: digit.div * part, size: digit.size.div_ceil(part), ..digit }, n));
        } else {
            rest.push((digit, c));
        }
    }
    let constant = word.constant.rem_euclid(n);
    (Word::of(multiple, word.constant - constant), Word::of(rest, constant))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words over one base, written without looking at a domain.
    #[derive(Default)]
    struct Plain(Exprs);

    impl EmitWords for Plain {
        fn exprs(&mut self) -> &mut Exprs {
            &mut self.0
        }

        fn digit(&mut self, digit: &Digit) -> ExprId {
            let div = self.0.word(digit.div as u32);
            let size = self.0.word(digit.size as u32);
            let quotient = self.0.scalar(Scalar::DivU, &[digit.base, div]);
            if digit.is_top() { quotient } else { self.0.scalar(Scalar::RemU, &[quotient, size]) }
        }
    }

    impl Plain {
        fn flat(&mut self, count: usize) -> (ExprId, Word) {
            let flat = self.0.push(Expr::Flat);
            (flat, Word::atom(flat, count))
        }

        fn eval(&self, id: ExprId, flat: u32) -> u32 {
            match &self.0.list[id.0 as usize] {
                Expr::ConstU(word) => *word,
                Expr::Flat => flat,
                Expr::Scalar(f, args) => {
                    let args: Vec<f64> = args.iter().map(|&arg| f64::from(self.eval(arg, flat))).collect();
                    f.eval(&args) as u32
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_index_taken_apart_and_put_together_is_itself() {
        let mut plain = Plain::default();
        let (flat, word) = plain.flat(4 * 3 * 5);
        let index = plain.unravel(&word, &[4, 3, 5], None);
        assert_eq!(Word::linear(&index, &[4, 3, 5]).as_atom(), Some(flat));
        // Through another shape of as many elements, too.
        let other = plain.unravel(&Word::linear(&index, &[4, 3, 5]), &[2, 30], None);
        assert_eq!(Word::linear(&other, &[2, 30]).as_atom(), Some(flat));
    }

    #[test]
    fn a_position_in_pieces_that_do_not_divide_an_axis_is_itself() {
        let mut plain = Plain::default();
        let base = plain.0.push(Expr::Coord(0));
        let within = plain.0.push(Expr::Coord(1));
        // Position 6·c₀ + c₁, in an array of 5 · 5: c₁ alone is longer than a row.
        let position = Word::atom(base, 4).times(6).plus(&Word::atom(within, 6)).below(25);
        let index = plain.unravel(&position, &[5, 5], None);
        let [whole, back] = [&position, &Word::linear(&index, &[5, 5])].map(|word| plain.emit(word));
        assert_eq!(whole, back);
    }

    #[test]
    fn words_have_the_values_of_their_arithmetic() {
        let mut plain = Plain::default();
        let (_, word) = plain.flat(60);
        let index = plain.unravel(&word, &[4, 3, 5], None);
        // A crop: one off the front of the middle axis, then every second element of the last.
        let moved = index[1].offset(1).times(7).plus(&index[2].times(2)).plus(&index[0].times(40));
        let (quotient, rest) = plain.div_rem(&moved, 6, None);
        let ids = [&moved, &quotient, &rest].map(|word| plain.emit(word));
        for flat in 0..60u32 {
            let (a, b, c) = (flat / 15, flat / 5 % 3, flat % 5);
            let value = (b + 1) * 7 + c * 2 + a * 40;
            assert_eq!(ids.map(|id| plain.eval(id, flat)), [value, value / 6, value % 6]);
        }
    }

    #[test]
    fn a_range_test_is_one_comparison_or_none() {
        let mut plain = Plain::default();
        let (_, word) = plain.flat(10);
        assert_eq!(plain.inside(&word, 10), Inside::Always);
        assert_eq!(plain.inside(&word.offset(10), 10), Inside::Never);
        let Inside::If(condition) = plain.inside(&word.offset(-3), 5) else { panic!("not decided by range") };
        for flat in 0..10 {
            assert_eq!(plain.eval(condition, flat) == 1, (3..8).contains(&flat));
        }
    }
}
