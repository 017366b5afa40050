// The table itself, handed out once libtorch has found a GPU.

#include <ATen/Context.h>

#include <cstring>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

const CudaTable table = [] {
  CudaTable all = {};
  all.launch = launch;
  all.current_stream = current_stream;
  all.synchronise = synchronise;
  all.peak_memory = peak_memory;
  all.pin = pin;
  all.stream_new = stream_new;
  all.stream_free = stream_free;
  all.stream_enter = stream_enter;
  all.stream_enter_beside = stream_enter_beside;
  all.stream_leave = stream_leave;
  all.stream_wait = stream_wait;
  all.stream_synchronise = stream_synchronise;
  all.tensor_is_used = tensor_is_used;
  all.stream_uses = stream_uses;
  all.graph_begin = graph_begin;
  all.graph_end = graph_end;
  all.graph_replay = graph_replay;
  all.graph_free = graph_free;
  all.use_device = use_device;
  all.device_name = device_name;
  all.event_new = event_new;
  all.event_record = event_record;
  all.event_synchronize = event_synchronize;
  all.event_free = event_free;
  return all;
}();

char* begin(size_t bytes, FindCubin find_cubin) {
  RECTIFY_GUARD({
    TORCH_CHECK(bytes == sizeof(CudaTable), "it was built from other sources than this program; run `make build`");
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    set_find_cubin(find_cubin);
  })
}

}  // namespace
}  // namespace rectify

extern "C" const rectify::CudaTable* rectify_cuda_table(size_t bytes, rectify::FindCubin find_cubin, char** message) {
  *message = rectify::begin(bytes, find_cubin);
  return *message ? nullptr : &rectify::table;
}
