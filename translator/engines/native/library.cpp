// The shared library's face in C, called by translator/engines/native_library.py.

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstring>
#include <exception>

#include "network.h"

#define PART(name) \
  namespace name { \
  Network* make(int precision, const Shape& shape, const Weights& weights, int threads); \
  }
PART(portable)
#if defined(HAVE_avx2)
PART(avx2)
#endif
#if defined(HAVE_avxvnni)
PART(avxvnni)
#endif
#if defined(HAVE_avx512)
PART(avx512)
#endif
#if defined(HAVE_avx512bf16)
PART(avx512bf16)
#endif
#if defined(HAVE_amx)
PART(amx)
#endif

namespace {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows it.
[[maybe_unused]] bool has_avxvnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

using Make = Network* (*)(int, const Shape&, const Weights&, int);

// `make` has an entry for each number format: an instruction set that changes nothing for a format is not compiled for it.
struct Part {
  const char* name;
  bool (*runs_here)();
  Make make[3];
};

#if defined(HAVE_amx)
// The processor has the instructions, and the system gives this process the registers, which it does only when asked.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) && (d >> 25 & 1) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Best first; those that the compiler could make.
const Part kParts[] = {
#if defined(HAVE_amx)
    {"amx", [] {
       return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512bf16") && may_use_tiles();
     }, {amx::make, avx512bf16::make, avx512::make}},
#endif
#if defined(HAVE_avx512bf16)
    {"avx512bf16", [] {
       return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512bf16");
     }, {avx512::make, avx512bf16::make, avx512::make}},
#endif
#if defined(HAVE_avx512)
    {"avx512", [] { return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"); },
     {avx512::make, avx512::make, avx512::make}},
#endif
#if defined(HAVE_avxvnni)
    {"avxvnni", [] {
       return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_avxvnni();
     }, {avxvnni::make, avx2::make, avx2::make}},
#endif
#if defined(HAVE_avx2)
    {"avx2", [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
     {avx2::make, avx2::make, avx2::make}},
#endif
    {"portable", [] { return true; }, {portable::make, portable::make, portable::make}},
};

}  // namespace

#define EXPORT __attribute__((visibility("default")))

extern "C" {

// Bytes of what Python hands over: a library whose structures are others must not be called.
EXPORT int64_t translator_layout() {
  return static_cast<int64_t>(sizeof(Shape)) << 32 | sizeof(LayerWeights) << 24 | sizeof(Weights) << 16 | sizeof(Step);
}

// Name of the i-th best instruction set that runs here, or null.
EXPORT const char* translator_instruction_set(int i) {
  for (const Part& part : kParts)
    if (part.runs_here() && i-- == 0) return part.name;
  return nullptr;
}

// Null where memory is short or there is no such instruction set here.
EXPORT Network* translator_create(const char* instruction_set, int precision, const Shape* shape, const Weights* weights, int threads) {
  for (const Part& part : kParts)
    if (part.runs_here() && std::strcmp(part.name, instruction_set) == 0) {
      try {
        return part.make[precision](precision, *shape, *weights, threads);
      } catch (const std::exception&) {
        return nullptr;
      }
    }
  return nullptr;
}

// A network that shares the packed weights of another; null where memory is short. Either may be destroyed first.
EXPORT Network* translator_another(const Network* network, int threads) {
  try {
    return network->another(threads);
  } catch (const std::exception&) {
    return nullptr;
  }
}

EXPORT void translator_destroy(Network* network) { delete network; }
EXPORT int64_t translator_state_bytes(const Network* network) { return network->state_bytes(); }
EXPORT int64_t translator_source_floats(const Network* network, int length) { return network->source_floats(length); }
EXPORT int64_t translator_packed_bytes(const Network* network) { return network->packed_bytes(); }

// 0, or 1 where memory is short.
EXPORT int translator_encode(Network* network, int sentences, const int32_t* lengths, const int64_t* tokens, uint8_t* states,
                      const int64_t* sources) {
  try {
    network->encode(sentences, lengths, tokens, states, sources);
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

EXPORT int translator_step(Network* network, const Step* step) {
  try {
    network->step(*step);
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

}
