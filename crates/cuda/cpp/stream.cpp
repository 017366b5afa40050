// Streams of libtorch's pool beside the main one, memory that a GPU reads by itself, and how much of its own it gave.

#include <ATen/core/Tensor.h>
#include <ATen/ops/pin_memory.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

using c10::cuda::CUDAStream;

// Both streams are of one device. The event may go at once: the wait is already asked for.
void let_wait(const CUDAStream& later, const CUDAStream& earlier) {
  c10::cuda::CUDAEvent event;
  event.record(earlier);
  event.block(later);
}

CUDAStream current(const CUDAStream& side) { return c10::cuda::getCurrentCUDAStream(side.device_index()); }

void enter(const CUDAStream& inner, void** outer) {
  *outer = new CUDAStream(current(inner));
  c10::cuda::setCurrentCUDAStream(inner);
}

}  // namespace

char* current_stream(int device, void** stream) { RECTIFY_GUARD({ *stream = c10::cuda::getCurrentCUDAStream(device).stream(); }) }

char* synchronise(int device) { RECTIFY_GUARD({ c10::cuda::getCurrentCUDAStream(device).synchronize(); }) }

char* peak_memory(int device, size_t* bytes) {
  RECTIFY_GUARD({
    using c10::CachingAllocator::StatType;
    const auto& allocated = c10::cuda::CUDACachingAllocator::getDeviceStats(device).allocated_bytes;
    *bytes = (size_t)allocated[(size_t)StatType::AGGREGATE].peak;
  })
}

char* pin(const at::Tensor* tensor, at::Tensor** pinned) { RECTIFY_GUARD({ *pinned = new at::Tensor(tensor->pin_memory()); }) }

char* stream_new(int device, void** side) {
  RECTIFY_GUARD({ *side = new CUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device)); })
}

void stream_free(void* side) { delete (CUDAStream*)side; }

char* stream_enter(void* side, void** outer) {
  RECTIFY_GUARD({
    const CUDAStream& inner = *(CUDAStream*)side;
    let_wait(inner, current(inner));
    enter(inner, outer);
  })
}

char* stream_enter_beside(void* side, void** outer) { RECTIFY_GUARD({ enter(*(CUDAStream*)side, outer); }) }

char* stream_leave(void* outer) {
  RECTIFY_GUARD({
    CUDAStream before = *(CUDAStream*)outer;
    delete (CUDAStream*)outer;
    c10::cuda::setCurrentCUDAStream(before);
  })
}

char* stream_wait(void* side) {
  RECTIFY_GUARD({
    const CUDAStream& earlier = *(CUDAStream*)side;
    let_wait(current(earlier), earlier);
  })
}

char* stream_synchronise(void* side) { RECTIFY_GUARD({ ((CUDAStream*)side)->synchronize(); }) }

char* tensor_is_used(const at::Tensor* tensor) {
  RECTIFY_GUARD({ tensor->record_stream(c10::cuda::getCurrentCUDAStream(tensor->device().index()).unwrap()); })
}

char* stream_uses(void* side, const at::Tensor* tensor) { RECTIFY_GUARD({ tensor->record_stream(((CUDAStream*)side)->unwrap()); }) }

}  // namespace rectify
