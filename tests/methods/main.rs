//! Every hypergradient method, on problems small enough to be known in closed form or to be checked by
//! differences, in f64.

mod implicit;
mod matrix;
mod network;
mod online;
mod problems;
mod vectors;
