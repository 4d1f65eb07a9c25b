// The random numbers of torch's CPU generator, a Mersenne twister: makes many words at once and converts only a few.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.h"

// The next words, before tempering: the whole state of a twister.
constexpr int kWindow = 624;

inline uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// Write the next `count` words (and up to kLanes more) after a window. `words` starts with the window.
inline void twist(uint32_t* words, int64_t count) {
    const U32 upper = U32{} + 0x80000000u, lower = U32{} + 0x7fffffffu, one = U32{} + 1u, matrix = U32{} + 0x9908b0dfu;
    for (int64_t i = 0; i < count; i += kLanes) {
        const U32 next = load<U32>(words + i + 1);
        const U32 mixed = (load<U32>(words + i) & upper) | (next & lower);
        store(words + i + kWindow, load<U32>(words + i + 397) ^ (mixed >> 1) ^ (-(mixed & one) & matrix));
    }
}

inline void move_on(const uint32_t* from, uint32_t* to, int64_t count, uint32_t* words) {
    std::memcpy(words, from, sizeof(uint32_t) * kWindow);
    twist(words, count);
    std::memcpy(to, words + count, sizeof(uint32_t) * kWindow);
}

// 64 bits as from ATen's random64(), and the draw that its exponential_() makes of them.
inline uint64_t join(const uint32_t* words, int64_t token) {
    return (uint64_t)temper(words[2 * token]) << 32 | temper(words[2 * token + 1]);
}
inline double draw(const uint32_t* words, int64_t token) {
    return -std::log1p(-(double)(join(words, token) & ((1ull << 53) - 1)) * 0x1p-53);
}
