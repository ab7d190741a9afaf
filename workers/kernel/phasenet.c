/* Raw samples -> probability curves of PhaseNet networks on a CPU: windows, normalisation, forward
 * pass and stacking. workers/compiled.py calls it; lanes.h holds the arithmetic. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 3001, DEPTH = 5, TAPS = 7, STRIDE = 4, ROOT = 8, PAD = 3 };
enum { STRIP = 96, ALIGN = 64 }; /* samples that a core's cache holds in all layers; bytes */

#define EPS 1e-10f
#define LEAST 1e-24 /* variances between which the squares of float32 are exact enough */
#define MOST 1e30

/* Samples at each level; zeros before a strided convolution; what a transposed one loses. */
static const long LENGTH[DEPTH] = {3001, 751, 188, 47, 12};
static const long BEFORE[DEPTH - 1] = {3, 2, 1, 2};
static const long SKIP[DEPTH - 1] = {2, 1, 1, 1};

/* One network and the curves it fills; the fields of workers.compiled._Network, in its order. */
struct network {
    const float *weights; /* packed by workers.compiled.pack for BLOCK of the instruction set */
    float *curves;        /* [2, n], P and S */
    int64_t factor, phases;
    int64_t rows[2];  /* of P and S among the phases, -1 where the network lacks one */
    int64_t order[3]; /* of Z, N, E */
    int64_t detrend, peak;
    int64_t largest;       /* stack the largest of overlapping windows, not their mean */
    int64_t before, after; /* blinded samples of each window */
};

static double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Activations of one network, vectors of one sample, channel and all lanes. PAD rows of zeros lie
 * before and after all that a convolution reads. A skip has room beside it for what comes up. */
struct room {
    void *raw, *input, *output;                          /* [WINDOW], [WINDOW][3], [WINDOW][4] */
    void *skip[DEPTH], *down[DEPTH - 1], *merged[DEPTH]; /* merged[0] holds `inc` before */
    int alike; /* the input is that of the network before */
};

static int same_preparation(const struct network *a, const struct network *b)
{
    return !memcmp(a->order, b->order, sizeof a->order) && a->detrend == b->detrend &&
           a->peak == b->peak;
}

/* The lower and the upper half of two vectors, interleaved. */
#ifdef __clang__
#define LOWER16(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define UPPER16(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOWER8(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define UPPER8(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOWER4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define UPPER4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define LOWER16(a, b) __builtin_shuffle(a, b, (I){0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23})
#define UPPER16(a, b) __builtin_shuffle(a, b, (I){8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#define LOWER8(a, b) __builtin_shuffle(a, b, (I){0, 8, 1, 9, 2, 10, 3, 11})
#define UPPER8(a, b) __builtin_shuffle(a, b, (I){4, 12, 5, 13, 6, 14, 7, 15})
#define LOWER4(a, b) __builtin_shuffle(a, b, (I){0, 4, 1, 5})
#define UPPER4(a, b) __builtin_shuffle(a, b, (I){2, 6, 3, 7})
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#if defined(__x86_64__)
#define NAME(x) JOIN(x, _avx512)
#define TARGET __attribute__((target("avx512f,avx512dq,avx2,fma")))
#define LANES 16
#define LOWER LOWER16
#define UPPER UPPER16
#define TILE 3
#define BLOCK 8
#include "lanes.h"

#define NAME(x) JOIN(x, _avx2)
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define LOWER LOWER8
#define UPPER UPPER8
#define TILE 3
#define BLOCK 4
#include "lanes.h"
#endif

#define NAME(x) JOIN(x, _plain)
#define TARGET
#define LANES 4
#define LOWER LOWER4
#define UPPER UPPER4
#define TILE 3
#if defined(__aarch64__)
#define BLOCK 8
#else
#define BLOCK 4
#endif
#include "lanes.h"

struct instructions {
    const char *name;
    long lanes, block;
    void (*run)(const float *, int, long, const int64_t *, long, const struct network *,
                const struct room *, long, double *);
};

static const struct instructions KNOWN[] = {
#if defined(__x86_64__)
    {"avx512", 16, 8, run_avx512},
    {"avx2", 8, 4, run_avx2},
    {"plain", 4, 4, run_plain},
#else
    {"plain", 4, 8, run_plain},
#endif
};
enum { SETS = sizeof KNOWN / sizeof *KNOWN };

static int supported(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return !strcmp(name, "plain");
}

/* workers.compiled.INTERFACE: raised with every change, so that no stale build is taken. */
int tidepick_interface(void)
{
    return 3;
}

/* The name of instruction set k, best first, and its block: empty where this CPU lacks it, NULL
 * where there is no such set. */
const char *tidepick_instructions(long k, int64_t *block)
{
    if (k >= SETS)
        return NULL;
    *block = KNOWN[k].block;
    return supported(KNOWN[k].name) ? KNOWN[k].name : "";
}

/* Sum of windows -> their mean, where more than one reaches. */
static void divide(float *curve, const int64_t *starts, long count, long before, long after)
{
    long open = 0, close = 0; /* windows begun and ended so far */
    int64_t at = 0;
    while (close < count) {
        const int64_t begins = open < count ? starts[open] + before : INT64_MAX;
        const int64_t ends = starts[close] + WINDOW - after;
        const int64_t next = begins <= ends ? begins : ends;
        const float covered = (float)(open - close);
        if (covered > 1)
            for (int64_t t = at; t < next; t++)
                curve[t] /= covered;
        at = next;
        if (begins <= ends)
            open++;
        else
            close++;
    }
}

/* Zeroed rows x width vectors of `lanes`, with PAD rows on both sides; `at` moves over them. */
static void *rows(char **at, long lanes, long count, long width)
{
    const long size = width * lanes * (long)sizeof(float);
    void *first = *at + PAD * size;
    *at += (count + 2 * PAD) * size;
    return first;
}

/* Lays a network's room out from `at` on and returns its end. */
static char *lay_out(struct room *room, char *at, long lanes, long factor)
{
    room->raw = rows(&at, lanes, WINDOW, 1);
    room->input = rows(&at, lanes, WINDOW, 3);
    room->output = rows(&at, lanes, WINDOW, 4);
    for (long level = 0; level < DEPTH; level++) {
        const long width = ROOT * factor << level;
        room->skip[level] = rows(&at, lanes, LENGTH[level], 2 * width);
        room->merged[level] = rows(&at, lanes, LENGTH[level], width);
        if (level < DEPTH - 1)
            room->down[level] = rows(&at, lanes, LENGTH[level + 1], width);
    }
    return at;
}

/* Windows of data [3, n] (int32 or float32) that begin at the columns `starts`, ascending, through
 * every network, into its zeroed curves. seconds: CPU time of windows, forward passes and stacking
 * is added to its three entries. Returns 0, or -1 where there is no memory. */
int tidepick_curves(long set, const void *data, int is_float, int64_t n, const int64_t *starts,
                    int64_t count, const struct network *nets, int64_t many, double *seconds)
{
    const struct instructions *with = KNOWN + set;
    struct room *rooms = calloc(many, sizeof *rooms);
    size_t size = 0;
    for (long k = 0; rooms && k < many; k++)
        size += (size_t)lay_out(rooms + k, NULL, with->lanes, nets[k].factor);
    char *memory = rooms ? aligned_alloc(ALIGN, (size + ALIGN - 1) / ALIGN * ALIGN) : NULL;
    if (!memory) {
        free(rooms);
        return -1;
    }
    memset(memory, 0, size);
    char *at = memory;
    for (long k = 0; k < many; k++) {
        at = lay_out(rooms + k, at, with->lanes, nets[k].factor);
        /* networks that want their windows alike share them with the one before */
        rooms[k].alike = k > 0 && same_preparation(nets + k, nets + k - 1);
        if (rooms[k].alike)
            rooms[k].input = rooms[k - 1].input;
    }
    with->run(data, is_float, n, starts, count, nets, rooms, many, seconds);
    for (long k = 0; k < many; k++)
        for (long row = 0; row < 2; row++)
            if (!nets[k].largest)
                divide(nets[k].curves + row * n, starts, count, nets[k].before, nets[k].after);
    free(memory);
    free(rooms);
    return 0;
}
