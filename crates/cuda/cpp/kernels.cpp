// Kernels: machine code for the GPU at hand, loaded when it is first needed, and kept as long as
// the process.

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

FindCubin find_cubin = nullptr;

std::vector<char> cubin_of(const Kernel& kernel, int architecture) {
  std::vector<char> code;
  auto take = [](void* to, const void* from, size_t bytes) { ((std::vector<char>*)to)->assign((const char*)from, (const char*)from + bytes); };
  char* fault = find_cubin(kernel.file, kernel.definitions, architecture, take, &code);
  if (!fault) return code;
  std::string message = fault;
  free(fault);
  TORCH_CHECK(false, message);
}

int architecture_of(int device) {
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

// By architecture, file and definitions; devices of one architecture share what was loaded.
class Kernels {
 public:
  cudaKernel_t find(int device, const Kernel& kernel) {
    std::string name = std::to_string(device) + " " + kernel.file + " " + kernel.definitions + " " + kernel.name;
    std::lock_guard<std::mutex> lock(mutex_);
    auto known = kernels_.find(name);
    if (known != kernels_.end()) return known->second;
    cudaKernel_t found;
    C10_CUDA_CHECK(cudaLibraryGetKernel(&found, library(device, kernel), kernel.name));
    return kernels_[name] = found;
  }

 private:
  cudaLibrary_t library(int device, const Kernel& kernel) {
    int architecture = architecture_of(device);
    std::string key = std::to_string(architecture) + " " + kernel.file + " " + kernel.definitions;
    auto known = libraries_.find(key);
    if (known != libraries_.end()) return known->second;
    std::vector<char> code = cubin_of(kernel, architecture);
    cudaLibrary_t loaded;
    C10_CUDA_CHECK(cudaLibraryLoadData(&loaded, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
    return libraries_[key] = loaded;
  }

  std::mutex mutex_;
  std::unordered_map<std::string, cudaKernel_t> kernels_;
  std::unordered_map<std::string, cudaLibrary_t> libraries_;
};

Kernels& kernels() {
  static Kernels* one = new Kernels;  // never destroyed: the driver may be gone before it
  return *one;
}

}  // namespace

void set_find_cubin(FindCubin function) { find_cubin = function; }

char* launch(int device, const Kernel* kernel, const Grid* grid, void** arguments) {
  RECTIFY_GUARD({
    c10::cuda::CUDAGuard guard(device);
    cudaKernel_t found = kernels().find(device, *kernel);
    dim3 blocks(grid->blocks_across, grid->blocks_down);
    dim3 threads(grid->threads_across, grid->threads_down);
    cudaStream_t stream = c10::cuda::getCurrentCUDAStream(device).stream();
    C10_CUDA_CHECK(cudaLaunchKernel((const void*)found, blocks, threads, arguments, 0, stream));
  })
}

}  // namespace rectify
