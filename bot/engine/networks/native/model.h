// The weights of one model in memory, and its KV cache.
#pragma once

#include <memory>
#include <new>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

#include "attention.h"

// library.py has the same struct; keep the fields equal.
struct Config {
    int32_t is_gpt2, num_layers, hidden, num_heads, num_kv_heads, head_dim, intermediate, vocab_size, context_length;
    int32_t kind, has_output_matrix, has_qk_norm, has_half_cache, num_blocks, num_threads;
    float epsilon, attention_scale;
};

// Zeroed memory that is not allocated until it is written.
class Pages {
public:
    explicit Pages(size_t bytes, bool with_large_pages) : bytes_(bytes) {
        if (bytes == 0) return;
        void* got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (got == MAP_FAILED) throw std::bad_alloc();
        data_ = (char*)got;
#if defined(MADV_HUGEPAGE)
        if (with_large_pages) madvise(data_, bytes, MADV_HUGEPAGE);
        else madvise(data_, bytes, MADV_NOHUGEPAGE);
#endif
    }
    ~Pages() {
        if (data_) munmap(data_, bytes_);
    }
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    char* data() const { return data_; }

private:
    size_t bytes_;
    char* data_ = nullptr;
};

struct Layer {
    Matrix qkv, out, up, down;
    float *norm1, *norm1_bias, *norm2, *norm2_bias, *q_norm, *k_norm;
};

class Model {
public:
    explicit Model(const Config& c) : config(c), layers(c.num_layers), padded_dim(round_up(c.head_dim, 16)) {
        const Kind kind = (Kind)c.kind;
        const int q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
        for (Layer& layer : layers) {
            layer.qkv = Matrix(kind, q + 2 * kv, c.hidden);
            layer.out = Matrix(kind, c.hidden, q);
            // Gate and up are interleaved in runs of 16 channels, so that one panel has both for the same 16.
            layer.up = Matrix(kind, c.is_gpt2 ? c.intermediate : 2 * round_up(c.intermediate, 16), c.hidden);
            layer.down = Matrix(kind, c.hidden, c.intermediate);
        }
        embedding = Matrix(kind, c.vocab_size, c.hidden);
        if (c.has_output_matrix) output = Matrix(kind, c.vocab_size, c.hidden);
        size_t bytes = 0;
        lay_out(nullptr, bytes);
        weights_ = std::make_unique<Pages>(bytes, true);
        bytes = 0;
        lay_out(weights_->data(), bytes);

        value_bytes = c.has_half_cache ? 2 : 4;
        head_values = (size_t)2 * padded_dim * kBlock;
        block_values = head_values * c.num_kv_heads;
        cache_ = std::make_unique<Pages>(block_values * value_bytes * c.num_layers * c.num_blocks, false);
    }

    char* cache(int layer) const {
        return cache_->data() + (size_t)layer * config.num_blocks * block_values * value_bytes;
    }
    void copy_block(int source, int target) const {
        const size_t bytes = block_values * value_bytes;
        for (int l = 0; l < config.num_layers; l++)
            std::memcpy(cache(l) + target * bytes, cache(l) + source * bytes, bytes);
    }
    const Matrix& head() const { return config.has_output_matrix ? output : embedding; }

    const Config config;
    std::vector<Layer> layers;
    Matrix embedding, output;
    float *positions = nullptr, *inverse_frequencies = nullptr, *final_norm = nullptr, *final_norm_bias = nullptr;
    const int padded_dim;
    size_t value_bytes = 0, head_values = 0, block_values = 0;

private:
    // Place everything from `base` on and count the bytes; called once to count and once to place.
    void lay_out(char* base, size_t& bytes) {
        auto place = [&](size_t size) {
            char* at = base ? base + bytes : nullptr;
            bytes += (size + 63) / 64 * 64;
            return at;
        };
        auto floats = [&](size_t count) { return (float*)place(count * sizeof(float)); };
        auto matrix = [&](Matrix& m) {
            m.data = place(m.data_bytes());
            m.scales = floats(m.scales_count());
            m.bias = floats(m.bias_count());
        };
        const Config& c = config;
        matrix(embedding);
        matrix(output);
        positions = floats(c.is_gpt2 ? (size_t)c.context_length * c.hidden : 0);
        inverse_frequencies = floats(c.head_dim / 2);
        final_norm = floats(c.hidden);
        final_norm_bias = floats(c.hidden);
        for (Layer& layer : layers) {
            for (Matrix* m : {&layer.qkv, &layer.out, &layer.up, &layer.down}) matrix(*m);
            for (float** v : {&layer.norm1, &layer.norm1_bias, &layer.norm2, &layer.norm2_bias}) *v = floats(c.hidden);
            layer.q_norm = floats(c.head_dim);
            layer.k_norm = floats(c.head_dim);
        }
        place(kPrefetchBytes);
    }

    std::unique_ptr<Pages> weights_, cache_;
};
