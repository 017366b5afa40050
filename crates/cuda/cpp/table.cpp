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

char* begin(const Source* sources, size_t count) {
  RECTIFY_GUARD({
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    set_sources(sources, count);
  })
}

}  // namespace
}  // namespace rectify

extern "C" const rectify::CudaTable* rectify_cuda_table(const rectify::Source* sources, size_t count, char** message) {
  *message = rectify::begin(sources, count);
  return *message ? nullptr : &rectify::table;
}
