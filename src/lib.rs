//! Bilevel optimisation on any GPU.
