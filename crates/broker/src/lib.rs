//! The broker as a library: listeners, dispatch, one file per API, timers.
