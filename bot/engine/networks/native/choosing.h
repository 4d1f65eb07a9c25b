// The native sampler: chooses the next token for each of many rows of logits, in parallel; see choosing.cpp.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "pool.h"
#include "twister.h"

// row_chooser.py has the same struct; keep the fields equal.
struct ChoiceRow {
    const uint8_t* seen;     // a flag per token: whether the repetition penalty applies, or null
    const int32_t* banned;   // tokens that must not be chosen
    const int32_t* allowed;  // the only tokens that may be chosen (without penalties), or null
    uint32_t* window;        // of the row's draws; with `moves_on` the next window is written after it
    double removed_mass;     // top_p: removes the least likely tokens up to this total probability; -1: none
    double min_p;            // removes tokens below this share of the likeliest token's probability; 0: none
    float penalty;
    float temperature;  // 0: the likeliest token
    int32_t top_k;      // 0: all
    int32_t num_banned;
    int32_t num_allowed;
    int32_t moves_on;
    int32_t at;  // row of the logits
    // Results. -1: no token, or no proof that transformers would choose it.
    int32_t token;
    float logprob;
};

// The draws of one request with n rows: n + 1 windows, of which the last is the end of the previous step.
struct ChoiceStream {
    uint32_t* windows;
    int64_t num_rows;
};

struct Contender {
    int32_t id;
    float scaled;
    float weight;
    double quotient;
};

// The buffers of one thread; each vector is as long as the vocabulary, padded.
struct alignas(64) Scratch {
    std::vector<float> scores, weights, maxima, lane_maxima, ordered, kept_scores, kept_weights;
    std::vector<uint32_t> words;
    std::vector<int32_t> ids;
    std::vector<Contender> contenders;
    // Raises std::bad_alloc, and then changes nothing.
    void prepare(int vocab_size);
};

// Maps a row's values and their count to one number.
using Reduction = float (*)(const float*, int);

class Chooser {
public:
    explicit Chooser(int num_threads);
    // Raises std::bad_alloc before any row has changed.
    void choose(int num_streams, const ChoiceStream* streams, int num_rows, ChoiceRow* const* rows, const float* logits,
                int vocab_size);
    // Write one number for each row to `out`. Allocates no memory, so the numpy sampler gets the same sums in any case.
    void reduce(Reduction reduction, const float* logits, int num_rows, int vocab_size, float* out);

private:
    void work(int thread, int phase, int piece);

    std::mutex mutex_;
    std::vector<Scratch> scratch_;
    const ChoiceStream* streams_ = nullptr;
    ChoiceRow* const* rows_ = nullptr;
    Reduction reduction_ = nullptr;
    float* reduced_ = nullptr;
    std::vector<int> num_pieces_ = {0, 0, 0};
    const float* logits_ = nullptr;
    int vocab_size_ = 0;
    Pool pool_;  // last: its threads use the members above
};
