//! A visitor's file, read where it lies: a piece at a time, and only what is asked for.

use std::io::{Error, Read, Result, Seek, SeekFrom};

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Blob, DomException, FileReaderSync};

use crate::data::recordings::{Openable, Seekable};

/// Bytes that are fetched at once.
const PIECE: u64 = 1 << 20;

impl Openable for Blob {
    fn open(&self) -> Result<Box<dyn Seekable>> {
        Ok(Box::new(Reader { blob: self.clone(), at: 0, piece: vec![], from: 0 }))
    }
}

/// Where somebody is in a blob.
struct Reader {
    blob: Blob,
    at: u64,
    /// The bytes that were fetched last, and where they begin.
    piece: Vec<u8>,
    from: u64,
}

impl Reader {
    fn length(&self) -> u64 {
        self.blob.size() as u64
    }

    /// Bytes at hand from where it is.
    fn at_hand(&self) -> &[u8] {
        let within = self.at.checked_sub(self.from).and_then(|within| usize::try_from(within).ok());
        within.and_then(|within| self.piece.get(within..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> std::result::Result<(), JsValue> {
        let end = (self.at + PIECE).min(self.length());
        let slice = self.blob.slice_with_f64_and_f64(self.at as f64, end as f64)?;
        let bytes = FileReaderSync::new()?.read_as_array_buffer(&slice)?;
        (self.piece, self.from) = (Uint8Array::new(&bytes).to_vec(), self.at);
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.at >= self.length() {
            return Ok(0);
        }
        if self.at_hand().is_empty() {
            self.fetch().map_err(|error| match error.dyn_ref::<DomException>() {
                Some(error) if matches!(&*error.name(), "NotReadableError" | "NotFoundError") => {
                    Error::other("it was changed or moved since it was chosen: choose it again")
                }
                Some(error) => Error::other(error.message()),
                None => Error::other("the browser does not say why"),
            })?;
        }
        let count = self.at_hand().len().min(into.len());
        into[..count].copy_from_slice(&self.at_hand()[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
