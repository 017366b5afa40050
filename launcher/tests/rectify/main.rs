//! The front door from outside: the real binary and the real `mpirun`, with a shell script in the trainer's place.

mod checks;
mod failures;
mod hosts;
mod looks;
mod plans;
mod simulations;
mod stage;
mod stopping;
mod sweeps;
