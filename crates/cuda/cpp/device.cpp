// The current device of a thread, names of devices, and events that the host waits for.

#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <memory>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

// libtorch's index of a device has 8 bits, so a larger number would name another device.
c10::DeviceIndex index_of(int device) {
  int count = c10::cuda::device_count();
  TORCH_CHECK(device >= 0 && device < count, "there is no GPU ", device, ": CUDA counts ", count);
  return (c10::DeviceIndex)device;
}

// CUDAEvent creates its event with the first `record`, under a guard, and guards every later call
// itself.
struct Event {
  explicit Event(int device) : device(index_of(device)) {}
  c10::DeviceIndex device;
  // Without blocking sync the waiting thread spins, which takes a core from the loader.
  c10::cuda::CUDAEvent event{cudaEventDisableTiming | cudaEventBlockingSync};
};

}  // namespace

char* use_device(int device) { RECTIFY_GUARD({ c10::cuda::set_device(index_of(device), /*force=*/true); }) }

char* device_name(int device, char** name) {
  RECTIFY_GUARD({
    cudaDeviceProp properties;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index_of(device)));
    *name = strdup(properties.name);
  })
}

char* event_new(int device, void** event) { RECTIFY_GUARD({ *event = new Event(device); }) }

char* event_record(void* event) {
  RECTIFY_GUARD({
    Event& own = *(Event*)event;
    own.event.record(c10::cuda::getCurrentCUDAStream(own.device));
  })
}

char* event_synchronize(void* event) { RECTIFY_GUARD({ ((Event*)event)->event.synchronize(); }) }

void event_free(void* event) { delete (Event*)event; }

}  // namespace rectify
