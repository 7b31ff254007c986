// The output layer and the best of what it gives.
//
// Included by network.cpp.

namespace ISA {

// The output layer: while a tile's logits are in the registers, their largest and their sum of exponentials are kept and
// the row's best tokens found; the logits themselves are written only for rows that are to be drawn from.
template <class P>
void NetworkOf<P>::project(const Step& step, int thread) {
  const int R = step.rows, C = step.candidates, tiles = output_.tiles, threads = pool_.threads();
  const int V = shape_.target_vocabulary;
  const Records inputs{x_records_.get(), input_record_};
  float* values = best_values_.floats() + static_cast<size_t>(thread) * R * C;
  int32_t* tokens = reinterpret_cast<int32_t*>(best_tokens_.get()) + static_cast<size_t>(thread) * R * C;
  std::fill(values, values + static_cast<size_t>(R) * C, kNone);
  std::fill(tokens, tokens + static_cast<size_t>(R) * C, 0);
  claim_tiles(tiles, R, [&](int tile) {
    output_.over_rows(tile, R, {inputs}, [&](auto size, int first, const auto& add_product) {
      constexpr int M = decltype(size)::value;
      alignas(64) float logits[M][kColumns];
      for (int piece = 0; piece < kPieces; ++piece) {
        Vec sums[M][kGroups];
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < kGroups; ++g)
            sums[m][g] = load(output_bias_.data() + tile * kColumns + g * kGroupColumns + piece * kWidth);
        add_product(piece, sums);
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

}  // namespace ISA
