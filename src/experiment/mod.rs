//! Named studies and checks: what the command line and the page run.

pub mod config;
pub mod golden;
pub mod record;
pub mod tune;
