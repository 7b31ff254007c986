// A few threads that work on one job together and meet at barriers. Compiled into every instruction set's part, but free
// of vectors.
//
// A decoder step takes some 100 µs and has a dozen barriers, so threads wait for one another by spinning; but not for
// long, because the other thread may have lost its core to another program, and gets this one when this one sleeps. For
// the same reason work is claimed piece by piece: who is slowed down takes less of it.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ISA {

inline void rest() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Crew {
 public:
  explicit Crew(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }

  ~Crew() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
      jobs_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Run `job(thread)` in every thread, this one included; returns when all are done. One caller at a time.
  template <class Job>
  void run(const Job& job) {
    if (threads_ == 1) {
      job(0);
      return meet();
    }
    job_ = [&job](int thread) { job(thread); };
    jobs_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    job(0);
    meet();
  }

  // The number of the first of `count` pieces of work that nobody has claimed since the last barrier.
  int claim(int count) { return claimed_.fetch_add(count, std::memory_order_relaxed); }

  // Wait until every thread of the job is here.
  void meet() {
    if (threads_ == 1) {
      claimed_.store(0, std::memory_order_relaxed);
      return;
    }
    const uint32_t round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      claimed_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    for (int turns = 0; round_.load(std::memory_order_acquire) == round; ++turns) {
      rest();
      if (turns % 64 == 63 && std::chrono::steady_clock::now() - start > kPatience) {
        round_.wait(round, std::memory_order_acquire);
        return;
      }
    }
  }

 private:
  static constexpr std::chrono::microseconds kPatience{100};
  static constexpr std::chrono::microseconds kJobPatience{200};  // longer than the search needs between two steps

  void work(int thread) {
    uint64_t done = 0;
    for (;;) {
      wait_for_job(done);
      ++done;
      if (ending_) return;
      job_(thread);
      meet();
    }
  }

  void wait_for_job(uint64_t done) {
    const auto start = std::chrono::steady_clock::now();
    for (int turns = 0; jobs_.load(std::memory_order_acquire) == done; ++turns) {
      rest();
      if (turns % 64 == 63 && std::chrono::steady_clock::now() - start > kJobPatience) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return jobs_.load(std::memory_order_seq_cst) != done; });
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
        return;
      }
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::function<void(int)> job_;
  bool ending_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  alignas(64) std::atomic<uint64_t> jobs_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> claimed_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
};

// A crew that is there again after a fork, which leaves the child without its parent's threads.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { forks().fetch_add(1); });
    static_cast<void>(registered);
  }

  ~Pool() {
    if (forks_seen_ != forks().load()) static_cast<void>(crew_.release());
  }

  int threads() const { return threads_; }

  template <class Job>
  void run(const Job& job) {
    if (!crew_ || forks_seen_ != forks().load(std::memory_order_relaxed)) {
      static_cast<void>(crew_.release());  // after a fork its threads cannot be joined, nor its locks trusted
      crew_ = std::make_unique<Crew>(threads_);
      forks_seen_ = forks().load();
    }
    crew_->run(job);
  }

  int claim(int count) { return crew_->claim(count); }
  void meet() { crew_->meet(); }

 private:
  static std::atomic<int>& forks() {
    static std::atomic<int> count{0};
    return count;
  }

  const int threads_;
  int forks_seen_ = 0;
  std::unique_ptr<Crew> crew_;
};

}  // namespace ISA
