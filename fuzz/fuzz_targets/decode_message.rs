//! Any bytes give a message or an error, and any messages a transaction or an error: never a panic, never
//! more memory than a small multiple of the input, never a row that reaches beyond it.
//!
//! An input is a stream: per message a big-endian length of 16 bits and that many bytes.

#![no_main]

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use stream_core::assemble::Assembler;
use stream_core::change::Tuple;
use stream_core::pgoutput::{Framing, Message, decode};

fuzz_target!(|data: &[u8]| {
    let mut stream = Bytes::copy_from_slice(data);
    let mut assembler = Assembler::new();
    while let Ok(length) = stream.try_get_u16() {
        let body = stream.split_to(stream.len().min(length.into()));
        if let Ok(message) = decode(body.clone(), Framing::Streamed) {
            check(&message, body.len());
        }
        if let Ok(message) = decode(body.clone(), Framing::Whole) {
            check(&message, body.len());
            // An error ends a stream; going on here only visits more states.
            let _ = assembler.push(message);
        }
    }
});

/// Walks over what the message holds.
fn check(message: &Message, length: usize) {
    match message {
        Message::Insert { new, .. } => check_row(new, length),
        Message::Update { old, new, .. } => {
            check_row(new, length);
            if let Some(old) = old {
                check_row(old.tuple(), length);
            }
        }
        Message::Delete { old, .. } => check_row(old.tuple(), length),
        Message::Relation { relation, .. } => assert!(relation.columns.capacity() <= length),
        Message::Truncate { relations, .. } => assert!(relations.capacity() <= length),
        _ => {}
    }
}

fn check_row(row: &Tuple, length: usize) {
    assert_eq!(row.iter().count(), row.len());
    assert!(row.size_bytes() < length);
}
