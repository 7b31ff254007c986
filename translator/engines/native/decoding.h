// A step of the decoder, up to what the output layer reads.
//
// Included by network.cpp.

namespace ISA {

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
  recurrent_records_.grow(record_ * R * layers);
  cells_in_.resize(static_cast<size_t>(R) * layers);
  cells_out_.resize(static_cast<size_t>(R) * layers);
  ahead_rows_.resize(R);
  for (int r = 0; r < R; ++r) {
    uint8_t* in = const_cast<uint8_t*>(step.state_in) + state_size * step.place_R[r];
    if (shape_.feed_context) ahead_rows_[r] = reinterpret_cast<const float*>(step.source_R[r]);
    for (int l = 0; l < layers; ++l) {
      cells_in_[static_cast<size_t>(l) * R + r] = cells_of(in, l);
      cells_out_[static_cast<size_t>(l) * R + r] = cells_of(step.state_out + state_size * r, l);
    }
  }
  const int longest = *std::max_element(step.length_R, step.length_R + R);
  if (shape_.attention) {
    attended_.grow(sizeof(float) * cells_ * R);
    attended_records_.grow(record_ * R);
    scratch_.grow(sizeof(float) * static_cast<size_t>(padded(longest)) * pool_.threads());
    rows_out_.resize(R);
    combined_.grow(sizeof(float) * combine_.tiles * kColumns * R);
    for (int r = 0; r < R; ++r) rows_out_[r] = combined_.floats() + static_cast<size_t>(combine_.tiles) * kColumns * r;
  }

  const Records inputs{x_records_.get(), input_record_};
  pool_.run([&](int thread) {
    const TileSession tiles_are_ours;
    const Share mine(R, thread, pool_.threads());
    for (int r = mine.first; r < mine.last; ++r) {
      embed(weights_.target_embedding, step.token_R[r], x_records_.get() + input_record_ * r);
      // The states stand in any order; a product wants rows that follow one another.
      const uint8_t* in = step.state_in + state_size * step.place_R[r];
      for (int l = 0; l < layers; ++l)
        std::memcpy(recurrent_records_.get() + record_ * (static_cast<size_t>(l) * R + r), in + layer_bytes_ * l, record_);
    }
    pool_.meet();
    for (int l = 0; l < layers; ++l) {
      const size_t at = static_cast<size_t>(l) * R;
      const Pass pass{&decoder_[l], {inputs, {recurrent_records_.get() + record_ * at, record_}},
                      l == 0 && shape_.feed_context ? ahead_rows_.data() : nullptr, cells_in_.data() + at,
                      cells_out_.data() + at, hidden_.floats(), R, cells_};
      run_tiles(&pass, 1);
      pool_.meet();
      for (int r = mine.first; r < mine.last; ++r)
        pass_on(l, hidden_.floats() + static_cast<size_t>(cells_) * r, x_.floats() + static_cast<size_t>(cells_) * r,
                step.state_out + state_size * r + layer_bytes_ * l, x_records_.get() + input_record_ * r);
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
      run_product(combine_, R, {Records{attended_records_.get(), record_}, inputs}, rows_out_.data(), true);
      pool_.meet();
      for (int r = mine.first; r < mine.last; ++r)
        P::store_record(x_records_.get() + input_record_ * r, rows_out_[r], cells_);
      pool_.meet();
    }
    project(step, thread);
  });
}

}  // namespace ISA
