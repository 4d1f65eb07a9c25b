// The phases of a forward pass.
#include "step.h"

namespace {

void normalize(const float* x, int count, const float* weight, const float* bias, float epsilon, float* to) {
    const int whole = count / kLanes * kLanes;
    float mean = 0;
    if (bias) {
        F32 sum{};
        for (int i = 0; i < whole; i += kLanes) sum += load<F32>(x + i);
        mean = sum_lanes(sum);
        for (int i = whole; i < count; i++) mean += x[i];
        mean /= (float)count;
    }
    F32 squares{};
    for (int i = 0; i < whole; i += kLanes) {
        const F32 v = load<F32>(x + i) - splat(mean);
        squares = fma(v, v, squares);
    }
    float square = sum_lanes(squares);
    for (int i = whole; i < count; i++) square += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / std::sqrt(square / (float)count + epsilon);
    for (int i = 0; i < whole; i += kLanes) {
        F32 v = (load<F32>(x + i) - splat(mean)) * splat(scale) * load<F32>(weight + i);
        if (bias) v += load<F32>(bias + i);
        store(to + i, v);
    }
    for (int i = whole; i < count; i++) to[i] = (x[i] - mean) * scale * weight[i] + (bias ? bias[i] : 0.0f);
}

bool is_product(Stage stage) {
    return stage == Stage::qkv || stage == Stage::out || stage == Stage::up || stage == Stage::down ||
           stage == Stage::head;
}

Stage preparation_of(Stage stage) { return (Stage)((int)stage - 1); }

}  // namespace

Step::Step(std::shared_ptr<Model> shared)
    : shared_model(std::move(shared)), model(*shared_model), scratch_(std::max(1, model.config.num_threads)) {
    const Config& c = model.config;
    hidden_stride_ = round_up(c.hidden, kPanel) + 16;
    qkv_stride_ = round_up((c.num_heads + 2 * c.num_kv_heads) * c.head_dim, kPanel) + 16;
    heads_stride_ = round_up(c.num_heads * c.head_dim, kPanel) + 16;
    up_stride_ = round_up(c.intermediate, kPanel) + 16;
    phases_.push_back({Stage::embed, 0});
    for (int layer = 0; layer < c.num_layers; layer++)
        for (int s = (int)Stage::prepare_qkv; s <= (int)Stage::down; s++) phases_.push_back({(Stage)s, layer});
    phases_.push_back({Stage::prepare_head, c.num_layers});
    phases_.push_back({Stage::head, c.num_layers});
    num_pieces_.resize(phases_.size());
    const int most_queries = kQueryRows * model.padded_dim;
    for (Scratch& s : scratch_) {
        s.sums.reserve(sizeof(float) * kMaxPanelRows * kPanel);
        s.tile.reserve(kTileBytes);
        s.query.reserve(sizeof(float) * most_queries);
        s.scores.reserve(sizeof(float) * kQueryRows * kPart);
        s.out.reserve(sizeof(float) * most_queries);
        s.joined.reserve(sizeof(float) * most_queries);
    }
    pool_ = std::make_unique<Pool>(c.num_threads, (int)phases_.size(),
                                   [this](int t, int phase, int piece, bool is_first) {
                                       run_piece(t, phase, piece, is_first);
                                   });
}

void Step::begin(const std::vector<SegmentView>& segments, const int32_t* ids, float* logits) {
    const Config& c = model.config;
    segments_ = segments;
    ids_ = ids;
    logits_ = logits;
    row_segment_.clear(), row_position_.clear(), wanted_.clear();
    for (int s = 0; s < (int)segments_.size(); s++) {
        SegmentView& segment = segments_[s];
        segment.row = (int)row_segment_.size();
        for (int i = 0; i < segment.count; i++) {
            if (i >= segment.count - segment.num_logits) wanted_.push_back((int)row_segment_.size());
            row_segment_.push_back(s);
            row_position_.push_back(segment.start + i);
        }
    }
    num_rows_ = (int)row_segment_.size();
    num_wanted_ = (int)wanted_.size();
    next_phase_ = num_rows_ ? 0 : (int)phases_.size();
    if (num_rows_ == 0) return;
    plan_attention();

    const size_t rows = num_rows_;
    const int widest = std::max({hidden_stride_, heads_stride_, up_stride_});
    x_.reserve(sizeof(float) * rows * hidden_stride_);
    last_x_.reserve(sizeof(float) * num_wanted_ * hidden_stride_);
    qkv_.reserve(sizeof(float) * rows * qkv_stride_);
    heads_.reserve(sizeof(float) * rows * heads_stride_);
    up_.reserve(sizeof(float) * rows * up_stride_);
    cosines_.reserve(sizeof(float) * rows * c.head_dim);
    partial_states_.reserve(sizeof(Partial) * num_partials_);
    partial_out_.reserve(sizeof(float) * num_partials_ * model.padded_dim);
    auto reserve_prepared = [&](Prepared& p, size_t count) {
        p.values.reserve(sizeof(float) * count * widest);
        if (c.kind != (int)Kind::int8) return;
        p.ints.reserve(sizeof(int16_t) * count * widest);
        p.scales.reserve(sizeof(float) * count * (widest / kGroup + 1));
    };
    if (num_rows_ > kOwnRows) reserve_prepared(shared_, rows);
    for (Scratch& s : scratch_) reserve_prepared(s.prepared, kOwnRows);
    if ((size_t)num_joins_ > joins_size_) {
        joins_ = std::make_unique<std::atomic<int>[]>((size_t)num_joins_ * 2);
        joins_size_ = (size_t)num_joins_ * 2;  // only now: without memory the old ones stay
    }
    for (size_t i = 0; i < phases_.size(); i++) num_pieces_[i] = count_pieces(phases_[i]);
}

bool Step::advance(int num_layers) {
    const int num_phases = (int)phases_.size(), first = next_phase_;
    const int last_layer = first < num_phases ? phases_[first].layer + num_layers : 0;
    while (next_phase_ < num_phases && (phases_[next_phase_].layer < last_layer || last_layer >= model.config.num_layers))
        next_phase_++;
    if (first == next_phase_) return true;
    present_pieces_.assign(num_phases, 0);
    std::copy(num_pieces_.begin() + first, num_pieces_.begin() + next_phase_, present_pieces_.begin() + first);
    pool_->run(present_pieces_);
    return next_phase_ == num_phases;
}

void Step::add_attention(std::vector<AttentionPiece>& pieces, int segment, int first, int row) {
    const SegmentView& s = segments_[segment];
    const int queries = s.count - first;
    if (queries <= 0) return;
    const int parts = (s.start + s.count + kPart - 1) / kPart, group = model.config.num_heads / model.config.num_kv_heads;
    const bool is_split = queries <= kSplitQueries && parts > 1;
    // The last queries attend to the most keys: they come first, so that no long piece is left for the end.
    const int num_cuts = is_split ? 1 : (queries + kQueriesInPiece - 1) / kQueriesInPiece;
    for (int cut = num_cuts - 1; cut >= 0; cut--) {
        const int a = first + cut * kQueriesInPiece, b = is_split ? s.count : std::min(s.count, a + kQueriesInPiece);
        for (int head = 0; head < model.config.num_kv_heads; head++) {
            AttentionPiece piece{segment, head, a, b, -1, parts, row + a - first, 0, 0};
            if (!is_split) {
                pieces.push_back(piece);
                continue;
            }
            piece.partial = num_partials_;
            piece.join = num_joins_++;
            num_partials_ += (size_t)parts * queries * group;
            for (piece.part = 0; piece.part < parts; piece.part++) pieces.push_back(piece);
        }
    }
}

void Step::plan_attention() {
    pieces_.clear(), last_pieces_.clear();
    num_partials_ = 0, num_joins_ = 0;
    for (int s = 0, row = 0; s < (int)segments_.size(); row += segments_[s++].count) add_attention(pieces_, s, 0, row);
    for (int s = 0, row = 0; s < (int)segments_.size(); row += segments_[s++].num_logits)
        add_attention(last_pieces_, s, segments_[s].count - segments_[s].num_logits, row);
    auto by_work = [&](const AttentionPiece& a, const AttentionPiece& b) {
        auto work = [&](const AttentionPiece& p) {
            return p.part >= 0 ? (int64_t)kPart * (p.last - p.first)
                               : (int64_t)(segments_[p.segment].start + p.last) * (p.last - p.first);
        };
        return work(a) > work(b);
    };
    std::stable_sort(pieces_.begin(), pieces_.end(), by_work);
    std::stable_sort(last_pieces_.begin(), last_pieces_.end(), by_work);
}

int Step::panels_in_piece(const Matrix& m) const {
    return std::max(1, std::min(num_rows_ <= kMaxRows ? 8 : 1, m.num_panels / (12 * pool_->num_threads())));
}

const Matrix& Step::matrix_of(const Phase& phase) const {
    if (phase.stage == Stage::head || phase.stage == Stage::prepare_head) return model.head();
    const Layer& layer = model.layers[phase.layer];
    switch (phase.stage) {
        case Stage::qkv: case Stage::prepare_qkv: return layer.qkv;
        case Stage::out: case Stage::prepare_out: return layer.out;
        case Stage::up: case Stage::prepare_up: return layer.up;
        default: return layer.down;
    }
}

// The number of rows of a phase: from the last layer's attention on, only those whose logits are requested.
int Step::rows_in(const Phase& phase) const {
    if (phase.stage >= Stage::prepare_head) return num_wanted_;
    return phase.stage <= Stage::rotate ? num_rows_ : rows_of(phase.layer);
}

int Step::count_pieces(const Phase& phase) const {
    const int rows = rows_in(phase);
    if (rows == 0) return 0;
    if (phase.stage == Stage::attend)
        return (int)(phase.layer == model.config.num_layers - 1 ? last_pieces_ : pieces_).size();
    const int row_pieces = (rows + kRowsInPiece - 1) / kRowsInPiece;
    if (phase.stage == Stage::embed || phase.stage == Stage::rotate) return row_pieces;
    if (is_product(phase.stage)) {
        const Matrix& m = matrix_of(phase);
        const int step = panels_in_piece(m), row_cuts = (rows + kMaxPanelRows - 1) / kMaxPanelRows;
        return (m.num_panels + step - 1) / step * row_cuts;
    }
    const bool has_norm = phase.stage != Stage::prepare_out && phase.stage != Stage::prepare_down;
    return rows > kOwnRows && (has_norm || model.config.kind == (int)Kind::int8) ? row_pieces : 0;
}

void Step::run_piece(int thread, int index, int piece, bool is_first) {
    const Phase& phase = phases_[index];
    const int first = piece * kRowsInPiece, last = std::min(rows_in(phase), first + kRowsInPiece);
    switch (phase.stage) {
        case Stage::embed: return embed(piece);
        case Stage::rotate: return rotate(phase.layer, piece);
        case Stage::attend: {
            const auto& pieces = phase.layer == model.config.num_layers - 1 ? last_pieces_ : pieces_;
            if (model.config.has_half_cache) return attend_piece<Half>(thread, phase.layer, pieces[piece]);
            return attend_piece<float>(thread, phase.layer, pieces[piece]);
        }
        case Stage::qkv: case Stage::out: case Stage::up: case Stage::down: case Stage::head:
            return multiply(thread, phase, piece, is_first);
        default: return prepare(phase, first, last, shared_);
    }
}

void Step::embed(int piece) {
    const Config& c = model.config;
    const int last = std::min(num_rows_, (piece + 1) * kRowsInPiece);
    for (int row = piece * kRowsInPiece; row < last; row++) {
        float* x = x_.as() + (size_t)row * hidden_stride_;
        read_channel(model.embedding, ids_[row], x);
        const int position = row_position_[row];
        if (c.is_gpt2) {
            const float* code = model.positions + (size_t)position * c.hidden;
            for (int i = 0; i < c.hidden; i++) x[i] += code[i];
            continue;
        }
        float* cosines = cosines_.as() + (size_t)row * c.head_dim;
        for (int i = 0; i < c.head_dim / 2; i++) {
            const float angle = (float)position * model.inverse_frequencies[i];
            cosines[i] = (float)std::cos((double)angle);
            cosines[c.head_dim / 2 + i] = (float)std::sin((double)angle);
        }
    }
}

// Prepare the rows first … last-1 for the next product.
void Step::prepare(const Phase& phase, int first, int last, Prepared& into) const {
    const Config& c = model.config;
    const bool is_last = phase.layer >= c.num_layers - 1 && phase.stage != Stage::prepare_qkv;
    const float* from = (is_last ? last_x_ : x_).as();
    size_t stride = hidden_stride_;
    const float *weight = nullptr, *bias = nullptr;
    switch (phase.stage) {
        case Stage::prepare_qkv:
            weight = model.layers[phase.layer].norm1, bias = model.layers[phase.layer].norm1_bias;
            break;
        case Stage::prepare_up:
            weight = model.layers[phase.layer].norm2, bias = model.layers[phase.layer].norm2_bias;
            break;
        case Stage::prepare_head: weight = model.final_norm, bias = model.final_norm_bias; break;
        case Stage::prepare_out: from = heads_.as(), stride = heads_stride_; break;
        default: from = up_.as(), stride = up_stride_;
    }
    const int count = matrix_of(phase).num_inputs;
    const size_t groups = (count + kGroup - 1) / kGroup;
    for (int row = first; row < last; row++) {
        const float* values = from + row * stride;
        if (weight) {
            float* normal = into.values.as() + row * stride;
            normalize(values, count, weight, c.is_gpt2 ? bias : nullptr, c.epsilon, normal);
            // Wider rows of another product may have been here: values read past the end must be zero.
            std::memset(normal + count, 0, sizeof(float) * (round_up(count, 16) - count));
            values = normal;
        }
        if (c.kind == (int)Kind::int8)
            quantize_row(values, count, into.ints.as<int16_t>() + row * stride, into.scales.as() + row * groups);
    }
}

void Step::multiply(int thread, const Phase& phase, int piece, bool is_first) {
    const Config& c = model.config;
    const Matrix& m = matrix_of(phase);
    const int rows = rows_in(phase), step = panels_in_piece(m);
    Scratch& scratch = scratch_[thread];
    const Stage preparation = preparation_of(phase.stage);
    const bool has_norm = phase.stage != Stage::out && phase.stage != Stage::down;
    const size_t stride = phase.stage == Stage::out ? heads_stride_ : phase.stage == Stage::down ? up_stride_ : hidden_stride_;
    Prepared& prepared = rows <= kOwnRows ? scratch.prepared : shared_;
    if (rows <= kOwnRows && is_first) prepare({preparation, phase.layer}, 0, rows, prepared);
    Inputs x;
    x.values = has_norm ? prepared.values.as() : phase.stage == Stage::out ? heads_.as() : up_.as();
    x.stride = stride;
    if (c.kind == (int)Kind::int8) {
        x.ints = prepared.ints.as<int16_t>(), x.int_stride = stride;
        x.scales = prepared.scales.as(), x.scale_stride = m.num_groups;
    }
    const int row_cuts = (rows + kMaxPanelRows - 1) / kMaxPanelRows;
    const int cut = piece % row_cuts, first = (int)((int64_t)rows * cut / row_cuts);
    const int last = (int)((int64_t)rows * (cut + 1) / row_cuts);
    const int begin = piece / row_cuts * step, end = std::min(m.num_panels, begin + step);
    for (int panel = begin; panel < end; panel++) {
        multiply_panel(m, panel, x.from_row(first), last - first, scratch.sums.as(), scratch.tile.as<char>());
        finish_panel(phase, panel, first, last, scratch.sums.as());
    }
}

// Add the bias and write one panel's sums of the rows first … last-1 to the phase's output.
void Step::finish_panel(const Phase& phase, int panel, int first, int last, const float* sums) const {
    const Config& c = model.config;
    const Matrix& m = matrix_of(phase);
    const bool is_last = phase.layer == c.num_layers - 1;
    const int column = panel * kPanel;
    for (int row = first; row < last; row++, sums += kPanel) {
        F32 v[kVectors];
        for (int i = 0; i < kVectors; i++) v[i] = load<F32>(sums + i * kLanes) + load<F32>(m.bias + column + i * kLanes);
        if (phase.stage == Stage::head) {
            float* to = logits_ + (size_t)row * c.vocab_size + column;
            const int count = std::min(kPanel, c.vocab_size - column);
            std::memcpy(to, v, sizeof(float) * count);
        } else if (phase.stage == Stage::qkv) {
            std::memcpy(qkv_.as() + (size_t)row * qkv_stride_ + column, v, sizeof v);
        } else if (phase.stage == Stage::up && c.is_gpt2) {
            for (int i = 0; i < kVectors; i++)
                store(up_.as() + (size_t)row * up_stride_ + column + i * kLanes, gelu_tanh(v[i]));
        } else if (phase.stage == Stage::up) {
            for (int i = 0; i < kVectors / 2; i++)
                store(up_.as() + (size_t)row * up_stride_ + column / 2 + i * kLanes, silu(v[i]) * v[kVectors / 2 + i]);
        } else {
            float* x = (is_last ? last_x_ : x_).as() + (size_t)row * hidden_stride_ + column;
            // The last layer continues with the requested rows only, so its first sum gathers them.
            const bool moves = is_last && phase.stage == Stage::out;
            const float* before = moves ? x_.as() + (size_t)wanted_[row] * hidden_stride_ + column : x;
            for (int i = 0; i < kVectors; i++) store(x + i * kLanes, load<F32>(before + i * kLanes) + v[i]);
        }
    }
}

template <class T>
void Step::write_cache(int layer, int row, const float* k, const float* v) const {
    const Config& c = model.config;
    const int position = row_position_[row], token = position % kBlock, dim = model.padded_dim;
    const int block = segments_[row_segment_[row]].blocks[position / kBlock];
    T* place = (T*)model.cache(layer) + (size_t)block * model.block_values;
    for (int head = 0; head < c.num_kv_heads; head++, place += model.head_values) {
        for (int d = 0; d < c.head_dim; d++) write_value(place + d * kBlock + token, k[head * c.head_dim + d]);
        T* values = place + dim * kBlock + token * dim;
        for (int d = 0; d < c.head_dim; d++) write_value(values + d, v[head * c.head_dim + d]);
    }
}

// Rotate queries and keys to their positions, and write keys and values to the cache.
void Step::rotate(int layer, int piece) {
    const Config& c = model.config;
    const int half = c.head_dim / 2, last = std::min(num_rows_, (piece + 1) * kRowsInPiece);
    for (int row = piece * kRowsInPiece; row < last; row++) {
        float* q = qkv_.as() + (size_t)row * qkv_stride_;
        float* k = q + c.num_heads * c.head_dim;
        if (!c.is_gpt2) {
            const float *cosines = cosines_.as() + (size_t)row * c.head_dim, *sines = cosines + half;
            for (int head = 0; head < c.num_heads + c.num_kv_heads; head++) {
                float* x = q + head * c.head_dim;
                const Layer& weights = model.layers[layer];
                if (c.has_qk_norm)
                    normalize(x, c.head_dim, head < c.num_heads ? weights.q_norm : weights.k_norm, nullptr, c.epsilon, x);
                for (int i = 0; i < half; i++) {
                    const float a = x[i], b = x[i + half];
                    x[i] = a * cosines[i] - b * sines[i];
                    x[i + half] = b * cosines[i] + a * sines[i];
                }
            }
        }
        const float* v = k + c.num_kv_heads * c.head_dim;
        if (c.has_half_cache) write_cache<Half>(layer, row, k, v);
        else write_cache<float>(layer, row, k, v);
    }
}

template <class T>
void Step::attend_piece(int thread, int layer, const AttentionPiece& p) {
    const Config& c = model.config;
    const SegmentView& segment = segments_[p.segment];
    const int dim = model.padded_dim, group = c.num_heads / c.num_kv_heads, total = (p.last - p.first) * group;
    Scratch& s = scratch_[thread];
    const Cache<T> cache{(const T*)model.cache(layer) + p.kv_head * model.head_values, model.block_values, dim,
                         segment.blocks};
    auto finish = [&](int r, const Partial& state, const float* out) {
        float* to = heads_.as() + (size_t)(p.row + r / group) * heads_stride_ + (p.kv_head * group + r % group) * c.head_dim;
        const float inverse = 1.0f / state.sum;
        for (int d = 0; d < c.head_dim; d++) to[d] = out[d] * inverse;
    };
    const int num_tiles = (total + kQueryRows - 1) / kQueryRows;
    for (int tile = 0, begin = 0; tile < num_tiles; tile++) {
        const int rows = (total - begin) / (num_tiles - tile);
        int limits[kQueryRows];
        Partial states[kQueryRows], joined[kQueryRows] = {};
        for (int r = 0; r < rows; r++) {
            const int query = p.first + (begin + r) / group, head = p.kv_head * group + (begin + r) % group;
            limits[r] = segment.start + query + 1;
            const float* q = qkv_.as() + (size_t)(segment.row + query) * qkv_stride_ + head * c.head_dim;
            for (int d = 0; d < c.head_dim; d++) s.query.as()[r * dim + d] = q[d] * c.attention_scale;
        }
        const int num_parts = (limits[rows - 1] + kPart - 1) / kPart;
        for (int part = p.part >= 0 ? p.part : 0; part < (p.part >= 0 ? p.part + 1 : num_parts); part++) {
            if (part >= num_parts) break;
            attend<T>(rows, s.query.as(), cache, part, limits, s.scores.as(), states, s.out.as());
            for (int r = 0; r < rows; r++) {
                if (p.part >= 0) {
                    const size_t place = p.partial + (size_t)part * total + begin + r;
                    partial_states_.as<Partial>()[place] = states[r];
                    std::memcpy(partial_out_.as() + place * dim, s.out.as() + r * dim, sizeof(float) * dim);
                } else if (states[r].sum != 0) {
                    join_part(joined[r], s.joined.as() + r * dim, states[r], s.out.as() + r * dim, dim);
                }
            }
        }
        if (p.part < 0)
            for (int r = 0; r < rows; r++) finish(begin + r, joined[r], s.joined.as() + r * dim);
        else if (p.part >= num_parts)
            for (int r = 0; r < rows; r++) partial_states_.as<Partial>()[p.partial + (size_t)p.part * total + begin + r] = {0, 0};
        begin += rows;
    }
    if (p.part < 0 || joins_[p.join].fetch_add(1, std::memory_order_acq_rel) + 1 < p.num_parts) return;
    joins_[p.join].store(0, std::memory_order_relaxed);
    for (int r = 0; r < total; r++) {
        Partial state{};
        for (int part = 0; part < p.num_parts; part++) {
            const size_t place = p.partial + (size_t)part * total + r;
            const Partial& next = partial_states_.as<Partial>()[place];
            if (next.sum != 0) join_part(state, s.joined.as(), next, partial_out_.as() + place * dim, dim);
        }
        finish(r, state, s.joined.as());
    }
}
