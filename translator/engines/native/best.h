// The best tokens of each row, found while the logits pass by, and the best extensions of each sentence.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "network.h"
#include "vector.h"

namespace ISA {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// The largest numbers seen so far, largest first; of equal ones those of lower tokens, in whatever order they are offered.
// `values` begins filled with -inf.
class BestOf {
 public:
  BestOf(float* values, int32_t* tokens, int count) : values_(values), tokens_(tokens), count_(count) {}

  float least() const { return values_[count_ - 1]; }

  void offer(float value, int32_t token) {
    int place = count_ - 1;
    if (!better(value, token, place)) return;
    for (; place > 0 && better(value, token, place - 1); --place) {
      values_[place] = values_[place - 1];
      tokens_[place] = tokens_[place - 1];
    }
    values_[place] = value;
    tokens_[place] = token;
  }

 private:
  bool better(float value, int32_t token, int place) const {
    return value > values_[place] || (value == values_[place] && value > kNone && token < tokens_[place]);
  }

  float* values_;
  int32_t* tokens_;
  int count_;
};

// Merge the extensions of a sentence's rows, best first, until its beam is full: see `Extensions` in engines/base.py.
// `score_RC` are log p of the row and its extension together. `heads` is room for one number a row.
inline void select_extensions(const Step& step, int sentence, int first, const float* score_RC,
                              const int32_t* token_RC, int32_t eos, int32_t* heads) {
  const int width = step.width_S[sentence], beam = step.beam_S[sentence], each = step.candidates;
  float* scores = step.score_SK + static_cast<int64_t>(sentence) * step.beam;
  int64_t* parents = step.parent_SK + static_cast<int64_t>(sentence) * step.beam;
  int64_t* tokens = step.token_SK + static_cast<int64_t>(sentence) * step.beam;
  for (int k = 0; k < step.beam; ++k) {
    scores[k] = kNone;
    parents[k] = first;
    tokens[k] = eos;
  }
  for (int row = first; row < first + width; ++row) {
    step.ended_R[row] = kNone;
    heads[row] = 0;
  }
  // A row gives at most `beam` open extensions and one that ends, so that more of it are never needed.
  const int most = std::min(each, beam + 1);
  for (int open = 0, rank = 0; open < beam; ++rank) {
    int best = -1;
    float best_score = kNone;
    for (int row = first; row < first + width; ++row) {
      if (heads[row] >= most) continue;
      const float score = score_RC[static_cast<int64_t>(row) * each + heads[row]];
      if (score > best_score) {
        best = row;
        best_score = score;
      }
    }
    if (best < 0) return;
    const int32_t token = token_RC[static_cast<int64_t>(best) * each + heads[best]++];
    if (token == eos) {
      if (rank < beam) step.ended_R[best] = best_score;
      continue;
    }
    scores[open] = best_score;
    parents[open] = best;
    tokens[open] = token;
    ++open;
  }
}

}  // namespace ISA
