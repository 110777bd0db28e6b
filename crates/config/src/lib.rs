//! The one table of settings. No I/O.
