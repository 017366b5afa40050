// What `librectify_cuda.so` offers: functions that answer with null, or with a message that the caller frees (border.h).
//
// The same in Rust, field by field: src/cuda/table.rs.
#pragma once

#include <stddef.h>

namespace at { class Tensor; }

namespace rectify {

// A function `name` of a file under cuda/, compiled with `definitions` (`-DNAME=VALUE`, blanks between them).
struct Kernel {
  const char *file, *definitions, *name;
};

struct Grid {
  unsigned blocks_across, blocks_down, threads_across, threads_down;
};

struct CudaTable {
  // Whether kernels take tensors on a CPU: so it is in tests, which have no GPU.
  bool on_host;

  // Starts a kernel on the device's current stream; `arguments` are the addresses of its arguments.
  // Its machine code is found (FindCubin) and loaded when it is first needed.
  char* (*launch)(int device, const Kernel* kernel, const Grid* grid, void** arguments);

  char* (*current_stream)(int device, void** stream);
  // The host waits for all that was asked of the device's current stream.
  char* (*synchronise)(int device);
  // The most bytes that tensors on the device ever had at once.
  char* (*peak_memory)(int device, size_t* bytes);
  // A copy in memory that the system cannot move, from which a GPU reads by itself.
  char* (*pin)(const at::Tensor* tensor, at::Tensor** pinned);

  char* (*stream_new)(int device, void** side);
  void (*stream_free)(void* side);
  // Makes `side` the current stream of this thread; it first waits for what was asked of the one before, which `outer` becomes.
  char* (*stream_enter)(void* side, void** outer);
  // The same, but it waits for nothing: what is done there is beside all else.
  char* (*stream_enter_beside)(void* side, void** outer);
  // Makes `outer` the current stream again, and frees it.
  char* (*stream_leave)(void* outer);
  // The current stream of this thread waits for what was asked of `side`.
  char* (*stream_wait)(void* side);
  // The host waits for all that was asked of `side`.
  char* (*stream_synchronise)(void* side);
  // The memory of `tensor`, of whatever stream it was taken for, is not given to others before the current stream of this thread
  // has done what was asked of it until now.
  char* (*tensor_is_used)(const at::Tensor* tensor);
  // The memory of `tensor` is not given to others before `side` has done what was asked of it until now.
  char* (*stream_uses)(void* side, const at::Tensor* tensor);

  // What is asked of the device from `graph_begin` to `graph_end`, in this thread, is written down instead of done.
  char* (*graph_begin)(int device, void** graph);
  char* (*graph_end)(void* graph);
  char* (*graph_replay)(void* graph);
  void (*graph_free)(void* graph);

  // Makes the device the current one of this thread (cudaSetDevice), so that what takes no device,
  // here and in libtorch, creates no context on device 0.
  char* (*use_device)(int device);
  // The name of the device ("NVIDIA H200"), to be freed.
  char* (*device_name)(int device, char** name);

  // An event for streams of the device. Until it is recorded there is nothing to wait for.
  char* (*event_new)(int device, void** event);
  // Records the event on the current stream of its device in this thread.
  char* (*event_record)(void* event);
  // The host waits, without spinning, for all work that the stream had before the event was last
  // recorded.
  char* (*event_synchronize)(void* event);
  void (*event_free)(void* event);
};

// Finds machine code of a file under cuda/ for an architecture (90 for sm_90), in a cache or by
// compiling it, and calls `take` with it; what it hands over is there for the time of that call.
// The program gives this function to the library.
using FindCubin = char* (*)(const char* file, const char* definitions, int architecture,
                            void (*take)(void* to, const void* code, size_t bytes), void* to);

extern const CudaTable* cuda_table;  // null until it is loaded

}  // namespace rectify
