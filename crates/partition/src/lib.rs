//! One replica as a pure state machine. No I/O, no clock.
