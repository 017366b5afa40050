//! Networks built from the table of models in `plan`.
