//! What a run will do: the config schema, its validation, and the resolved plan.
//!
//! [`load`] reads a TOML file and `--set a.b=v` overrides into a [`Config`]; [`Plan::resolve`] turns that, with what is
//! known of the data and the number of ranks, into steps and batches. Nothing here opens a data set or links libtorch, so
//! the launcher can refuse a bad config before any process starts.
//!
//! ```
//! use plan::{DataFacts, Plan};
//! let text = "[data]\npath = 'digits'\n[model]\nname = 'vit_tiny_patch16_224'\n[train]\nbatch_size = 64";
//! let config = plan::parse(text, "x.toml".as_ref(), &["schedule.epochs=20".to_owned()]).unwrap();
//! let facts = DataFacts { train_samples: 1000, val_samples: 100, num_classes: 10 };
//! let plan = Plan::resolve(config, facts, 2).unwrap();
//! assert_eq!((plan.total_steps, plan.rank_batch), (313, 32)); // 20 epochs of 15.625 steps each
//! ```

pub mod config;
mod error;
mod learning_rate;
mod load;
mod memory;
pub mod models;
pub mod recipes;
mod resolve;
mod schema;

pub use config::Config;
pub use error::{ConfigError, Place, nearest};
pub use learning_rate::{Curve, Shape};
pub use load::{load, parse};
pub use memory::Memory;
pub use resolve::{DataFacts, Every, Plan};
pub use schema::{Key, Kind};
