// One forward pass over all segments: its phases, and the work of a piece of each.
#pragma once

#include <cstdlib>
#include <system_error>

#include "model.h"
#include "pool.h"

constexpr int kOwnRows = 4;        // up to this many, every thread prepares the inputs itself, which saves a phase
constexpr int kRowsInPiece = 4;    // rows per piece in phases that work row by row
constexpr int kQueriesInPiece = 24;
constexpr int kSplitQueries = 8;   // up to this many, each part of the context is a piece of its own
constexpr int kMaxPanelRows = 240;  // rows of a product per piece
constexpr int kTileBytes = 16384;

struct SegmentView {
    int start, count, num_logits, row;  // `row` is its first row in the pass
    const int32_t* blocks;
};

// A piece of attention: queries first … last-1 of a segment; all parts in order, or (part >= 0) just one.
struct AttentionPiece {
    int segment, kv_head, first, last, part, num_parts;
    int row;          // row for the first query's result
    size_t partial;   // first row of the partial results of all its parts
    int join;         // index of the counter of finished parts
};

enum class Stage { embed, prepare_qkv, qkv, rotate, attend, prepare_out, out, prepare_up, up, prepare_down, down,
                   prepare_head, head };

struct Phase {
    Stage stage;
    int layer;
};

// An aligned float buffer that grows and starts as zeros; growing discards the content.
class Buffer {
public:
    ~Buffer() { std::free(data_); }
    void reserve(size_t bytes) {
        if (bytes <= bytes_) return;
        std::free(data_);
        data_ = nullptr, bytes_ = 0;
        const size_t size = (bytes + bytes / 4 + 4095) / 4096 * 4096;
        if (posix_memalign(&data_, 64, size)) data_ = nullptr;
        if (!data_) throw std::bad_alloc();
        std::memset(data_, 0, size);
        bytes_ = size;
    }
    template <class T = float>
    T* as() const {
        return (T*)data_;
    }

private:
    void* data_ = nullptr;
    size_t bytes_ = 0;
};

// Rows prepared for a product with `Inputs`: normalised, and rounded to int16 if the precision needs it.
struct Prepared {
    Buffer values, ints, scales;
};

class Step {
public:
    explicit Step(std::shared_ptr<Model> shared);
    // Plan a pass; the blocks of `segments`, `ids` and `logits` must stay in place until it is done.
    void begin(const std::vector<SegmentView>& segments, const int32_t* ids, float* logits);
    // Compute some more layers; returns whether the pass is done. The output belongs to the last layer.
    bool advance(int num_layers);
    const std::shared_ptr<Model> shared_model;  // several steps may share a model, one at a time
    Model& model;

private:
    struct Scratch {  // of one thread
        Buffer sums, tile, query, scores, out, joined;
        Prepared prepared;
    };

    int count_pieces(const Phase& phase) const;
    void plan_attention();
    void add_attention(std::vector<AttentionPiece>& pieces, int segment, int first, int row);
    void run_piece(int thread, int phase, int piece, bool is_first);

    int rows_of(int layer) const { return layer == model.config.num_layers - 1 ? num_wanted_ : num_rows_; }
    const Matrix& matrix_of(const Phase& phase) const;
    int rows_in(const Phase& phase) const;
    void embed(int piece);
    void prepare(const Phase& phase, int first, int last, Prepared& into) const;
    void multiply(int thread, const Phase& phase, int piece, bool is_first);
    void finish_panel(const Phase& phase, int panel, int first, int last, const float* sums) const;
    void rotate(int layer, int piece);
    template <class T>
    void attend_piece(int thread, int layer, const AttentionPiece& piece);
    template <class T>
    void write_cache(int layer, int row, const float* k, const float* v) const;
    int panels_in_piece(const Matrix& m) const;

    std::vector<Phase> phases_;
    std::vector<Scratch> scratch_;
    std::vector<SegmentView> segments_;
    std::vector<int> row_segment_, row_position_, wanted_, num_pieces_, present_pieces_;
    int next_phase_ = 0;
    std::vector<AttentionPiece> pieces_, last_pieces_;
    std::unique_ptr<std::atomic<int>[]> joins_;
    size_t joins_size_ = 0, num_partials_ = 0;
    int num_joins_ = 0, num_rows_ = 0, num_wanted_ = 0;
    int hidden_stride_, qkv_stride_, heads_stride_, up_stride_;
    const int32_t* ids_ = nullptr;
    float* logits_ = nullptr;
    Buffer x_, last_x_, qkv_, heads_, up_, cosines_, partial_states_, partial_out_;
    Prepared shared_;
    std::unique_ptr<Pool> pool_;  // last: its threads use the members above
};
