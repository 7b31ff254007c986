// What library.cpp and the parts of the instruction sets tell each other; plain C types, mirrored by native_library.py.
#pragma once

#include <cstdint>

extern "C" {

struct Shape {
  int32_t source_vocabulary, target_vocabulary, embedding, hidden, layers;
  int32_t residual, feed_context, attention, bidirectional;
  int32_t eos;  // of the target
};

// float32, row-major, as torch keeps them: input [4·hidden, inputs], recurrent [4·hidden, hidden], bias [4·hidden], gates
// in the order i, f, g, o.
struct LayerWeights {
  const float *input, *recurrent, *bias;
};

struct Weights {
  const float *source_embedding, *target_embedding;  // [vocabulary, embedding]; not copied: they must stay where they are
  const LayerWeights *encoder, *decoder;  // a bidirectional encoder has two a layer, that which reads backwards second
  const float* combine;                // [hidden, 2·hidden], attention's; else null
  const float *output, *output_bias;   // [vocabulary, hidden] and [vocabulary]
  const float* forbidden;              // [vocabulary]: -inf for tokens that are never chosen, else 0
};

// One step of R live rows, which belong to S sentences one after another.
struct Step {
  int32_t rows, sentences;
  int32_t candidates;            // best tokens looked for in a row
  int32_t beam;                  // columns of the answer: the widest beam
  const uint8_t* state_in;       // states, `state_bytes` a row
  const int32_t* place_R;        // where in state_in a row's state stands
  uint8_t* state_out;            // new states, in the order of the rows
  const int64_t* source_R;       // address of the row's source block
  const int32_t* length_R;       // source positions in that block
  const int64_t* token_R;        // last token of each row
  const float* score_R;          // log p of each row so far
  const int32_t* width_S;        // rows of each sentence
  const int32_t* beam_S;         // extensions each sentence wants; 0: none
  const int32_t* drawn_R;        // row of whole_DV for all log-probabilities of this row, or -1
  float *score_SK, *ended_R, *whole_DV;
  int64_t *parent_SK, *token_SK;
};

}

class Network {
 public:
  virtual ~Network() = default;
  virtual int64_t state_bytes() const = 0;            // of one row's decoder state
  virtual int64_t source_floats(int length) const = 0;  // of one sentence's source block
  virtual int64_t packed_bytes() const = 0;
  virtual Network* another(int threads) const = 0;      // with the same packed weights, for use beside this one
  // Read sentences (token ids in the order in which they are read, one after another) into states and source blocks.
  virtual void encode(int sentences, const int32_t* lengths, const int64_t* tokens, uint8_t* states,
                      const int64_t* sources) = 0;
  virtual void step(const Step& step) = 0;
};
