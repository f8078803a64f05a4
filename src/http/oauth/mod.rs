//! The OAuth endpoints, one file or folder each, named like its path.

pub mod authorize;
