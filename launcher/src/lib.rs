//! The front door: checks the plan, places, starts, watches and ends ranks.
