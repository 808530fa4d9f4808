//! An internet-server platform that is changed while it runs.
