//! Black-box tests of the stores. A binary of their own: they need nothing of the other connectors.

#[path = "cases/store/mod.rs"]
mod store;
