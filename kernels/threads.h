/* The pool of threads: n - 1 workers and the caller share the parts of one job.
 *
 * Invariant: how [0, n) is split depends on n, grain and the number of threads
 * only, never on timing.  A part carries its own index as `thread`, whoever runs
 * it, so that scratch and partial results are the same on a busy machine, in a
 * nested call, or serially.  Compiled into one module (launch.pyx): one pool per
 * process.
 *
 * A job is published in one 64-bit ticket (generation, parts, next part), and a
 * part is claimed by compare-and-swap: a caller never waits for a worker that
 * has not woken up yet, it takes that worker's part itself.
 */
#ifndef AUTODIFF_THREADS_H
#define AUTODIFF_THREADS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define POOL_MAX_THREADS 256
/* A wait is some microseconds of pauses, then yields, which leave the processor to any
 * other thread that wants it, then sleep.  Waking a sleeper costs tens of microseconds on a
 * virtual machine, more than the gap between two kernels of a training step. */
#define POOL_PAUSES 256
#define POOL_YIELDS 128

typedef void (*pool_part_t)(void* ctx, ptrdiff_t begin, ptrdiff_t end, int thread);

static struct {
    _Atomic uint64_t ticket;    /* generation << 32 | parts << 16 | next part */
    _Atomic int done;           /* parts finished */
    _Atomic int owned;          /* one caller at a time */
    _Atomic int sleepers, caller_sleeps;
    _Atomic int threads;        /* 0 until first asked */
    _Atomic int forked;         /* a forked child runs serially until told otherwise */
    int workers;                /* started so far; the owner's */
    _Atomic(pool_part_t) part;
    _Atomic(void*) ctx;
    _Atomic ptrdiff_t n;
    pthread_mutex_t lock;
    pthread_cond_t wake, finished;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
          .finished = PTHREAD_COND_INITIALIZER};

static __thread int pool_inside;        /* this thread is running a part */

static inline void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One step of a wait; 0 when it is time to sleep. */
static inline int pool_wait(int* step) {
    if (*step < POOL_PAUSES)
        pool_pause();
    else
        sched_yield();
    return ++*step < POOL_PAUSES + POOL_YIELDS;
}

static inline ptrdiff_t pool_bound(ptrdiff_t n, int parts, int i) {
    return n / parts * i + n % parts * i / parts;
}

/* Claim and run one part; 0 if none is left.  `*seen` is the ticket looked at. */
static int pool_take(uint64_t* seen) {
    uint64_t t = atomic_load(&pool.ticket);
    for (;;) {
        int parts = (int)(t >> 16 & 0xffff), next = (int)(t & 0xffff);
        *seen = t;
        if (next >= parts)
            return 0;
        /* Valid if the swap succeeds: the job cannot end before its last part. */
        pool_part_t part = atomic_load_explicit(&pool.part, memory_order_relaxed);
        void* ctx = atomic_load_explicit(&pool.ctx, memory_order_relaxed);
        ptrdiff_t n = atomic_load_explicit(&pool.n, memory_order_relaxed);
        if (!atomic_compare_exchange_strong(&pool.ticket, &t, t + 1))
            continue;
        part(ctx, pool_bound(n, parts, next), pool_bound(n, parts, next + 1), next);
        if (atomic_fetch_add(&pool.done, 1) + 1 == parts && atomic_load(&pool.caller_sleeps)) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.finished);
            pthread_mutex_unlock(&pool.lock);
        }
        return 1;
    }
}

static void* pool_worker(void* unused) {
    uint64_t seen;
    (void)unused;
    pool_inside = 1;
    for (;;) {
        while (pool_take(&seen))
            ;
        int step = 0;
        while (atomic_load_explicit(&pool.ticket, memory_order_relaxed) == seen && pool_wait(&step))
            ;
        if (atomic_load(&pool.ticket) != seen)
            continue;
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.sleepers, 1);    /* before the look at the ticket: no lost wake-up */
        while (atomic_load(&pool.ticket) == seen)
            pthread_cond_wait(&pool.wake, &pool.lock);
        atomic_fetch_sub(&pool.sleepers, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* In the child of a fork there are no workers, and locks may be in any state. */
static void pool_after_fork(void) {
    static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    pool.lock = lock;
    pool.wake = pool.finished = cond;
    pool.workers = 0;
    atomic_store(&pool.ticket, 0);
    atomic_store(&pool.owned, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.caller_sleeps, 0);
    atomic_store(&pool.forked, 1);
    pool_inside = 0;
}

static int pool_clamp(long n) {
    return n < 1 ? 1 : n > POOL_MAX_THREADS ? POOL_MAX_THREADS : (int)n;
}

/* AUTODIFF_NUM_THREADS, else the processors this process may run on. */
static int pool_default_threads(void) {
    const char* text = getenv("AUTODIFF_NUM_THREADS");
    if (text && atol(text) > 0)
        return pool_clamp(atol(text));
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return pool_clamp(CPU_COUNT(&set));
#endif
    return pool_clamp(sysconf(_SC_NPROCESSORS_ONLN));
}

static int pool_num_threads(void) {
    int n = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    if (n == 0) {
        int none = 0;
        if (atomic_compare_exchange_strong(&pool.threads, &none, pool_default_threads()))
            pthread_atfork(NULL, NULL, pool_after_fork);
        n = atomic_load(&pool.threads);
    }
    return n;
}

static void pool_set_num_threads(int n) {
    pool_num_threads();
    atomic_store(&pool.threads, pool_clamp(n));
    atomic_store(&pool.forked, 0);
}

/* Start workers up to `wanted`; called by the owner.  Signals stay with Python's threads. */
static void pool_start(int wanted) {
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t id;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted && pthread_create(&id, &attr, pool_worker, NULL) == 0)
        pool.workers++;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void pool_serial(pool_part_t part, void* ctx, ptrdiff_t n, int parts) {
    int before = pool_inside;
    pool_inside = 1;
    for (int i = 0; i < parts; i++)
        part(ctx, pool_bound(n, parts, i), pool_bound(n, parts, i + 1), i);
    pool_inside = before;
}

/* Run part over [0, n), split in at most `threads` parts of at least `grain` items. */
static void pool_parallel(pool_part_t part, void* ctx, ptrdiff_t n, ptrdiff_t grain, int threads) {
    if (n <= 0)
        return;
    if (threads < 1)
        threads = pool_num_threads();
    ptrdiff_t most = n / (grain < 1 ? 1 : grain);
    int parts = most < threads ? (int)most : threads;
    if (parts <= 1) {
        part(ctx, 0, n, 0);
        return;
    }
    int free = 0;
    if (pool_inside || atomic_load_explicit(&pool.forked, memory_order_relaxed)
            || !atomic_compare_exchange_strong(&pool.owned, &free, 1)) {
        pool_serial(part, ctx, n, parts);
        return;
    }
    if (pool.workers < parts - 1)
        pool_start(parts - 1);
    atomic_store_explicit(&pool.part, part, memory_order_relaxed);
    atomic_store_explicit(&pool.ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&pool.n, n, memory_order_relaxed);
    atomic_store(&pool.done, 0);
    uint64_t generation = (atomic_load(&pool.ticket) >> 32) + 1;
    atomic_store(&pool.ticket, generation << 32 | (uint64_t)parts << 16);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.lock);         /* no worker is between its look and its sleep */
        pthread_mutex_unlock(&pool.lock);
        for (int i = 1; i < parts; i++)
            pthread_cond_signal(&pool.wake);
    }
    uint64_t seen;
    pool_inside = 1;
    while (pool_take(&seen))
        ;
    pool_inside = 0;
    int step = 0;
    while (atomic_load(&pool.done) < parts && pool_wait(&step))
        ;
    if (atomic_load(&pool.done) < parts) {
        pthread_mutex_lock(&pool.lock);
        atomic_store(&pool.caller_sleeps, 1);
        while (atomic_load(&pool.done) < parts)
            pthread_cond_wait(&pool.finished, &pool.lock);
        atomic_store(&pool.caller_sleeps, 0);
        pthread_mutex_unlock(&pool.lock);
    }
    atomic_store(&pool.owned, 0);
}

#endif
