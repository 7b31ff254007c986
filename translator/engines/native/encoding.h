// The encoder: layer after layer over all positions, in one direction or in both.
//
// Included by network.cpp.

namespace ISA {

// Sentences in the order in which they are read: longest first, so that at each position those that still go on are the
// first ones. Position t of row r is the number `begin[t] + r` among all.
struct ReadingOrder {
  std::vector<int> sentence_R, length_R, active, begin;
  std::vector<int64_t> token_R;  // where a row's tokens begin

  ReadingOrder(int sentences, const int32_t* lengths) : sentence_R(static_cast<size_t>(sentences)) {
    std::iota(sentence_R.begin(), sentence_R.end(), 0);
    std::stable_sort(sentence_R.begin(), sentence_R.end(), [&](int a, int b) { return lengths[a] > lengths[b]; });
    std::vector<int64_t> token_start(static_cast<size_t>(sentences) + 1, 0);
    for (int s = 0; s < sentences; ++s) token_start[s + 1] = token_start[s] + lengths[s];
    for (int sentence : sentence_R) {
      length_R.push_back(lengths[sentence]);
      token_R.push_back(token_start[sentence]);
    }
    begin.push_back(0);
    for (int t = 0, rows = sentences; t < length_R[0]; ++t) {
      while (length_R[rows - 1] <= t) --rows;
      active.push_back(rows);
      begin.push_back(begin[t] + rows);
    }
  }

  int rows() const { return static_cast<int>(sentence_R.size()); }
  int longest() const { return length_R[0]; }
  int positions() const { return begin.back(); }
  size_t place(int row, int t) const { return static_cast<size_t>(begin[t] + row); }
  size_t place_from_end(int row, int t) const { return place(row, length_R[row] - 1 - t); }
};

template <class P>
void NetworkOf<P>::encode(int sentences, const int32_t* lengths, const int64_t* tokens, uint8_t* states,
                          const int64_t* sources) {
  const ReadingOrder order(sentences, lengths);
  const int half = shape_.hidden / directions_, cells = padded(half);  // cells of one direction
  const size_t half_record = record_bytes<P>(half), positions = static_cast<size_t>(order.positions());
  const size_t rows = static_cast<size_t>(sentences), state_size = static_cast<size_t>(state_bytes());
  const int memory_offset = shape_.feed_context ? 4 * cells_ : 0;
  x_.grow(sizeof(float) * cells_ * positions);
  for (int d = 0; d < directions_; ++d) {
    Direction& way = way_[d];
    way.inputs.grow(input_record_ * positions);
    way.recurrent.grow(half_record * rows);
    way.cells.grow(sizeof(float) * cells * rows);
    way.hidden.grow(sizeof(float) * cells * rows);
    way.ahead.grow(sizeof(float) * 4 * cells * (kRowsAhead + kAmpleRows));
    way.cell_rows.resize(rows);
    for (size_t row = 0; row < rows; ++row) way.cell_rows[row] = way.cells.floats() + cells * row;
    way.ahead_rows.resize(kRowsAhead + kAmpleRows);
    way.ahead_out.resize(kRowsAhead + kAmpleRows);
    for (size_t row = 0; row < way.ahead_out.size(); ++row)
      way.ahead_rows[row] = way.ahead_out[row] = way.ahead.floats() + 4 * cells * row;
  }
  recurrent_records_.grow(record_ * rows);
  spare_.grow((input_record_ + sizeof(float) * cells_) * pool_.threads());
  rows_out_.resize(rows);
  for (int row = 0; row < sentences; ++row) rows_out_[row] = reinterpret_cast<float*>(sources[order.sentence_R[row]]);

  const auto x_of = [&](int row, int t) { return x_.floats() + cells_ * order.place(row, t); };
  const auto set_input = [&](int row, int t, const uint8_t* record) {
    std::memcpy(way_[0].inputs.get() + input_record_ * order.place(row, t), record, input_record_);
    if (directions_ == 2)
      std::memcpy(way_[1].inputs.get() + input_record_ * order.place_from_end(row, t), record, input_record_);
  };

  pool_.run([&](int thread) {
    const TileSession tiles_are_ours;
    const Share mine(sentences, thread, pool_.threads());
    uint8_t* const record = spare_.get() + (input_record_ + sizeof(float) * cells_) * thread;  // room for one of each
    float* const both_halves = reinterpret_cast<float*>(record + input_record_);
    std::fill(both_halves, both_halves + cells_, 0.0f);
    for (int row = mine.first; row < mine.last; ++row)
      for (int t = 0; t < order.length_R[row]; ++t) {
        embed(weights_.source_embedding, tokens[order.token_R[row] + t], record);
        set_input(row, t, record);
        std::fill(x_of(row, t), x_of(row, t) + cells_, 0.0f);
      }
    for (int l = 0; l < shape_.layers; ++l) {
      const bool residual = shape_.residual && l > 0;
      for (int d = 0; d < directions_; ++d)
        for (int row = mine.first; row < mine.last; ++row) {
          P::store_record(way_[d].recurrent.get() + half_record * row, nothing_.data(), cells);
          std::fill(way_[d].cell_rows[row], way_[d].cell_rows[row] + cells, 0.0f);
        }
      pool_.meet();
      int ahead_from = 0, ahead_until = 0;
      for (int t = 0; t < order.longest(); ++t) {
        const int active = order.active[t];
        const bool ahead = active < kAmpleRows;
        if (ahead && t >= ahead_until) {
          ahead_from = ahead_until = t;
          while (ahead_until < order.longest() && order.begin[ahead_until + 1] - order.begin[t] <= kRowsAhead)
            ++ahead_until;
          for (int d = 0; d < directions_; ++d) {
            const Records inputs{way_[d].inputs.get() + input_record_ * order.begin[t], input_record_};
            run_product(encoder_[l * directions_ + d].weights, order.begin[ahead_until] - order.begin[t], {inputs},
                        way_[d].ahead_out.data(), false);
            pool_.meet();
          }
        }
        Pass passes[2];
        for (int d = 0; d < directions_; ++d) {
          Direction& way = way_[d];
          const Records inputs{ahead ? nullptr : way.inputs.get() + input_record_ * order.begin[t], input_record_};
          passes[d] = Pass{&encoder_[l * directions_ + d], {inputs, Records{way.recurrent.get(), half_record}},
                           ahead ? way.ahead_rows.data() + (order.begin[t] - order.begin[ahead_from]) : nullptr,
                           way.cell_rows.data(), way.cell_rows.data(), way.hidden.floats(), active, cells};
        }
        run_tiles(passes, directions_);
        pool_.meet();
        const Share share(active, thread, pool_.threads());
        for (int d = 0; d < directions_; ++d)
          for (int row = share.first; row < share.last; ++row) {
            const float* hidden = way_[d].hidden.floats() + static_cast<size_t>(cells) * row;
            P::store_record(way_[d].recurrent.get() + half_record * row, hidden, cells);
            float* x = x_of(row, d == 0 ? t : order.length_R[row] - 1 - t) + half * d;
            for (int i = 0; i < half; ++i) x[i] = residual ? x[i] + hidden[i] : hidden[i];
            if (directions_ == 1) P::store_record(way_[0].inputs.get() + input_record_ * order.place(row, t), x, cells_);
          }
        pool_.meet();
      }
      // The last states, and where both directions had to be through first, what the next layer reads.
      for (int row = mine.first; row < mine.last; ++row) {
        uint8_t* state = states + state_size * order.sentence_R[row];
        std::fill(cells_of(state, l), cells_of(state, l) + cells_, 0.0f);
        for (int d = 0; d < directions_; ++d) {
          const float* hidden = way_[d].hidden.floats() + static_cast<size_t>(cells) * row;
          std::memcpy(both_halves + half * d, hidden, sizeof(float) * half);
          std::memcpy(cells_of(state, l) + half * d, way_[d].cell_rows[row], sizeof(float) * half);
        }
        P::store_record(state + layer_bytes_ * l, both_halves, cells_);
        if (directions_ == 2)
          for (int t = 0; t < order.length_R[row]; ++t) {
            P::store_record(record, x_of(row, t), cells_);
            set_input(row, t, record);
          }
      }
    }
    for (int row = mine.first; row < mine.last; ++row) {
      const int last = order.length_R[row] - 1;
      if (shape_.attention)
        for (int t = 0; t <= last; ++t) {
          float* memory = rows_out_[row] + memory_offset + static_cast<size_t>(cells_) * t;
          std::memcpy(memory, x_of(row, t), sizeof(float) * cells_);
        }
      if (shape_.feed_context) {  // what each direction gave when it had read everything
        std::memcpy(both_halves, x_of(row, last), sizeof(float) * half);
        if (directions_ == 2) std::memcpy(both_halves + half, x_of(row, 0) + half, sizeof(float) * half);
        P::store_record(recurrent_records_.get() + record_ * row, both_halves, cells_);
      }
    }
    if (shape_.feed_context) {
      pool_.meet();
      run_product(context_, sentences, {Records{recurrent_records_.get(), record_}}, rows_out_.data(), false);
    }
  });
}

}  // namespace ISA
