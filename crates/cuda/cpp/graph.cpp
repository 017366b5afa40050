// CUDA graphs: libtorch's own, with their own pool of memory, captured on a stream beside the main one.

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <memory>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

using c10::cuda::CUDAStream;

struct Captured {
  explicit Captured(int device)
      : outer(c10::cuda::getCurrentCUDAStream(device)), side(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)) {}

  ~Captured() {
    try {
      end();
    } catch (const std::exception&) {  // the capture was given up: nobody asks why
    }
  }

  // Other threads (loading, saving) may go on with the device meanwhile, hence the mode.
  void begin() {
    c10::cuda::CUDAEvent event;
    event.record(outer);
    event.block(side);
    c10::cuda::CUDACachingAllocator::emptyCache();  // what the graph's pool cannot take from others
    c10::cuda::setCurrentCUDAStream(side);
    capturing = true;
    graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
  }

  // The outer stream is the current one again, whatever becomes of the capture.
  void end() {
    if (!capturing) return;
    capturing = false;
    struct Back {
      CUDAStream to;
      ~Back() { c10::cuda::setCurrentCUDAStream(to); }
    } back{outer};
    try {
      graph.capture_end();
    } catch (const std::exception&) {
      give_pool_back();
      throw;
    }
  }

  // What libtorch itself does only where a capture ends well; until then its allocators keep what should go back to them.
  void give_pool_back() {
    auto tried = [](auto&& step) {
      try {
        step();
      } catch (const std::exception&) {  // it had not come so far
      }
    };
    c10::DeviceIndex device = side.device_index();
    at::HostAllocator* of_host = at::getHostAllocator(at::kCUDA);
    tried([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool); });
    tried([&] { c10::cuda::CUDACachingAllocator::releasePool(device, pool); });
    tried([&] { of_host->end_allocate_to_pool(pool); });
    tried([&] { of_host->release_pool(pool); });
  }

  at::cuda::CUDAGraph graph;
  at::cuda::MempoolId_t pool = at::cuda::graph_pool_handle();
  CUDAStream outer, side;
  bool capturing = false;
};

}  // namespace

char* graph_begin(int device, void** graph) {
  RECTIFY_GUARD({
    c10::cuda::CUDAGuard guard(device);
    auto captured = std::make_unique<Captured>(device);
    captured->begin();
    *graph = captured.release();
  })
}

char* graph_end(void* graph) {
  RECTIFY_GUARD({
    Captured& captured = *(Captured*)graph;
    c10::cuda::CUDAGuard guard(captured.side.device_index());
    captured.end();
  })
}

char* graph_replay(void* graph) {
  RECTIFY_GUARD({
    Captured& captured = *(Captured*)graph;
    c10::cuda::CUDAGuard guard(captured.side.device_index());
    captured.graph.replay();
  })
}

// The destructors of libtorch's graph and pool take whatever device is current.
void graph_free(void* graph) {
  std::unique_ptr<Captured> captured((Captured*)graph);
  try {
    c10::cuda::CUDAGuard guard(captured->side.device_index());
    captured.reset();
  } catch (const std::exception&) {  // the device is gone, which the next operation reports
  }
}

}  // namespace rectify
