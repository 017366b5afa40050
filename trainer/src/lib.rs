//! Composes everything: loop, task, optimiser, state, checkpoints.
