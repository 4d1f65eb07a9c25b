/* The random words of torch's CPU generator (mt19937, 64 bits at a time), many at once: draws.py says how they are used. */
#include <stdint.h>

enum { SIZE = 624, LAG = 397, STEP = SIZE - LAG };

static inline uint32_t mix(uint32_t upper, uint32_t lower, uint32_t lagged) {
    uint32_t y = (upper & 0x80000000u) | (lower & 0x7fffffffu);
    return lagged ^ (y >> 1) ^ ((0u - (y & 1u)) & 0x9908b0dfu);
}

/* Three loops, in each of which nothing read was written by the same loop: so they become vector instructions. */
static void twist(uint32_t *restrict state) {
    uint32_t old[SIZE];
    for (int i = 0; i < SIZE; i++) old[i] = state[i];
    for (int i = 0; i < STEP; i++) state[i] = mix(old[i], old[i + 1], old[i + LAG]);
    uint32_t first[STEP], second[STEP];
    for (int i = 0; i < STEP; i++) first[i] = state[i];
    for (int i = 0; i < STEP; i++) second[i] = mix(old[STEP + i], old[STEP + i + 1], first[i]);
    for (int i = 0; i < STEP; i++) state[STEP + i] = second[i];
    for (int i = 2 * STEP; i < SIZE - 1; i++) state[i] = mix(old[i], old[i + 1], second[i - 2 * STEP]);
    state[SIZE - 1] = mix(old[SIZE - 1], first[0], second[SIZE - 1 - 2 * STEP]);
}

static inline uint64_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Write the next `count` numbers of 64 bits. `state` are 624 words, `*position` (even, 0 to 624) the next unused one. */
void fewshot_random_words(uint32_t *state, int64_t *position, uint64_t *out, int64_t count) {
    int64_t at = *position;
    while (count > 0) {
        if (at == SIZE) {
            twist(state);
            at = 0;
        }
        int64_t num = (SIZE - at) / 2 < count ? (SIZE - at) / 2 : count;
        for (int64_t i = 0; i < num; i++) out[i] = temper(state[at + 2 * i]) << 32 | temper(state[at + 2 * i + 1]);
        at += 2 * num;
        out += num;
        count -= num;
    }
    *position = at;
}
