// The native sampler: transformers' logits processors and torch's draws, without sorting the vocabulary.
//
// transformers takes the largest quotient of probability and draw among the tokens that top_k, top_p and min_p keep.
// The softmax denominator does not change which is largest, so only two things need proof: that no other quotient is
// within the rounding error, and that the winner itself is kept however its values are rounded. Without a proof the row
// is left to Python (-1). sampler/vectorized.py gives the bounds of the rounding errors.
#include "choosing.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <new>
#include <system_error>

#include "simd.h"

namespace {

constexpr double kMassMargin = 1e-3, kQuotientMargin = 1e-4;
constexpr int kDepth = 32;               // values per maximum of a lane
constexpr int kChunk = kDepth * kLanes;  // values per vector of such maxima
constexpr int kFirst = 64;               // number of likeliest tokens that bound the winning quotient from below
constexpr float kInf = std::numeric_limits<float>::infinity();

int pad(int count) { return (count + kChunk - 1) / kChunk * kChunk; }

// e^x for x up to 0, in half the time of simd.h's: 0 below -87, NaN for NaN.
INLINE F32 exponential_of_negative(F32 x) {
    const F32 magic = splat(12582912.0f);  // adding it leaves a whole number in the last bits
    const F32 shifted = fma(x, splat(1.44269504088896341f), magic);
    const F32 n = shifted - magic;
    F32 r = fma(n, splat(-0.693359375f), x);
    r = fma(n, splat(2.12194440e-4f), r);
    F32 p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(p, r * r, r) + splat(1.0f);
    const F32 e = p * (F32)(((I32)shifted << 23) + 0x3f800000);
    return x < splat(-87.0f) ? F32{} : e;
}

INLINE F32 larger(F32 a, F32 b) { return a > b ? a : b; }

// Call work(chunk) for each kChunk values; the last chunk is padded with minus infinity.
template <class Work>
INLINE void for_chunks(const float* values, int count, Work work) {
    const int whole = count / kChunk * kChunk;
    for (int i = 0; i < whole; i += kChunk) work(values + i);
    if (whole == count) return;
    float rest[kChunk];
    std::memcpy(rest, values + whole, sizeof(float) * (count - whole));
    std::fill(rest + (count - whole), rest + kChunk, -kInf);
    work(rest);
}

// Return the largest value; NaN if there is one.
float find_maximum(const float* values, int count) {
    F32 best = splat(-kInf), no_number = {};
    for_chunks(values, count, [&](const float* chunk) {
        for (int i = 0; i < kChunk; i += kLanes) {
            const F32 value = load<F32>(chunk + i);
            best = larger(value, best);
            no_number = value == value ? no_number : value;
        }
    });
    return max_lanes(best) + sum_lanes(no_number);
}

// Return log(sum(exp(values))); not finite if a value is NaN or infinite, or all are minus infinity.
// Not inlined: another copy might be compiled to different roundings, and every caller must get the same bits.
__attribute__((noinline)) float find_log_sum(const float* values, int count) {
    F32 best = splat(-kInf);
    for_chunks(values, count, [&](const float* chunk) {
        for (int i = 0; i < kChunk; i += kLanes) best = larger(load<F32>(chunk + i), best);
    });
    const F32 largest = splat(max_lanes(best));
    double total = 0;
    for_chunks(values, count, [&](const float* chunk) {
        F32 sum = {};
        for (int i = 0; i < kChunk; i += kLanes) sum += exponential_of_negative(load<F32>(chunk + i) - largest);
        total += sum_lanes(sum);
    });
    return (float)(largest[0] + std::log(total));
}

// Copy a row's logits to scores, padded with minus infinity.
void copy_logits(const float* logits, int vocab_size, Scratch& s) {
    std::memcpy(s.scores.data(), logits, sizeof(float) * vocab_size);
    std::fill(s.scores.begin() + vocab_size, s.scores.begin() + pad(vocab_size), -kInf);
}

void apply_options(const ChoiceRow& row, const float* logits, int vocab_size, Scratch& s) {
    float* scores = s.scores.data();
    if (row.allowed) {
        std::fill(scores, scores + vocab_size, -kInf);
        for (int i = 0; i < row.num_allowed; i++) scores[row.allowed[i]] = logits[row.allowed[i]];
        return;
    }
    auto penalise = [&](int i) {
        if (row.seen[i]) scores[i] = scores[i] < 0 ? scores[i] * row.penalty : scores[i] / row.penalty;
    };
    if (row.seen) {
        int first = 0;
        for (; first + 8 <= vocab_size; first += 8) {
            uint64_t flags;
            std::memcpy(&flags, row.seen + first, 8);
            if (flags)
                for (int i = first; i < first + 8; i++) penalise(i);
        }
        for (; first < vocab_size; first++) penalise(first);
    }
    for (int i = 0; i < row.num_banned; i++)
        if (row.banned[i] < vocab_size) scores[row.banned[i]] = -kInf;
}

// Divide the scores by the temperature and find the maxima of chunks and of their lanes. Returns the largest.
float scale(float temperature, int padded, Scratch& s) {
    float largest = -kInf;
    for (int chunk = 0; chunk < padded; chunk += kChunk) {
        F32 best = splat(-kInf);
        for (int i = chunk; i < chunk + kChunk; i += kLanes) {
            F32 value = load<F32>(&s.scores[i]);
            if (temperature != 1.0f) {
                value /= splat(temperature);
                store(&s.scores[i], value);
            }
            best = larger(value, best);
        }
        store(&s.lane_maxima[chunk / kDepth], best);
        s.maxima[chunk / kChunk] = max_lanes(best);
        largest = std::max(largest, s.maxima[chunk / kChunk]);
    }
    return largest;
}

int find_first(float value, int padded, Scratch& s) {
    for (int chunk = 0; chunk < padded; chunk += kChunk) {
        if (s.maxima[chunk / kChunk] < value) continue;
        for (int i = chunk; i < chunk + kChunk; i++)
            if (s.scores[i] == value) return i;
    }
    return -1;
}

// Return the `count`-th largest of some values.
float find_largest(int count, const float* values, int num_values, Scratch& s) {
    s.ordered.assign(values, values + num_values);
    std::nth_element(s.ordered.begin(), s.ordered.begin() + count - 1, s.ordered.end(), std::greater<float>());
    return s.ordered[count - 1];
}

// Fill s.ids with all tokens that are at least as likely as the `count`-th, in any order.
void collect(int count, int vocab_size, Scratch& s) {
    const int padded = pad(vocab_size);
    // At least `count` values are as large as the `count`-th maximum.
    float least = -kInf;
    if (count <= padded / kChunk / 2) least = find_largest(count, s.maxima.data(), padded / kChunk, s);
    else if (count <= padded / kDepth) least = find_largest(count, s.lane_maxima.data(), padded / kDepth, s);
    s.ids.clear();
    s.kept_scores.clear();
    for (int chunk = 0; chunk < padded; chunk += kChunk) {
        if (s.maxima[chunk / kChunk] < least) continue;
        for (int lane = 0; lane < kLanes; lane++) {
            if (s.lane_maxima[chunk / kDepth + lane] < least) continue;
            for (int i = chunk + lane; i < std::min(chunk + kChunk, vocab_size); i += kLanes) {
                if (s.scores[i] < least) continue;
                s.ids.push_back(i);
                s.kept_scores.push_back(s.scores[i]);
            }
        }
    }
    const float smallest = find_largest(count, s.kept_scores.data(), (int)s.ids.size(), s);
    std::erase_if(s.ids, [&](int id) { return s.scores[id] < smallest; });
}

// The scores of the tokens that top_p considers, and their weights; padded with zero weights.
struct Masses {
    const float* scores;
    const float* weights;
    int padded;
    double total;
    double removed;
};

// A weight is a token's share of the likeliest one's probability: from the first one min_p surely keeps it, below the
// second one it surely removes it.
double surely_kept_by(double min_p) { return min_p * (1 + kQuotientMargin); }
double surely_removed_by(double min_p) { return min_p * (1 - kQuotientMargin); }

double weigh(const float* scores, float largest, int padded, float* weights) {
    double total = 0;
    for (int chunk = 0; chunk < padded; chunk += kChunk) {
        F32 sum = {};
        for (int i = chunk; i < chunk + kChunk; i += kLanes) {
            const F32 weight = exponential_of_negative(load<F32>(scores + i) - splat(largest));
            store(weights + i, weight);
            sum += weight;
        }
        total += sum_lanes(sum);
    }
    return total;
}

enum Verdict { kKept, kRemoved, kUnsure };

// top_p removes a token if it and all less likely ones have at most the removed mass in total. The order of equals
// depends on the sorting algorithm: the token may be the first or the last of them.
Verdict judge(const Masses& masses, float score, float largest) {
    if (masses.removed < 0) return kKept;
    double below = 0, equal = 0;
    int num_equal = 0;
    const F32 own = splat(score), zero = {};
    for (int chunk = 0; chunk < masses.padded; chunk += kChunk) {
        F32 less = {}, same = {};
        I32 count = {};
        for (int i = chunk; i < chunk + kChunk; i += kLanes) {
            const F32 scores = load<F32>(masses.scores + i), weights = load<F32>(masses.weights + i);
            less += select(scores < own, weights, zero);
            same += select(scores == own, weights, zero);
            count -= scores == own;
        }
        below += sum_lanes(less);
        equal += sum_lanes(same);
        num_equal += (int)sum_lanes(to_float(count));
    }
    if (score == largest && num_equal == 1) return kKept;
    const double own_weight = equal / num_equal;
    if ((below + own_weight) / masses.total > masses.removed * (1 + kMassMargin)) return kKept;
    const double most = (below + equal) / masses.total;
    return most < masses.removed * (1 - kMassMargin) && most > 0 ? kRemoved : kUnsure;
}

// Return the token whose quotient is provably the largest among those provably kept; -1 without a proof.
// `contenders` are all whose quotient is at least `bar`, less a margin, and that min_p does not surely remove.
int decide(std::vector<Contender>& contenders, const Masses& masses, double min_p, float largest, double bar) {
    while (!contenders.empty()) {
        const Contender best = *std::max_element(contenders.begin(), contenders.end(), [](auto& a, auto& b) {
            return a.quotient < b.quotient;
        });
        if (!(best.quotient > 0 && best.quotient >= bar && best.quotient < kInf)) return -1;
        const double near = best.quotient * (1 - kQuotientMargin);
        if (std::count_if(contenders.begin(), contenders.end(), [&](auto& c) { return !(c.quotient < near); }) > 1)
            return -1;
        const Verdict verdict = judge(masses, best.scaled, largest);
        if (verdict != kRemoved) {
            const bool is_kept_by_min_p = best.scaled == largest || best.weight >= surely_kept_by(min_p);
            return verdict == kKept && is_kept_by_min_p ? best.id : -1;
        }
        // All tokens that are not more likely are removed too.
        std::erase_if(contenders, [&](auto& c) { return c.scaled <= best.scaled; });
    }
    return -1;
}

int draw_of_few(const ChoiceRow& row, float largest, int vocab_size, Scratch& s) {
    collect(row.top_k, vocab_size, s);
    const int padded = pad((int)s.ids.size());
    s.kept_scores.assign(padded, -kInf);
    s.kept_weights.resize(padded);
    for (size_t i = 0; i < s.ids.size(); i++) s.kept_scores[i] = s.scores[s.ids[i]];
    const double total = weigh(s.kept_scores.data(), largest, padded, s.kept_weights.data());
    s.contenders.clear();
    for (size_t i = 0; i < s.ids.size(); i++) {
        const float weight = s.kept_weights[i];
        if (weight < surely_removed_by(row.min_p)) continue;
        s.contenders.push_back({s.ids[i], s.kept_scores[i], weight, weight / draw(s.words.data(), s.ids[i])});
    }
    return decide(s.contenders, {s.kept_scores.data(), s.kept_weights.data(), padded, total, row.removed_mass},
                  row.min_p, largest, 0);
}

// Return a quotient that the winner has at least: the largest among likely tokens that are surely kept; 0: unknown.
double find_bar(const ChoiceRow& row, float largest, double total, int vocab_size, Scratch& s) {
    collect(std::min(kFirst, vocab_size), vocab_size, s);
    std::sort(s.ids.begin(), s.ids.end(), [&](int a, int b) { return s.scores[a] > s.scores[b]; });
    double bar = 0, above = 0;
    for (size_t i = 0; i < s.ids.size();) {
        const float score = s.scores[s.ids[i]];
        const double weight = s.weights[s.ids[i]];
        size_t end = i + 1;
        while (end < s.ids.size() && s.scores[s.ids[end]] == score) end++;
        const double num_equal = (double)(end - i);
        const bool is_only_best = score == largest && num_equal == 1;
        const double least = (total - above - weight * (num_equal - 1)) / total;
        if (!is_only_best && least <= row.removed_mass * (1 + kMassMargin)) break;
        if (score < largest && weight < surely_kept_by(row.min_p)) break;
        for (; i < end; i++) bar = std::max(bar, weight / draw(s.words.data(), s.ids[i]));
        above += weight * num_equal;
    }
    return bar;
}

int draw_of_all(const ChoiceRow& row, float largest, int vocab_size, Scratch& s) {
    const int padded = pad(vocab_size);
    const double total = weigh(s.scores.data(), largest, padded, s.weights.data());
    const double bar = find_bar(row, largest, total, vocab_size, s);
    if (!(bar > 0 && bar < kInf)) return -1;
    // A draw is never below its uniform number, whose upper 21 bits already rule out nearly all tokens.
    const float factor = (float)(bar * (1 - 10 * kQuotientMargin) * 0x1p-21);
    // min_p leaves no token in a chunk whose largest is as far as this below the largest of all.
    const float lowest = largest + (float)std::log(surely_removed_by(row.min_p)) - 1e-3f;
    s.contenders.clear();
    for (int first = 0; first < padded; first += kChunk) {
        if (s.maxima[first / kChunk] < lowest) continue;
        const uint32_t* words = &s.words[2 * (size_t)first];
        const float* weights = &s.weights[first];
        int num_left = 0;
        for (int i = 0; i < kChunk; i++)
            num_left += weights[i] >= factor * (float)(int32_t)(temper(words[2 * i]) & 0x1fffff);
        if (num_left == 0) continue;
        for (int i = first; i < std::min(first + kChunk, vocab_size); i++) {
            const float weight = s.weights[i];
            if (!(weight >= factor * (float)(int32_t)(temper(s.words[2 * (size_t)i]) & 0x1fffff))) continue;
            if (weight < surely_removed_by(row.min_p)) continue;
            const double quotient = weight / draw(s.words.data(), i);
            if (!(quotient < bar * (1 - 5 * kQuotientMargin))) s.contenders.push_back({i, s.scores[i], weight, quotient});
        }
    }
    return decide(s.contenders, {s.scores.data(), s.weights.data(), padded, total, row.removed_mass}, row.min_p,
                  largest, bar);
}

void choose_row(ChoiceRow& row, const float* logits, int vocab_size, Scratch& s) {
    row.token = -1;
    if (row.temperature > 0) {
        std::memcpy(s.words.data(), row.window, sizeof(uint32_t) * kWindow);
        twist(s.words.data(), 2 * (int64_t)vocab_size);
        if (row.moves_on)
            std::memcpy(row.window + kWindow, &s.words[2 * (size_t)vocab_size], sizeof(uint32_t) * kWindow);
    }
    const float log_sum = find_log_sum(logits, vocab_size);
    if (!std::isfinite(log_sum)) return;
    copy_logits(logits, vocab_size, s);
    apply_options(row, logits, vocab_size, s);
    const int padded = pad(vocab_size);
    const float largest = scale(row.temperature > 0 ? row.temperature : 1.0f, padded, s);
    if (!std::isfinite(largest)) return;
    if (row.temperature <= 0) row.token = find_first(largest, padded, s);
    else if (0 < row.top_k && row.top_k < vocab_size) row.token = draw_of_few(row, largest, vocab_size, s);
    else row.token = draw_of_all(row, largest, vocab_size, s);
    if (row.token >= 0) row.logprob = logits[row.token] - log_sum;
}

}  // namespace

void Scratch::prepare(int vocab_size) {
    const size_t padded = pad(vocab_size);
    if (scores.size() >= padded) return;
    Scratch longer;  // all of its buffers take the place of the old ones, or none does
    for (auto* one : {&longer.scores, &longer.weights, &longer.kept_scores, &longer.kept_weights, &longer.ordered})
        one->resize(padded);
    longer.maxima.resize(padded / kChunk);
    longer.lane_maxima.resize(padded / kDepth);
    longer.words.resize(kWindow + 2 * padded + kLanes);
    longer.ids.reserve(padded);
    longer.contenders.reserve(padded);
    *this = std::move(longer);
}

Chooser::Chooser(int num_threads)
    : scratch_(num_threads),
      pool_(num_threads, 3, [this](int thread, int phase, int piece, bool) { work(thread, phase, piece); }) {}

void Chooser::choose(int num_streams, const ChoiceStream* streams, int num_rows, ChoiceRow* const* rows,
                     const float* logits, int vocab_size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& scratch : scratch_) scratch.prepare(vocab_size);
    streams_ = streams;
    rows_ = rows;
    logits_ = logits;
    vocab_size_ = vocab_size;
    if (num_rows > 1) {
        num_pieces_ = {num_streams, num_rows, 0};
        pool_.run(num_pieces_);
        return;
    }
    // A single row is done before another thread could wake up.
    for (int i = 0; i < num_streams; i++) work(0, 0, i);
    for (int i = 0; i < num_rows; i++) work(0, 1, i);
}

void Chooser::reduce(Reduction reduction, const float* logits, int num_rows, int vocab_size, float* out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    reduction_ = reduction;
    logits_ = logits;
    vocab_size_ = vocab_size;
    reduced_ = out;
    if (num_rows > 1) {
        num_pieces_ = {0, 0, num_rows};
        pool_.run(num_pieces_);
    } else if (num_rows == 1) work(0, 2, 0);
}

void Chooser::work(int thread, int phase, int piece) {
    Scratch& s = scratch_[thread];
    if (phase == 2) {
        reduced_[piece] = reduction_(logits_ + (size_t)piece * vocab_size_, vocab_size_);
        return;
    }
    if (phase == 1) {
        ChoiceRow& row = *rows_[piece];
        choose_row(row, logits_ + (size_t)row.at * vocab_size_, vocab_size_, s);
        return;
    }
    const ChoiceStream& stream = streams_[piece];
    std::memcpy(stream.windows, stream.windows + stream.num_rows * kWindow, sizeof(uint32_t) * kWindow);
    if (stream.num_rows == 1) return;  // its row advances it
    for (int64_t row = 0; row < stream.num_rows; row++)
        move_on(stream.windows + row * kWindow, stream.windows + (row + 1) * kWindow, 2 * (int64_t)vocab_size_,
                s.words.data());
}

extern "C" {

// A chooser lives as long as the process. Null if there is not enough memory or no thread.
void* native_create_chooser(int num_threads) {
    try {
        return new Chooser(num_threads);
    } catch (const std::bad_alloc&) {
        return nullptr;
    } catch (const std::system_error&) {
        return nullptr;
    }
}

// Returns 0, or 1 if there is not enough memory.
int native_choose(void* chooser, int num_streams, const ChoiceStream* streams, int num_rows, ChoiceRow* const* rows,
                  const float* logits, int vocab_size) {
    try {
        ((Chooser*)chooser)->choose(num_streams, streams, num_rows, rows, logits, vocab_size);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

// Write log(sum(exp(logits))) of each row to `out`; not finite if a logit is NaN or infinite, or all are minus
// infinity. Allocates no memory.
void native_log_sums(void* chooser, const float* logits, int num_rows, int vocab_size, float* out) {
    ((Chooser*)chooser)->reduce(find_log_sum, logits, num_rows, vocab_size, out);
}

// Write the largest logit of each row to `out`; NaN if a logit is NaN. Allocates no memory.
void native_maxima(void* chooser, const float* logits, int num_rows, int vocab_size, float* out) {
    ((Chooser*)chooser)->reduce(find_maximum, logits, num_rows, vocab_size, out);
}

// Write the `count` 64-bit numbers that follow a window, and the window after them. Returns 0, or 1 if there is not
// enough memory.
int native_draw_words(const uint32_t* window, uint32_t* window_behind, uint64_t* out, int64_t count) {
    try {
        std::vector<uint32_t> words(kWindow + 2 * count + kLanes);
        move_on(window, window_behind, 2 * count, words.data());
        for (int64_t i = 0; i < count; i++) out[i] = join(words.data(), i);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // extern "C"
