//! The searchers: formulas and decisions against reference vectors, strength on cheap functions, and studies that are
//! interrupted.

mod curves;
mod densities;
mod fidelity;
mod functions;
mod journal;
mod learned;
mod plain;
mod population;
mod resume;
mod strength;
mod vectors;
