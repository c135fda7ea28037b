//! What unsplit offers to other programs: the agent, which serves one other unsplit over a byte stream.

pub mod agent;
mod armed;
pub mod confine;
pub mod desk;
