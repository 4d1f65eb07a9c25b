// Attention over the paged KV cache: a few query rows that share a key-value head, over one part of the context.
//
// The context is always split at the same places (every kPart keys), each part is summed key by key, and the parts are
// joined in order: a row's result does not depend on the rest of the batch or on how threads share the work.
#pragma once

#include "matrix.h"

constexpr int kBlock = 16;         // tokens in a block of the cache (network.py: BLOCK_TOKENS)
constexpr int kPart = 256;         // keys of one partial softmax
constexpr int kQueryRows = 6;      // query rows of one register block
constexpr int kUnit = 16 / kLanes;  // vectors in 16 floats

// One block of one layer and head: keys (head_dim padded, 16 tokens), then values (16 tokens, head_dim padded).
template <class T>
struct Cache {
    const T* base;       // of the layer and head
    size_t block_stride;  // values from one block to the next
    int dim;             // padded to a multiple of 16
    const int32_t* blocks;

    const T* keys(int block) const { return base + (size_t)blocks[block] * block_stride; }
    const T* values(int block) const { return keys(block) + (size_t)dim * kBlock; }
};

// The softmax state of a row: the largest score, the sum of exponentials, and the weighted sum of values.
struct Partial {
    float largest, sum;
};

// scores (R, kPart) for N blocks from `block` on; q: (R, dim).
template <int R, int N, class T>
INLINE void score_blocks(const float* q, const Cache<T>& cache, int block, float* scores, int column) {
    F32 acc[N][R][kUnit] = {};
    const T* keys[N];
    for (int n = 0; n < N; n++) keys[n] = cache.keys(block + n);
    for (int d = 0; d < cache.dim; d++) {
        F32 value[R];
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) value[r] = splat(q[r * cache.dim + d]);
        for (int n = 0; n < N; n++)
            for (int u = 0; u < kUnit; u++) {
                const F32 key = load_floats(keys[n] + d * kBlock + u * kLanes);
#pragma GCC unroll 6
                for (int r = 0; r < R; r++) acc[n][r][u] = fma(value[r], key, acc[n][r][u]);
            }
    }
    for (int n = 0; n < N; n++)
        for (int r = 0; r < R; r++)
            for (int u = 0; u < kUnit; u++) store(scores + r * kPart + column + n * kBlock + u * kLanes, acc[n][r][u]);
}

// out (R, dim) at V vectors from `d` on: weights (R, kPart) times the values of `count` tokens from `block` on.
template <int R, int V, class T>
INLINE void weigh_values(const float* weights, const Cache<T>& cache, int block, int count, int d, float* out) {
    F32 acc[R][V] = {};
    for (int t = 0; t < count;) {
        const T* values = cache.values(block + t / kBlock) + d;
        for (const int end = std::min(count, t + kBlock); t < end; t++, values += cache.dim) {
            F32 value[V];
            for (int v = 0; v < V; v++) value[v] = load_floats(values + v * kLanes);
#pragma GCC unroll 6
            for (int r = 0; r < R; r++) {
                const F32 weight = splat(weights[r * kPart + t]);
                for (int v = 0; v < V; v++) acc[r][v] = fma(weight, value[v], acc[r][v]);
            }
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(out + r * cache.dim + d + v * kLanes, acc[r][v]);
}

// Turn a row's scores into exponentials; those from `valid` on become 0. `valid` is at least 1.
inline Partial exponentiate(float* scores, int valid, int padded) {
    const float minus_infinity = -std::numeric_limits<float>::infinity();
    for (int t = valid; t < padded; t++) scores[t] = minus_infinity;
    F32 largest = load<F32>(scores);
    for (int t = kLanes; t < padded; t += kLanes) largest = max(load<F32>(scores + t), largest);
    const float bound = max_lanes(largest);
    F32 sum{};
    for (int t = 0; t < padded; t += kLanes) {
        const F32 e = exponential(load<F32>(scores + t) - splat(bound));
        store(scores + t, e);
        sum += e;
    }
    return {bound, sum_lanes(sum)};
}

// Join the next part of the context to the result of the earlier ones.
inline void join_part(Partial& so_far, float* out, const Partial& part, const float* part_out, int dim) {
    if (so_far.sum == 0) {
        so_far = part;
        std::memcpy(out, part_out, sizeof(float) * dim);
        return;
    }
    const float bound = std::max(so_far.largest, part.largest);
    const float keep = std::exp(so_far.largest - bound), take = std::exp(part.largest - bound);
    so_far = {bound, so_far.sum * keep + part.sum * take};
    for (int d = 0; d < dim; d += kLanes)
        store(out + d, load<F32>(out + d) * splat(keep) + load<F32>(part_out + d) * splat(take));
}

// One part for R rows: q (R, dim), scaled; limits[r] = how many keys row r attends to, from the context's start.
// Writes a state and an output (R, dim) for every row; a row that attends to nothing here gets sum 0.
template <int R, class T>
void attend_rows(const float* q, const Cache<T>& cache, int part, const int* limits, float* scores, Partial* states,
                 float* out) {
    constexpr int N = R == 1 ? 4 : R <= 3 ? 2 : 1;
    constexpr int V = R == 1 ? 8 / (WIDE_REGISTERS + 1) : R <= 3 ? 4 : 2;
    const int begin = part * kPart, first_block = begin / kBlock;
    int count = 0;
    for (int r = 0; r < R; r++) count = std::max(count, std::min(limits[r] - begin, kPart));
    const int num_blocks = (count + kBlock - 1) / kBlock, padded = num_blocks * kBlock;
    int block = 0;
    for (; block + N <= num_blocks; block += N)
        score_blocks<R, N>(q, cache, first_block + block, scores, block * kBlock);
    for (; block < num_blocks; block++) score_blocks<R, 1>(q, cache, first_block + block, scores, block * kBlock);
    for (int r = 0; r < R; r++) {
        const int valid = std::min(limits[r] - begin, count);
        if (valid > 0) {
            states[r] = exponentiate(scores + r * kPart, valid, padded);
        } else {
            states[r] = {0, 0};
            std::memset(scores + r * kPart, 0, sizeof(float) * padded);
        }
    }
    int d = 0;
    for (; d + V * kLanes <= cache.dim; d += V * kLanes)
        weigh_values<R, V>(scores, cache, first_block, count, d, out);
    for (; d < cache.dim; d += kUnit * kLanes) weigh_values<R, kUnit>(scores, cache, first_block, count, d, out);
}

template <class T>
void attend(int rows, const float* q, const Cache<T>& cache, int part, const int* limits, float* scores,
            Partial* states, float* out) {
    switch (rows) {
        case 1: return attend_rows<1>(q, cache, part, limits, scores, states, out);
        case 2: return attend_rows<2>(q, cache, part, limits, scores, states, out);
        case 3: return attend_rows<3>(q, cache, part, limits, scores, states, out);
        case 4: return attend_rows<4>(q, cache, part, limits, scores, states, out);
        case 5: return attend_rows<5>(q, cache, part, limits, scores, states, out);
        default: return attend_rows<6>(q, cache, part, limits, scores, states, out);
    }
}
