// Vectors of floats and integers, as wide as the CPU's registers, and the operations on them that the step uses.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__)
#define WIDE_REGISTERS 1
constexpr int kLanes = 16;
#else
#define WIDE_REGISTERS 0
constexpr int kLanes = 8;  // without AVX2 the compiler splits a vector into smaller registers
#endif

#define INLINE inline __attribute__((always_inline))

using F32 = float __attribute__((vector_size(4 * kLanes)));
using I32 = int32_t __attribute__((vector_size(4 * kLanes)));
using U32 = uint32_t __attribute__((vector_size(4 * kLanes)));
using I16 = int16_t __attribute__((vector_size(4 * kLanes)));      // twice as many values
using I16Half = int16_t __attribute__((vector_size(2 * kLanes)));  // one value for each lane
using U16Half = uint16_t __attribute__((vector_size(2 * kLanes)));

template <class V>
INLINE V load(const void* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
template <class V>
INLINE void store(void* to, V v) {
    std::memcpy(to, &v, sizeof v);
}
// Minus zero: adding plus zero would change a negative zero, so the compiler could not remove it.
INLINE F32 splat(float x) { return x - F32{}; }
INLINE I32 splat_int(int32_t x) { return I32{} + x; }
INLINE I32 splat_pair(const int16_t* from) {
    int32_t pair;
    std::memcpy(&pair, from, 4);
    return I32{} + pair;
}

// a * b + c, rounded once: the same in every kernel, so that a row's sums don't depend on which kernel adds them.
INLINE F32 fma(F32 a, F32 b, F32 c) {
#if WIDE_REGISTERS
    return (F32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__) && defined(__AVX2__)
    return (F32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    F32 r;
    for (int i = 0; i < kLanes; i++) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return r;
#endif
}

// acc + w[even] * x[even] + w[odd] * x[odd] in every lane; w and x are pairs of int16.
INLINE I32 add_pair_products(I32 acc, I16 w, I32 x) {
#if WIDE_REGISTERS && defined(__AVX512VNNI__)
    return (I32)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)w, (__m512i)x);
#elif WIDE_REGISTERS
    return acc + (I32)_mm512_madd_epi16((__m512i)w, (__m512i)x);
#elif defined(__AVXVNNI__) && defined(__AVX2__)
    return (I32)_mm256_dpwssd_avx_epi32((__m256i)acc, (__m256i)w, (__m256i)x);
#elif defined(__AVX2__)
    return acc + (I32)_mm256_madd_epi16((__m256i)w, (__m256i)x);
#else
    const I32 pairs = (I32)w;
    return acc + ((pairs << 16) >> 16) * ((x << 16) >> 16) + (pairs >> 16) * (x >> 16);
#endif
}

INLINE F32 to_float(I32 v) { return __builtin_convertvector(v, F32); }
INLINE F32 select(I32 mask, F32 yes, F32 no) { return (F32)((mask & (I32)yes) | (~mask & (I32)no)); }
INLINE F32 max(F32 a, F32 b) { return select(a > b, a, b); }
INLINE F32 min(F32 a, F32 b) { return select(a < b, a, b); }
INLINE F32 absolute(F32 v) { return (F32)((I32)v & splat_int(0x7fffffff)); }

INLINE float sum_lanes(F32 v) {
    float lane[kLanes];
    store(lane, v);
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
}
INLINE float max_lanes(F32 v) {
    float lane[kLanes];
    store(lane, v);
    for (int width = kLanes / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lane[i] = lane[i + width] > lane[i] ? lane[i + width] : lane[i];
    return lane[0];
}

// The nearest integers, for absolute values below 2^22.
INLINE I32 round_to_int(F32 v) {
    const F32 magic = splat(12582912.0f);
    return (I32)(v + magic) - (I32)magic;
}

// e^x to two units in the last place: 0 below -87 (also for minus infinity), infinity above 88, NaN for NaN.
INLINE F32 exponential(F32 x) {
    const F32 low = splat(-87.0f);
    const F32 bounded = min(max(x, low), splat(88.7f));
    const I32 n = round_to_int(bounded * splat(1.44269504088896341f));
    const F32 nf = to_float(n);
    F32 r = fma(nf, splat(-0.693359375f), bounded);
    r = fma(nf, splat(2.12194440e-4f), r);
    F32 p = splat(1.9875691500e-4f);
    p = fma(p, r, splat(1.3981999507e-3f));
    p = fma(p, r, splat(8.3334519073e-3f));
    p = fma(p, r, splat(4.1665795894e-2f));
    p = fma(p, r, splat(1.6666665459e-1f));
    p = fma(p, r, splat(5.0000001201e-1f));
    p = fma(p, r * r, r) + splat(1.0f);
    // Two steps, as 2^128 is not a float.
    const I32 half = n >> 1;
    F32 e = p * (F32)((half + 127) << 23) * (F32)((n - half + 127) << 23);
    e = select(x < low, splat(0.0f), e);
    e = select(x > splat(88.7f), splat(std::numeric_limits<float>::infinity()), e);
    return select(x == x, e, x);
}

INLINE F32 silu(F32 x) { return x / (splat(1.0f) + exponential(-x)); }

// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which is x times the logistic function of twice that argument.
INLINE F32 gelu_tanh(F32 x) {
    const F32 inner = splat(1.5957691216057308f) * fma(splat(0.044715f) * x * x, x, x);
    return x / (splat(1.0f) + exponential(-inner));
}

INLINE F32 from_bfloat16(const uint16_t* from) {
    return (F32)(__builtin_convertvector(load<U16Half>(from), U32) << 16);
}
INLINE uint16_t to_bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Keys and values in 16 bits: IEEE half floats if the CPU can convert them, else bfloat16.
struct Half {
    uint16_t bits;
};
INLINE F32 load_floats(const float* from) { return load<F32>(from); }
INLINE F32 load_floats(const Half* from) {
#if WIDE_REGISTERS
    return (F32)_mm512_cvtph_ps(load<__m256i>(from));
#elif defined(__F16C__) && defined(__AVX2__)
    return (F32)_mm256_cvtph_ps(load<__m128i>(from));
#else
    return from_bfloat16(&from->bits);
#endif
}
INLINE void write_value(float* to, float x) { *to = x; }
INLINE void write_value(Half* to, float x) {
#if defined(__F16C__)
    const float bounded = x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x;
    to->bits = (uint16_t)_cvtss_sh(bounded, _MM_FROUND_TO_NEAREST_INT);
#else
    to->bits = to_bfloat16(x);
#endif
}
