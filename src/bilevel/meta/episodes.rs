//! Few-shot tasks, and how they are drawn on the device.

use crate::bilevel::draws;
use crate::ir::{Graph, NodeId, Scalar};
use crate::rng::Purpose;

/// How many examples a task has: of each of its classes some to learn from and some to be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Classes.
    pub ways: usize,
    /// Support examples of a class.
    pub shots: usize,
    /// Query examples of a class.
    pub queries: usize,
}

impl Shape {
    /// Support examples of a task.
    pub fn support(&self) -> usize {
        self.ways * self.shots
    }

    /// Query examples of a task.
    pub fn query(&self) -> usize {
        self.ways * self.queries
    }
}

/// A task as nodes of a graph, its classes counted from 0. Rows are in any order.
#[derive(Clone, Copy, Debug)]
pub struct Episode {
    /// Classes.
    pub ways: usize,
    /// Support examples `[support, …]`.
    pub x: NodeId,
    /// Their classes, words `[support]`.
    pub y: NodeId,
    /// Query examples `[query, …]`.
    pub xq: NodeId,
    /// Their classes, words `[query]`.
    pub yq: NodeId,
    /// The cell of the pool that each class is drawn from, words `[ways]`; none where the task is given.
    pub cells: Option<NodeId>,
}

/// What the classes of an episode are drawn from. A *cell* has the rows of a class in one form, those for support and those for
/// queries: [`cells`](Drawing::cells) says how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// An episode has different ones of so many classes, each in one of so many forms (rotations, say). Cell
    /// `forms · class + form`.
    Classes {
        /// Classes, as many as an episode has ways or more.
        classes: usize,
        /// Forms of each.
        forms: usize,
    },
    /// An episode has all classes of one of so many people, in their order. Cell `ways · person + class`.
    People {
        /// People.
        people: usize,
    },
}

/// Numbers of a cell in its table: the first row for support, how many there are, and the same for queries.
pub(super) const CELL: usize = 4;

/// The streams of draws under an episode's key.
const SUPPORT: u32 = 0;
const QUERY: u32 = 1;
const FORM: u32 = 2;
const PERSON: u32 = 3;

impl Drawing {
    /// Cells that there are.
    pub fn cells(self, ways: usize) -> usize {
        match self {
            Drawing::Classes { classes, forms } => classes * forms,
            Drawing::People { people } => people * ways,
        }
    }

    /// Rows of an episode's support and query examples, a class after the other, and its classes' cells. `cells` (words `[cells, 4]`) are the
    /// cells' rows; where both kinds of a cell are the same rows, no row is in both. A function of the seed (`[2]`), the time (`[1]`) and
    /// the number of the episode among those of that time (`[1]`).
    pub(super) fn rows(self, g: &mut Graph, shape: Shape, cells: NodeId, at: Key) -> ([NodeId; 2], NodeId) {
        let Shape { ways, shots, queries } = shape;
        let key = at.episode(g);
        let key = key.map(|word| g.broadcast_to(word, &[ways]));
        let slot = g.iota(&[ways], 0);
        let cell = match self {
            Drawing::Classes { classes, forms } => {
                let all = g.full_u(&[ways], classes as u32);
                let class = g.scalar(Scalar::PermuteIndex, &[key[0], key[1], all, slot]);
                let form = draws::words(g, key, slot, FORM);
                let forms = g.full_u(&[ways], forms as u32);
                let form = g.scalar(Scalar::RemU, &[form, forms]);
                let first = g.scalar(Scalar::MulU, &[class, forms]);
                g.scalar(Scalar::AddU, &[first, form])
            }
            Drawing::People { people } => {
                let nobody = g.full_u(&[ways], 0);
                let person = draws::words(g, key, nobody, PERSON);
                let people = g.full_u(&[ways], people as u32);
                let person = g.scalar(Scalar::RemU, &[person, people]);
                let all = g.full_u(&[ways], ways as u32);
                let first = g.scalar(Scalar::MulU, &[person, all]);
                g.scalar(Scalar::AddU, &[first, slot])
            }
        };
        let table = g.take_rows(cells, cell);
        let [first, count, query_first, query_count] = [0, 1, 2, 3].map(|k| {
            let column = g.slice(table, &[0, k], &[ways, 1], &[1, 1]);
            g.reshape(column, &[ways])
        });
        let is_same = g.eq_u(first, query_first);
        let (none, after) = (g.full_u(&[ways], 0), g.full_u(&[ways], shots as u32));
        let behind = g.select(is_same, after, none);
        // Where both kinds are the same rows, queries go on in the order of the support examples.
        let [support, query] = [SUPPORT, QUERY].map(|stream| {
            let stream = g.full_u(&[ways], stream);
            [Scalar::Threefry0, Scalar::Threefry1].map(|word| g.scalar(word, &[key[0], key[1], slot, stream]))
        });
        let query = [0, 1].map(|k| g.select(is_same, support[k], query[k]));
        let drawn = |g: &mut Graph, [first, count, behind]: [NodeId; 3], key: [NodeId; 2], each: usize| {
            let wide = [ways, each];
            let place = g.iota(&wide, 1);
            let [first, count, behind, key0, key1] =
                [first, count, behind, key[0], key[1]].map(|of| g.broadcast(of, &wide, &[0]));
            let place = g.scalar(Scalar::AddU, &[place, behind]);
            let place = g.scalar(Scalar::PermuteIndex, &[key0, key1, count, place]);
            let row = g.scalar(Scalar::AddU, &[first, place]);
            g.reshape(row, &[ways * each])
        };
        let support = drawn(g, [first, count, none], support, shots);
        let query = drawn(g, [query_first, query_count, behind], query, queries);
        ([support, query], cell)
    }
}

/// Whose draws an episode is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// What its stream is for.
    pub purpose: Purpose,
    /// `[2]`, see [`crate::rng::split_seed`].
    pub seed: NodeId,
    /// `[1]`
    pub time: NodeId,
    /// Which of the episodes of that time it is, `[1]`.
    pub member: NodeId,
}

impl Key {
    /// The episode's own key, two words `[1]`.
    fn episode(self, g: &mut Graph) -> [NodeId; 2] {
        let key = draws::stream_key(g, self.seed, self.purpose, self.time, 1);
        let nothing = g.full_u(&[1], 0);
        [Scalar::Threefry0, Scalar::Threefry1].map(|word| g.scalar(word, &[key[0], key[1], self.member, nothing]))
    }
}

/// The classes of an episode's rows, `each` of every class one after another.
pub(super) fn labels(g: &mut Graph, ways: usize, each: usize) -> NodeId {
    let class = g.iota(&[ways, each], 0);
    g.reshape(class, &[ways * each])
}
