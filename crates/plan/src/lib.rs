//! What a run will do: the config schema, its validation, and the resolved plan.
