//! Values of all types, by the binary and the text road.
