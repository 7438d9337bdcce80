//! Sharing units of work among threads. Results never depend on how many there are: a unit's bounds
//! follow from the program alone.

use std::cell::RefCell;

/// A thread's memory for columns, for what a core computes, and for the operands of a contraction where it runs all of
/// a program by itself.
#[derive(Default)]
pub struct Workspace {
    pub columns: Vec<u32>,
    pub core: Vec<u32>,
    pub packed: [Vec<u32>; 2],
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

#[cfg(not(target_arch = "wasm32"))]
pub struct Threads(Option<rayon::ThreadPool>);

#[cfg(not(target_arch = "wasm32"))]
impl Threads {
    /// As many threads as asked for, or one for each processor for 0.
    pub fn new(count: usize) -> Self {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = if count == 0 { available() } else { count };
        let pool = (count > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(count).build().ok()).flatten();
        Threads(pool)
    }

    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Does work that calls `each`.
    pub fn within(&self, work: impl FnOnce() + Send) {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Calls `unit` for `0..count`, on whatever threads are free.
    pub fn each(&self, count: usize, unit: impl Fn(usize, &mut Workspace) + Sync) {
        use rayon::prelude::*;
        let run = |at| WORKSPACE.with_borrow_mut(|workspace| unit(at, workspace));
        match &self.0 {
            Some(_) if count > 1 => (0..count).into_par_iter().for_each(run),
            _ => (0..count).for_each(run),
        }
    }
}

/// The browser's worker has one thread.
#[cfg(target_arch = "wasm32")]
pub struct Threads;

#[cfg(target_arch = "wasm32")]
impl Threads {
    pub fn new(_: usize) -> Self {
        Threads
    }

    pub fn count(&self) -> usize {
        1
    }

    pub fn within(&self, work: impl FnOnce()) {
        work();
    }

    pub fn each(&self, count: usize, unit: impl Fn(usize, &mut Workspace)) {
        (0..count).for_each(|at| WORKSPACE.with_borrow_mut(|workspace| unit(at, workspace)));
    }
}
