// The number formats of weights and activations: 8-bit whole numbers, bfloat16, float32.
//
// An activation record is a row of `padded` numbers followed by its scale (float) and its sum (int32), which only int8
// uses. A row's scale comes from that row alone (largest magnitude at 127), so that no row can change another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vector.h"

namespace ISA {

struct RecordEnd {
  float scale;
  int32_t sum;
};

struct Int8 {
  using Sum = Lanes;
  static constexpr int kBytes = 1;
  static constexpr bool kTiles = true;  // matrix registers may be used: sums of whole numbers are the same in any order

  static Sum none() { return no_lanes(); }
  static Sum dot(Sum sum, Lanes weights, Lanes activations) { return dot_int8(sum, weights, activations); }

  // earlier + (sum - offset · Σ activations) · row scale · column scales. The product is rounded before it is added, as it
  // is where it was made ahead: a row's result must not depend on which way was taken.
  static Vec finish(Vec earlier, Sum sum, RecordEnd end, const float* column_scales) {
    const Vec whole = to_floats_less(sum, kWeightOffset * end.sum);
    return add(earlier, mul(mul(whole, all(end.scale)), load(column_scales)));
  }

  static float column_scale(const float* row, int count) {
    float largest = 0.0f;
    for (int i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(row[i]));
    return largest / 127.0f;
  }
  static void store_weight(uint8_t* p, float weight, float scale) {
    const float whole = scale > 0.0f ? std::nearbyint(weight / scale) : 0.0f;
    *p = static_cast<uint8_t>(static_cast<int>(whole) + kWeightOffset);
  }

  static void store_record(uint8_t* record, const float* row, int padded) {
    Vec magnitude = zero();
    for (int i = 0; i < padded; i += kWidth) magnitude = maximum(magnitude, absolute(load(row + i)));
    const float most = largest(magnitude);
    const Vec factor = all(most > 0.0f ? 127.0f / most : 0.0f);
    int32_t sum = 0;
    for (int i = 0; i < padded; i += kWidth)
      sum += store_int8(reinterpret_cast<int8_t*>(record) + i, nearest(mul(load(row + i), factor)));
    const RecordEnd end{most / 127.0f, sum};
    std::memcpy(record + padded, &end, sizeof end);
  }
};

struct BFloat16 {
  using Sum = Vec;
  static constexpr int kBytes = 2;
  static constexpr bool kTiles = false;

  static Sum none() { return zero(); }
  static Sum dot(Sum sum, Lanes weights, Lanes activations) {
#if defined(__AVX512BF16__)
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(activations));
    return sum;
#else
    sum = fma(low_bfloat16(weights), low_bfloat16(activations), sum);
    return fma(high_bfloat16(weights), high_bfloat16(activations), sum);
#endif
  }
  static Vec finish(Vec earlier, Sum sum, RecordEnd, const float*) { return add(earlier, sum); }

  // To the nearest bfloat16, ties to even; the numbers here are finite.
  static uint16_t rounded(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
  static float column_scale(const float*, int) { return 1.0f; }
  static void store_weight(uint8_t* p, float weight, float) {
    const uint16_t x = rounded(weight);
    std::memcpy(p, &x, 2);
  }
  static void store_record(uint8_t* record, const float* row, int padded) {
    uint16_t* out = reinterpret_cast<uint16_t*>(record);
    for (int i = 0; i < padded; ++i) out[i] = rounded(row[i]);
  }
};

struct Float32 {
  using Sum = Vec;
  static constexpr int kBytes = 4;
  static constexpr bool kTiles = false;

  static Sum none() { return zero(); }
  static Sum dot(Sum sum, Lanes weights, Lanes activations) {
    return fma(as_floats(weights), as_floats(activations), sum);
  }
  static Vec finish(Vec earlier, Sum sum, RecordEnd, const float*) { return add(earlier, sum); }
  static float column_scale(const float*, int) { return 1.0f; }
  static void store_weight(uint8_t* p, float weight, float) { std::memcpy(p, &weight, 4); }
  static void store_record(uint8_t* record, const float* row, int padded) {
    std::memcpy(record, row, sizeof(float) * static_cast<size_t>(padded));
  }
};

}  // namespace ISA
