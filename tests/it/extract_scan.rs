//! Scans: what they read, how they end, and what goes wrong.
