// The functions of the table; cuda_table.h says what each does.
#pragma once

#include "cuda_table.h"

namespace rectify {

// Where machine code of kernels comes from.
void set_find_cubin(FindCubin find_cubin);
char* launch(int device, const Kernel* kernel, const Grid* grid, void** arguments);

char* current_stream(int device, void** stream);
char* synchronise(int device);
char* peak_memory(int device, size_t* bytes);
char* pin(const at::Tensor* tensor, at::Tensor** pinned);

char* stream_new(int device, void** side);
void stream_free(void* side);
char* stream_enter(void* side, void** outer);
char* stream_enter_beside(void* side, void** outer);
char* stream_leave(void* outer);
char* stream_wait(void* side);
char* stream_synchronise(void* side);
char* tensor_is_used(const at::Tensor* tensor);
char* stream_uses(void* side, const at::Tensor* tensor);

char* graph_begin(int device, void** graph);
char* graph_end(void* graph);
char* graph_replay(void* graph);
void graph_free(void* graph);

char* use_device(int device);
char* device_name(int device, char** name);

char* event_new(int device, void** event);
char* event_record(void* event);
char* event_synchronize(void* event);
void event_free(void* event);

}  // namespace rectify
