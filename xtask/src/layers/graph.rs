//! Which crate uses which, as `cargo metadata` tells it.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// The crates of the workspace, and every package's dependencies by name.
#[derive(Debug, Default)]
pub struct Graph {
    /// The workspace's own crates, sorted by name.
    pub members: Vec<Member>,
    /// What each package (ours and others') uses to be built or linked; dev-dependencies are not in it. Two versions of one
    /// package count as one.
    pub uses: BTreeMap<String, BTreeSet<String>>,
}

/// A crate of the workspace.
#[derive(Debug)]
pub struct Member {
    /// The package's name.
    pub name: String,
    /// Its folder, relative to the workspace's root.
    pub folder: String,
    /// Its dependencies on other crates of the workspace.
    pub arrows: Vec<Arrow>,
}

/// A dependency of one crate of the workspace on another.
#[derive(Debug)]
pub struct Arrow {
    /// The crate that is used.
    pub to: String,
    /// In which table of `Cargo.toml` it stands.
    pub kind: ArrowKind,
}

/// The tables of `Cargo.toml` that make arrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrowKind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

impl ArrowKind {
    /// For messages: "a dependency on", …
    pub fn in_words(self) -> &'static str {
        match self {
            ArrowKind::Normal => "a dependency on",
            ArrowKind::Build => "a build-dependency on",
            ArrowKind::Dev => "a dev-dependency on",
        }
    }

    fn of(kind: DependencyKind) -> ArrowKind {
        match kind {
            DependencyKind::Build => ArrowKind::Build,
            DependencyKind::Development => ArrowKind::Dev,
            _ => ArrowKind::Normal,
        }
    }
}

impl Graph {
    /// Asks cargo about the workspace at `root`, for Linux on x86-64 with default features. Works without a network where the
    /// workspace has been built; cargo's own message otherwise.
    pub fn of_workspace(root: &Path) -> Result<Graph> {
        let options = ["--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"];
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(options.map(str::to_owned).to_vec())
            .exec()
            .context("asking `cargo metadata` for the crates of the workspace")?;
        let names: BTreeMap<&PackageId, &str> =
            metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
        let resolve = metadata.resolve.as_ref().context("`cargo metadata` told no dependencies")?;

        let mut graph = Graph::default();
        for node in &resolve.nodes {
            let uses = graph.uses.entry(names[&node.id].to_owned()).or_default();
            for dependency in &node.deps {
                if dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development) {
                    uses.insert(names[&dependency.pkg].to_owned());
                }
            }
        }
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
            let folder = folder.strip_prefix(&metadata.workspace_root).context("a member lies in the workspace")?;
            // The manifest itself rather than what was resolved: an optional dependency is an arrow too.
            let is_ours = |name: &str| metadata.workspace_packages().iter().any(|other| other.name.as_str() == name);
            let arrows = package.dependencies.iter().filter(|dependency| is_ours(&dependency.name));
            let arrows = arrows.map(|arrow| Arrow { to: arrow.name.clone(), kind: ArrowKind::of(arrow.kind) });
            graph.members.push(Member {
                name: package.name.to_string(),
                folder: folder.to_string(),
                arrows: arrows.collect(),
            });
        }
        graph.members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(graph)
    }

    /// The shortest chain of packages by which `from` uses `to`, both ends included; `None` where it does not.
    pub fn chain(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut reached_by: BTreeMap<&str, &str> = BTreeMap::new();
        let mut waiting = VecDeque::from([from]);
        while let Some(name) = waiting.pop_front() {
            if name == to {
                let mut chain = vec![name.to_owned()];
                while let Some(before) = reached_by.get(chain[chain.len() - 1].as_str()) {
                    chain.push((*before).to_owned());
                }
                chain.reverse();
                return Some(chain);
            }
            for next in self.uses.get(name).into_iter().flatten() {
                if next != from && !reached_by.contains_key(next.as_str()) {
                    reached_by.insert(next, name);
                    waiting.push_back(next);
                }
            }
        }
        None
    }
}
