//! For tests: the real binary on port 0, raw clients, load.
