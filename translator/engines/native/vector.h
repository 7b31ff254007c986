// Vectors of floats, and the three number formats' products, for one instruction set.
//
// This header is compiled once for every instruction set (see build.py); ISA names the namespace. A vector `Vec`
// has `kWidth` floats; a column tile of the packed weights has 4 groups of 16 columns, so that a tile is worked on in
// 16 / kWidth pieces.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace ISA {

#if defined(__AVX512F__)

using Vec = __m512;
using Lanes = __m512i;  // 16 groups of 4 bytes
constexpr int kWidth = 16;
constexpr int kMaxRows = 6;  // rows a tile is worked on at a time: 24 sums, 4 weights and one activation fill 29 registers

inline Vec zero() { return _mm512_setzero_ps(); }
inline Vec all(float x) { return _mm512_set1_ps(x); }
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec maximum(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec absolute(Vec a) { return _mm512_abs_ps(a); }
inline Vec nearest(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec times_power_of_two(Vec a, Vec n) { return _mm512_scalef_ps(a, n); }
inline float largest(Vec a) { return _mm512_reduce_max_ps(a); }
inline float total(Vec a) { return _mm512_reduce_add_ps(a); }
inline uint32_t greater(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }

inline Lanes load_lanes(const void* p) { return _mm512_loadu_si512(p); }
inline Lanes broadcast(const void* p) { int32_t x; std::memcpy(&x, p, 4); return _mm512_set1_epi32(x); }
inline Lanes no_lanes() { return _mm512_setzero_si512(); }
inline Vec as_floats(Lanes a) { return _mm512_castsi512_ps(a); }
inline Vec to_floats_less(Lanes a, int32_t less) { return _mm512_cvtepi32_ps(_mm512_sub_epi32(a, _mm512_set1_epi32(less))); }
inline Vec low_bfloat16(Lanes a) { return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)); }
inline Vec high_bfloat16(Lanes a) { return _mm512_castsi512_ps(_mm512_and_si512(a, _mm512_set1_epi32(-65536))); }

// Store whole numbers between -127 and 127 as bytes; returns their sum.
inline int32_t store_int8(int8_t* p, Vec v) {
  const __m512i whole = _mm512_cvtps_epi32(v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(whole));
  return _mm512_reduce_add_epi32(whole);
}

#if defined(__AVX512VNNI__)
constexpr int kWeightOffset = 128;  // the instruction multiplies unsigned by signed bytes: weights are stored 128 higher
// In assembly, because gcc 12 adds copies of the sum around its own intrinsic, and then runs out of registers.
inline Lanes dot_int8(Lanes sum, Lanes weights, Lanes activations) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(activations));
  return sum;
}
#endif

#elif defined(__AVX2__)

using Vec = __m256;
using Lanes = __m256i;  // 8 groups of 4 bytes
constexpr int kWidth = 8;
constexpr int kMaxRows = 3;

inline Vec zero() { return _mm256_setzero_ps(); }
inline Vec all(float x) { return _mm256_set1_ps(x); }
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec maximum(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec minimum(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec absolute(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline Vec nearest(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec times_power_of_two(Vec a, Vec n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(a, _mm256_castsi256_ps(exponent));
}
inline float largest(Vec a) {
  alignas(32) float x[8];
  _mm256_store_ps(x, a);
  float best = x[0];
  for (int i = 1; i < 8; ++i) best = x[i] > best ? x[i] : best;
  return best;
}
inline float total(Vec a) {
  alignas(32) float x[8];
  _mm256_store_ps(x, a);
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}
inline uint32_t greater(Vec a, Vec b) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ))); }

inline Lanes load_lanes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Lanes broadcast(const void* p) { int32_t x; std::memcpy(&x, p, 4); return _mm256_set1_epi32(x); }
inline Lanes no_lanes() { return _mm256_setzero_si256(); }
inline Vec as_floats(Lanes a) { return _mm256_castsi256_ps(a); }
inline Vec to_floats_less(Lanes a, int32_t less) { return _mm256_cvtepi32_ps(_mm256_sub_epi32(a, _mm256_set1_epi32(less))); }
inline Vec low_bfloat16(Lanes a) { return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)); }
inline Vec high_bfloat16(Lanes a) { return _mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32(-65536))); }

inline int32_t store_int8(int8_t* p, Vec v) {
  alignas(32) int32_t whole[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(whole), _mm256_cvtps_epi32(v));
  int32_t sum = 0;
  for (int i = 0; i < 8; ++i) {
    p[i] = static_cast<int8_t>(whole[i]);
    sum += whole[i];
  }
  return sum;
}

#if defined(__AVXVNNI__)
constexpr int kWeightOffset = 128;
inline Lanes dot_int8(Lanes sum, Lanes weights, Lanes activations) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(weights), "x"(activations));
  return sum;
}
#else
constexpr int kWeightOffset = 0;
// |a| · (±w): a pair's sum is at most 2 · 127 · 127 and never saturates 16 bits.
inline Lanes dot_int8(Lanes sum, Lanes weights, Lanes activations) {
  const Lanes pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(activations), _mm256_sign_epi8(weights, activations));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#endif

#else  // any processor, by the compiler's own vectors

typedef float Vec __attribute__((vector_size(16)));
typedef int32_t Lanes __attribute__((vector_size(16)));  // 4 groups of 4 bytes
constexpr int kWidth = 4;
constexpr int kMaxRows = 4;

inline Vec all(float x) { return Vec{x, x, x, x}; }
inline Vec zero() { return all(0.0f); }
inline Vec load(const float* p) { Vec v; std::memcpy(&v, p, 16); return v; }
inline void store(float* p, Vec v) { std::memcpy(p, &v, 16); }
inline Vec add(Vec a, Vec b) { return a + b; }
inline Vec sub(Vec a, Vec b) { return a - b; }
inline Vec mul(Vec a, Vec b) { return a * b; }
inline Vec div(Vec a, Vec b) { return a / b; }
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec maximum(Vec a, Vec b) { return a > b ? a : b; }
inline Vec minimum(Vec a, Vec b) { return a < b ? a : b; }
inline Vec absolute(Vec a) { return maximum(a, -a); }
inline Vec nearest(Vec a) { const Vec magic = all(12582912.0f); return (a + magic) - magic; }
inline Lanes to_whole(Vec a) { return __builtin_convertvector(a, Lanes); }
inline Vec times_power_of_two(Vec a, Vec n) {
  const Lanes exponent = (to_whole(n) + 127) << 23;
  Vec power;
  std::memcpy(&power, &exponent, 16);
  return a * power;
}
inline float largest(Vec a) {
  const float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
  return low > high ? low : high;
}
inline float total(Vec a) { return (a[0] + a[1]) + (a[2] + a[3]); }
inline uint32_t greater(Vec a, Vec b) {
  uint32_t mask = 0;
  for (int i = 0; i < 4; ++i) mask |= static_cast<uint32_t>(a[i] > b[i]) << i;
  return mask;
}

inline Lanes load_lanes(const void* p) { Lanes v; std::memcpy(&v, p, 16); return v; }
inline Lanes broadcast(const void* p) { int32_t x; std::memcpy(&x, p, 4); return Lanes{x, x, x, x}; }
inline Lanes no_lanes() { return Lanes{0, 0, 0, 0}; }
inline Vec as_floats(Lanes a) { Vec v; std::memcpy(&v, &a, 16); return v; }
inline Vec to_floats_less(Lanes a, int32_t less) { return __builtin_convertvector(a - less, Vec); }
inline Vec low_bfloat16(Lanes a) { return as_floats(a << 16); }
inline Vec high_bfloat16(Lanes a) { return as_floats(a & -65536); }

inline int32_t store_int8(int8_t* p, Vec v) {
  const Lanes whole = to_whole(v);
  int32_t sum = 0;
  for (int i = 0; i < 4; ++i) {
    p[i] = static_cast<int8_t>(whole[i]);
    sum += whole[i];
  }
  return sum;
}

constexpr int kWeightOffset = 0;
inline Lanes dot_int8(Lanes sum, Lanes weights, Lanes activations) {
  int8_t w[16], a[4];
  std::memcpy(w, &weights, 16);
  std::memcpy(a, &activations, 4);
  for (int i = 0; i < 4; ++i)
    sum[i] += w[4 * i] * a[0] + w[4 * i + 1] * a[1] + w[4 * i + 2] * a[2] + w[4 * i + 3] * a[3];
  return sum;
}

#endif

// e^x to about one unit in the last place, for x in [-87, 40]; arguments outside are moved to the nearer end.
inline Vec exponential(Vec x) {
  x = minimum(maximum(x, all(-87.0f)), all(40.0f));
  const Vec n = nearest(mul(x, all(1.44269504088896341f)));
  Vec r = fma(n, all(-0.693359375f), x);
  r = fma(n, all(2.12194440e-4f), r);
  Vec p = all(1.9875691500e-4f);  // minimax polynomial of Cephes' expf
  p = fma(p, r, all(1.3981999507e-3f));
  p = fma(p, r, all(8.3334519073e-3f));
  p = fma(p, r, all(4.1665795894e-2f));
  p = fma(p, r, all(1.6666665459e-1f));
  p = fma(p, r, all(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, all(1.0f)));
  return times_power_of_two(p, n);
}

// tanh x = (1 - e^-2x) / (1 + e^-2x)
inline Vec hyperbolic_tangent(Vec x) {
  const Vec e = exponential(mul(x, all(-2.0f)));
  return div(sub(all(1.0f), e), add(all(1.0f), e));
}

}  // namespace ISA
