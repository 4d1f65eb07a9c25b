// Weight matrices in panels of 32 output channels, and their products with a few or many rows.
//
// Every kernel adds up an output in the same order: products with float weights are added input by input with one
// rounding each; int8 weights are multiplied with int16 inputs and added exactly within a group of 64 inputs, and the
// groups are added in order. So a row's result does not depend on the number of rows.
#pragma once

#include <algorithm>

#include "simd.h"

constexpr int kPanel = 32;        // output channels in a panel
constexpr int kGroup = 64;        // inputs that share a scale, both of int8 weights and of int16 inputs
constexpr int kTileInputs = 128;  // inputs of a float tile that fits in the L1 cache
constexpr int kVectors = kPanel / kLanes;
constexpr int kMaxRows = WIDE_REGISTERS ? 12 : 6;    // rows of one register block
constexpr int kNarrowRows = WIDE_REGISTERS ? 12 : 3;  // rows that fit in registers with all 32 channels
constexpr int kPrefetchBytes = 1536;

enum class Kind : int { float32 = 0, bfloat16 = 1, int8 = 2 };

INLINE int round_up(int value, int step) { return (value + step - 1) / step * step; }

struct Matrix {
    Kind kind = Kind::float32;
    int num_outputs = 0, num_inputs = 0, num_panels = 0, num_groups = 0;
    size_t panel_bytes = 0;
    char* data = nullptr;
    float* scales = nullptr;  // (panels, groups, 32), int8 only
    float* bias = nullptr;    // (panels * 32), zero where the model has none

    Matrix() = default;
    Matrix(Kind kind_, int outputs, int inputs)
        : kind(kind_),
          num_outputs(outputs),
          num_inputs(inputs),
          num_panels(round_up(outputs, kPanel) / kPanel),
          num_groups(round_up(inputs, kGroup) / kGroup) {
        const size_t value_bytes = kind == Kind::float32 ? 4 : kind == Kind::bfloat16 ? 2 : 1;
        panel_bytes = value_bytes * kPanel * (size_t)inputs;
    }
    size_t data_bytes() const { return panel_bytes * num_panels; }
    size_t scales_count() const { return kind == Kind::int8 ? (size_t)num_panels * num_groups * kPanel : 0; }
    size_t bias_count() const { return (size_t)num_panels * kPanel; }
};

// The position of input k of channel c in an int8 panel: pairs of inputs; in each 16-bit lane the low byte belongs to a
// channel of the first half of a register, the high byte to one of the second half, so two shifts unpack a register.
INLINE size_t int8_place(int k, int c) {
    constexpr int in_load = kLanes * 2;
    const int within = c % in_load;
    return (size_t)(k / 2) * 2 * kPanel + c / in_load * (4 * kLanes) + 2 * (2 * (within % kLanes) + k % 2) +
           within / kLanes;
}

// Write one channel's weights to their place; the source is float32, with `stride` values from one input to the next.
inline void pack_channel(const Matrix& m, int channel, const float* from, size_t stride) {
    char* panel = m.data + (size_t)(channel / kPanel) * m.panel_bytes;
    const int c = channel % kPanel;
    if (m.kind == Kind::float32) {
        for (int k = 0; k < m.num_inputs; k++) ((float*)panel)[(size_t)k * kPanel + c] = from[k * stride];
    } else if (m.kind == Kind::bfloat16) {
        for (int k = 0; k < m.num_inputs; k++)
            ((uint16_t*)panel)[((size_t)(k / 2) * kPanel + c) * 2 + k % 2] = to_bfloat16(from[k * stride]);
    } else {
        float* scales = m.scales + ((size_t)(channel / kPanel) * m.num_groups) * kPanel + c;
        for (int g = 0; g < m.num_groups; g++) {
            const int begin = g * kGroup, end = std::min(begin + kGroup, m.num_inputs);
            float largest = 0;
            for (int k = begin; k < end; k++) largest = std::max(largest, std::fabs(from[k * stride]));
            scales[(size_t)g * kPanel] = largest / 127.0f;
            const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
            for (int k = begin; k < end; k++)
                ((int8_t*)panel)[int8_place(k, c)] = (int8_t)std::lrintf(from[k * stride] * inverse);
        }
    }
}

// Read one channel's weights back: the embedding of a token.
inline void read_channel(const Matrix& m, int channel, float* to) {
    const char* panel = m.data + (size_t)(channel / kPanel) * m.panel_bytes;
    const int c = channel % kPanel;
    if (m.kind == Kind::float32) {
        for (int k = 0; k < m.num_inputs; k++) to[k] = ((const float*)panel)[(size_t)k * kPanel + c];
    } else if (m.kind == Kind::bfloat16) {
        for (int k = 0; k < m.num_inputs; k++) {
            const uint32_t bits = (uint32_t)((const uint16_t*)panel)[((size_t)(k / 2) * kPanel + c) * 2 + k % 2] << 16;
            std::memcpy(to + k, &bits, 4);
        }
    } else {
        const float* scales = m.scales + ((size_t)(channel / kPanel) * m.num_groups) * kPanel + c;
        for (int k = 0; k < m.num_inputs; k++)
            to[k] = ((const int8_t*)panel)[int8_place(k, c)] * scales[(size_t)(k / kGroup) * kPanel];
    }
}

// The inputs of a product: rows of float32, or for int8 weights of int16 with one scale per row and group.
struct Inputs {
    const float* values = nullptr;
    size_t stride = 0;
    const int16_t* ints = nullptr;
    size_t int_stride = 0;
    const float* scales = nullptr;
    size_t scale_stride = 0;

    Inputs from_row(int row) const {
        Inputs moved = *this;
        if (values) moved.values += row * stride;
        if (ints) moved.ints += row * int_stride, moved.scales += row * scale_stride;
        return moved;
    }
};

// Round one row to int16, a scale for each group; `values` is padded with zeros to a multiple of 16.
inline void quantize_row(const float* values, int count, int16_t* ints, float* scales) {
    for (int begin = 0, g = 0; begin < count; begin += kGroup, g++) {
        const int end = std::min(begin + kGroup, round_up(count, 16));
        F32 largest{}, not_finite{};
        for (int k = begin; k < end; k += kLanes) {
            const F32 v = load<F32>(values + k);
            largest = max(largest, absolute(v));
            not_finite += v * splat(0.0f);  // 0, or NaN, which the group's scale then passes on
        }
        const float bound = max_lanes(largest);
        const F32 inverse = splat(bound > 0 ? 32767.0f / bound : 0.0f);
        scales[g] = bound / 32767.0f + sum_lanes(not_finite);
        for (int k = begin; k < end; k += kLanes)
            store(ints + k, __builtin_convertvector(round_to_int(load<F32>(values + k) * inverse), I16Half));
    }
}

template <int R, int V>
INLINE void load_sums(F32 (&acc)[R][V], const float* c, bool is_first) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) acc[r][v] = is_first ? F32{} : load<F32>(c + r * kPanel + v * kLanes);
}
template <int R, int V>
INLINE void store_sums(const F32 (&acc)[R][V], float* c) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(c + r * kPanel + v * kLanes, acc[r][v]);
}

// The data of the next call, prefetched line by line while this one computes.
struct Ahead {
    const char* from;
    size_t step;  // bytes per loop iteration
};

// R rows by V vectors of channels; w: (inputs, 32) float32.
template <int R, int V>
void multiply_floats(const float* x, size_t stride, const float* w, int num_inputs, float* c, bool is_first,
                     Ahead ahead) {
    F32 acc[R][V];
    load_sums<R, V>(acc, c, is_first);
    for (int k = 0; k < num_inputs; k++) {
        F32 weights[V];
        for (int v = 0; v < V; v++) weights[v] = load<F32>(w + (size_t)k * kPanel + v * kLanes);
        for (int b = 0; b < V * kLanes * 4; b += 64) __builtin_prefetch(ahead.from + k * ahead.step + b);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const F32 value = splat(x[r * stride + k]);
            for (int v = 0; v < V; v++) acc[r][v] = fma(value, weights[v], acc[r][v]);
        }
    }
    store_sums<R, V>(acc, c);
}

// The same with w: (inputs / 2, 32, 2) bfloat16.
template <int R, int V>
void multiply_bfloat16(const float* x, size_t stride, const char* w, int num_inputs, float* c) {
    F32 acc[R][V];
    load_sums<R, V>(acc, c, true);
    for (int k = 0; k < num_inputs; k += 2) {
        const char* row = w + (size_t)k * kPanel * 2;
        __builtin_prefetch(row + kPrefetchBytes);
        __builtin_prefetch(row + kPrefetchBytes + 64);
        for (int v = 0; v < V; v++) {
            const I32 pairs = load<I32>(row + v * 4 * kLanes);
            const F32 even = (F32)(pairs << 16), odd = (F32)(pairs & splat_int((int32_t)0xffff0000));
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                acc[r][v] = fma(splat(x[r * stride + k]), even, acc[r][v]);
                acc[r][v] = fma(splat(x[r * stride + k + 1]), odd, acc[r][v]);
            }
        }
    }
    store_sums<R, V>(acc, c);
}

template <int R, int V>
INLINE void add_group(const I32 (&acc)[R][V], const Inputs& x, int group, const float* scales, float* c) {
    for (int r = 0; r < R; r++) {
        const F32 row_scale = splat(x.scales[r * x.scale_stride + group]);
        for (int v = 0; v < V; v++) {
            float* place = c + r * kPanel + v * kLanes;
            const F32 before = group ? load<F32>(place) : F32{};
            store(place, fma(to_float(acc[r][v]), row_scale * load<F32>(scales + v * kLanes), before));
        }
    }
}

// One group of inputs: R rows by V vectors of channels; w: (inputs / 2, 64) bytes as int8_place says.
template <int R, int V>
void multiply_int8(const Inputs& x, int group, const char* w, int num_pairs, const float* scales, float* c) {
    const int16_t* ints = x.ints + (size_t)group * kGroup;
    I32 acc[R][V] = {};
    for (int k = 0; k < num_pairs; k++) {
        const char* row = w + (size_t)k * 2 * kPanel;
        __builtin_prefetch(row + kPrefetchBytes);
        for (int v = 0; v < V; v += 2) {
            const I16 bytes = load<I16>(row + v * 2 * kLanes);
            const I16 low = (bytes << 8) >> 8, high = bytes >> 8;
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                const I32 pair = splat_pair(ints + r * x.int_stride + 2 * k);
                acc[r][v] = add_pair_products(acc[r][v], low, pair);
                acc[r][v + 1] = add_pair_products(acc[r][v + 1], high, pair);
            }
        }
    }
    add_group<R, V>(acc, x, group, scales, c);
}

// The same for weights that are already unpacked; w: (inputs / 2, 32, 2) int16.
template <int R, int V>
void multiply_int16(const Inputs& x, int group, const char* w, int num_pairs, const float* scales, float* c,
                    const char* ahead) {
    const int16_t* ints = x.ints + (size_t)group * kGroup;
    I32 acc[R][V] = {};
    for (int k = 0; k < num_pairs; k++) {
        I16 weights[V];
        for (int v = 0; v < V; v++) weights[v] = load<I16>(w + (size_t)k * 4 * kPanel + v * 4 * kLanes);
        __builtin_prefetch(ahead + (size_t)k * 2 * kPanel);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const I32 pair = splat_pair(ints + r * x.int_stride + 2 * k);
            for (int v = 0; v < V; v++) acc[r][v] = add_pair_products(acc[r][v], weights[v], pair);
        }
    }
    add_group<R, V>(acc, x, group, scales, c);
}

inline void unpack_bfloat16(const char* w, int num_inputs, float* tile) {
    for (int k = 0; k < num_inputs; k += 2)
        for (int v = 0; v < kVectors; v++) {
            const I32 pairs = load<I32>(w + (size_t)k * kPanel * 2 + v * 4 * kLanes);
            store(tile + (size_t)k * kPanel + v * kLanes, (F32)(pairs << 16));
            store(tile + (size_t)(k + 1) * kPanel + v * kLanes, (F32)(pairs & splat_int((int32_t)0xffff0000)));
        }
}
inline void unpack_int8(const char* w, int num_pairs, char* tile) {
    for (int k = 0; k < num_pairs; k++)
        for (int v = 0; v < kVectors; v += 2) {
            const I16 bytes = load<I16>(w + (size_t)k * 2 * kPanel + v * 2 * kLanes);
            store(tile + (size_t)k * 4 * kPanel + v * 4 * kLanes, (I16)((bytes << 8) >> 8));
            store(tile + (size_t)k * 4 * kPanel + (v + 1) * 4 * kLanes, (I16)(bytes >> 8));
        }
}

// Call f with the constant R that equals `rows` (1 to kMaxRows).
template <class F, int R = kMaxRows>
INLINE void with_rows(int rows, F&& f) {
    if constexpr (R > 1) {
        if (rows < R) return with_rows<F, R - 1>(rows, static_cast<F&&>(f));
    }
    f(std::integral_constant<int, R>{});
}

// Split `rows` into blocks of nearly equal size, none above kMaxRows: f(first row, number of rows).
template <class F>
INLINE void each_row_block(int rows, F&& f) {
    const int blocks = (rows + kMaxRows - 1) / kMaxRows;
    for (int b = 0, row = 0; b < blocks; b++) {
        const int size = (rows - row) / (blocks - b);
        f(row, size);
        row += size;
    }
}

// Up to this many rows, weights are unpacked in registers for each block of rows, instead of once into a tile.
constexpr int kUnpackedInRegisters = 2 * kMaxRows;

inline void multiply_panel_int8(const Matrix& m, int panel, const Inputs& x, int rows, float* c, char* tile) {
    const char* w = m.data + (size_t)panel * m.panel_bytes;
    const float* scales = m.scales + (size_t)panel * m.num_groups * kPanel;
    for (int g = 0; g < m.num_groups; g++, scales += kPanel) {
        const int pairs = std::min(kGroup, m.num_inputs - g * kGroup) / 2;
        const char* next = w + (size_t)pairs * 2 * kPanel;
        if (rows > kUnpackedInRegisters) unpack_int8(w, pairs, tile);
        each_row_block(rows, [&](int row, int size) {
            const Inputs block = x.from_row(row);
            float* to = c + row * kPanel;
            with_rows(size, [&](auto r) {
                constexpr int R = decltype(r)::value, V = R <= kNarrowRows ? kVectors : 2;
                if (rows <= kUnpackedInRegisters) {
                    for (int v = 0; v < kVectors; v += V)
                        multiply_int8<R, V>(block, g, w + v * 2 * kLanes, pairs, scales + v * kLanes, to + v * kLanes);
                } else {
                    for (int v = 0; v < kVectors; v += 2)
                        multiply_int16<R, 2>(block, g, tile + v * 4 * kLanes, pairs, scales + v * kLanes,
                                             to + v * kLanes, next);
                }
            });
        });
        w = next;
    }
}

inline void multiply_panel_floats(const Matrix& m, int panel, const Inputs& x, int rows, float* c, char* tile) {
    const char* data = m.data + (size_t)panel * m.panel_bytes;
    const size_t input_bytes = m.panel_bytes / m.num_inputs;
    if (rows <= kMaxRows) {
        with_rows(rows, [&](auto r) {
            constexpr int R = decltype(r)::value, V = R <= kNarrowRows ? kVectors : 2;
            for (int v = 0; v < kVectors; v += V) {
                const char* w = data + v * kLanes * 4;  // pairs of bfloat16 are as wide as floats
                if (m.kind == Kind::float32)
                    multiply_floats<R, V>(x.values, x.stride, (const float*)w, m.num_inputs, c + v * kLanes, true,
                                          {w + kPrefetchBytes, input_bytes});
                else
                    multiply_bfloat16<R, V>(x.values, x.stride, w, m.num_inputs, c + v * kLanes);
            }
        });
        return;
    }
    for (int k = 0; k < m.num_inputs; k += kTileInputs) {
        const int count = std::min(kTileInputs, m.num_inputs - k);
        const char *w = data + k * input_bytes, *next = w + count * input_bytes;
        if (m.kind == Kind::bfloat16) {
            unpack_bfloat16(w, count, (float*)tile);
            w = tile;
        }
        each_row_block(rows, [&](int row, int size) {
            const float* values = x.values + row * x.stride + k;
            with_rows(size, [&](auto r) {
                for (int v = 0; v < kVectors; v += 2)
                    multiply_floats<decltype(r)::value, 2>(
                        values, x.stride, (const float*)w + v * kLanes, count, c + row * kPanel + v * kLanes, k == 0,
                        {next + v * kLanes * input_bytes / kPanel, input_bytes});
            });
        });
    }
}

// c (rows, 32) = x times one panel. `tile` has room for 16 KiB.
inline void multiply_panel(const Matrix& m, int panel, const Inputs& x, int rows, float* c, char* tile) {
    if (m.kind == Kind::int8) multiply_panel_int8(m, panel, x, rows, c, tile);
    else multiply_panel_floats(m, panel, x, rows, c, tile);
}
