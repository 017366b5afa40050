// Kernels: compiled by NVRTC for the GPU at hand when they are first needed, and kept as long as the process.

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nvrtc.h>

#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

// --- The compiler --------------------------------------------------------------------------------------------------------

// Opened here, by path, since it lies with libtorch's other libraries, where the loader does not look for those of ours.
struct Nvrtc {
  Nvrtc();
  decltype(&nvrtcCreateProgram) create;
  decltype(&nvrtcCompileProgram) compile;
  decltype(&nvrtcGetCUBINSize) code_size;
  decltype(&nvrtcGetCUBIN) code;
  decltype(&nvrtcGetProgramLogSize) log_size;
  decltype(&nvrtcGetProgramLog) log;
  decltype(&nvrtcDestroyProgram) destroy;
  decltype(&nvrtcGetErrorString) words;
};

// Beside libtorch's folder if it came in a wheel, else where the loader looks. NVRTC opens the library of what it has built in by
// name alone, so that one goes first.
void* open_nvrtc() {
  std::string folder;
  Dl_info info;
  if (dladdr((const void*)&c10::cuda::device_count, &info) && info.dli_fname) {
    folder = info.dli_fname;
    folder = folder.substr(0, folder.rfind('/') + 1) + "../../nvidia/cu13/lib/";
  }
  void* found = nullptr;
  for (const char* name : {"libnvrtc-builtins.so.13.0", "libnvrtc.so.13"}) {
    found = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!found) found = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  }
  TORCH_CHECK(found, "libnvrtc.so.13, the compiler for kernels, is neither in ", folder, " nor where the loader looks: ", dlerror());
  return found;
}

Nvrtc::Nvrtc() {
  void* library = open_nvrtc();
  auto find = [&](auto& function, const char* name) {
    function = (std::remove_reference_t<decltype(function)>)dlsym(library, name);
    TORCH_CHECK(function, "libnvrtc has no ", name);
  };
  find(create, "nvrtcCreateProgram");
  find(compile, "nvrtcCompileProgram");
  find(code_size, "nvrtcGetCUBINSize");
  find(code, "nvrtcGetCUBIN");
  find(log_size, "nvrtcGetProgramLogSize");
  find(log, "nvrtcGetProgramLog");
  find(destroy, "nvrtcDestroyProgram");
  find(words, "nvrtcGetErrorString");
}

const Nvrtc& nvrtc() {
  static const Nvrtc one;
  return one;
}

const Source* all_sources = nullptr;
size_t num_sources = 0;

const char* text_of(const std::string& file) {
  for (size_t i = 0; i < num_sources; ++i)
    if (file == all_sources[i].file) return all_sources[i].text;
  TORCH_CHECK(false, "no source is called ", file);
}

void check(nvrtcResult result, const char* what) { TORCH_CHECK(result == NVRTC_SUCCESS, what, ": ", nvrtc().words(result)); }

// One line: that is what a message is.
std::string log_of(nvrtcProgram program) {
  size_t size = 0;
  nvrtc().log_size(program, &size);
  std::string log(size, '\0');
  nvrtc().log(program, log.data());
  for (char& letter : log)
    if (letter == '\n' || letter == '\0') letter = ' ';
  return log;
}

// Machine code of `file` for an architecture such as 90.
std::vector<char> compiled(const std::string& file, const std::string& definitions, int architecture) {
  std::vector<const char*> names, texts;
  for (size_t i = 0; i < num_sources; ++i) {
    names.push_back(all_sources[i].file);
    texts.push_back(all_sources[i].text);
  }
  nvrtcProgram program;
  check(nvrtc().create(&program, text_of(file), file.c_str(), (int)names.size(), texts.data(), names.data()), "NVRTC");
  struct Destroyed {
    nvrtcProgram program;
    ~Destroyed() { nvrtc().destroy(&program); }
  } destroyed{program};
  std::vector<std::string> words = {"--gpu-architecture=sm_" + std::to_string(architecture), "--std=c++17",
                                    "--device-as-default-execution-space"};
  std::istringstream each(definitions);
  for (std::string word; each >> word;) words.push_back(word);
  std::vector<const char*> options;
  for (const std::string& word : words) options.push_back(word.c_str());
  nvrtcResult result = nvrtc().compile(program, (int)options.size(), options.data());
  TORCH_CHECK(result == NVRTC_SUCCESS, "NVRTC could not compile ", file, " with ", definitions, " for sm_", architecture, ": ",
              nvrtc().words(result), ": ", log_of(program));
  size_t size = 0;
  check(nvrtc().code_size(program, &size), "NVRTC");
  std::vector<char> code(size);
  check(nvrtc().code(program, code.data()), "NVRTC");
  return code;
}

// --- What was compiled ---------------------------------------------------------------------------------------------------

int architecture_of(int device) {
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

// By architecture, file and definitions; devices of one architecture share what was compiled.
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
    std::vector<char> code = compiled(kernel.file, kernel.definitions, architecture);
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

void set_sources(const Source* sources, size_t count) {
  all_sources = sources;
  num_sources = count;
}

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
