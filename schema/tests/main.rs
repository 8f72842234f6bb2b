//! The tests of the schema from outside, as one program.

mod decode;
