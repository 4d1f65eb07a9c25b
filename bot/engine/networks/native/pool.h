// Threads that run the phases of a step together; a free thread takes the next piece of work.
//
// A thread that the system has paused delays the others only if it holds a piece: a phase ends when its pieces are
// done, not when all threads have arrived. A late thread sees that the epoch has changed and returns.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() asm volatile("yield")
#else
#define PAUSE() std::this_thread::yield()
#endif

class Pool {
public:
    // work(thread, phase, piece, is_first): is_first: this thread's first piece of the phase.
    using Work = std::function<void(int, int, int, bool)>;

    Pool(int num_threads, int num_phases, Work work)
        : num_phases_(num_phases), phases_(new Phase[num_phases]), work_(std::move(work)) {
        for (int i = 1; i < num_threads; i++) threads_.emplace_back([this, i] { live(i); });
    }
    ~Pool() {
        is_stopping_.store(true);
        for (int p = 0; p < num_phases_; p++) {
            phases_[p].num_done.store(-1);
            phases_[p].num_done.notify_all();
        }
        epoch_.fetch_add(1);
        epoch_.notify_all();
        for (auto& thread : threads_) thread.join();
    }
    int num_threads() const { return (int)threads_.size() + 1; }

    // Run all phases in order on all threads; returns when the last one is done.
    void run(const std::vector<int>& num_pieces) {
        const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
        for (int p = 0; p < num_phases_; p++) {
            phases_[p].num_done.store(0, std::memory_order_relaxed);
            phases_[p].ticket.store(ticket(epoch, num_pieces[p], 0), std::memory_order_release);
        }
        epoch_.store(epoch, std::memory_order_release);
        epoch_.notify_all();
        walk(0, epoch);
    }

private:
    // Epoch, number of pieces and next piece in one word, so that a late thread can never take a piece of another step.
    static uint64_t ticket(uint32_t epoch, int count, int next) {
        return (uint64_t)(epoch & 0xffff) << 48 | (uint64_t)count << 24 | (uint64_t)next;
    }
    struct alignas(64) Phase {
        std::atomic<uint64_t> ticket{0};
        alignas(64) std::atomic<int> num_done{0};
    };

    void live(int thread) {
        uint32_t seen = 0;
        while (true) {
            wait_while(epoch_, [&](uint32_t now) { return now == seen; });
            seen = epoch_.load(std::memory_order_acquire);
            if (is_stopping_.load()) return;
            walk(thread, seen);
        }
    }

    void walk(int thread, uint32_t epoch) {
        for (int p = 0; p < num_phases_; p++) {
            Phase& phase = phases_[p];
            bool is_first = true;
            uint64_t now = phase.ticket.load(std::memory_order_acquire);
            int count;
            while (true) {
                if (now >> 48 != (epoch & 0xffff)) return;
                count = (int)(now >> 24 & 0xffffff);
                const int next = (int)(now & 0xffffff);
                if (next >= count) break;
                if (!phase.ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) continue;
                work_(thread, p, next, is_first);
                is_first = false;
                if (phase.num_done.fetch_add(1, std::memory_order_acq_rel) + 1 == count) phase.num_done.notify_all();
                now = phase.ticket.load(std::memory_order_acquire);
            }
            wait_while(phase.num_done, [&](int done) {
                return done >= 0 && done < count && phase.ticket.load(std::memory_order_relaxed) >> 48 == (epoch & 0xffff);
            });
        }
    }

    // Spin for about ten microseconds, as a phase is that short; then let the system run other threads.
    template <class T, class Condition>
    static void wait_while(std::atomic<T>& value, Condition is_waiting) {
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 1;; i++) {
            const T now = value.load(std::memory_order_acquire);
            if (!is_waiting(now)) return;
            PAUSE();
            if (i % 64 == 0 && std::chrono::steady_clock::now() - begin > std::chrono::microseconds(40)) {
                value.wait(now, std::memory_order_acquire);
            }
        }
    }

    const int num_phases_;
    std::unique_ptr<Phase[]> phases_;
    Work work_;
    std::atomic<uint32_t> epoch_{0};
    std::atomic<bool> is_stopping_{false};
    std::vector<std::thread> threads_;
};
