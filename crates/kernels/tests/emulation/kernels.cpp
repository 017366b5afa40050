// The kernels under cuda/ on a CPU, as a table that tests can use: every one that tests can ask for, by what it is compiled with.

#include <string.h>

#include <string>
#include <unordered_map>

#include "gpu.h"

#include "../../cuda/activation.cu"
#include "../../cuda/input.cu"
#include "../../cuda/norm.cu"
#include "../../cuda/sums.cu"
#include "cuda_table.h"

namespace rectify {
namespace {

using Run = void (*)(void** arguments);

template <class F, class S> void run_activation_forward(void** arguments) {
  device::forward<F, S>(*(const ActivationTensors*)arguments[0], *(const Tiles*)arguments[1]);
}
template <class F, class S> void run_activation_backward(void** arguments) {
  device::backward<F, S>(*(const ActivationTensors*)arguments[0], *(const Tiles*)arguments[1]);
}
template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS, RowBranch BRANCH> void run_norm_forward(void** arguments) {
  device::forward<T, S, LANES, GROUPS, ACCESS, BRANCH>(*(const NormForward*)arguments[0], *(const Rows*)arguments[1]);
}
template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS, RowBranch BRANCH> void run_norm_backward(void** arguments) {
  device::backward<T, S, LANES, GROUPS, ACCESS, BRANCH>(*(const NormBackward*)arguments[0], *(const Rows*)arguments[1]);
}
template <class S> void run_prepare_images(void** arguments) {
  device::prepare<S>(*(const InputTensors*)arguments[0], *(const InputShape*)arguments[1]);
}
template <class From, class To> void run_sums(void** arguments) { device::add_up<From, To>(*(const Sums*)arguments[0]); }

using Known = std::unordered_map<std::string, Run>;

std::string key_of(const Kernel& kernel) { return std::string(kernel.name) + " " + kernel.definitions; }

template <class F, class S> void add_activation(Known& known, const char* formula, const char* storage) {
  std::string definitions = std::string(" -DFORMULA=") + formula + " -DSTORAGE=" + storage;
  known["activation_forward" + definitions] = run_activation_forward<F, S>;
  known["activation_backward" + definitions] = run_activation_backward<F, S>;
}

template <class F> void add_storages(Known& known, const char* formula) {
  add_activation<F, float>(known, formula, "float");
  add_activation<F, double>(known, formula, "double");
  add_activation<F, device::Bf16>(known, formula, "Bf16");
  add_activation<F, device::F16>(known, formula, "F16");
}

template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS, RowBranch BRANCH>
void add_norm(Known& known, const char* wide, const char* narrow) {
  std::string definitions = std::string(" -DWIDE=") + wide + " -DNARROW=" + narrow + " -DROW_LANES=" + std::to_string(LANES) +
                            " -DROW_GROUPS=" + std::to_string(GROUPS) + " -DROW_ACCESS=" + name_of(ACCESS) +
                            " -DROW_BRANCH=" + name_of(BRANCH);
  known["norm_forward" + definitions] = run_norm_forward<T, S, LANES, GROUPS, ACCESS, BRANCH>;
  known["norm_backward" + definitions] = run_norm_backward<T, S, LANES, GROUPS, ACCESS, BRANCH>;
}

template <class T, class S, int LANES, int GROUPS, RowAccess ACCESS>
void add_branches(Known& known, const char* wide, const char* narrow) {
  add_norm<T, S, LANES, GROUPS, ACCESS, RowBranch::None>(known, wide, narrow);
  add_norm<T, S, LANES, GROUPS, ACCESS, RowBranch::Plain>(known, wide, narrow);
  add_norm<T, S, LANES, GROUPS, ACCESS, RowBranch::Scaled>(known, wide, narrow);
}

// The kernels for rows of one length.
template <class T, class S, int64_t COLUMNS> void add_rows(Known& known, const char* wide, const char* narrow) {
  constexpr Teams teams = teams_of({0, 1, COLUMNS, 1}, sizeof(T));
  if constexpr (COLUMNS * sizeof(T) % 16 == 0) {
    add_branches<T, S, teams.lanes, teams.groups, RowAccess::Words>(known, wide, narrow);
    add_branches<T, S, teams.lanes, teams.groups, RowAccess::Grouped>(known, wide, narrow);
  } else {
    add_branches<T, S, teams.lanes, teams.groups, RowAccess::Spread>(known, wide, narrow);
  }
}

template <class T, class S, int64_t... COLUMNS> void add_all_rows(Known& known, const char* wide, const char* narrow) {
  (add_rows<T, S, COLUMNS>(known, wide, narrow), ...);
}

// Row lengths of checks/norm.rs: SHAPES, of every kind, and EVERY_VARIANT, of one.
#define SOME_ROWS 1, 7, 8, 16, 33, 64, 257, 1500, 3001
#define EVERY_VARIANT 23, 24, 63, 64, 127, 128, 191, 192, 383, 384, 511, 512, 767, 768, 1023, 1024, 1535, 1536, \
    2047, 2048, 3071, 3072, 4095, 4096, 6143, 6144

#define ADD(F) add_storages<device::F>(known, #F)

Known all_kernels() {
  Known known;
  ADD(Relu); ADD(CrRelu); ADD(PRelu); ADD(Gelu); ADD(Silu); ADD(Mish); ADD(StarRelu); ADD(CrGelu); ADD(CrSilu); ADD(CrMish);
  ADD(Tabulated);
  add_storages<device::Adjusted<device::Relu>>(known, "Adjusted<Relu>");
  add_storages<device::Adjusted<device::Gelu>>(known, "Adjusted<Gelu>");
  add_storages<device::Adjusted<device::Silu>>(known, "Adjusted<Silu>");
  add_storages<device::Adjusted<device::Mish>>(known, "Adjusted<Mish>");
  add_all_rows<float, float, SOME_ROWS>(known, "float", "float");
  add_all_rows<double, double, SOME_ROWS>(known, "double", "double");
  add_all_rows<float, device::F16, SOME_ROWS>(known, "float", "F16");
  add_all_rows<float, device::Bf16, SOME_ROWS, EVERY_VARIANT>(known, "float", "Bf16");
  known["prepare_images -DSTORAGE=float"] = run_prepare_images<float>;
  known["prepare_images -DSTORAGE=double"] = run_prepare_images<double>;
  known["prepare_images -DSTORAGE=Bf16"] = run_prepare_images<device::Bf16>;
  known["prepare_images -DSTORAGE=F16"] = run_prepare_images<device::F16>;
  known["sums -DFROM=float -DTO=float"] = run_sums<float, float>;
  known["sums -DFROM=double -DTO=double"] = run_sums<double, double>;
  known["sums -DFROM=double -DTO=float"] = run_sums<double, float>;
  return known;
}

const Known& known_kernels() {
  static const Known known = all_kernels();
  return known;
}

char* launch(int, const Kernel* kernel, const Grid* grid, void** arguments) {
  auto found = known_kernels().find(key_of(*kernel));
  if (found == known_kernels().end()) return strdup(("no kernel is called " + key_of(*kernel)).c_str());
  emulation::Place blocks{grid->blocks_across, grid->blocks_down}, threads{grid->threads_across, grid->threads_down};
  emulation::run_grid(blocks, threads, [&] { found->second(arguments); });
  return nullptr;
}

}  // namespace
}  // namespace rectify

extern "C" const rectify::CudaTable* emulation_table() {
  static rectify::CudaTable table = {};
  table.on_host = true;
  table.launch = rectify::launch;
  return &table;
}

// Calls `visit` with the definitions of every kernel.
extern "C" void emulation_each(void (*visit)(void* data, const char* definitions), void* data) {
  for (const auto& [key, run] : rectify::known_kernels()) visit(data, key.c_str() + key.find(' ') + 1);
}
