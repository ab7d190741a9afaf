/* PhaseNet over LANES windows at a time, one window a vector lane. Activations are stored as
 * [sample][channel][lane], so every load is aligned, every level of the network vectorises alike,
 * and no window's result depends on the windows beside it.
 *
 * Included by phasenet.c once for each instruction set, with
 *   LANES         windows a vector
 *   TILE, BLOCK   outputs x channels that are summed in registers
 *   TARGET        the attribute that lets a function use the instruction set
 *   NAME(x)       a suffix that tells the sets apart
 *
 * Every sum begins with the bias and adds taps, then channels, one fused multiply-add each: the
 * same order for every instruction set, hence the same bits wherever there is a fused one. */

typedef float NAME(V) __attribute__((vector_size(LANES * 4)));
typedef int32_t NAME(I) __attribute__((vector_size(LANES * 4)));
typedef double NAME(D) __attribute__((vector_size(LANES * 8)));
#define V NAME(V)
#define I NAME(I)
#define D NAME(D)
#define INLINE TARGET static inline __attribute__((always_inline))

/* `tile` outputs of `block` channels; see conv. */
INLINE void NAME(tile)(const V *x, long row, long step, long taps, long channels, const float *w,
                       const float *bias, V *y, long y_row, const int tile, const int block,
                       const int relu)
{
    V sum[8][8];
#pragma GCC unroll 8
    for (int b = 0; b < block; b++)
#pragma GCC unroll 8
        for (int t = 0; t < tile; t++)
            sum[t][b] = (V){0} + bias[b];
    for (long k = 0; k < taps; k++) {
        const V *in = x + k * row;
        for (long c = 0; c < channels; c++, in++, w += block) {
#pragma GCC unroll 8
            for (int b = 0; b < block; b++)
#pragma GCC unroll 8
                for (int t = 0; t < tile; t++)
                    sum[t][b] += in[t * step * row] * w[b];
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < tile; t++)
#pragma GCC unroll 8
        for (int b = 0; b < block; b++)
            y[t * y_row + b] = relu ? (V)((I)sum[t][b] & ~(sum[t][b] <= 0)) : sum[t][b];
}

/* Outputs [first, last) of a convolution with ReLU. Output i reads the rows x[i * step + k],
 * 0 <= k < taps, of `row` vectors each, and goes to y[i * y_row]. w: [out / BLOCK][taps][channels]
 * [BLOCK], after the biases. */
TARGET static __attribute__((noinline)) void NAME(conv)(const V *x, long row, long step, long taps,
                                                        long channels, const float *w, long out,
                                                        V *y, long y_row, long first, long last)
{
    const float *bias = w;
    const long size = taps * channels * BLOCK;
    w += out;
    for (long i = first; i < last; i += TILE) {
        /* the last tile is moved back, over outputs that stand already */
        const long at = i + TILE <= last ? i : last - TILE;
        for (long b = 0; b < out; b += BLOCK)
            NAME(tile)(x + at * step * row, row, step, taps, channels, w + b / BLOCK * size,
                       bias + b, y + at * y_row + b, y_row, TILE, BLOCK, 1);
    }
}

/* Outputs [first, last) of a transposed convolution with a stride of 4, 7 taps and ReLU: output s
 * is entry s + skip of the whole one. Input i reaches the entries 4 i + k, so each of the four
 * phases is a convolution of its own, of two taps or one. w: biases, then per phase as in conv,
 * with the biases before each. */
TARGET static void NAME(up)(const V *x, long row, long channels, const float *w, long out, V *y,
                            long y_row, long skip, long first, long last)
{
    for (long phase = 0; phase < STRIDE; phase++) {
        const long taps = phase + STRIDE < TAPS ? 2 : 1;
        /* outputs of inputs [from, to): STRIDE i + phase - skip */
        const long from = (first + skip - phase + STRIDE - 1) / STRIDE;
        const long to = (last + skip - phase + STRIDE - 1) / STRIDE;
        NAME(conv)(x + (1 - taps) * row, row, 1, taps, channels, w, out,
                   y + (phase - skip) * y_row, STRIDE * y_row, from, to);
        w += out + taps * channels * out;
    }
}

/* e^x for x <= 0 (Cephes expf: within 2 units in the last place). */
INLINE V NAME(exponential)(V x)
{
    x = (V)(((I)x & ~(x < -87.0f)) | ((I)((V){0} - 87.0f) & (x < -87.0f))); /* NaN stays */
    const V shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    const V n = shifted - 12582912.0f;
    const V r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (V)((I)p + ((I)shifted << 23));
}

/* The last layer and the softmax over `phases` <= 4, rows [first, last): rows of 4 vectors. */
TARGET static void NAME(softmax)(const V *x, long channels, const float *w, long phases, V *y,
                                 long first, long last)
{
    for (long i = first; i < last; i += TILE) {
        const long at = i + TILE <= last ? i : last - TILE;
        NAME(tile)(x + at * channels, channels, 1, 1, channels, w + 4, w, y + at * 4, 4, TILE, 4,
                   0);
        for (long t = at; t < at + TILE; t++) {
            V *p = y + t * 4, top = p[0], sum = {0};
            for (long c = 1; c < phases; c++)
                top = (V)(((I)top & (top > p[c])) | ((I)p[c] & ~(top > p[c])));
            for (long c = 0; c < phases; c++)
                sum += p[c] = NAME(exponential)(p[c] - top);
            sum = 1.0f / sum;
            for (long c = 0; c < phases; c++)
                p[c] *= sum;
        }
    }
}

/* LANES rows of LANES vectors apart by `row` -> their transpose, apart by `to_row`. */
INLINE void NAME(transpose)(const V *from, long row, V *to, long to_row)
{
    V a[LANES], b[LANES];
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++)
        a[k] = from[k * row];
#pragma GCC unroll 4
    for (int pass = 1; pass < LANES; pass *= 2) {
#pragma GCC unroll 8
        for (int k = 0; k < LANES / 2; k++) {
            b[2 * k] = LOWER(a[k], a[k + LANES / 2]);
            b[2 * k + 1] = UPPER(a[k], a[k + LANES / 2]);
        }
#pragma GCC unroll 16
        for (int k = 0; k < LANES; k++)
            a[k] = b[k];
    }
#pragma GCC unroll 16
    for (int k = 0; k < LANES; k++)
        to[k * to_row] = a[k];
}

/* A component, data [n], at `starts` into lanes: out [WINDOW]. Missing lanes are zero. The lanes are
 * more streams than a core fetches ahead of their use; what they share is asked for before, in
 * order. */
TARGET static void NAME(cut)(const float *data, int is_float, const int64_t *starts, long count,
                             V *out)
{
    const long reach = starts[count - 1] + WINDOW - starts[0];
    for (long t = 0; t < reach && reach <= LANES * WINDOW; t += ALIGN / 4)
        __builtin_prefetch(data + starts[0] + t);
    for (long begin = 0; begin < WINDOW; begin += LANES) {
        /* the last strip is moved back, as the last tile of a convolution */
        const long at = begin + LANES <= WINDOW ? begin : WINDOW - LANES;
        V rows[LANES];
        for (long l = 0; l < LANES; l++) {
            I whole;
            memcpy(&whole, data + starts[l < count ? l : 0] + at, sizeof whole);
            rows[l] = is_float ? (V)whole : __builtin_convertvector(whole, V);
            if (l >= count)
                rows[l] = (V){0};
        }
        NAME(transpose)(rows, 1, out + at, 1);
    }
}

/* For weights that want more: a linear fit removed, and the largest amplitude as the scale. Of one
 * component, out[t * 3]. */
TARGET static void NAME(rescale)(const struct network *net, V *out)
{
    D slope = {0}, square = {0};
    double ramps = 0;
    V size = {0};
    for (long t = 0; t < WINDOW && net->detrend; t++) {
        const double ramp = 2.0 * t / (WINDOW - 1) - 1;
        slope += __builtin_convertvector(out[t * 3], D) * ramp;
        ramps += ramp * ramp;
    }
    for (long t = 0; t < WINDOW; t++) {
        if (net->detrend)
            out[t * 3] -=
                __builtin_convertvector(slope * ((2.0 * t / (WINDOW - 1) - 1) / ramps), V);
        const D d = __builtin_convertvector(out[t * 3], D);
        square += d * d;
        const V amplitude = (V)((I)out[t * 3] & 0x7fffffff);
        size = (V)(((I)amplitude & (amplitude > size)) | ((I)size & ~(amplitude > size)));
    }
    if (!net->peak)
        for (long l = 0; l < LANES; l++)
            size[l] = (float)__builtin_sqrt(square[l] / (WINDOW - 1));
    for (long t = 0; t < WINDOW; t++)
        out[t * 3] *= 1.0f / (size + EPS);
}

/* The sum of a component, x[t], in float32 and in torch's order: 32 partial sums, gathered
 * every 16 rounds, then eight, then one. What float32 leaves of a large offset is then what it
 * leaves in SeisBench, which takes it for signal. */
TARGET static V NAME(sum)(const V *x)
{
    enum { WIDTH = 8, CHAINS = 4, ROUND = WIDTH * CHAINS, GATHER = 16 };
    V low[ROUND] = {0}, high[ROUND] = {0};
    long t = 0;
    for (long round = 1; t + ROUND <= WINDOW; round++) {
        for (long k = 0; k < ROUND; k++, t++)
            low[k] += x[t];
        for (long k = 0; k < ROUND && round % GATHER == 0; k++) {
            high[k] += low[k];
            low[k] = (V){0};
        }
    }
    for (long k = 0; k < ROUND; k++)
        low[k] += high[k];
    for (; t + WIDTH <= WINDOW; t += WIDTH)
        for (long k = 0; k < WIDTH; k++)
            low[k] += x[t + k];
    for (long k = WIDTH; k < ROUND; k++)
        low[k % WIDTH] += low[k];
    V sum = {0};
    for (; t < WINDOW; t++)
        sum += x[t];
    for (long k = 0; k < WIDTH; k++)
        sum += low[k];
    return sum;
}

/* The unbiased variance of x[t], all in double. */
TARGET static __attribute__((noinline)) void NAME(variance)(const V *x, V mean, D *variance)
{
    D sum = {0}, square = {0};
    for (long t = 0; t < WINDOW; t++) {
        const D d = __builtin_convertvector(x[t] - mean, D);
        sum += d;
        square += d * d;
    }
    *variance = (square - sum * sum / WINDOW) / (WINDOW - 1);
}

/* A component's raw windows x[t] as the network wants them, out[t * 3]: demeaned, over their
 * unbiased deviation, whose squares are summed in float32 over FEW samples and then in double. A
 * constant component becomes zero. */
TARGET static void NAME(normalise)(const V *x, const struct network *net, V *out)
{
    enum { FEW = 16 };
    const int further = net->detrend || net->peak; /* then the scale is found after that */
    const V mean = NAME(sum)(x) / WINDOW;
    D sum = {0}, square = {0};
    I varies = {0};
    for (long begin = 0; begin < WINDOW; begin += FEW) {
        V some = {0}, squares = {0};
        const long end = begin + FEW < WINDOW ? begin + FEW : WINDOW;
        for (long t = begin; t < end; t++) {
            const V d = x[t] - mean;
            some += d;
            squares += d * d;
            varies |= (I)x[t] ^ (I)x[0];
        }
        sum += __builtin_convertvector(some, D);
        square += __builtin_convertvector(squares, D);
    }
    D variance = (square - sum * sum / WINDOW) / (WINDOW - 1);
    int strange = 0; /* lanes whose squares float32 may not hold: theirs are summed in double */
    for (long l = 0; l < LANES; l++)
        strange |= varies[l] && !(variance[l] > LEAST && variance[l] < MOST);
    if (strange) {
        D wide;
        NAME(variance)(x, mean, &wide);
        for (long l = 0; l < LANES; l++)
            if (!(variance[l] > LEAST && variance[l] < MOST))
                variance[l] = wide[l];
    }
    V scale = {0};
    for (long l = 0; l < LANES; l++) {
        const float deviation = (float)__builtin_sqrt(variance[l]) + EPS;
        scale[l] = varies[l] && variance[l] > 0 ? (further ? 1 : 1 / deviation) : 0;
    }
    for (long t = 0; t < WINDOW; t++)
        out[t * 3] = (x[t] - mean) * scale;
    if (further)
        NAME(rescale)(net, out);
}

/* Raw data [3, n] at `starts` into the inputs of all networks. A component at a time, which stays
 * in a core's cache from the cut to what is made of it. */
TARGET static void NAME(windows)(const float *data, int is_float, long n, const int64_t *starts,
                                 long count, const struct network *nets, const struct room *rooms,
                                 long many)
{
    V *raw = rooms[0].raw;
    for (long component = 0; component < 3; component++) {
        NAME(cut)(data + component * n, is_float, starts, count, raw);
        for (long k = 0; k < many; k++)
            for (long c = 0; c < 3 && !rooms[k].alike; c++)
                if (nets[k].order[c] == component)
                    NAME(normalise)(raw, nets + k, (V *)rooms[k].input + c);
    }
}

/* Probabilities [WINDOW][4] into the curves [2, n]. Windows are added one after the other, in order
 * of their start: a sum of three depends on it. `aside` [LANES][WINDOW / LANES + 1] holds one
 * phase of each by turns; what it reads beyond WINDOW (the next buffer's) is never used. */
TARGET static void NAME(stack)(const V *p, const struct network *net, long n,
                               const int64_t *starts, long count, V *aside)
{
    const long length = WINDOW / LANES + 1, first = net->before, last = WINDOW - net->after;
    for (long row = 0; row < 2; row++) {
        if (net->rows[row] < 0)
            continue;
        for (long k = 0; k < length; k++)
            NAME(transpose)(p + k * LANES * 4 + net->rows[row], 4, aside + k, length);
        for (long l = 0; l < count; l++) {
            float *curve = net->curves + row * n + starts[l];
            const float *q = (const float *)(aside + l * length);
            if (net->largest)
                for (long t = first; t < last; t++)
                    curve[t] = q[t] > curve[t] ? q[t] : curve[t];
            else
                for (long t = first; t < last; t++)
                    curve[t] += q[t];
        }
    }
}

/* From the input of a level to that of the next, strip by strip, so that what one layer writes the
 * next finds in the cache. At the top `inc` comes before. Returns the weights that follow. */
TARGET static const float *NAME(descend)(const struct room *room, long level, long root,
                                         const float *w)
{
    const long n = LENGTH[level], width = root << level, above = level ? width / 2 : root;
    const V *x = level ? room->down[level - 1] : room->merged[0];
    V *skip = room->skip[level];
    const float *inc = w, *same = level ? w : w + root + root * TAPS * 3;
    const float *down = same + width + width * TAPS * above;
    for (long came = 0, had = 0, gone = 0, next; came < n;) {
        next = came + STRIP < n ? came + STRIP : n;
        if (level == 0)
            NAME(conv)((const V *)room->input - PAD * 3, 3, 1, TAPS, 3, inc, root, room->merged[0],
                       root, came, next);
        came = next;
        next = came < n ? came - TAPS / 2 : n;
        NAME(conv)(x - PAD * above, above, 1, TAPS, above, same, width, skip, 2 * width, had, next);
        had = next;
        if (level == DEPTH - 1)
            continue;
        next = had < n ? (had + BEFORE[level] - TAPS) / STRIDE + 1 : LENGTH[level + 1];
        NAME(conv)(skip - BEFORE[level] * 2 * width, 2 * width, STRIDE, TAPS, width, down, width,
                   room->down[level], width, gone, next);
        gone = next;
    }
    return level < DEPTH - 1 ? down + width + width * TAPS * width : down;
}

/* From the level below to the output of a level, as above. At the top the probabilities follow. */
TARGET static const float *NAME(ascend)(const struct room *room, long level, long root,
                                        const float *w, long phases)
{
    const long n = LENGTH[level], width = root << level, deepest = level == DEPTH - 2;
    const V *x = deepest ? room->skip[level + 1] : room->merged[level + 1];
    V *skip = room->skip[level];
    const float *merge = w + 4 * width + width * TAPS * 2 * width;
    const float *out = merge + width + width * TAPS * 2 * width;
    for (long came = 0, had = 0, next; came < n;) {
        next = came + STRIP < n ? came + STRIP : n;
        NAME(up)(x, deepest ? 4 * width : 2 * width, 2 * width, w, width, skip + width, 2 * width,
                 SKIP[level], came, next);
        came = next;
        next = came < n ? came - TAPS / 2 : n;
        NAME(conv)(skip - PAD * 2 * width, 2 * width, 1, TAPS, 2 * width, merge, width,
                   room->merged[level], width, had, next);
        if (level == 0)
            NAME(softmax)(room->merged[0], width, out, phases, room->output, had, next);
        had = next;
    }
    return out;
}

/* The network on the normalised windows of its room: probabilities [WINDOW][4]. */
TARGET static const V *NAME(forward)(const struct room *room, const struct network *net)
{
    const float *w = net->weights;
    for (long level = 0; level < DEPTH; level++)
        w = NAME(descend)(room, level, ROOT * net->factor, w);
    for (long level = DEPTH - 2; level >= 0; level--)
        w = NAME(ascend)(room, level, ROOT * net->factor, w, net->phases);
    return room->output;
}

TARGET static void NAME(run)(const float *data, int is_float, long n, const int64_t *starts,
                             long count, const struct network *nets, const struct room *rooms,
                             long many, double *seconds)
{
    for (long first = 0; first < count; first += LANES) {
        const long lanes = count - first < LANES ? count - first : LANES;
        double begun = clock_s(), now;
        NAME(windows)(data, is_float, n, starts + first, lanes, nets, rooms, many);
        seconds[0] += (now = clock_s()) - begun;
        for (long k = 0; k < many; k++) {
            const V *p = NAME(forward)(rooms + k, nets + k);
            seconds[1] += (begun = clock_s()) - now;
            NAME(stack)(p, nets + k, n, starts + first, lanes, rooms[k].merged[0]);
            seconds[2] += (now = clock_s()) - begun;
        }
    }
}

#undef V
#undef I
#undef D
#undef INLINE
#undef LOWER
#undef UPPER
#undef NAME
#undef LANES
#undef TILE
#undef BLOCK
#undef TARGET
