//! Throwaway control planes: they start, several at a time, and never outlive their owner.
fn main() {}
