// Intel's matrix registers (AMX): the product of 16 rows of bytes with 16 columns in one instruction.
//
// Compiled to nothing where the instruction set has none. The sums are whole numbers, so that they are those of the
// vector instructions, bit for bit, and a network may choose by the number of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ISA {

constexpr int kTileRows = 16;
constexpr int kFewestTileRows = 5;  // fewer rows leave most of a tile empty: vectors are faster

#if defined(__AMX_INT8__)

constexpr bool kHasTiles = true;
constexpr int kPadding = 64;  // a row of a tile has 64 bytes, so that records are made of such pieces

// While it lives, this thread's tiles are ours; then they are again as they were, for PyTorch's products use them too.
class TileSession {
 public:
  TileSession() {
    asm volatile("sttilecfg %0" : "=m"(before_));
    height() = 0;
  }
  ~TileSession() { configure(before_); }
  TileSession(const TileSession&) = delete;
  TileSession& operator=(const TileSession&) = delete;

  // Make the tiles of sums and of activations so many rows high.
  static void set_height(int rows) {
    if (height() == rows) return;
    height() = rows;
    Configuration wanted{};
    wanted.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      wanted.bytes[tile] = 64;
      wanted.rows[tile] = static_cast<uint8_t>(tile < 6 ? rows : 16);
    }
    configure(wanted);
  }

 private:
  struct alignas(64) Configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  };

  static void configure(const Configuration& wanted) { asm volatile("ldtilecfg %0" : : "m"(wanted)); }

  static int& height() {
    static thread_local int rows;
    return rows;
  }

  Configuration before_;
};

// sums[row][column] = rows of signed bytes · a panel of unsigned ones, [steps][16 lanes][64 columns][4 bytes]; as many rows as
// the session's height.
inline void multiply_tiles(const uint8_t* rows, size_t stride, const uint8_t* panel, int steps, int32_t (*sums)[64]) {
  constexpr long kLane = 256, kStep = 16 * kLane;
  asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" ::: "memory");
  for (int step = 0; step < steps; ++step, rows += 64, panel += kStep)
    asm volatile(
        "tileloadd (%0,%1,1), %%tmm4\n\t"
        "tileloadd (%2,%3,1), %%tmm6\n\t"
        "tdpbsud %%tmm6, %%tmm4, %%tmm0\n\t"
        "tileloadd 64(%2,%3,1), %%tmm7\n\t"
        "tdpbsud %%tmm7, %%tmm4, %%tmm1\n\t"
        "tileloadd 128(%2,%3,1), %%tmm6\n\t"
        "tdpbsud %%tmm6, %%tmm4, %%tmm2\n\t"
        "tileloadd 192(%2,%3,1), %%tmm7\n\t"
        "tdpbsud %%tmm7, %%tmm4, %%tmm3"
        : : "r"(rows), "r"(stride), "r"(panel), "r"(kLane) : "memory");
  asm volatile(
      "tilestored %%tmm0, (%0,%1,1)\n\ttilestored %%tmm1, 64(%0,%1,1)\n\t"
      "tilestored %%tmm2, 128(%0,%1,1)\n\ttilestored %%tmm3, 192(%0,%1,1)"
      : : "r"(sums), "r"(kLane) : "memory");
}

// The same for rows that begin at `rows` and at `later` rows behind it, so that the weights are read once for both.
inline void multiply_two_tiles(const uint8_t* rows, size_t stride, int later, const uint8_t* panel, int steps,
                               int32_t (*sums)[64]) {
  constexpr long kLane = 256, kStep = 16 * kLane;
  const uint8_t* const later_rows = rows + stride * static_cast<size_t>(later);
  for (int half = 0; half < 2; ++half) {
    const uint8_t *one = rows, *other = later_rows, *weights = panel + 128 * half;
    asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" ::: "memory");
    for (int step = 0; step < steps; ++step, one += 64, other += 64, weights += kStep) {
      for (int lane = 0; lane < 16; ++lane) {  // the next step's weights come while these are multiplied
        __builtin_prefetch(weights + kStep + kLane * lane);
        __builtin_prefetch(weights + kStep + kLane * lane + 64);
      }
      asm volatile(
          "tileloadd (%0,%2,1), %%tmm4\n\t"
          "tileloadd (%3,%4,1), %%tmm6\n\t"
          "tdpbsud %%tmm6, %%tmm4, %%tmm0\n\t"
          "tileloadd (%1,%2,1), %%tmm5\n\t"
          "tdpbsud %%tmm6, %%tmm5, %%tmm2\n\t"
          "tileloadd 64(%3,%4,1), %%tmm7\n\t"
          "tdpbsud %%tmm7, %%tmm4, %%tmm1\n\t"
          "tdpbsud %%tmm7, %%tmm5, %%tmm3"
          : : "r"(one), "r"(other), "r"(stride), "r"(weights), "r"(kLane) : "memory");
    }
    asm volatile(
        "tilestored %%tmm0, (%0,%2,1)\n\ttilestored %%tmm1, 64(%0,%2,1)\n\t"
        "tilestored %%tmm2, (%1,%2,1)\n\ttilestored %%tmm3, 64(%1,%2,1)"
        : : "r"(&sums[0][32 * half]), "r"(&sums[later][32 * half]), "r"(kLane) : "memory");
  }
}

#else

constexpr bool kHasTiles = false;
constexpr int kPadding = 16;

struct TileSession {
  TileSession() {}  // not trivial, so that an unused one gives no warning
};

#endif

}  // namespace ISA
