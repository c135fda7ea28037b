//! Against an in-memory disk.
