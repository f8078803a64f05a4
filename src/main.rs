//! The `grantlog` program.

fn main() {}
