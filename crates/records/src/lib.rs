//! Record batches (format v2): view, validate, stamp, iterate, build, compress. No I/O.
