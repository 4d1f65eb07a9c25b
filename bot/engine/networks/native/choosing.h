// Which token comes next in each of many rows of logits, threaded over rows: see choosing.cpp.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "pool.h"
#include "twister.h"

// row_chooser.py has the same struct field by field.
struct ChoiceRow {
    const uint8_t* seen;     // vocab flags of tokens that the repetition penalty is for, or null
    const int32_t* banned;   // tokens that may not come
    const int32_t* allowed;  // the only ones that may come (no penalties then), or null
    uint32_t* window;        // of the row's draws; with `moves_on` the window behind them is written after it
    double removed_mass;     // top_p: tokens within this much of the mass, least likely first, are out; -1: none
    double min_p;            // tokens below this share of the likeliest one's probability are out; 0: none
    float penalty;
    float temperature;  // 0: the likeliest token
    int32_t top_k;      // 0: all
    int32_t num_banned;
    int32_t num_allowed;
    int32_t moves_on;
    int32_t at;  // which row of the logits
    // Results. -1: no token, or none that is proven to be what transformers would take.
    int32_t token;
    float logprob;
};

// The draws of one request with n rows: n + 1 windows, of which the last is where the step before ended.
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

// What one thread works with; each vector as long as the vocabulary, padded.
struct alignas(64) Scratch {
    std::vector<float> scores, weights, maxima, lane_maxima, ordered, kept_scores, kept_weights;
    std::vector<uint32_t> words;
    std::vector<int32_t> ids;
    std::vector<Contender> contenders;
    void prepare(int vocab_size);
};

// What is worked out of one row: its values and how many there are in, one number out.
using Reduction = float (*)(const float*, int);

class Chooser {
public:
    explicit Chooser(int num_threads);
    // Raises std::bad_alloc before any row has changed.
    void choose(int num_streams, const ChoiceStream* streams, int num_rows, ChoiceRow* const* rows, const float* logits,
                int vocab_size);
    // Write one number for each row to `out`. Takes no memory, so what numpy falls back to has the same sums.
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
    Pool pool_;  // last: its threads use what is above
};
