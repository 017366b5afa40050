//! Every kernel compiles for GPUs, from the sources that the program carries and with the options
//! that it gives, without a warning or a spill, and takes as many registers as a table says.
//!
//! This needs NVIDIA's compiler, which `make setup` brings, and no GPU. It goes down to machine
//! code, so that the few instructions written by hand are assembled too.

#[path = "checks/row_lengths.rs"]
mod row_lengths;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kernels::cuda::{CompileError, KernelCache, KernelCompiler, KernelSource, Nvrtc};

/// A100, H100 and H200, B200.
const ARCHITECTURES: [u32; 3] = [80, 90, 100];
/// Writes the tables instead of comparing with them, every row.
const WRITE: &str = "RECTIFY_WRITE_REGISTERS";
const HOW: &str = "RECTIFY_WRITE_REGISTERS=1 cargo test --release -p kernels --test nvrtc";

fn nvrtc() -> Nvrtc {
    let folder = env::var("CUDA_BUILD").map(PathBuf::from).unwrap_or_default().join("nvidia/cu13/lib");
    Nvrtc::open(&[folder]).unwrap_or_else(|error| panic!("{error}; `make setup` brings it"))
}

fn is_set(variable: &str) -> bool {
    env::var(variable).is_ok_and(|value| value == "1")
}

/// All rows of the tables: activations and sums in every kind of numbers; norms for every length of
/// rows, in f32 to bf16 with every access, and in f32 and f64 with whole accesses, which is where
/// registers are short. Norms to f16 differ from those to bf16 in one instruction.
fn tabulated() -> Vec<KernelSource> {
    let lengths: Vec<i64> = row_lengths::SOME.into_iter().chain(row_lengths::EVERY_VARIANT).collect();
    let is = |kernel: &KernelSource, word: &str| kernel.definitions.contains(word);
    let is_row = |kernel: &KernelSource| {
        let whole = is(kernel, "ACCESS=Words") && !is(kernel, "NARROW=F16");
        kernel.file != "norm.cu" || is(kernel, "NARROW=Bf16") || whole
    };
    KernelSource::all(&lengths).into_iter().filter(is_row).collect()
}

/// Those that are compared without `RECTIFY_ALL_TESTS=1`, on sm_90 alone: activations in f32 and
/// bf16, sums, and norms of f32 to bf16 with whole accesses.
fn is_compared_always(kernel: &KernelSource, architecture: u32) -> bool {
    let is = |word: &str| kernel.definitions.contains(word);
    architecture == 90
        && match kernel.file.as_str() {
            "norm.cu" => is("NARROW=Bf16") && is("ACCESS=Words"),
            "activation.cu" => is("STORAGE=Bf16") || is("STORAGE=float"),
            _ => true,
        }
}

/// Registers of a thread and bytes that it spills, as ptxas tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    registers: u32,
    spilled: u32,
}

/// What ptxas tells of each kernel of a file, and an error where it or the compiler said anything
/// else.
fn uses(log: &str) -> Result<Vec<(String, Use)>, String> {
    let number_before = |line: &str, words: &str| -> Option<u32> {
        line.split_once(words)?.0.rsplit(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let (mut all, mut spilled) = (Vec::new(), None);
    let mut name: Option<String> = None;
    for line in log.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.split_once("Compiling entry function '") {
            name = rest.1.split_once('\'').map(|(name, _)| name.to_owned());
        } else if let Some(stored) = number_before(line, " bytes spill stores") {
            let loaded = number_before(line, " bytes spill loads").ok_or_else(|| line.to_owned())?;
            // A stack frame without a spill is as slow: arrays that are not in registers.
            let frame = number_before(line, " bytes stack frame").ok_or_else(|| line.to_owned())?;
            spilled = Some((stored + loaded).max(frame));
        } else if let Some(registers) = line.split_once("Used ").and_then(|(_, rest)| number_before(rest, " registers"))
        {
            let (Some(name), Some(spilled)) = (name.take(), spilled.take()) else { return Err(line.to_owned()) };
            all.push((name, Use { registers, spilled }));
        } else if !line.starts_with("ptxas info") {
            return Err(line.to_owned());
        }
    }
    if all.is_empty() { Err("ptxas told of no kernel".into()) } else { Ok(all) }
}

/// Does `work` for the places of a list on all cores, and answers in their order.
fn on_all_cores<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..thread::available_parallelism().map_or(1, usize::from))
            .map(|_| {
                scope.spawn(|| {
                    let places =
                        std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < count));
                    places.map(|place| (place, work(place))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The cells of a table by file of kernels, row (kernel and definitions) and architecture.
type Cells = BTreeMap<(String, String), BTreeMap<u32, Use>>;

fn fixture(file: &str) -> PathBuf {
    let name = format!("registers_{}.txt", file.trim_end_matches(".cu"));
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn written(cells: &Cells, file: &str, compiler: &str) -> String {
    let mut text = format!(
        "# Registers of a thread of each kernel of {file}, for sm_80, sm_90 and sm_100; (bytes) behind what spills.\n\
         # Of {compiler} (scripts/cuda-build.txt).\n# Written by: {HOW}\n"
    );
    for ((_, row), of_row) in cells.iter().filter(|((of, _), _)| of == file) {
        for used in of_row.values() {
            let spilled = if used.spilled > 0 { format!("({})", used.spilled) } else { String::new() };
            write!(text, "{:<8}", format!("{}{spilled}", used.registers)).expect("a string");
        }
        writeln!(text, "{row}").expect("a string");
    }
    text
}

fn read(file: &str, compiler: &str) -> Cells {
    let text = fs::read_to_string(fixture(file)).unwrap_or_else(|error| panic!("{error}: write it with {HOW}"));
    assert!(text.contains(compiler), "the table of {file} is not of {compiler}: compare, then write it with {HOW}");
    let mut cells = Cells::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let mut of_row = BTreeMap::new();
        for architecture in ARCHITECTURES {
            let cell = words.next().expect("a cell for each architecture");
            let (registers, spilled) = cell.trim_end_matches(')').split_once('(').unwrap_or((cell, "0"));
            let number = |word: &str| word.parse().expect("a number");
            of_row.insert(architecture, Use { registers: number(registers), spilled: number(spilled) });
        }
        cells.insert((file.to_owned(), words.collect::<Vec<_>>().join(" ")), of_row);
    }
    cells
}

/// The most registers that a thread of a kernel may take. A processor has 65536: with 64 a thread
/// it has room for 1024 threads, two blocks of 512 or four of 256; with 80 for 768, with 128 for
/// 512. The bounds follow from the launch bounds of activation.cu and norm.cu:
///
/// - activations: 64, but in f64, and 80 backward in a table, whose cells each element looks up;
/// - images: 64, so that shared memory, of which a block has 32 kB, is what bounds their blocks;
/// - norms forward in f32: 64 with up to three groups of 16 bytes a thread, else 80; on sm_100,
///   whose compiler takes more, 80 with three groups and 128 with four;
/// - norms backward in f32 with whole accesses: 64 with one group, and 80 with up to three (on
///   sm_100 two) where there is no LayerScale, whose gradient is a third sum of columns;
/// - all others 128, which is two blocks of 256 or one of 512; once 255 where four groups with
///   LayerScale are narrow accesses or all f32, and in f64, which is for tests alone.
fn most_registers(row: &str, architecture: u32) -> u32 {
    let is = |word: &str| row.contains(word);
    let groups = (1..=4).find(|groups| is(&format!("ROW_GROUPS={groups} "))).unwrap_or(0);
    let extra = u32::from(architecture >= 100);
    if is("double") {
        return 255;
    }
    match row.split_once(' ').map_or(row, |(name, _)| name) {
        "activation_backward" if is("Tabulated") => 80,
        "activation_forward" | "activation_backward" | "prepare_images" => 64,
        "norm_forward" => match groups + extra {
            ..=3 => 64,
            4 => 80,
            _ => 128,
        },
        "norm_backward" if groups == 4 && is("Scaled") && (!is("ACCESS=Words") || is("NARROW=float")) => 255,
        "norm_backward" if !is("ACCESS=Words") || is("ROW_LANES=512") => 128,
        "norm_backward" if groups == 1 => 64,
        "norm_backward" if groups + extra <= 3 && !is("Scaled") => 80,
        _ => 128,
    }
}

#[test]
fn every_kernel_takes_the_registers_of_its_table_and_spills_none() {
    let (nvrtc, write, all) = (nvrtc(), is_set(WRITE), is_set("RECTIFY_ALL_TESTS"));
    let units: Vec<(KernelSource, u32)> = tabulated()
        .into_iter()
        .flat_map(|kernel| ARCHITECTURES.map(|architecture| (kernel.clone(), architecture)))
        .filter(|(kernel, architecture)| write || all || is_compared_always(kernel, *architecture))
        .collect();
    let compiled = on_all_cores(units.len(), |place| {
        let (kernel, architecture) = &units[place];
        let compiled =
            nvrtc.compile(kernel, *architecture, &["--ptxas-options=-v"]).map_err(|error| error.to_string())?;
        uses(&compiled.log).map_err(|line| format!("{kernel:?} for sm_{architecture}: {line}\n{}", compiled.log))
    });
    let mut cells = Cells::new();
    for ((kernel, architecture), found) in units.iter().zip(compiled) {
        for (name, used) in found.unwrap_or_else(|problem| panic!("{problem}")) {
            let row = format!("{name} {}", kernel.definitions);
            cells.entry((kernel.file.clone(), row)).or_default().insert(*architecture, used);
        }
    }
    let files = ["activation.cu", "input.cu", "norm.cu", "sums.cu"];
    if write {
        for file in files {
            fs::write(fixture(file), written(&cells, file, &nvrtc.identity())).expect("a file of this crate");
        }
    }
    let mut problems = String::new();
    let table: Cells = files.iter().flat_map(|file| read(file, &nvrtc.identity())).collect();
    for (row, of_row) in &cells {
        for (architecture, used) in of_row {
            let expected = table.get(row).and_then(|of_row| of_row.get(architecture));
            if expected != Some(used) {
                writeln!(problems, "{}, sm_{architecture}: {used:?}, and {expected:?} in the table", row.1)
                    .expect("a string");
            }
        }
    }
    for ((_, row), of_row) in &table {
        for (architecture, used) in of_row {
            let most = most_registers(row, *architecture);
            if used.spilled > 0 || used.registers > most {
                writeln!(problems, "{row}, sm_{architecture}: {used:?}; it may take {most} and spill none")
                    .expect("a string");
            }
        }
    }
    let rows: Vec<_> = tabulated().into_iter().map(|kernel| kernel.definitions).collect();
    for (_, row) in table.keys() {
        let definitions = row.split_once(' ').map_or("", |(_, definitions)| definitions);
        if !rows.iter().any(|known| known == definitions) {
            writeln!(problems, "{row} is in the table, and there is no such kernel").expect("a string");
        }
    }
    assert!(problems.is_empty(), "{problems}where a change is meant, write the table with {HOW}");
}

/// The oldest that CUDA 13 knows has no bf16 of its own and fewer threads.
#[test]
fn the_oldest_architecture_is_served() {
    let nvrtc = nvrtc();
    let is = |kernel: &KernelSource, word: &str| kernel.definitions.contains(word);
    let kernels = KernelSource::all(&[384]).into_iter().filter(|kernel| {
        ["input.cu", "sums.cu"].contains(&kernel.file.as_str())
            || is(kernel, "FORMULA=CrGelu")
            || is(kernel, "Words -DROW_BRANCH=Scaled")
    });
    let kernels: Vec<_> = kernels.collect();
    assert_eq!(kernels.len(), 4 + 3 + 4 + 4);
    let logs = on_all_cores(kernels.len(), |place| nvrtc.compile(&kernels[place], 75, &[]));
    for (kernel, compiled) in kernels.iter().zip(logs) {
        let log = compiled.unwrap_or_else(|error| panic!("{error}")).log;
        assert!(log.trim().is_empty(), "{kernel:?}: {log}");
    }
}

fn sums(definitions: &str) -> KernelSource {
    KernelSource { file: "sums.cu".into(), definitions: definitions.into() }
}

#[test]
fn what_does_not_compile_is_an_error_of_one_line() {
    let nvrtc = nvrtc();
    let error = nvrtc.compile(&sums("-DFROM=float -DTO=nothing"), 90, &[]).expect_err("no such type");
    let text = error.to_string();
    assert!(
        text.contains("sums.cu") && text.contains("nothing") && text.contains("sm_90") && !text.contains('\n'),
        "{text}"
    );
    let error = nvrtc.compile(&KernelSource { file: "none.cu".into(), definitions: String::new() }, 90, &[]);
    assert_eq!(error, Err(CompileError::NoSource { file: "none.cu".into() }));
}

/// Compiled once, then read; what another architecture, definition or compiler would make has an
/// entry of its own.
#[test]
fn the_cache_holds_what_was_compiled_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = || Some(KernelCache::new(folder.path()));
    let compiler = KernelCompiler::new(nvrtc(), cache());
    let kernel = sums("-DFROM=float -DTO=float");
    let first = compiler.cubin(&kernel, 90).expect("compiles");
    assert!(!first.cached && first.code.starts_with(b"\x7fELF"));
    let again = KernelCompiler::new(nvrtc(), cache()).cubin(&kernel, 90).expect("compiles");
    assert!(again.cached && again.code == first.code);
    for (other, architecture) in [(&kernel, 80), (&sums("-DFROM=double -DTO=float"), 90)] {
        let found = compiler.cubin(other, architecture).expect("compiles");
        assert!(!found.cached && found.code != first.code);
    }
    assert!(!KernelCompiler::new(nvrtc(), None).cubin(&kernel, 90).expect("compiles").cached);
}

#[test]
fn a_damaged_entry_is_compiled_again_and_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let compiler = KernelCompiler::new(nvrtc(), Some(KernelCache::new(folder.path())));
    let kernel = sums("-DFROM=float -DTO=float");
    let first = compiler.cubin(&kernel, 90).expect("compiles");
    let entry = fs::read_dir(folder.path()).expect("a folder").next().expect("an entry").expect("an entry").path();
    let mut bytes = fs::read(&entry).expect("an entry");
    let last = bytes.len() - 1;
    bytes[last] ^= 0x40;
    fs::write(&entry, bytes).expect("a file");
    let again = compiler.cubin(&kernel, 90).expect("compiles");
    assert!(!again.cached && again.code == first.code);
    assert!(compiler.cubin(&kernel, 90).expect("compiles").cached);
}

/// Ranks that start together on an empty cache, and one that cannot keep anything.
#[test]
fn ranks_at_once_and_a_folder_that_cannot_be_written_are_fine() {
    let folder = tempfile::tempdir().expect("a folder");
    let kernel = sums("-DFROM=float -DTO=float");
    let ranks = on_all_cores(4, |_| {
        let compiler = KernelCompiler::new(nvrtc(), Some(KernelCache::new(folder.path())));
        compiler.cubin(&kernel, 90).expect("compiles").code
    });
    assert!(ranks.iter().all(|code| *code == ranks[0]));
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let compiler = KernelCompiler::new(nvrtc(), Some(KernelCache::new(file)));
    assert_eq!(compiler.cubin(&kernel, 90).expect("compiles").code, ranks[0]);
}

/// Images are prepared to the bits of the loader, which rounds each product before it adds to it,
/// and of libtorch's mixing, which does not. The compiler would fuse every product with a sum if the
/// source let it; the emulation on a CPU cannot show that.
#[test]
fn preparing_images_rounds_where_the_loader_and_mixing_round() {
    let nvrtc = nvrtc();
    for storage in ["float", "Bf16"] {
        let kernel = KernelSource { file: "input.cu".into(), definitions: format!("-DSTORAGE={storage}") };
        let ptx = nvrtc.ptx(&kernel, 90).expect("compiles");
        let [fused, sums, products] =
            ["fma.rn.f32", "add.rn.f32", "mul.rn.f32"].map(|operation| ptx.matches(operation).count());
        // For a number and its partner: two are normalized, one is scaled, and the other is scaled
        // and added in one.
        assert!(fused > 0 && [sums, products] == [2 * fused, 3 * fused], "{fused}, {sums}, {products}:\n{ptx}");
    }
}
