//! The pointwise table: every scalar function with its value, its WGSL text and its derivatives.

use super::{DType, Graph, NodeId};
use crate::rng;

/// A function of scalars, applied at each index. Unless noted, arguments and result are floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// a + b.
    Add,
    /// a · b.
    Mul,
    /// −x.
    Neg,
    /// 1 / x.
    Recip,
    /// eˣ.
    Exp,
    /// Natural logarithm; −∞ at 0, NaN below.
    Log,
    /// Square root; its derivative at 0 is 0.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// log(1 + exp x) without overflow.
    Softplus,
    /// max(x, 0); its derivative at 0 is 0.
    Relu,
    /// (condition, a, b) → a where the condition holds, else b.
    Select,
    /// a < b of floats → condition.
    Lt,
    /// Whether a float is NaN or infinite, by its exponent bits → condition.
    NonFinite,
    /// u32 → float.
    ToFloat,
    /// a + b of words, modulo 2³².
    AddU,
    /// a − b of words, modulo 2³².
    SubU,
    /// a · b of words, modulo 2³².
    MulU,
    /// u32 quotient; the divisor is never 0.
    DivU,
    /// u32 remainder; the divisor is never 0.
    RemU,
    /// a < b of words → condition.
    LtU,
    /// a = b of words → condition.
    EqU,
    /// Both conditions hold.
    AndU,
    /// Either condition holds.
    OrU,
    /// (key 0, key 1, counter 0, counter 1) → first word of [`rng::threefry`].
    Threefry0,
    /// The same, second word.
    Threefry1,
    /// (key 0, key 1, n, index) → [`rng::permute_index`].
    PermuteIndex,
}

use DType::{F32, U32};
use Scalar::*;

impl Scalar {
    /// Every row of the table.
    pub const ALL: [Scalar; 27] = [
        Add,
        Mul,
        Neg,
        Recip,
        Exp,
        Log,
        Sqrt,
        Tanh,
        Sigmoid,
        Softplus,
        Relu,
        Select,
        Lt,
        NonFinite,
        ToFloat,
        AddU,
        SubU,
        MulU,
        DivU,
        RemU,
        LtU,
        EqU,
        AndU,
        OrU,
        Threefry0,
        Threefry1,
        PermuteIndex,
    ];

    /// Argument types and result type. `Select` is given for floats; it also selects words.
    pub fn signature(self) -> (&'static [DType], DType) {
        match self {
            Add | Mul => (&[F32, F32], F32),
            Neg | Recip | Exp | Log | Sqrt | Tanh | Sigmoid | Softplus | Relu => (&[F32], F32),
            Select => (&[U32, F32, F32], F32),
            Lt => (&[F32, F32], U32),
            NonFinite => (&[F32], U32),
            ToFloat => (&[U32], F32),
            AddU | SubU | MulU | DivU | RemU | LtU | EqU | AndU | OrU => (&[U32, U32], U32),
            Threefry0 | Threefry1 | PermuteIndex => (&[U32, U32, U32, U32], U32),
        }
    }

    /// The value in f64; words travel as exact integers.
    pub fn eval(self, x: &[f64]) -> f64 {
        let word = |i: usize| x[i] as u32;
        let condition = |c: bool| f64::from(u8::from(c));
        match self {
            Add => x[0] + x[1],
            Mul => x[0] * x[1],
            Neg => -x[0],
            Recip => 1.0 / x[0],
            Exp => x[0].exp(),
            Log => x[0].ln(),
            Sqrt => x[0].sqrt(),
            Tanh => x[0].tanh(),
            Sigmoid => {
                let e = (-x[0].abs()).exp();
                if x[0] >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
            }
            Softplus => x[0].max(0.0) + (-x[0].abs()).exp().ln_1p(),
            Relu => {
                if x[0] > 0.0 {
                    x[0]
                } else {
                    0.0
                }
            }
            Select => {
                if x[0] != 0.0 {
                    x[1]
                } else {
                    x[2]
                }
            }
            Lt => condition(x[0] < x[1]),
            NonFinite => condition(!x[0].is_finite()),
            ToFloat => x[0],
            AddU => f64::from(word(0).wrapping_add(word(1))),
            SubU => f64::from(word(0).wrapping_sub(word(1))),
            MulU => f64::from(word(0).wrapping_mul(word(1))),
            // By zero as WGSL has it.
            DivU => f64::from(word(0).checked_div(word(1)).unwrap_or(word(0))),
            RemU => f64::from(word(0).checked_rem(word(1)).unwrap_or(0)),
            LtU => condition(word(0) < word(1)),
            EqU => condition(word(0) == word(1)),
            AndU => condition(x[0] != 0.0 && x[1] != 0.0),
            OrU => condition(x[0] != 0.0 || x[1] != 0.0),
            Threefry0 => f64::from(rng::threefry([word(0), word(1)], [word(2), word(3)])[0]),
            Threefry1 => f64::from(rng::threefry([word(0), word(1)], [word(2), word(3)])[1]),
            PermuteIndex => f64::from(rng::permute_index([word(0), word(1)], word(2), word(3))),
        }
    }

    /// WGSL expression over argument texts. Functions named here that WGSL lacks are in
    /// `shaders/lib/math.wgsl` and `shaders/lib/random.wgsl`.
    pub fn wgsl(self, a: &[String]) -> String {
        let binary = |op: &str| format!("({} {op} {})", a[0], a[1]);
        let call = |f: &str| format!("{f}({})", a.join(", "));
        match self {
            Add => binary("+"),
            Mul => binary("*"),
            Neg => format!("(-{})", a[0]),
            Recip => format!("(1.0 / {})", a[0]),
            Exp => call("exp"),
            Log => call("log"),
            Sqrt => call("sqrt"),
            Tanh => call("tanh_stable"),
            Sigmoid => call("sigmoid"),
            Softplus => call("softplus"),
            Relu => format!("max({}, 0.0)", a[0]),
            Select => format!("select({}, {}, {} != 0u)", a[2], a[1], a[0]),
            Lt => format!("u32({} < {})", a[0], a[1]),
            NonFinite => call("non_finite"),
            ToFloat => call("f32"),
            AddU => binary("+"),
            SubU => binary("-"),
            MulU => binary("*"),
            DivU => binary("/"),
            RemU => binary("%"),
            LtU => format!("u32({} < {})", a[0], a[1]),
            EqU => format!("u32({} == {})", a[0], a[1]),
            AndU => binary("&"),
            OrU => binary("|"),
            Threefry0 => format!("{}.x", call("threefry")),
            Threefry1 => format!("{}.y", call("threefry")),
            PermuteIndex => call("permute_index"),
        }
    }

    /// Largest error of the WGSL value, in units of [`f32::EPSILON`] times its magnitude, each at
    /// least one unit in the last place (WGSL specification, accuracy of expressions; `x` is the
    /// argument).
    pub fn ulps(self, x: &[f64]) -> f64 {
        match self {
            // No direction of rounding is named: either neighbour of the exact result is correct.
            Add | Mul => 1.0,
            Recip => 2.5,
            Exp => 3.0 + 2.0 * x[0].abs(),
            // Between 1/2 and 2 the specification bounds the absolute error, by 2⁻²¹.
            Log if (0.5..=2.0).contains(&x[0]) => (-21f64).exp2() / f32_ulp(x[0].ln()),
            Log => 3.0,
            // 1 / inverseSqrt(x): 2.5 and 2, compounded.
            Sqrt => 5.0,
            // Compositions in shaders/lib/math.wgsl. Above 0 the error of exp(-x) loses its weight as fast
            // as it grows.
            Tanh => 16.0,
            Sigmoid => 8.0 + 2.0 * x[0].abs().min(88.0),
            Softplus => 12.0 + 2.0 * (-x[0]).clamp(0.0, 88.0),
            _ => 0.0,
        }
    }

    /// Arguments in which the function is linear while the others are held fixed.
    pub fn linear_in(self) -> &'static [usize] {
        match self {
            Add | Mul => &[0, 1],
            Neg => &[0],
            Select => &[1, 2],
            _ => &[],
        }
    }

    /// Partial derivatives of `out = self(args)` as nodes of the same shape; `None` where the
    /// function is constant (or the argument is no float). `Select` has none: it is linear in both
    /// branches together, which `jvp` uses.
    pub fn partials(self, g: &mut Graph, args: &[NodeId], out: NodeId) -> Vec<Option<NodeId>> {
        let shape = g.shape(out).to_vec();
        match self {
            Add => {
                let one = g.full(&shape, 1.0);
                vec![Some(one), Some(one)]
            }
            Mul => vec![Some(args[1]), Some(args[0])],
            Neg => vec![Some(g.full(&shape, -1.0))],
            Recip => {
                let square = g.mul(out, out);
                vec![Some(g.neg(square))]
            }
            Exp => vec![Some(out)],
            Log => vec![Some(g.recip(args[0]))],
            Sqrt => {
                let zero = g.full(&shape, 0.0);
                let half = g.full(&shape, 0.5);
                let one = g.full(&shape, 1.0);
                let positive = g.lt(zero, out);
                let safe = g.select(positive, out, one);
                let inverse = g.recip(safe);
                let slope = g.mul(half, inverse);
                vec![Some(g.select(positive, slope, zero))]
            }
            Tanh => {
                let one = g.full(&shape, 1.0);
                let square = g.mul(out, out);
                vec![Some(g.sub(one, square))]
            }
            Sigmoid => {
                // σ(x) σ(−x): no cancellation where σ is near 1.
                let minus = g.neg(args[0]);
                let other = g.scalar(Sigmoid, &[minus]);
                vec![Some(g.mul(out, other))]
            }
            Softplus => vec![Some(g.scalar(Sigmoid, &[args[0]]))],
            Relu => {
                let zero = g.full(&shape, 0.0);
                let one = g.full(&shape, 1.0);
                // Of the result, which is kept anyway: it is above 0 where x is.
                let positive = g.lt(zero, out);
                vec![Some(g.select(positive, one, zero))]
            }
            _ => vec![None; args.len()],
        }
    }
}

/// Distance between neighbouring normal f32 at a value.
fn f32_ulp(value: f64) -> f64 {
    let exponent = value.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (exponent - 23.0).exp2()
}
