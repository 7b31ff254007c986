// Packed weight matrices and their product with rows of activation records.
//
// A tile is 64 columns: 4 groups of 16. A matrix has one or more segments of inputs (an LSTM layer's input and its
// recurrent state), each with scales of its own; a tile's segments follow one another in memory, so that a thread reads
// its tiles as one stream. Within a segment: [inputs / lane][group][column][lane], 4 bytes a lane.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "precision.h"
#include "tiles.h"

namespace ISA {

// Call f(0) … f(N - 1) with the number as a constant. Compilers keep an array in registers only if its indices are
// constants from the start; loops, even short ones, come too late.
template <int N, class F, int... I>
inline __attribute__((always_inline)) void unrolled(const F& f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
inline __attribute__((always_inline)) void unrolled(const F& f) {
  unrolled<N>(f, std::make_integer_sequence<int, N>{});
}
#define ALWAYS_INLINE __attribute__((always_inline))

constexpr int kColumns = 64;
constexpr int kGroups = 4;
constexpr int kGroupColumns = 16;
constexpr int kPieces = kGroupColumns / kWidth;

inline int padded(int count) { return (count + kPadding - 1) / kPadding * kPadding; }

// Memory on a cache line's border, not initialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) { grow(bytes); }
  void grow(size_t bytes) {
    if (bytes <= bytes_) return;
    bytes = (bytes + 63) / 64 * 64;
    data_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
    bytes_ = bytes;
  }
  uint8_t* get() const { return data_.get(); }
  float* floats() const { return reinterpret_cast<float*>(data_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free { void operator()(uint8_t* p) const { std::free(p); } };
  std::unique_ptr<uint8_t, Free> data_;
  size_t bytes_ = 0;
};

// A row of numbers and the scale behind them.
template <class P>
size_t record_bytes(int width) {
  return (static_cast<size_t>(padded(width)) * P::kBytes + sizeof(RecordEnd) + 63) / 64 * 64;
}

// Activation records one after another.
struct Records {
  const uint8_t* first = nullptr;  // null: there are none, and their product with anything is nothing
  size_t stride = 0;

  const uint8_t* at(int row) const { return first + stride * static_cast<size_t>(row); }
};

// Call `block(std::integral_constant<int, M>, first)` for blocks of about equal size that together are `rows` rows.
template <class Block, int M = kMaxRows>
inline void dispatch(int size, int first, const Block& block) {
  if constexpr (M > 0) {
    if (size == M) return block(std::integral_constant<int, M>{}, first);
    dispatch<Block, M - 1>(size, first, block);
  }
}

template <class Block>
inline void in_blocks(int rows, const Block& block) {
  const int blocks = (rows + kMaxRows - 1) / kMaxRows;
  for (int b = 0; b < blocks; ++b) {
    const int first = static_cast<int>(static_cast<int64_t>(rows) * b / blocks);
    const int last = static_cast<int>(static_cast<int64_t>(rows) * (b + 1) / blocks);
    dispatch(last - first, first, block);
  }
}

template <class P>
class Matrix {
 public:
  struct Segment {
    int inputs, lanes;
    size_t offset;         // within a tile
    Buffer column_scales;  // [tiles · 64]
  };

  Buffer data;
  std::vector<Segment> segments;
  int tiles = 0;
  size_t tile_bytes = 0;

  // `row_of(column)` is the row of the weights that a column holds, or -1 for padding. `weights` has one pointer a segment
  // to its first row, `strides` the floats from row to row.
  void pack(int columns, const std::vector<const float*>& weights, const std::vector<int>& inputs,
            const std::vector<int>& strides, const std::function<int(int)>& row_of) {
    tiles = (columns + kColumns - 1) / kColumns;
    segments.resize(weights.size());
    for (size_t s = 0; s < weights.size(); ++s) {
      segments[s].inputs = inputs[s];
      segments[s].lanes = padded(inputs[s]) * P::kBytes / 4;
      segments[s].offset = tile_bytes;
      segments[s].column_scales.grow(sizeof(float) * static_cast<size_t>(tiles) * kColumns);
      tile_bytes += static_cast<size_t>(segments[s].lanes) * kColumns * 4;
    }
    data.grow(tile_bytes * static_cast<size_t>(tiles));
    constexpr int kPerLane = 4 / P::kBytes;
    for (int column = 0; column < tiles * kColumns; ++column) {
      const int tile = column / kColumns, within = column % kColumns, source = row_of(column);
      for (size_t s = 0; s < segments.size(); ++s) {
        const float* row = source < 0 ? nullptr : weights[s] + static_cast<size_t>(source) * strides[s];
        const float scale = row ? P::column_scale(row, inputs[s]) : 0.0f;
        segments[s].column_scales.floats()[column] = scale;
        uint8_t* out = data.get() + tile_bytes * static_cast<size_t>(tile) + segments[s].offset;
        for (int i = 0; i < segments[s].lanes * kPerLane; ++i) {
          const float weight = row && i < inputs[s] ? row[i] : 0.0f;
          P::store_weight(out + (static_cast<size_t>(i / kPerLane) * kColumns + within) * 4 + i % kPerLane * P::kBytes,
                          weight, scale);
        }
      }
    }
  }

  // Call `block(size, first, add)` for blocks that together are `rows` rows. `size` is a constant, and
  // `add(piece, sums)` adds to `Vec sums[size][kGroups]` the product of the block's records, one `Records` a segment, with one
  // piece (kWidth columns of each group) of the tile.
  template <class Block>
  void over_rows(int tile, int rows, const std::array<Records, 2>& records, const Block& block) const {
    if constexpr (kHasTiles && P::kTiles) {
      if (rows >= kFewestTileRows) return over_tiles(tile, rows, records, block);
    }
    in_blocks(rows, [&](auto size, int first) ALWAYS_INLINE {
      constexpr int M = decltype(size)::value;
      block(size, first, [&](int piece, Vec (&sums)[M][kGroups]) ALWAYS_INLINE {
        for (size_t s = 0; s < segments.size(); ++s)
          if (records[s].first) multiply<M>(s, tile, piece, records[s].at(first), records[s].stride, sums);
      });
    });
  }

 private:
  const uint8_t* panel(size_t segment, int tile) const {
    return data.get() + tile_bytes * static_cast<size_t>(tile) + segments[segment].offset;
  }

  // The same by matrix registers: two of them on top of each other, or one. The last begins early enough to be full.
  template <class Block>
  void over_tiles([[maybe_unused]] int tile, [[maybe_unused]] int rows, [[maybe_unused]] const std::array<Records, 2>& records,
                  [[maybe_unused]] const Block& block) const {
#if defined(__AMX_INT8__)
    alignas(64) int32_t whole[2][2 * kTileRows][kColumns];
    const int height = std::min(rows, kTileRows);
    TileSession::set_height(height);
    for (int from = 0, until; from < rows; from = until) {
      until = std::min(from + 2 * kTileRows, rows);
      const int first = std::min(from, until - height), later = until - first - height;
      for (size_t s = 0; s < segments.size(); ++s) {
        const Records& those = records[s];
        if (!those.first) continue;
        const int steps = segments[s].lanes / 16;
        if (later > 0)
          multiply_two_tiles(those.at(first), those.stride, later, panel(s, tile), steps, whole[s]);
        else
          multiply_tiles(those.at(first), those.stride, panel(s, tile), steps, whole[s]);
      }
      for (int row = from; row < until; ++row)
        block(std::integral_constant<int, 1>{}, row, [&](int, Vec (&sums)[1][kGroups]) ALWAYS_INLINE {
          for (size_t s = 0; s < segments.size(); ++s) {
            if (!records[s].first) continue;
            RecordEnd end;
            std::memcpy(&end, records[s].at(row) + 4 * static_cast<size_t>(segments[s].lanes), sizeof end);
            const float* scales = segments[s].column_scales.floats() + tile * kColumns;
            const int32_t* sum = whole[s][row - first];
            unrolled<kGroups>([&](auto g) ALWAYS_INLINE {
              const Lanes lanes = load_lanes(sum + g * kGroupColumns);
              sums[0][g] = P::finish(sums[0][g], lanes, end, scales + g * kGroupColumns);
            });
          }
        });
    }
#endif
  }

  // out[m][g] += the product of M records with one piece of a tile of segment `s`.
  template <int M>
  inline __attribute__((always_inline)) void multiply(size_t s, int tile, int piece, const uint8_t* records, size_t stride,
                                                      Vec (&out)[M][kGroups]) const {
    const Segment& segment = segments[s];
    const uint8_t* weights_at = panel(s, tile) + piece * kWidth * 4;
    const uint8_t* row[M];
    typename P::Sum sums[M * kGroups];
    unrolled<M>([&](auto m) ALWAYS_INLINE { row[m] = records + stride * m; });
    unrolled<M * kGroups>([&](auto i) ALWAYS_INLINE { sums[i] = P::none(); });
    const int lanes = segment.lanes;
    for (int k = 0; k < lanes; ++k, weights_at += kColumns * 4) {
      Lanes weights[kGroups];
      unrolled<kGroups>([&](auto g) ALWAYS_INLINE { weights[g] = load_lanes(weights_at + g * kGroupColumns * 4); });
      unrolled<M>([&](auto m) ALWAYS_INLINE {
        const Lanes activations = broadcast(row[m] + 4 * k);
        unrolled<kGroups>([&](auto g) ALWAYS_INLINE {
          sums[m * kGroups + g] = P::dot(sums[m * kGroups + g], weights[g], activations);
        });
      });
    }
    const float* scales = segment.column_scales.floats() + tile * kColumns + piece * kWidth;
    unrolled<M>([&](auto m) ALWAYS_INLINE {
      RecordEnd end;
      std::memcpy(&end, row[m] + 4 * static_cast<size_t>(lanes), sizeof end);
      unrolled<kGroups>([&](auto g) ALWAYS_INLINE {
        out[m][g] = P::finish(out[m][g], sums[m * kGroups + g], end, scales + g * kGroupColumns);
      });
    });
  }
};

}  // namespace ISA
