# Rectify's front desk: `make` lists what can be asked for.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-all lint fmt doc bench-loader bench-step bench-allreduce bench-link gpu-bundle clean

# rustup's folder first: setup may have just made it, and no shell has been told yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# One compile job per core, but no more than memory allows: torch-sys' C++ alone takes about 2 GiB.
export CARGO_BUILD_JOBS ?= $(shell awk -v cores=$$(nproc) \
	'/MemAvailable/ { jobs = int($$2 / 2097152); print jobs < 1 ? 1 : jobs < cores ? jobs : cores }' /proc/meminfo)

CARGO_FLAGS := --release --locked

help: ## Say what can be asked for
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building and testing need (system packages, Rust, libtorch); quick where all is there
	@scripts/setup.sh

build: setup ## Build the binaries and the library for GPUs into target/release
	cargo build $(CARGO_FLAGS) --workspace --lib --bins

demo: build ## Set up, then train a small vision transformer on handwritten digits with two ranks (ARGS="--set …")
	@[ -d data/digits/train ] || target/release/rectify-data sample data/digits
	target/release/rectify train configs/demo.toml --nproc 2 $(ARGS)

test: setup lint ## Run the style checks and every test
	cargo build $(CARGO_FLAGS) --workspace --lib --bins
	cargo test $(CARGO_FLAGS) --workspace

test-all: export RECTIFY_ALL_TESTS = 1
test-all: test ## Run every test, those of the largest models and recipes too

# The second clippy is the build for a machine without MPI.
lint: setup ## Check the formatting, and run clippy with and without MPI
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	cargo clippy $(CARGO_FLAGS) -p collectives -p trainer --no-default-features -- -D warnings

fmt: setup ## Format all Rust files
	cargo fmt --all

doc: setup ## Build the API documentation into target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

bench-loader: build ## Compare the loader with its peers on a folder of JPEGs (DATA=DIR; else on images made for it)
	bench/loader.py $(DATA) $(ARGS)

bench-step: build ## Compare the training step with timm on PyTorch, eager and compiled (ARGS="--cases … --rounds …")
	bench/step.py $(ARGS)

bench-allreduce: build ## Compare two ranks with DistributedDataParallel over gloo, and with what could be (ARGS="--cases … --rounds …")
	bench/allreduce.py $(ARGS)

bench-link: build ## Measure how much communication two ranks on a slow link hide; needs root (ARGS="--cases … --rounds …")
	bench/link.py $(ARGS)

gpu-bundle: setup ## Make target/gpu-bundle, which checks and measures Rectify on a machine with a GPU; `make build` stays as it is (CIFAR=cifar10.tar.xz)
	scripts/gpu/bundle.sh $(CIFAR)

clean: ## Remove what was built (libtorch stays in the cache, runs and data where they are)
	rm -rf target
