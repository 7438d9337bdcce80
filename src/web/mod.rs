//! The browser's edge: messages between the page and its worker, and the class that the worker drives.

mod bridge;
pub mod protocol;
mod verify;
