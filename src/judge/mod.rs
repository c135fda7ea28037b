//! Pure decisions: no I/O, no clock, no threads, no environment.

pub mod advice;
pub mod aftermath;
pub mod audit;
pub mod discarded;
pub mod incident;
pub mod lineage;
pub mod live;
pub mod overwritten;
pub mod planner;
pub mod policy;
pub mod units;
pub mod worse;
