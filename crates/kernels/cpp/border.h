// The border to Rust: C functions that answer with null, or with a message that the caller frees; no exception crosses.
#pragma once

#include <cstring>
#include <exception>

#define RECTIFY_GUARD(body)                                \
  try {                                                    \
    body;                                                  \
    return nullptr;                                        \
  } catch (const std::exception& error) {                  \
    return strdup(error.what());                           \
  } catch (...) {                                          \
    return strdup("an exception of an unknown type");      \
  }
