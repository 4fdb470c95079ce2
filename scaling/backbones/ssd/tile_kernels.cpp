// The passes of mixer_tile.py over memory that torch has no single operation for: each reads and writes a tile once.
//
// Built by setuptools where there is a compiler (pyproject.toml) and called by tile_kernels.py; the same in torch's
// operations, which the tests compare with, is in tile_passes.py. OpenMP is torch's own, whose threads are used: the
// library is linked without one.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <omp.h>
#include <vector>

// Counts the changes of what tile_kernels.py calls, which refuses a library of other sources.
extern "C" int tile_kernels_version() { return 3; }

// The best of the sets of instructions below that this processor has; 0 where it has none.
extern "C" int tile_kernels_level() {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return wide ? 2 : 1;
#else
    return 1;
#endif
}

namespace {

constexpr int64_t TAPS = 4;  // of the convolution, in every Mamba-2

template <typename T>
struct Rows {  // of an array (g, S, channels)
    T *first;
    int64_t image, token;
    T *at(int64_t g, int64_t s) const { return first + g * image + s * token; }
};

// Tokens before this one that its convolution reads.
struct Reach {
    const uint8_t *segments;  // (g, S and the next), or none: all images have one segment
    int64_t image, before;    // before: tokens of an image before the tile
    int64_t at(int64_t g, int64_t s) const {
        if (segments) return segments[g * image + s];
        return before + s < TAPS - 1 ? before + s : TAPS - 1;
    }
};

}  // namespace

// With the instructions that any supported processor has.
#if defined(__x86_64__) && defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LEVEL(name) name##_1
#include "tile_kernels.h"
#undef LEVEL

// With those of AVX-512: not longer vectors, but twice as many registers.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#endif
#define LEVEL(name) name##_2
#include "tile_kernels.h"
#undef LEVEL
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
