// The table itself, handed out once libtorch has found a GPU.

#include <ATen/Context.h>

#include <cstring>

#include "border.h"
#include "parts.h"

namespace rectify {
namespace {

const CudaTable table = {/*on_host=*/false, launch,      current_stream, synchronise, pin,         stream_new,   stream_free, stream_enter,
                         stream_leave,      stream_wait, stream_uses,    graph_begin, graph_end,   graph_replay, graph_free};

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
