// Lets each allocation of Scratch::prepare fail in turn, and checks the buffers after that and after another try.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "choosing.h"

static int left = -1;  // allocations until one fails; -1: none fails

static void* allocate(size_t size) {
    if (left == 0) throw std::bad_alloc();
    if (left > 0) left--;
    if (void* got = std::malloc(size)) return got;
    throw std::bad_alloc();
}

void* operator new(size_t size) { return allocate(size); }
void* operator new[](size_t size) { return allocate(size); }
void operator delete(void* one) noexcept { std::free(one); }
void operator delete[](void* one) noexcept { std::free(one); }
void operator delete(void* one, size_t) noexcept { std::free(one); }
void operator delete[](void* one, size_t) noexcept { std::free(one); }

static bool holds(const Scratch& s, const Scratch& whole) {
    return s.scores.size() == whole.scores.size() && s.weights.size() == whole.weights.size() &&
           s.kept_scores.size() == whole.kept_scores.size() && s.kept_weights.size() == whole.kept_weights.size() &&
           s.ordered.size() == whole.ordered.size() && s.maxima.size() == whole.maxima.size() &&
           s.lane_maxima.size() == whole.lane_maxima.size() && s.words.size() == whole.words.size() &&
           s.ids.capacity() >= whole.ids.capacity() && s.contenders.capacity() >= whole.contenders.capacity();
}

int main() {
    Scratch small, large;
    small.prepare(100);
    large.prepare(50000);
    for (int at = 0;; at++) {
        Scratch s;
        s.prepare(100);
        left = at;
        bool has_failed = false;
        try {
            s.prepare(50000);
        } catch (const std::bad_alloc&) {
            has_failed = true;
        }
        left = -1;
        if (!has_failed) {
            std::printf("%d allocations\n", at);
            return at >= 10 && holds(s, large) ? 0 : 3;
        }
        if (!holds(s, small)) return 1;
        s.prepare(50000);
        if (!holds(s, large)) return 2;
    }
}
