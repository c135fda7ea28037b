//! The story of an incident: every pair of state and event.
