// The deep LSTM's encoder and decoder step for one instruction set and each number format.
//
// A layer is one pass over its packed weights: a tile holds all four gates of 16 cells, so that the gates never leave the
// registers. Every sum runs over a row's own numbers in an order that does not depend on the other rows or on the
// threads: a row's result is the same, bit for bit, in any batch.
//
// A decoder state is, for each layer, an activation record of h and then the cells c in float32.

#include "network.h"

#include <algorithm>
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
    packed.encoder.resize(static_cast<size_t>(shape.layers));
    packed.decoder.resize(static_cast<size_t>(shape.layers));
    const int context = shape.feed_context ? H : 0;
    std::vector<std::function<void()>> jobs;
    for (int l = 0; l < shape.layers; ++l) {
      jobs.push_back([=, this, &packed] { pack_layer(packed.encoder[l], weights.encoder[l], l ? H : E, l ? H : E); });
      jobs.push_back([=, this, &packed] { pack_layer(packed.decoder[l], weights.decoder[l], l ? H : E, l ? H : E + context); });
    }
    if (context) {
      jobs.push_back([=, this, &packed] {
        packed.context.pack(4 * cells_, {weights.decoder[0].input + E}, {H}, {E + H}, [this](int c) { return gate_row(c); });
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
        record_((record_bytes<P>(shape.hidden) + 63) / 64 * 64),
        input_record_((record_bytes<P>(std::max(shape.embedding, shape.hidden)) + 63) / 64 * 64),
        layer_bytes_(record_ + sizeof(float) * static_cast<size_t>(cells_)), packed_(std::move(packed)) {}

  // Column 64·t + 16·gate + j holds the gate of cell 16·t + j.
  int gate_row(int column) const {
    const int cell = column / kColumns * kGroupColumns + column % kGroupColumns;
    return cell < shape_.hidden ? column % kColumns / kGroupColumns * shape_.hidden + cell : -1;
  }

  void pack_layer(Layer& layer, const LayerWeights& weights, int inputs, int stride) {
    const auto row_of = [this](int column) { return gate_row(column); };
    layer.weights.pack(4 * cells_, {weights.input, weights.recurrent}, {inputs, shape_.hidden}, {stride, shape_.hidden},
                       row_of);
    layer.bias.resize(static_cast<size_t>(layer.weights.tiles) * kColumns);
    for (int column = 0; column < 4 * cells_; ++column)
      layer.bias[static_cast<size_t>(column)] = gate_row(column) < 0 ? 0.0f : weights.bias[gate_row(column)];
  }

  // What a layer's pass works on; each array has an entry a row.
  struct Pass {
    const Layer* layer;
    int rows;
    const uint8_t* const* inputs;     // activation records, or null where `ahead` has their product
    const uint8_t* const* recurrent;  // activation records
    const float* const* ahead;        // [4·cells] by column, added to the gates; or null
    const float* const* cells_in;
    float* const* cells_out;
    float* hidden;  // [rows, cells]
  };

  // Call `work(tile)` for tiles that no other thread has.
  template <class Work>
  void claim_tiles(int tiles, int rows, const Work& work) {
    // With few rows a tile takes a fraction of a microsecond, which claiming must not double.
    const int count = rows < 32 ? std::max(1, tiles / (4 * pool_.threads())) : 1;
    for (int first; (first = pool_.claim(count)) < tiles;)
      for (int tile = first; tile < std::min(first + count, tiles); ++tile) work(tile);
  }

  void run_tiles(const Pass& pass) {
    claim_tiles(pass.layer->weights.tiles, pass.rows, [&](int tile) {
      for (int piece = 0; piece < kPieces; ++piece) {
        const int column = tile * kColumns + piece * kWidth, cell = tile * kGroupColumns + piece * kWidth;
        in_blocks(pass.rows, [&](auto size, int first) { gates<decltype(size)::value>(pass, tile, piece, column, cell, first); });
      }
    });
  }

  // The LSTM cell of Graves 2013 without peepholes, as in torch.nn.LSTM.
  template <int M>
  void gates(const Pass& pass, int tile, int piece, int column, int cell, int first) const {
    Vec sums[M][kGroups];
    for (int m = 0; m < M; ++m)
      for (int g = 0; g < kGroups; ++g) {
        sums[m][g] = load(pass.layer->bias.data() + column + g * kGroupColumns);
        if (pass.ahead) sums[m][g] = add(sums[m][g], load(pass.ahead[first + m] + column + g * kGroupColumns));
      }
    if (pass.inputs) pass.layer->weights.template multiply<M>(0, tile, piece, pass.inputs + first, sums);
    pass.layer->weights.template multiply<M>(1, tile, piece, pass.recurrent + first, sums);
    const Vec one = all(1.0f);
    for (int m = 0; m < M; ++m) {
      // σ(x) = 1 / (1 + e^-x) and tanh x = (1 - e^-2x) / (1 + e^-2x), a product of the two with one division.
      const Vec i = exponential(sub(zero(), sums[m][0])), f = exponential(sub(zero(), sums[m][1]));
      const Vec g = exponential(mul(sums[m][2], all(-2.0f))), o = exponential(sub(zero(), sums[m][3]));
      const Vec update = div(sub(one, g), mul(add(one, i), add(one, g)));
      const Vec c = add(div(load(pass.cells_in[first + m] + cell), add(one, f)), update);
      const Vec e = exponential(mul(c, all(-2.0f)));
      store(pass.cells_out[first + m] + cell, c);
      store(pass.hidden + static_cast<int64_t>(first + m) * cells_ + cell, div(sub(one, e), mul(add(one, o), add(one, e))));
    }
  }

  // out[row][column] = records · matrix, or its hyperbolic tangent.
  void run_product(const Matrix<P>& matrix, int rows, std::vector<const uint8_t* const*> segments, float* const* out,
                   bool tanh) {
    claim_tiles(matrix.tiles, rows, [&](int tile) {
      for (int piece = 0; piece < kPieces; ++piece)
        in_blocks(rows, [&](auto size, int first) {
          constexpr int M = decltype(size)::value;
          Vec sums[M][kGroups];
          for (auto& row : sums) for (auto& sum : row) sum = zero();
          for (size_t s = 0; s < segments.size(); ++s)
            matrix.template multiply<M>(static_cast<int>(s), tile, piece, segments[s] + first, sums);
          for (int m = 0; m < M; ++m)
            for (int g = 0; g < kGroups; ++g)
              store(out[first + m] + tile * kColumns + g * kGroupColumns + piece * kWidth,
                    tanh ? hyperbolic_tangent(sums[m][g]) : sums[m][g]);
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

  uint8_t* layer_of(uint8_t* state, int layer) const { return state + layer_bytes_ * static_cast<size_t>(layer); }
  float* cells_of(uint8_t* state, int layer) const {
    return reinterpret_cast<float*>(layer_of(state, layer) + record_);
  }

  const Shape shape_;
  const Weights weights_;
  Pool pool_;
  const int cells_;
  const size_t record_, input_record_, layer_bytes_;
  const std::shared_ptr<const Packed> packed_;
  const std::vector<Layer>&encoder_ = packed_->encoder, &decoder_ = packed_->decoder;
  const Matrix<P>&context_ = packed_->context, &combine_ = packed_->combine, &output_ = packed_->output;
  const std::vector<float>&output_bias_ = packed_->output_bias, &forbidden_ = packed_->forbidden,
      &nothing_ = packed_->nothing;
  const std::vector<bool>& forbidding_ = packed_->forbidding;

  // Working space, kept from call to call.
  Buffer x_records_, x_, hidden_, ahead_, attended_records_, attended_, combined_, best_values_, best_tokens_, merged_values_,
      merged_tokens_, tile_sums_, scratch_, heads_;
  std::vector<const uint8_t*> inputs_, recurrent_, attended_rows_;
  std::vector<const float*> ahead_rows_, cells_in_;
  std::vector<float*> cells_out_, rows_out_;
};

template <class P>
void NetworkOf<P>::encode(int sentences, const int32_t* lengths, const int64_t* tokens, uint8_t* states,
                          const int64_t* sources) {
  // Longest first, so that at each position the sentences that still go on are the first ones.
  std::vector<int> order(static_cast<size_t>(sentences));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
  std::vector<int64_t> token_start(static_cast<size_t>(sentences) + 1, 0);
  for (int s = 0; s < sentences; ++s) token_start[s + 1] = token_start[s] + lengths[s];
  const int longest = lengths[order[0]];
  std::vector<int> active(static_cast<size_t>(longest)), offset(static_cast<size_t>(longest) + 1, 0);
  for (int t = 0; t < longest; ++t) {
    active[t] = static_cast<int>(std::partition_point(order.begin(), order.end(),
                                                      [&](int s) { return lengths[s] > t; }) - order.begin());
    offset[t + 1] = offset[t] + active[t];
  }
  const int positions = offset[longest];
  const size_t state_size = static_cast<size_t>(state_bytes());
  x_records_.grow(input_record_ * positions);
  x_.grow(sizeof(float) * cells_ * positions);
  hidden_.grow(sizeof(float) * cells_ * sentences);
  ahead_.grow(sizeof(float) * 4 * cells_ * (kRowsAhead + kAmpleRows));
  inputs_.resize(positions);
  for (int p = 0; p < positions; ++p) inputs_[p] = x_records_.get() + input_record_ * p;
  ahead_rows_.resize(kRowsAhead + kAmpleRows);
  rows_out_.resize(kRowsAhead + kAmpleRows);
  for (size_t r = 0; r < rows_out_.size(); ++r) ahead_rows_[r] = rows_out_[r] = ahead_.floats() + 4 * cells_ * r;
  // Row pointers by layer, so that no thread waits for another to set them.
  std::vector<std::vector<const uint8_t*>> recurrent(shape_.layers);
  std::vector<std::vector<float*>> cells(shape_.layers);
  for (int l = 0; l < shape_.layers; ++l)
    for (int row = 0; row < sentences; ++row) {
      uint8_t* state = states + state_size * order[row];
      recurrent[l].push_back(layer_of(state, l));
      cells[l].push_back(cells_of(state, l));
    }
  const int memory_offset = shape_.feed_context ? 4 * cells_ : 0;

  pool_.run([&](int thread) {
    const int threads = pool_.threads();
    const Share mine(sentences, thread, threads);
    for (int row = mine.first; row < mine.last; ++row) {
      for (int t = 0; t < lengths[order[row]]; ++t)
        embed(weights_.source_embedding, tokens[token_start[order[row]] + t],
              x_records_.get() + input_record_ * (offset[t] + row));
      for (int l = 0; l < shape_.layers; ++l) {
        P::store_record(const_cast<uint8_t*>(recurrent[l][row]), nothing_.data(), cells_);
        std::memcpy(cells[l][row], nothing_.data(), sizeof(float) * cells_);
      }
    }
    pool_.meet();
    for (int l = 0; l < shape_.layers; ++l) {
      const Layer& layer = encoder_[l];
      int ahead_until = 0, ahead_from = 0;
      for (int t = 0; t < longest; ++t) {
        const bool ahead = active[t] < kAmpleRows;
        if (ahead && t >= ahead_until) {
          ahead_from = ahead_until = t;
          while (ahead_until < longest && offset[ahead_until + 1] - offset[t] <= kRowsAhead) ++ahead_until;
          run_product(layer.weights, offset[ahead_until] - offset[t], {inputs_.data() + offset[t]}, rows_out_.data(),
                      false);
          pool_.meet();
        }
        Pass pass{&layer, active[t], ahead ? nullptr : inputs_.data() + offset[t], recurrent[l].data(),
                  ahead ? ahead_rows_.data() + (offset[t] - offset[ahead_from]) : nullptr, cells[l].data(),
                  cells[l].data(), hidden_.floats()};
        run_tiles(pass);
        pool_.meet();
        const Share rows(active[t], thread, threads);
        for (int row = rows.first; row < rows.last; ++row) {
          float* x = x_.floats() + static_cast<size_t>(cells_) * (offset[t] + row);
          pass_on(l, hidden_.floats() + static_cast<size_t>(cells_) * row, x, const_cast<uint8_t*>(recurrent[l][row]),
                  x_records_.get() + input_record_ * (offset[t] + row));
          if (shape_.attention && l == shape_.layers - 1)
            std::memcpy(reinterpret_cast<float*>(sources[order[row]]) + memory_offset + static_cast<size_t>(cells_) * t,
                        x, sizeof(float) * cells_);
        }
        pool_.meet();
      }
    }
    if (shape_.feed_context) {
      if (thread == 0) {
        recurrent_.resize(sentences);
        cells_out_.resize(sentences);
        for (int row = 0; row < sentences; ++row) {
          recurrent_[row] = x_records_.get() + input_record_ * (offset[lengths[order[row]] - 1] + row);
          cells_out_[row] = reinterpret_cast<float*>(sources[order[row]]);
        }
      }
      pool_.meet();
      run_product(context_, sentences, {recurrent_.data()}, cells_out_.data(), false);
    }
  });
}

// Dot attention, Luong et al. 2015, equations 5 and 7; `memory` [length, cells].
template <class P>
void NetworkOf<P>::attend(const float* memory, int length, const float* x, float* weights, float* attended) const {
  // Four sums at a time: one alone would wait for each of its own additions.
  constexpr int kSums = 4;
  float most = kNone;
  for (int s = 0; s < length; s += kSums) {
    Vec sums[kSums];
    const float* positions[kSums];
    for (int j = 0; j < kSums; ++j) {
      sums[j] = zero();
      positions[j] = memory + static_cast<size_t>(std::min(s + j, length - 1)) * cells_;
    }
    for (int i = 0; i < cells_; i += kWidth)
      for (int j = 0; j < kSums; ++j) sums[j] = fma(load(positions[j] + i), load(x + i), sums[j]);
    for (int j = 0; j < kSums && s + j < length; ++j) {
      weights[s + j] = total(sums[j]);
      most = std::max(most, weights[s + j]);
    }
  }
  for (int s = length; s < padded(length); ++s) weights[s] = kNone;
  Vec masses = zero();
  for (int s = 0; s < padded(length); s += kWidth) {
    const Vec mass = exponential(sub(load(weights + s), all(most)));
    store(weights + s, mass);
    masses = add(masses, mass);
  }
  const Vec mass = all(total(masses));
  const int block = kSums * kWidth;
  for (int i = 0; i < cells_; i += block) {
    const int count = std::min(kSums, (cells_ - i) / kWidth);
    Vec sums[kSums];
    for (Vec& sum : sums) sum = zero();
    for (int s = 0; s < length; ++s) {
      const Vec weight = all(weights[s]);
      const float* position = memory + static_cast<size_t>(s) * cells_ + i;
      for (int j = 0; j < count; ++j) sums[j] = fma(load(position + j * kWidth), weight, sums[j]);
    }
    for (int j = 0; j < count; ++j) store(attended + i + j * kWidth, div(sums[j], mass));
  }
}

template <class P>
void NetworkOf<P>::step(const Step& step) {
  const int R = step.rows, layers = shape_.layers, tiles = output_.tiles, C = step.candidates;
  const size_t state_size = static_cast<size_t>(state_bytes());
  const int memory_offset = shape_.feed_context ? 4 * cells_ : 0;
  x_records_.grow(input_record_ * R);
  x_.grow(sizeof(float) * cells_ * R);
  hidden_.grow(sizeof(float) * cells_ * R);
  const size_t lists = static_cast<size_t>(pool_.threads()) * R * C;
  best_values_.grow(sizeof(float) * lists);
  best_tokens_.grow(sizeof(int32_t) * lists);
  merged_values_.grow(sizeof(float) * R * C);
  merged_tokens_.grow(sizeof(int32_t) * R * C);
  tile_sums_.grow(sizeof(float) * 2 * R * padded(tiles));
  heads_.grow(sizeof(int32_t) * R);
  inputs_.resize(R);
  recurrent_.resize(static_cast<size_t>(R) * layers);
  cells_in_.resize(static_cast<size_t>(R) * layers);
  cells_out_.resize(static_cast<size_t>(R) * layers);
  ahead_rows_.resize(R);
  for (int r = 0; r < R; ++r) {
    uint8_t* in = const_cast<uint8_t*>(step.state_in) + state_size * step.place_R[r];
    inputs_[r] = x_records_.get() + input_record_ * r;
    if (shape_.feed_context) ahead_rows_[r] = reinterpret_cast<const float*>(step.source_R[r]);
    for (int l = 0; l < layers; ++l) {
      recurrent_[static_cast<size_t>(l) * R + r] = layer_of(in, l);
      cells_in_[static_cast<size_t>(l) * R + r] = cells_of(in, l);
      cells_out_[static_cast<size_t>(l) * R + r] = cells_of(step.state_out + state_size * r, l);
    }
  }
  const int longest = *std::max_element(step.length_R, step.length_R + R);
  if (shape_.attention) {
    attended_.grow(sizeof(float) * cells_ * R);
    attended_records_.grow(record_ * R);
    scratch_.grow(sizeof(float) * static_cast<size_t>(padded(longest)) * pool_.threads());
    attended_rows_.resize(R);
    rows_out_.resize(R);
    combined_.grow(sizeof(float) * combine_.tiles * kColumns * R);
    for (int r = 0; r < R; ++r) {
      attended_rows_[r] = attended_records_.get() + record_ * r;
      rows_out_[r] = combined_.floats() + static_cast<size_t>(combine_.tiles) * kColumns * r;
    }
  }

  pool_.run([&](int thread) {
    const Share mine(R, thread, pool_.threads());
    for (int r = mine.first; r < mine.last; ++r)
      embed(weights_.target_embedding, step.token_R[r], x_records_.get() + input_record_ * r);
    pool_.meet();
    for (int l = 0; l < layers; ++l) {
      const size_t at = static_cast<size_t>(l) * R;
      run_tiles(Pass{&decoder_[l], R, inputs_.data(), recurrent_.data() + at,
                     l == 0 && shape_.feed_context ? ahead_rows_.data() : nullptr, cells_in_.data() + at,
                     cells_out_.data() + at, hidden_.floats()});
      pool_.meet();
      for (int r = mine.first; r < mine.last; ++r)
        pass_on(l, hidden_.floats() + static_cast<size_t>(cells_) * r, x_.floats() + static_cast<size_t>(cells_) * r,
                layer_of(step.state_out + state_size * r, l), x_records_.get() + input_record_ * r);
      pool_.meet();
    }
    if (shape_.attention) {
      float* weights = scratch_.floats() + static_cast<size_t>(padded(longest)) * thread;
      for (int r = mine.first; r < mine.last; ++r) {
        float* attended = attended_.floats() + static_cast<size_t>(cells_) * r;
        attend(reinterpret_cast<const float*>(step.source_R[r]) + memory_offset, step.length_R[r],
               x_.floats() + static_cast<size_t>(cells_) * r, weights, attended);
        P::store_record(attended_records_.get() + record_ * r, attended, cells_);
      }
      pool_.meet();
      run_product(combine_, R, {attended_rows_.data(), inputs_.data()}, rows_out_.data(), true);
      pool_.meet();
      for (int r = mine.first; r < mine.last; ++r)
        P::store_record(x_records_.get() + input_record_ * r, rows_out_[r], cells_);
      pool_.meet();
    }
    project(step, thread);
  });
}

// The output layer: while a tile's logits are in the registers, their largest and their sum of exponentials are kept and
// the row's best tokens found; the logits themselves are written only for rows that are to be drawn from.
template <class P>
void NetworkOf<P>::project(const Step& step, int thread) {
  const int R = step.rows, C = step.candidates, tiles = output_.tiles, threads = pool_.threads();
  const int V = shape_.target_vocabulary;
  float* values = best_values_.floats() + static_cast<size_t>(thread) * R * C;
  int32_t* tokens = reinterpret_cast<int32_t*>(best_tokens_.get()) + static_cast<size_t>(thread) * R * C;
  std::fill(values, values + static_cast<size_t>(R) * C, kNone);
  std::fill(tokens, tokens + static_cast<size_t>(R) * C, 0);
  claim_tiles(tiles, R, [&](int tile) {
    in_blocks(R, [&](auto size, int first) {
      constexpr int M = decltype(size)::value;
      alignas(64) float logits[M][kColumns];
      for (int piece = 0; piece < kPieces; ++piece) {
        Vec sums[M][kGroups];
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < kGroups; ++g)
            sums[m][g] = load(output_bias_.data() + tile * kColumns + g * kGroupColumns + piece * kWidth);
        output_.template multiply<M>(0, tile, piece, inputs_.data() + first, sums);
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < kGroups; ++g) store(logits[m] + g * kGroupColumns + piece * kWidth, sums[m][g]);
      }
      for (int m = 0; m < M; ++m) {
        const int row = first + m;
        Vec most = load(logits[m]);
        for (int i = kWidth; i < kColumns; i += kWidth) most = maximum(most, load(logits[m] + i));
        const float top = largest(most);
        Vec mass = zero();
        for (int i = 0; i < kColumns; i += kWidth) mass = add(mass, exponential(sub(load(logits[m] + i), all(top))));
        float* kept = tile_sums_.floats() + static_cast<size_t>(row) * 2 * padded(tiles) + tile;
        kept[0] = top;
        kept[padded(tiles)] = total(mass);
        if (forbidding_[tile])  // the probability of a forbidden token is lost, not given to others
          for (int i = 0; i < kColumns; ++i) logits[m][i] += forbidden_[tile * kColumns + i];
        BestOf best(values + static_cast<size_t>(row) * C, tokens + static_cast<size_t>(row) * C, C);
        if (top > best.least())
          for (int i = 0; i < kColumns; i += kWidth)
            for (uint32_t found = greater(load(logits[m] + i), all(best.least())); found; found &= found - 1) {
              const int lane = i + __builtin_ctz(found);
              best.offer(logits[m][lane], tile * kColumns + lane);
            }
        if (step.drawn_R[row] >= 0) {
          const int count = std::min(kColumns, V - tile * kColumns);
          std::memcpy(step.whole_DV + static_cast<int64_t>(step.drawn_R[row]) * V + tile * kColumns, logits[m],
                      sizeof(float) * count);
        }
      }
    });
  });
  pool_.meet();
  const Share mine(R, thread, threads);
  for (int row = mine.first; row < mine.last; ++row) {
    // log Σ e^logit from the tiles' largest logits, and behind them their sums.
    float* tops = tile_sums_.floats() + static_cast<size_t>(row) * 2 * padded(tiles);
    float* sums = tops + padded(tiles);
    const float top = *std::max_element(tops, tops + tiles);
    std::fill(tops + tiles, sums, top);
    std::fill(sums + tiles, sums + padded(tiles), 0.0f);
    Vec mass = zero();
    for (int tile = 0; tile < tiles; tile += kWidth)
      mass = fma(load(sums + tile), exponential(sub(load(tops + tile), all(top))), mass);
    const float log_sum = top + std::log(total(mass));
    float* merged = merged_values_.floats() + static_cast<size_t>(row) * C;
    int32_t* merged_tokens = reinterpret_cast<int32_t*>(merged_tokens_.get()) + static_cast<size_t>(row) * C;
    std::fill(merged, merged + C, kNone);
    BestOf best(merged, merged_tokens, C);
    for (int other = 0; other < threads; ++other) {
      const size_t at = (static_cast<size_t>(other) * R + row) * C;
      for (int c = 0; c < C; ++c)
        best.offer(best_values_.floats()[at + c], reinterpret_cast<const int32_t*>(best_tokens_.get())[at + c]);
    }
    for (int c = 0; c < C; ++c) merged[c] += step.score_R[row] - log_sum;
    if (step.drawn_R[row] >= 0) {
      float* whole = step.whole_DV + static_cast<int64_t>(step.drawn_R[row]) * V;
      for (int v = 0; v < V; ++v) whole[v] -= log_sum;
    }
  }
  pool_.meet();
  int first = 0;
  const Share sentences(step.sentences, thread, threads);
  for (int s = 0; s < sentences.last; first += step.width_S[s++])
    if (s >= sentences.first)
      select_extensions(step, s, first, merged_values_.floats(), reinterpret_cast<const int32_t*>(merged_tokens_.get()),
                        shape_.eos, reinterpret_cast<int32_t*>(heads_.get()));
}

::Network* make(int precision, const Shape& shape, const Weights& weights, int threads) {
  if (precision == 0) return new NetworkOf<Int8>(shape, weights, threads);
  if (precision == 1) return new NetworkOf<BFloat16>(shape, weights, threads);
  return new NetworkOf<Float32>(shape, weights, threads);
}

}  // namespace ISA
