// The kernels of tile_kernels.cpp, which includes this file once for every set of instructions: LEVEL(name) is a name's
// own for it. Arrays are given by their first element and by strides in elements; channels lie side by side. Letters as
// in mixer_tile.py: g images, S tokens of a tile, C channels of (x, B, C), I inner channels.

namespace LEVEL(level) {
namespace {

inline double exponential(double x) { return std::exp(x); }

// To 2 units in the last place, in operations that vectorise: 2^n times a polynomial in the rest.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = __builtin_rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// Requests the cache lines of an array.
template <typename T>
inline void fetch(const T *first, int64_t count) {
    const char *at = reinterpret_cast<const char *>(first);
    for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += 64) __builtin_prefetch(at + i, 0, 2);
}

// The rows of a tile lie in memory pages of their own, at which the processor's fetching ahead starts again: so each
// row requests the one after it.
template <typename... Arrays>
inline void fetch_rows(int64_t g, int64_t s, int64_t channels, const Arrays &...arrays) {
    (fetch(arrays.at(g, s), channels), ...);
}

template <typename T>
inline T sigmoid(T x) {
    return T(1) / (T(1) + exponential(-x));
}

template <typename T>
inline T silu_slope(T x) {
    T s = sigmoid(x);
    return s * (T(1) + x * (T(1) - s));
}

// Before the SiLU: bias + sum over the taps of the last `reach` tokens and this one. tap: from one tap's weights to the
// next one's.
template <typename T>
inline void convolve(
    const T *x, int64_t token, int64_t reach, const T *w, int64_t tap, const T *bias, T *h, int64_t channels) {
    if (reach == TAPS - 1) {
        const T *x1 = x - token, *x2 = x1 - token, *x3 = x2 - token;
        const T *w1 = w + tap, *w2 = w1 + tap, *w3 = w2 + tap;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            h[c] = bias[c] + x[c] * w[c] + x1[c] * w1[c] + x2[c] * w2[c] + x3[c] * w3[c];
        return;
    }
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) h[c] = bias[c] + x[c] * w[c];
    for (int64_t back = 1; back <= reach; back++) {
        const T *past = x - back * token, *w_back = w + back * tap;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) h[c] += past[c] * w_back[c];
    }
}

// x, B and C each into an array of its own: products of matrices are faster where rows follow each other.
template <typename T>
void conv_silu(
    int threads, Rows<const T> xBC, Reach reach, const T *w, const T *bias, Rows<T> x, Rows<T> B, Rows<T> C,
    int64_t images, int64_t tokens, int64_t inner, int64_t states) {
    int64_t channels = inner + 2 * states;
    const Rows<T> parts[] = {x, B, C};
    const int64_t firsts[] = {0, inner, inner + states}, counts[] = {inner, states, states};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < images * tokens; row++) {
        int64_t g = row / tokens, s = row % tokens, own_reach = reach.at(g, s);
        if (s + 1 < tokens) {
            fetch_rows(g, s + 1, channels, xBC);
            fetch_rows(g, s + 1, inner, x);
        }
        for (int part = 0; part < 3; part++) {
            int64_t first = firsts[part], count = counts[part];
            T *h = parts[part].at(g, s);
            convolve(xBC.at(g, s) + first, xBC.token, own_reach, w + first, channels, bias + first, h, count);
#pragma omp simd
            for (int64_t c = 0; c < count; c++) h[c] *= sigmoid(h[c]);
        }
    }
}

template <typename T>
void gated_norm(
    int threads, Rows<const T> scanned, Rows<const T> x, Rows<const T> z, const T *skip, const T *weight, T eps,
    Rows<T> out, int64_t images, int64_t tokens, int64_t inner) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < images * tokens; row++) {
        int64_t g = row / tokens, s = row % tokens;
        const T *y_I = scanned.at(g, s), *x_I = x.at(g, s), *z_I = z.at(g, s);
        T *out_I = out.at(g, s), squares = 0;
        if (s + 1 < tokens) fetch_rows(g, s + 1, inner, scanned, x, z, out);
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < inner; i++) {
            T u = (y_I[i] + skip[i] * x_I[i]) * (z_I[i] * sigmoid(z_I[i]));
            out_I[i] = u;
            squares += u * u;
        }
        T rate = T(1) / std::sqrt(squares / T(inner) + eps);
#pragma omp simd
        for (int64_t i = 0; i < inner; i++) out_I[i] *= rate * weight[i];
    }
}

template <typename T>
void gated_norm_backward(
    int threads, Rows<const T> grad, Rows<const T> scanned, Rows<const T> x, Rows<const T> z, const T *skip,
    const T *weight, T eps, Rows<T> dy, Rows<T> dz, T *dweight, T *dskip, int64_t images, int64_t tokens,
    int64_t inner) {
    std::vector<T> sums(static_cast<size_t>(threads) * 2 * inner), rows(static_cast<size_t>(threads) * 3 * inner);
#pragma omp parallel num_threads(threads)
    {
        int thread = omp_get_thread_num();
        T *dweight_I = &sums[2 * inner * thread], *dskip_I = dweight_I + inner;
        T *sig_I = &rows[3 * inner * thread], *full_I = sig_I + inner, *u_I = full_I + inner;
#pragma omp for schedule(static)
        for (int64_t row = 0; row < images * tokens; row++) {
            int64_t g = row / tokens, s = row % tokens;
            const T *g_I = grad.at(g, s), *y_I = scanned.at(g, s), *x_I = x.at(g, s), *z_I = z.at(g, s);
            T *dy_I = dy.at(g, s), *dz_I = dz.at(g, s), squares = 0, pull = 0;
            if (s + 1 < tokens) fetch_rows(g, s + 1, inner, grad, scanned, x, z, dz);
#pragma omp simd reduction(+ : squares, pull)
            for (int64_t i = 0; i < inner; i++) {
                T sig = sigmoid(z_I[i]), full = y_I[i] + skip[i] * x_I[i], u = full * (z_I[i] * sig);
                sig_I[i] = sig;
                full_I[i] = full;
                u_I[i] = u;
                squares += u * u;
                pull += g_I[i] * weight[i] * u;
            }
            T rate = T(1) / std::sqrt(squares / T(inner) + eps);
            pull *= rate * rate * rate / T(inner);
#pragma omp simd
            for (int64_t i = 0; i < inner; i++) {
                T du = g_I[i] * weight[i] * rate - u_I[i] * pull, sig = sig_I[i];
                T dy_i = du * (z_I[i] * sig);
                dweight_I[i] += g_I[i] * u_I[i] * rate;
                dskip_I[i] += dy_i * x_I[i];
                dz_I[i] = du * full_I[i] * (sig * (T(1) + z_I[i] * (T(1) - sig)));
                dy_I[i] = dy_i;
            }
        }
    }
    for (int thread = 0; thread < threads; thread++)
        for (int64_t i = 0; i < inner; i++) {
            dweight[i] += sums[2 * inner * thread + i];
            dskip[i] += sums[2 * inner * thread + inner + i];
        }
}

template <typename T>
void scaled_and_dots(
    int threads, Rows<const T> x, Rows<const T> y, const T *factor, Rows<T> out, T *dots, int64_t images,
    int64_t tokens, int64_t heads, int64_t channels) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < images * tokens; row++) {
        int64_t g = row / tokens, s = row % tokens;
        const T *x_I = x.at(g, s), *y_I = y.at(g, s);
        T *out_I = out.at(g, s);
        for (int64_t h = 0; h < heads; h++) {
            T dot = 0, by = factor[row * heads + h];
#pragma omp simd reduction(+ : dot)
            for (int64_t i = h * channels; i < (h + 1) * channels; i++) {
                dot += x_I[i] * y_I[i];
                out_I[i] = x_I[i] * by;
            }
            dots[row * heads + h] = dot;
        }
    }
}

// x[i] = state * given; state = state * through + x[i] * taken, over the chunks i of an image.
template <typename T>
void chain(
    int threads, T *x, T *state, const T *given, const T *taken, const T *through, int64_t reverse, int64_t images,
    int64_t chunks, int64_t states, int64_t heads, int64_t channels) {
    int64_t inner = heads * channels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t row = 0; row < images * states; row++) {
        T *state_I = state + row * inner;
        for (int64_t i = 0; i < chunks; i++) {
            int64_t n = row / states * chunks + (reverse ? chunks - 1 - i : i);
            T *x_I = x + (n * states + row % states) * inner;
            for (int64_t h = 0; h < heads; h++) {
                T given_h = given[n * heads + h], taken_h = taken[n * heads + h], through_h = through[n * heads + h];
#pragma omp simd
                for (int64_t c = h * channels; c < (h + 1) * channels; c++) {
                    T add = x_I[c];
                    x_I[c] = state_I[c] * given_h;
                    state_I[c] = state_I[c] * through_h + add * taken_h;
                }
            }
        }
    }
}

// A token's part of the gradients of weight and bias, and the gradient of what its convolution and the next ones' read.
template <typename T>
inline void from_taps(
    const T *x, int64_t token, int64_t reach, const T *ring, int64_t s, int64_t later, const T *w, T *dw, T *dbias,
    T *dx, int64_t channels) {
    const T *dh = ring + s % TAPS * channels;
    if (reach == TAPS - 1 && later == TAPS) {
        const T *x1 = x - token, *x2 = x1 - token, *x3 = x2 - token;
        const T *w1 = w + channels, *w2 = w1 + channels, *w3 = w2 + channels;
        const T *dh1 = ring + (s + 1) % TAPS * channels, *dh2 = ring + (s + 2) % TAPS * channels;
        const T *dh3 = ring + (s + 3) % TAPS * channels;
        T *dw1 = dw + channels, *dw2 = dw1 + channels, *dw3 = dw2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            T d = dh[c];
            dbias[c] += d;
            dw[c] += d * x[c];
            dw1[c] += d * x1[c];
            dw2[c] += d * x2[c];
            dw3[c] += d * x3[c];
            dx[c] = d * w[c] + dh1[c] * w1[c] + dh2[c] * w2[c] + dh3[c] * w3[c];
        }
        return;
    }
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        dbias[c] += dh[c];
        dx[c] = 0;
    }
    for (int64_t back = 0; back < TAPS; back++) {
        const T *x_back = x - back * token, *w_back = w + back * channels;
        const T *dh_back = ring + (s + back) % TAPS * channels;
        T *dw_back = dw + back * channels;
        if (back <= reach) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) dw_back[c] += dh[c] * x_back[c];
        }
        if (back < later) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) dx[c] += dh_back[c] * w_back[c];
        }
    }
}

template <typename T>
void conv_silu_backward(
    int threads, Rows<const T> x, Reach reach, const T *w, const T *bias, Rows<const T> dscan, Rows<const T> dy,
    const T *skip, Rows<const T> dB, Rows<const T> dC, const T *after, T *first, Rows<T> dx, T *dw, T *dbias,
    int64_t images, int64_t tokens, int64_t inner, int64_t states) {
    int64_t channels = inner + 2 * states, kept = TAPS - 1;
    // Parts of an image, so that there is work for all threads; a part computes the next tokens' gradients again.
    int64_t parts = 1;
    while (threads > 1 && images * parts < 4 * threads && tokens / (2 * parts) >= 16) parts *= 2;
    std::vector<T> sums(static_cast<size_t>(threads) * (TAPS + 1) * channels);
    std::vector<T> rows(static_cast<size_t>(threads) * TAPS * channels);
#pragma omp parallel num_threads(threads)
    {
        int thread = omp_get_thread_num();
        T *dw_KC = &sums[(TAPS + 1) * channels * thread], *dbias_C = dw_KC + TAPS * channels;
        T *ring = &rows[TAPS * channels * thread];  // gradients of h, of the token s at s % TAPS
#pragma omp for schedule(static)
        for (int64_t part = 0; part < images * parts; part++) {
            int64_t g = part / parts, start = part % parts * tokens / parts, end = (part % parts + 1) * tokens / parts;
            for (int64_t s = end + kept - 1; s >= start; s--) {
                T *dh_C = ring + s % TAPS * channels;
                if (s >= tokens) {
                    if (after) std::memcpy(dh_C, after + (g * kept + s - tokens) * channels, channels * sizeof(T));
                    else std::memset(dh_C, 0, channels * sizeof(T));
                    if (s < kept) std::memcpy(first + (g * kept + s) * channels, dh_C, channels * sizeof(T));
                    continue;
                }
                int64_t own_reach = reach.at(g, s);
                if (s >= TAPS) {  // of x a row is read that lies before the tokens of its convolution
                    fetch_rows(g, s - TAPS, channels, x);
                    fetch_rows(g, s - 1, channels, dx);
                    fetch_rows(g, s - 1, inner, dscan, dy);
                }
                convolve(x.at(g, s), x.token, own_reach, w, channels, bias, dh_C, channels);
                const T *dscan_I = dscan.at(g, s), *dy_I = dy.at(g, s), *dB_N = dB.at(g, s), *dC_N = dC.at(g, s);
#pragma omp simd
                for (int64_t i = 0; i < inner; i++) dh_C[i] = silu_slope(dh_C[i]) * (dscan_I[i] + skip[i] * dy_I[i]);
                T *dh_B = dh_C + inner, *dh_CN = dh_B + states;
#pragma omp simd
                for (int64_t n = 0; n < states; n++) dh_B[n] = silu_slope(dh_B[n]) * dB_N[n];
#pragma omp simd
                for (int64_t n = 0; n < states; n++) dh_CN[n] = silu_slope(dh_CN[n]) * dC_N[n];
                if (s >= end) continue;  // another part's token
                if (s < kept) std::memcpy(first + (g * kept + s) * channels, dh_C, channels * sizeof(T));
                int64_t later = 1;  // tokens from s on, those beyond the images as well, whose gradients reach s
                while (later < TAPS && ((s + later >= tokens && !after) || reach.at(g, s + later) >= later)) later++;
                from_taps(
                    x.at(g, s), x.token, own_reach, ring, s, later, w, dw_KC, dbias_C, dx.at(g, s), channels);
            }
        }
    }
    for (int thread = 0; thread < threads; thread++) {
        const T *from = &sums[(TAPS + 1) * channels * thread];
        for (int64_t c = 0; c < TAPS * channels; c++) dw[c] += from[c];
        for (int64_t c = 0; c < channels; c++) dbias[c] += from[TAPS * channels + c];
    }
}

}  // namespace

// What tile_kernels.py calls, with every number in 64 bits. An array is three arguments: first element and two strides.
#define ROWS(T, x) T *x, int64_t x##_g, int64_t x##_s
#define OF(x) {x, x##_g, x##_s}
#define KERNELS(T)                                                                                                     \
    extern "C" void LEVEL(conv_silu_##T)(                                                                              \
        int64_t threads, ROWS(const T, xBC), const uint8_t *segments, int64_t reach_g, int64_t before, const T *w,     \
        const T *bias, ROWS(T, x), ROWS(T, B), ROWS(T, C), int64_t images, int64_t tokens, int64_t inner,              \
        int64_t states) {                                                                                              \
        conv_silu<T>(                                                                                                  \
            threads, OF(xBC), {segments, reach_g, before}, w, bias, OF(x), OF(B), OF(C), images, tokens, inner,        \
            states);                                                                                                   \
    }                                                                                                                  \
    extern "C" void LEVEL(conv_silu_backward_##T)(                                                                     \
        int64_t threads, ROWS(const T, x), const uint8_t *segments, int64_t reach_g, int64_t before, const T *w,       \
        const T *bias, ROWS(const T, dscan), ROWS(const T, dy), const T *skip, ROWS(const T, dB), ROWS(const T, dC),   \
        const T *after, T *first, ROWS(T, dx), T *dw, T *dbias, int64_t images, int64_t tokens, int64_t inner,         \
        int64_t states) {                                                                                              \
        conv_silu_backward<T>(                                                                                         \
            threads, OF(x), {segments, reach_g, before}, w, bias, OF(dscan), OF(dy), skip, OF(dB), OF(dC), after,      \
            first, OF(dx), dw, dbias, images, tokens, inner, states);                                                  \
    }                                                                                                                  \
    extern "C" void LEVEL(gated_norm_##T)(                                                                             \
        int64_t threads, ROWS(const T, scanned), ROWS(const T, x), ROWS(const T, z), const T *skip, const T *weight,   \
        double eps, ROWS(T, out), int64_t images, int64_t tokens, int64_t inner) {                                     \
        gated_norm<T>(threads, OF(scanned), OF(x), OF(z), skip, weight, eps, OF(out), images, tokens, inner);          \
    }                                                                                                                  \
    extern "C" void LEVEL(gated_norm_backward_##T)(                                                                    \
        int64_t threads, ROWS(const T, grad), ROWS(const T, scanned), ROWS(const T, x), ROWS(const T, z),              \
        const T *skip, const T *weight, double eps, ROWS(T, dy), ROWS(T, dz), T *dweight, T *dskip, int64_t images,    \
        int64_t tokens, int64_t inner) {                                                                               \
        gated_norm_backward<T>(                                                                                        \
            threads, OF(grad), OF(scanned), OF(x), OF(z), skip, weight, eps, OF(dy), OF(dz), dweight, dskip, images,   \
            tokens, inner);                                                                                            \
    }                                                                                                                  \
    extern "C" void LEVEL(scaled_and_dots_##T)(                                                                        \
        int64_t threads, ROWS(const T, x), ROWS(const T, y), const T *factor, ROWS(T, out), T *dots, int64_t images,   \
        int64_t tokens, int64_t heads, int64_t channels) {                                                             \
        scaled_and_dots<T>(threads, OF(x), OF(y), factor, OF(out), dots, images, tokens, heads, channels);             \
    }                                                                                                                  \
    extern "C" void LEVEL(chain_##T)(                                                                                  \
        int64_t threads, T *x, T *state, const T *given, const T *taken, const T *through, int64_t reverse,            \
        int64_t images, int64_t chunks, int64_t states, int64_t heads, int64_t channels) {                             \
        chain<T>(threads, x, state, given, taken, through, reverse, images, chunks, states, heads, channels);          \
    }

KERNELS(float)
KERNELS(double)

}  // namespace LEVEL(level)

#undef ROWS
#undef OF
#undef KERNELS
