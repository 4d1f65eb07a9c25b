// The C functions that Python calls on a Step; none throws: a lack of memory is a return value.
#include "step.h"

extern "C" {

void* native_create(const Config* config) {
    try {
        return new Step(std::make_shared<Model>(*config));
    } catch (const std::bad_alloc&) {
        return nullptr;
    } catch (const std::system_error&) {  // no thread available
        return nullptr;
    }
}

// A second step with the same weights and cache, for a pass that continues while others run in between.
void* native_create_twin(void* step) {
    try {
        return new Step(((Step*)step)->shared_model);
    } catch (const std::bad_alloc&) {
        return nullptr;
    } catch (const std::system_error&) {
        return nullptr;
    }
}

void native_destroy(void* step) { delete (Step*)step; }

// Matrices: 0 embedding, 1 output; with a layer: 2 qkv, 3 out, 4 up, 5 down.
static Matrix& find_matrix(Step& step, int layer, int which) {
    switch (which) {
        case 0: return step.model.embedding;
        case 1: return step.model.output;
        case 2: return step.model.layers[layer].qkv;
        case 3: return step.model.layers[layer].out;
        case 4: return step.model.layers[layer].up;
        default: return step.model.layers[layer].down;
    }
}

// turn: 0: channels in order; 1 and 2: gate and up, interleaved in runs of 16 channels.
static int find_channel(int channel, int turn) {
    return turn ? channel / 16 * 32 + (turn - 1) * 16 + channel % 16 : channel;
}

void native_pack(void* step, int layer, int which, int turn, int first, int count, const float* from,
                 int64_t channel_stride, int64_t input_stride) {
    const Step& into = *(Step*)step;
    const Matrix& m = find_matrix(*(Step*)step, layer, which);
    auto pack = [&](int begin, int end) {
        for (int i = begin; i < end; i++)
            pack_channel(m, find_channel(first + i, turn), from + i * channel_stride, (size_t)input_stride);
    };
    const int num_parts = std::max(1, std::min(into.model.config.num_threads, count / kPanel));
    std::vector<std::thread> others;
    int done = 0;
    try {
        for (int part = 1; part < num_parts; part++) {
            const int end = (int)((int64_t)count * part / num_parts);
            others.emplace_back(pack, done, end);
            done = end;
        }
    } catch (const std::system_error&) {
        // No more threads available: this one packs the rest.
    }
    pack(done, count);
    for (std::thread& other : others) other.join();
}

void native_pack_bias(void* step, int layer, int which, int turn, int first, int count, const float* from) {
    const Matrix& m = find_matrix(*(Step*)step, layer, which);
    for (int i = 0; i < count; i++) m.bias[find_channel(first + i, turn)] = from[i];
}

// Vectors: 0 positions, 1 inverse frequencies, 2 and 3 final norm; with a layer: 4 to 7 norms, 8 and 9 of q and k.
float* native_vector(void* step, int layer, int which) {
    const Model& m = ((Step*)step)->model;
    switch (which) {
        case 0: return m.positions;
        case 1: return m.inverse_frequencies;
        case 2: return m.final_norm;
        case 3: return m.final_norm_bias;
        case 4: return m.layers[layer].norm1;
        case 5: return m.layers[layer].norm1_bias;
        case 6: return m.layers[layer].norm2;
        case 7: return m.layers[layer].norm2_bias;
        case 8: return m.layers[layer].q_norm;
        default: return m.layers[layer].k_norm;
    }
}

// facts, for every segment: start, number of tokens, number of logits, index of its first block in `blocks`.
// All arrays must stay valid until the pass is done. Returns 0, or 1 if there is not enough memory.
int native_begin(void* step, int num_segments, const int32_t* facts, const int32_t* ids, const int32_t* blocks,
                   float* logits) {
    try {
        std::vector<SegmentView> segments;
        segments.reserve(num_segments);
        for (int s = 0; s < num_segments; s++, facts += 4)
            segments.push_back({facts[0], facts[1], facts[2], 0, blocks + facts[3]});
        ((Step*)step)->begin(segments, ids, logits);
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

// Returns 1 when the pass is done, else 0.
int native_advance(void* step, int num_layers) { return ((Step*)step)->advance(num_layers); }

void native_copy_block(void* step, int source, int target) { ((Step*)step)->model.copy_block(source, target); }

}  // extern "C"
