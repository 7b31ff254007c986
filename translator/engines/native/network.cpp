// The deep LSTM's encoder and decoder step for one instruction set and each number format.
//
// A layer is one pass over its packed weights: a tile holds all four gates of 16 cells, so that the gates never leave the
// registers. Every sum runs over a row's own numbers in an order that does not depend on the other rows or on the
// threads: a row's result is the same, bit for bit, in any batch.
//
// A decoder state is, for each layer, an activation record of h and then the cells c in float32.

#include "network.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <vector>

#include "best.h"
#include "matrix.h"
#include "pool.h"

namespace ISA {

// Rows from which on a product with the input is not made ahead for several positions: weights are well used already.
constexpr int kAmpleRows = 12;
constexpr int kRowsAhead = 48;

// The cells of different rows are far from one another in memory: those of the row so many further on are fetched meanwhile.
constexpr int kRowsFetched = 8;

// Rows that a thread has to itself.
struct Share {
  int first, last;
  Share(int count, int thread, int threads)
      : first(static_cast<int>(static_cast<int64_t>(count) * thread / threads)),
        last(static_cast<int>(static_cast<int64_t>(count) * (thread + 1) / threads)) {}
};

template <class P>
class NetworkOf final : public ::Network {
 public:
  NetworkOf(const Shape& shape, const Weights& weights, int threads)
      : NetworkOf(shape, weights, threads, std::make_shared<Packed>()) {
    Packed& packed = const_cast<Packed&>(*packed_);  // nobody else has it yet
    const int E = shape.embedding, H = shape.hidden;
    packed.encoder.resize(static_cast<size_t>(shape.layers) * directions_);
    packed.decoder.resize(static_cast<size_t>(shape.layers));
    const int context = shape.feed_context ? H : 0;
    std::vector<std::function<void()>> jobs;
    for (int l = 0; l < shape.layers; ++l) {
      const int inputs = l ? H : E;
      for (int i = l * directions_; i < (l + 1) * directions_; ++i)
        jobs.push_back([=, this, &packed] {
          pack_layer(packed.encoder[i], weights.encoder[i], inputs, inputs, H / directions_);
        });
      jobs.push_back([=, this, &packed] {
        pack_layer(packed.decoder[l], weights.decoder[l], inputs, l ? H : E + context, H);
      });
    }
    if (context) {
      jobs.push_back([=, this, &packed] {
        packed.context.pack(4 * cells_, {weights.decoder[0].input + E}, {H}, {E + H}, [H](int c) { return gate_row(c, H); });
      });
    }
    if (shape.attention) {
      jobs.push_back([=, &packed] {
        packed.combine.pack(H, {weights.combine, weights.combine + H}, {H, H}, {2 * H, 2 * H},
                      [H](int c) { return c < H ? c : -1; });
      });
    }
    const int V = shape.target_vocabulary;
    jobs.push_back([=, &packed] { packed.output.pack(V, {weights.output}, {H}, {H}, [V](int c) { return c < V ? c : -1; }); });
    std::atomic<bool> failed{false};  // an exception that leaves a thread ends the process
    pool_.run([&](int thread) {
      try {
        for (size_t i = static_cast<size_t>(thread); i < jobs.size(); i += static_cast<size_t>(pool_.threads())) jobs[i]();
      } catch (const std::exception&) {
        failed = true;
      }
    });
    if (failed) throw std::bad_alloc();
    packed.nothing.assign(static_cast<size_t>(cells_), 0.0f);
    packed.output_bias.assign(static_cast<size_t>(packed.output.tiles) * kColumns, kNone);
    std::copy(weights.output_bias, weights.output_bias + V, packed.output_bias.begin());
    packed.forbidden.assign(packed.output_bias.size(), 0.0f);
    std::copy(weights.forbidden, weights.forbidden + V, packed.forbidden.begin());
    for (int tile = 0; tile < packed.output.tiles; ++tile)
      packed.forbidding.push_back(std::any_of(packed.forbidden.begin() + tile * kColumns, packed.forbidden.begin() + (tile + 1) * kColumns,
                                        [](float x) { return x < 0.0f; }));
  }

  ::Network* another(int threads) const override { return new NetworkOf(shape_, weights_, threads, packed_); }

  int64_t state_bytes() const override { return static_cast<int64_t>(layer_bytes_) * shape_.layers; }

  int64_t source_floats(int length) const override {
    return (shape_.feed_context ? 4 * cells_ : 0) + (shape_.attention ? static_cast<int64_t>(length) * cells_ : 0);
  }

  int64_t packed_bytes() const override {
    size_t bytes = context_.data.bytes() + combine_.data.bytes() + output_.data.bytes();
    for (const auto* stack : {&encoder_, &decoder_})
      for (const Layer& layer : *stack) bytes += layer.weights.data.bytes();
    return static_cast<int64_t>(bytes);
  }

  void encode(int sentences, const int32_t* lengths, const int64_t* tokens, uint8_t* states,
              const int64_t* sources) override;
  void step(const Step& step) override;

 private:
  struct Layer {
    Matrix<P> weights;        // segments: input, recurrent
    std::vector<float> bias;  // by column
  };

  // The weights, which networks for several threads share.
  struct Packed {
    std::vector<Layer> encoder, decoder;
    Matrix<P> context, combine, output;
    std::vector<float> output_bias, forbidden, nothing;
    std::vector<bool> forbidding;  // whether a tile has forbidden tokens
  };

  NetworkOf(const Shape& shape, const Weights& weights, int threads, std::shared_ptr<const Packed> packed)
      : shape_(shape), weights_(weights), pool_(threads), cells_(padded(shape.hidden)),
        directions_(shape.bidirectional ? 2 : 1), record_(record_bytes<P>(shape.hidden)),
        input_record_(record_bytes<P>(std::max(shape.embedding, shape.hidden))),
        layer_bytes_(record_ + sizeof(float) * static_cast<size_t>(cells_)), packed_(std::move(packed)) {}

  // Column 64·t + 16·gate + j holds the gate of cell 16·t + j.
  static int gate_row(int column, int hidden) {
    const int cell = column / kColumns * kGroupColumns + column % kGroupColumns;
    return cell < hidden ? column % kColumns / kGroupColumns * hidden + cell : -1;
  }

  static void pack_layer(Layer& layer, const LayerWeights& weights, int inputs, int stride, int hidden) {
    const int columns = 4 * padded(hidden);
    layer.weights.pack(columns, {weights.input, weights.recurrent}, {inputs, hidden}, {stride, hidden},
                       [hidden](int column) { return gate_row(column, hidden); });
    layer.bias.resize(static_cast<size_t>(layer.weights.tiles) * kColumns);
    for (int column = 0; column < columns; ++column) {
      const int row = gate_row(column, hidden);
      layer.bias[static_cast<size_t>(column)] = row < 0 ? 0.0f : weights.bias[row];
    }
  }

  // What the encoder needs to read all sentences in one direction. At each position the rows that still go on are the
  // first ones; positions are counted in the order in which this direction reads.
  struct Direction {
    Buffer inputs, recurrent, cells, hidden, ahead;  // records and floats
    std::vector<float*> cell_rows, ahead_out;
    std::vector<const float*> ahead_rows;
  };

  // What a layer's pass works on; each array has an entry a row.
  struct Pass {
    const Layer* layer;
    std::array<Records, 2> records;  // inputs, or none where `ahead` has their product; and recurrent
    const float* const* ahead;       // [4·cells] by column, added to the gates; or null
    const float* const* cells_in;
    float* const* cells_out;
    float* hidden;  // [rows, cells]
    int rows, cells;
  };

  // Call `work(tile)` for tiles that no other thread has.
  template <class Work>
  void claim_tiles(int tiles, int rows, const Work& work) {
    // With few rows a tile takes a fraction of a microsecond, which claiming must not double.
    const int count = rows < 32 ? std::max(1, tiles / (4 * pool_.threads())) : 1;
    for (int first; (first = pool_.claim(count)) < tiles;)
      for (int tile = first; tile < std::min(first + count, tiles); ++tile) work(tile);
  }

  // One position of `count` layers of equal size, which read the same number of rows beside one another.
  void run_tiles(const Pass* passes, int count) {
    const int tiles = passes->layer->weights.tiles, rows = passes->rows;
    claim_tiles(count * tiles, rows, [&](int claimed) {
      const Pass& pass = passes[claimed / tiles];
      const int tile = claimed % tiles;
      pass.layer->weights.over_rows(tile, rows, pass.records, [&](auto size, int first, const auto& add_product) {
        for (int piece = 0; piece < kPieces; ++piece) gates<decltype(size)::value>(pass, tile, piece, first, add_product);
      });
    });
  }

  // The LSTM cell of Graves 2013 without peepholes, as in torch.nn.LSTM.
  template <int M, class AddProduct>
  void gates(const Pass& pass, int tile, int piece, int first, const AddProduct& add_product) const {
    const int column = tile * kColumns + piece * kWidth, cell = tile * kGroupColumns + piece * kWidth;
    Vec sums[M][kGroups];
    for (int m = 0; m < M; ++m)
      for (int g = 0; g < kGroups; ++g) {
        sums[m][g] = load(pass.layer->bias.data() + column + g * kGroupColumns);
        if (pass.ahead) sums[m][g] = add(sums[m][g], load(pass.ahead[first + m] + column + g * kGroupColumns));
      }
    add_product(piece, sums);
    const Vec one = all(1.0f);
    for (int m = 0; m < M; ++m) {
      if (const int soon = first + m + kRowsFetched; soon < pass.rows) {
        __builtin_prefetch(pass.cells_in[soon] + cell);
        __builtin_prefetch(pass.cells_out[soon] + cell, 1);
      }
      // σ(x) = 1 / (1 + e^-x) and tanh x = (1 - e^-2x) / (1 + e^-2x), a product of the two with one division.
      const Vec i = exponential(sub(zero(), sums[m][0])), f = exponential(sub(zero(), sums[m][1]));
      const Vec g = exponential(mul(sums[m][2], all(-2.0f))), o = exponential(sub(zero(), sums[m][3]));
      const Vec update = div(sub(one, g), mul(add(one, i), add(one, g)));
      const Vec c = add(div(load(pass.cells_in[first + m] + cell), add(one, f)), update);
      const Vec e = exponential(mul(c, all(-2.0f)));
      store(pass.cells_out[first + m] + cell, c);
      store(pass.hidden + static_cast<int64_t>(first + m) * pass.cells + cell,
            div(sub(one, e), mul(add(one, o), add(one, e))));
    }
  }

  // out[row][column] = records · matrix, or its hyperbolic tangent.
  void run_product(const Matrix<P>& matrix, int rows, const std::array<Records, 2>& records, float* const* out, bool tanh) {
    claim_tiles(matrix.tiles, rows, [&](int tile) {
      matrix.over_rows(tile, rows, records, [&](auto size, int first, const auto& add_product) {
        constexpr int M = decltype(size)::value;
        for (int piece = 0; piece < kPieces; ++piece) {
          Vec sums[M][kGroups];
          for (auto& row : sums) for (auto& sum : row) sum = zero();
          add_product(piece, sums);
          for (int m = 0; m < M; ++m)
            for (int g = 0; g < kGroups; ++g)
              store(out[first + m] + tile * kColumns + g * kGroupColumns + piece * kWidth,
                    tanh ? hyperbolic_tangent(sums[m][g]) : sums[m][g]);
        }
      });
    });
  }

  void embed(const float* table, int64_t token, uint8_t* record) const {
    float row[kLongestRow];
    const int E = shape_.embedding, wide = padded(E);
    std::memcpy(row, table + token * E, sizeof(float) * static_cast<size_t>(E));
    std::fill(row + E, row + wide, 0.0f);
    P::store_record(record, row, wide);
  }

  // x of the next layer: h, plus this layer's own x where it has a residual connection.
  void pass_on(int layer, const float* hidden, float* x, uint8_t* recurrent_record, uint8_t* input_record) const {
    P::store_record(recurrent_record, hidden, cells_);
    if (shape_.residual && layer > 0)
      for (int i = 0; i < cells_; i += kWidth) store(x + i, add(load(x + i), load(hidden + i)));
    else
      std::memcpy(x, hidden, sizeof(float) * static_cast<size_t>(cells_));
    P::store_record(input_record, x, cells_);
  }

  void attend(const float* memory, int length, const float* x, float* weights, float* attended) const;
  void project(const Step& step, int thread);

  static constexpr int kLongestRow = 16384;

  float* cells_of(uint8_t* state, int layer) const {
    return reinterpret_cast<float*>(state + layer_bytes_ * static_cast<size_t>(layer) + record_);
  }

  const Shape shape_;
  const Weights weights_;
  Pool pool_;
  const int cells_, directions_;
  const size_t record_, input_record_, layer_bytes_;
  const std::shared_ptr<const Packed> packed_;
  const std::vector<Layer>&encoder_ = packed_->encoder, &decoder_ = packed_->decoder;
  const Matrix<P>&context_ = packed_->context, &combine_ = packed_->combine, &output_ = packed_->output;
  const std::vector<float>&output_bias_ = packed_->output_bias, &forbidden_ = packed_->forbidden,
      &nothing_ = packed_->nothing;
  const std::vector<bool>& forbidding_ = packed_->forbidding;

  // Working space, kept from call to call.
  Buffer x_records_, recurrent_records_, x_, hidden_, attended_records_, attended_, combined_, spare_, best_values_,
      best_tokens_, merged_values_, merged_tokens_, tile_sums_, scratch_, heads_;
  Direction way_[2];  // of the encoder
  std::vector<const float*> ahead_rows_, cells_in_;
  std::vector<float*> cells_out_, rows_out_;
};

}  // namespace ISA

#include "encoding.h"
#include "decoding.h"
#include "projection.h"

namespace ISA {

// The formats that gain by this instruction set (see build.py), a bit each, in the order of `PRECISIONS`.
::Network* make(int precision, const Shape& shape, const Weights& weights, int threads) {
#if FORMATS & 1
  if (precision == 0) return new NetworkOf<Int8>(shape, weights, threads);
#endif
#if FORMATS & 2
  if (precision == 1) return new NetworkOf<BFloat16>(shape, weights, threads);
#endif
#if FORMATS & 4
  if (precision == 2) return new NetworkOf<Float32>(shape, weights, threads);
#endif
  return nullptr;
}

}  // namespace ISA
