// Threads that share their work by `claim` and hand it on at a barrier, three hundred times; prints "in order" where each
// piece was done once, and each was there for the others after the barrier. For ThreadSanitizer.
#define ISA plain
#include "pool.h"

#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

int main() {
  constexpr int kThreads = 3, kJobs = 300, kPieces = 64, kAtOnce = 4, kAway = 17;
  ISA::Pool pool(kThreads);
  for (int job = 0; job < kJobs; ++job) {
    // Long enough for the threads to have gone to sleep.
    if (job % 100 == 50) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::vector<int> first(kPieces, 0), second(kPieces, 0);
    pool.run([&](int) {
      for (int piece; (piece = pool.claim(kAtOnce)) < kPieces;) {
        for (int i = piece; i < piece + kAtOnce; ++i) ++first[i];
      }
      pool.meet();
      for (int piece; (piece = pool.claim(kAtOnce)) < kPieces;) {
        for (int i = piece; i < piece + kAtOnce; ++i) second[i] = first[(i + kAway) % kPieces] + 1;
      }
    });
    for (int i = 0; i < kPieces; ++i) {
      if (first[i] != 1 || second[i] != 2) {
        std::printf("job %d, piece %d: %d and %d\n", job, i, first[i], second[i]);
        return 1;
      }
    }
  }
  std::puts("in order");
}
