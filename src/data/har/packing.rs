//! Integers in as few bits as their past lets expect: binary decisions, each with a chance that adapts to what was seen, through a
//! range coder. Integer arithmetic only, so every platform reads the same.
//!
//! Writer and reader take the same decisions in the same order, so what is written is stated once, for both ([`Bits`]).

/// The chance that a decision is yes, learned from those before it.
#[derive(Clone, Copy)]
struct Chance {
    /// In parts of 2¹⁶.
    yes: u16,
    seen: u8,
}

/// Decisions after which a chance follows no more slowly.
const SETTLED: u8 = 160;
/// Chances stay this far from certainty, in parts of 2¹⁶.
const DOUBT: i64 = 8;

impl Chance {
    const EVEN: Chance = Chance { yes: 1 << 15, seen: 0 };

    fn learn(&mut self, yes: bool) {
        let toward = if yes { 1 << 16 } else { 0 } - i64::from(self.yes);
        let moved = i64::from(self.yes) + 2 * toward / (2 * i64::from(self.seen) + 3);
        self.yes = moved.clamp(DOUBT, (1 << 16) - DOUBT) as u16;
        self.seen = (self.seen + 1).min(SETTLED);
    }
}

/// One side of the code: takes decisions when it writes, gives them when it reads.
pub trait Bits {
    /// Whether the decision is yes, at this chance in parts of 2¹⁶. The writer is told, and says the same.
    fn decide(&mut self, yes: bool, chance: u16) -> bool;
}

/// Numbers from `low` to `high` are those that the code so far may still stand for; their first bytes, once equal, are settled.
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    const WHOLE: Interval = Interval { low: 0, high: u32::MAX };

    /// The last number that stands for yes.
    fn split(&self, chance: u16) -> u32 {
        self.low + ((u64::from(self.high - self.low) * u64::from(chance)) >> 16) as u32
    }

    /// Takes a part of it, and hands on the bytes that are settled.
    fn take(&mut self, yes: bool, split: u32, mut settled: impl FnMut(u8)) {
        *(if yes { &mut self.high } else { &mut self.low }) = if yes { split } else { split + 1 };
        while (self.low ^ self.high) >> 24 == 0 {
            settled((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
    }
}

/// Writes decisions as bytes.
pub struct Writer {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Writer { interval: Interval::WHOLE, bytes: vec![] }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(self.interval.low.to_be_bytes());
        self.bytes
    }
}

impl Bits for Writer {
    fn decide(&mut self, yes: bool, chance: u16) -> bool {
        let split = self.interval.split(chance);
        self.interval.take(yes, split, |byte| self.bytes.push(byte));
        yes
    }
}

/// Reads them again.
pub struct Reader<'a> {
    interval: Interval,
    bytes: &'a [u8],
    at: u32,
    /// Bytes that were wanted behind the end.
    missing: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Reader { interval: Interval::WHOLE, bytes, at: 0, missing: 0 };
        (0..4).for_each(|_| Self::next(&mut reader.bytes, &mut reader.at, &mut reader.missing));
        reader
    }

    fn next(bytes: &mut &[u8], at: &mut u32, missing: &mut usize) {
        let byte = bytes.split_off_first().copied().unwrap_or_else(|| {
            *missing += 1;
            0
        });
        *at = *at << 8 | u32::from(byte);
    }

    /// Whether more was read than there was.
    pub fn ended_early(&self) -> bool {
        self.missing > 0
    }

    /// Whether all was read.
    pub fn ended(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Bits for Reader<'_> {
    fn decide(&mut self, _: bool, chance: u16) -> bool {
        let split = self.interval.split(chance);
        let yes = self.at <= split;
        let Reader { interval, bytes, at, missing } = self;
        interval.take(yes, split, |_| Self::next(bytes, at, missing));
        yes
    }
}

/// Integers of one kind: zero or not, sign, then the size in bits and the two bits below the first, each with what it depends on;
/// the others are even.
#[derive(Clone)]
pub struct Integers {
    zero: Chance,
    negative: Chance,
    /// By sign: whether the size is more than so many bits.
    longer: [[Chance; Self::LONGEST as usize]; 2],
    /// By sign and size: the second bit, then the third after either.
    leading: [[[Chance; 3]; Self::TOLD as usize]; 2],
}

impl Integers {
    /// Largest size, in bits behind the first.
    const LONGEST: u32 = 62;
    /// Sizes from this one on are alike in their bits.
    const TOLD: u32 = 6;

    pub fn new() -> Self {
        Integers {
            zero: Chance::EVEN,
            negative: Chance::EVEN,
            longer: [[Chance::EVEN; _]; 2],
            leading: [[[Chance::EVEN; 3]; _]; 2],
        }
    }

    /// The integer that is written, or read.
    pub fn code(&mut self, bits: &mut impl Bits, value: i64) -> i64 {
        let mut decide = |chance: &mut Chance, yes: bool| {
            let yes = bits.decide(yes, chance.yes);
            chance.learn(yes);
            yes
        };
        if decide(&mut self.zero, value == 0) {
            return 0;
        }
        let negative = decide(&mut self.negative, value < 0);
        let sign = usize::from(negative);
        let wanted = value.unsigned_abs().max(1);
        let mut size = 0;
        while size < Self::LONGEST && decide(&mut self.longer[sign][size as usize], wanted.ilog2() > size) {
            size += 1;
        }
        let leading = &mut self.leading[sign][size.min(Self::TOLD - 1) as usize];
        let mut found = 1u64;
        for below in (0..size).rev() {
            let bit = wanted >> below & 1 == 1;
            let bit = match size - 1 - below {
                0 => decide(&mut leading[0], bit),
                1 => decide(&mut leading[1 + (found & 1) as usize], bit),
                _ => decide(&mut Chance::EVEN.clone(), bit),
            };
            found = found << 1 | u64::from(bit);
        }
        if negative { (found as i64).wrapping_neg() } else { found as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_sizes_are_read_as_they_were_written() {
        let powers = (0..62).flat_map(|size| [1i64 << size, (1 << size) - 1, -(1 << size), 3 << (size / 2)]);
        let values: Vec<i64> = powers.chain([0; 300]).chain((0..2000).map(|k| k * k % 97 - 48)).collect();
        let (mut kind, mut writer) = (Integers::new(), Writer::new());
        values.iter().for_each(|&value| assert_eq!(kind.code(&mut writer, value), value));
        let bytes = writer.finish();
        let (mut kind, mut reader) = (Integers::new(), Reader::new(&bytes));
        values.iter().for_each(|&value| assert_eq!(kind.code(&mut reader, 0), value));
        assert!(reader.ended() && !reader.ended_early());
        kind.code(&mut reader, 0);
        (0..100).for_each(|_| _ = kind.code(&mut reader, 0));
        assert!(reader.ended_early());
    }

    #[test]
    fn what_is_always_the_same_costs_next_to_nothing() {
        let (mut kind, mut writer) = (Integers::new(), Writer::new());
        (0..10_000).for_each(|_| _ = kind.code(&mut writer, -5));
        assert!(writer.finish().len() < 100);
    }
}
