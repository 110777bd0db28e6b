//! Consumer groups and committed offsets as a replicated state machine. No I/O, no clock.
