//! Who this process is among the ranks of a job, and how it may end.
