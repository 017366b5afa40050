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
template <class T, class S, int GROUPS> void run_norm_forward(void** arguments) {
  device::forward<T, S, GROUPS>(*(const NormForward*)arguments[0], *(const Rows*)arguments[1]);
}
template <class T, class S, int GROUPS> void run_norm_backward(void** arguments) {
  device::backward<T, S, GROUPS>(*(const NormBackward*)arguments[0], *(const Rows*)arguments[1]);
}
template <class S> void run_prepare_images(void** arguments) {
  device::prepare<S>(*(const InputTensors*)arguments[0], *(const InputShape*)arguments[1]);
}
template <class From, class To> void run_sums(void** arguments) { device::add_up<From, To>(*(const Sums*)arguments[0]); }

using Known = std::unordered_map<std::string, Run>;

// The number of threads is for the compiler of GPUs alone.
std::string key_of(const Kernel& kernel) {
  std::string definitions = kernel.definitions;
  return std::string(kernel.name) + " " + definitions.substr(0, definitions.find(" -DROW_THREADS"));
}

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

template <class T, class S, int GROUPS> void add_norm(Known& known, const char* wide, const char* narrow) {
  std::string definitions = std::string(" -DWIDE=") + wide + " -DNARROW=" + narrow + " -DROW_GROUPS=" + std::to_string(GROUPS);
  known["norm_forward" + definitions] = run_norm_forward<T, S, GROUPS>;
  known["norm_backward" + definitions] = run_norm_backward<T, S, GROUPS>;
  if constexpr (GROUPS < MOST_GROUPS) add_norm<T, S, GROUPS + 1>(known, wide, narrow);
}

#define ADD(F) add_storages<device::F>(known, #F)

Known all_kernels() {
  Known known;
  ADD(Relu); ADD(CrRelu); ADD(PRelu); ADD(Gelu); ADD(Silu); ADD(Mish); ADD(StarRelu); ADD(CrGelu); ADD(CrSilu); ADD(CrMish);
  ADD(Tabulated);
  add_storages<device::Adjusted<device::Relu>>(known, "Adjusted<Relu>");
  add_storages<device::Adjusted<device::Gelu>>(known, "Adjusted<Gelu>");
  add_storages<device::Adjusted<device::Silu>>(known, "Adjusted<Silu>");
  add_storages<device::Adjusted<device::Mish>>(known, "Adjusted<Mish>");
  add_norm<float, float, 1>(known, "float", "float");
  add_norm<double, double, 1>(known, "double", "double");
  add_norm<float, device::Bf16, 1>(known, "float", "Bf16");
  add_norm<float, device::F16, 1>(known, "float", "F16");
  known["prepare_images -DSTORAGE=float"] = run_prepare_images<float>;
  known["prepare_images -DSTORAGE=double"] = run_prepare_images<double>;
  known["prepare_images -DSTORAGE=Bf16"] = run_prepare_images<device::Bf16>;
  known["prepare_images -DSTORAGE=F16"] = run_prepare_images<device::F16>;
  known["sums -DFROM=float -DTO=float"] = run_sums<float, float>;
  known["sums -DFROM=double -DTO=double"] = run_sums<double, double>;
  known["sums -DFROM=double -DTO=float"] = run_sums<double, float>;
  return known;
}

char* launch(int, const Kernel* kernel, const Grid* grid, void** arguments) {
  static const Known known = all_kernels();
  auto found = known.find(key_of(*kernel));
  if (found == known.end()) return strdup(("no kernel is called " + key_of(*kernel)).c_str());
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
