// The atoms' pass of an STDCF convolution on a CPU, and its adjoint.
//
// Clips lie with channels last, [B, T, H, W, C], so that a tap is a run of channels whatever
// kernel, stride and dilation are. Every output position p gets M*N maps a channel,
//
//   maps[p, i*N + j, c] = sum over t, h, w of phi[j, t] * psi[i, h, w] * x[c, tap (t, h, w) of p],
//
// over time first (N maps of the input rows that are needed, in the cache), then over space.
// Channels never mix here: the matrix product that mixes them is the caller's.
//
// Output rows of all clips are numbered through, clip by clip, frame by frame; a call makes the
// maps of rows [first, last). No sum depends on how many threads share the blocks of channels.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

// Lanes of one vector, and how many vectors of sums there are registers for.
#ifdef __AVX512F__
constexpr int kLanes = 16, kSums = 27;
#else
constexpr int kLanes = 8, kSums = 12;
#endif

// Channels that one task takes through both passes. Of kSmall the last block may be partly empty.
constexpr int kLarge = 64, kSmall = 32;

struct bfloat16 {
  uint16_t bits;
};

template <typename Real>
struct Vector {
  typedef Real type __attribute__((vector_size(kLanes * sizeof(Real))));
};
template <typename Real>
using Vec = typename Vector<Real>::type;
typedef uint16_t Half16 __attribute__((vector_size(2 * kLanes)));
typedef uint32_t Word16 __attribute__((vector_size(4 * kLanes)));

inline Vec<float> load(const float* from) {
  Vec<float> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline Vec<double> load(const double* from) {
  Vec<double> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline Vec<float> load(const bfloat16* from) {
  Half16 half;
  std::memcpy(&half, from, sizeof half);
  Word16 word = __builtin_convertvector(half, Word16) << 16;
  Vec<float> v;
  std::memcpy(&v, &word, sizeof v);
  return v;
}
inline void store(float* to, Vec<float> v) { std::memcpy(to, &v, sizeof v); }
inline void store(double* to, Vec<double> v) { std::memcpy(to, &v, sizeof v); }
inline void store(bfloat16* to, Vec<float> v) {
  Word16 word;
  std::memcpy(&word, &v, sizeof word);
  // To nearest, ties to even; a NaN stays one.
  Word16 rounded = word + 0x7fff + ((word >> 16) & 1);
  Word16 is_nan = (Word16)((word & 0x7fffffff) > 0x7f800000);
  rounded = (is_nan & (word | 0x00400000)) | (~is_nan & rounded);
  Half16 half = __builtin_convertvector(rounded >> 16, Half16);
  std::memcpy(to, &half, sizeof half);
}

// All lanes, or the first n: the others are zero, or left alone.
template <bool kFull, typename Stored>
inline auto load(const Stored* from, int n) {
  if (kFull || n >= kLanes) return load(from);
  Stored lanes[kLanes] = {};
  std::memcpy(lanes, from, n * sizeof(Stored));
  return load(lanes);
}
template <bool kFull, typename Stored, typename V>
inline void store(Stored* to, V v, int n) {
  if (kFull || n >= kLanes) return store(to, v);
  Stored lanes[kLanes];
  store(lanes, v);
  std::memcpy(to, lanes, n * sizeof(Stored));
}

struct Axis {
  int64_t size, kernel, stride, padding, dilation, out;
};

}  // namespace

extern "C" {
// All of one call's sizes; int64 throughout, so that Python can fill it as an array.
struct Geometry {
  int64_t channels;  // of the group
  int64_t position;  // elements from one position of x to the next (all channels)
  int64_t m, n;
  int64_t axis[3][6];  // time, height, width: size, kernel, stride, padding, dilation, out
  int64_t threads;
  int64_t large_maps, large_adjoint;  // whether blocks are kLarge, which must divide the channels
};
}

namespace {

struct Task {
  const Geometry& g;
  Axis t, h, w;
  int64_t width;  // of a padded row
  explicit Task(const Geometry& g) : g(g) {
    Axis* axes[3] = {&t, &h, &w};
    for (int a = 0; a < 3; ++a) std::memcpy(axes[a], g.axis[a], sizeof(Axis));
    width = (w.out - 1) * w.stride + (w.kernel - 1) * w.dilation + 1;
  }
  int64_t input_rows(int64_t rows) const {
    return (rows - 1) * h.stride + (h.kernel - 1) * h.dilation + 1;
  }
};

// Output rows [h0, h1) of output frame `frame` (clip and time in one number), and where their maps
// lie.
struct Rows {
  int64_t clip, time, h0, h1, position;
};

// b[j, row, column, lane]: N temporal maps of the padded input rows that the output rows need.
template <int kBlock, bool kFull, typename Stored, typename Real>
void temporal(const Task& k, const Stored* x, const Real* phi, Real* b, const Rows& r, int lanes) {
  const int64_t rows = k.input_rows(r.h1 - r.h0), n = k.g.n;
  const int64_t row_size = k.width * kBlock, plane = rows * row_size;
  const int64_t first = std::min(k.width, k.w.padding);
  const int64_t last = std::max(first, std::min(k.width, k.w.size + k.w.padding));
  const int64_t frame = k.h.size * k.w.size * k.g.position;
  // The taps that lie within the clip.
  int64_t tap0 = 0, tap1 = k.t.kernel;
  const int64_t t0 = r.time * k.t.stride - k.t.padding;
  while (tap0 < tap1 && t0 + tap0 * k.t.dilation < 0) ++tap0;
  while (tap0 < tap1 && t0 + (tap1 - 1) * k.t.dilation >= k.t.size) --tap1;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t h = r.h0 * k.h.stride - k.h.padding + row;
    const bool inside = h >= 0 && h < k.h.size;
    for (int64_t j = 0; j < n; ++j) {
      Real* to = b + j * plane + row * row_size;
      if (!inside || tap0 == tap1) {
        std::memset(to, 0, row_size * sizeof(Real));
        continue;
      }
      std::memset(to, 0, first * kBlock * sizeof(Real));
      std::memset(to + last * kBlock, 0, (k.width - last) * kBlock * sizeof(Real));
    }
    if (!inside || tap0 == tap1) continue;
    const Stored* line = x + (r.clip * k.t.size + t0 + tap0 * k.t.dilation) * frame +
                         (h * k.w.size - k.w.padding) * k.g.position;
    for (int64_t column = first; column < last; ++column)
      for (int lane = 0; lane < (kFull ? kBlock : lanes); lane += kLanes) {
        const Stored* from = line + column * k.g.position + lane;
        Real* to = b + row * row_size + column * kBlock + lane;
        // Two atoms at once, so that each tap is read once for both.
        int64_t j = 0;
        for (; j + 2 <= n; j += 2) {
          const Real* weight = phi + j * k.t.kernel + tap0;
          Vec<Real> one = {}, two = {};
          for (int64_t tap = 0; tap < tap1 - tap0; ++tap) {
            const auto v = load<kFull>(from + tap * k.t.dilation * frame, lanes - lane);
            one += weight[tap] * v;
            two += weight[tap + k.t.kernel] * v;
          }
          store(to + j * plane, one);
          store(to + (j + 1) * plane, two);
        }
        if (j < n) {
          const Real* weight = phi + j * k.t.kernel + tap0;
          Vec<Real> one = {};
          for (int64_t tap = 0; tap < tap1 - tap0; ++tap)
            one += weight[tap] * load<kFull>(from + tap * k.t.dilation * frame, lanes - lane);
          store(to + j * plane, one);
        }
      }
  }
}

// Vectors taken at once, so that each weight is fetched once for all.
constexpr int vectors(int m, int block, bool full) {
  return !full ? 1 : m <= 3 && block >= 4 * kLanes ? 4 : 2;
}

template <int M, int kBlock, bool kFull, typename Stored, typename Real>
void spatial_atoms(const Task& k, const Real* b, const Real* psi, Stored* maps, const Rows& r,
                   int lanes, int64_t i0) {
  constexpr int V = vectors(M, kBlock, kFull);
  const int64_t row_size = k.width * kBlock, plane = k.input_rows(r.h1 - r.h0) * row_size;
  const int64_t taps = k.h.kernel * k.w.kernel, n = k.g.n, channels = k.g.channels;
  const int64_t down = k.h.dilation * row_size, right = k.w.dilation * kBlock;
  for (int64_t h = r.h0; h < r.h1; ++h)
    for (int64_t w = 0; w < k.w.out; ++w) {
      Stored* out = maps + ((r.position + (h - r.h0) * k.w.out + w) * k.g.m + i0) * n * channels;
      const Real* corner = b + (h - r.h0) * k.h.stride * row_size + w * k.w.stride * kBlock;
      for (int64_t j = 0; j < n; ++j)
        for (int lane = 0; lane < (kFull ? kBlock : lanes); lane += V * kLanes) {
          Vec<Real> sum[M][V] = {};
          const Real* weight = psi + i0 * taps;
          for (int64_t kh = 0; kh < k.h.kernel; ++kh) {
            const Real* from = corner + j * plane + kh * down + lane;
            for (int64_t kw = 0; kw < k.w.kernel; ++kw, ++weight, from += right) {
              Vec<Real> v[V];
              for (int s = 0; s < V; ++s) v[s] = load(from + s * kLanes);
              for (int i = 0; i < M; ++i)
                for (int s = 0; s < V; ++s) sum[i][s] += weight[i * taps] * v[s];
            }
          }
          for (int i = 0; i < M; ++i)
            for (int s = 0; s < V; ++s)
              store<kFull>(out + (i * n + j) * channels + lane + s * kLanes, sum[i][s],
                           lanes - lane);
        }
    }
}

// Gradient of b: every output position gives to the taps that it was made of.
template <int M, int kBlock, bool kFull, typename Stored, typename Real>
void spatial_adjoint(const Task& k, const Stored* u, const Real* psi, Real* db, const Rows& r,
                     int lanes, int64_t i0) {
  constexpr int V = vectors(M, kBlock, kFull);
  const int64_t row_size = k.width * kBlock, plane = k.input_rows(r.h1 - r.h0) * row_size;
  const int64_t taps = k.h.kernel * k.w.kernel, n = k.g.n, channels = k.g.channels;
  const int64_t down = k.h.dilation * row_size, right = k.w.dilation * kBlock;
  for (int64_t h = r.h0; h < r.h1; ++h)
    for (int64_t w = 0; w < k.w.out; ++w) {
      const Stored* in = u + ((r.position + (h - r.h0) * k.w.out + w) * k.g.m + i0) * n * channels;
      Real* corner = db + (h - r.h0) * k.h.stride * row_size + w * k.w.stride * kBlock;
      for (int64_t j = 0; j < n; ++j)
        for (int lane = 0; lane < (kFull ? kBlock : lanes); lane += V * kLanes) {
          Vec<Real> v[M][V];
          for (int i = 0; i < M; ++i)
            for (int s = 0; s < V; ++s)
              v[i][s] = load<kFull>(in + (i * n + j) * channels + lane + s * kLanes, lanes - lane);
          const Real* weight = psi + i0 * taps;
          for (int64_t kh = 0; kh < k.h.kernel; ++kh) {
            Real* to = corner + j * plane + kh * down + lane;
            for (int64_t kw = 0; kw < k.w.kernel; ++kw, ++weight, to += right) {
              Vec<Real> sum[V];
              for (int s = 0; s < V; ++s) sum[s] = load(to + s * kLanes);
              for (int i = 0; i < M; ++i)
                for (int s = 0; s < V; ++s) sum[s] += weight[i * taps] * v[i][s];
              for (int s = 0; s < V; ++s) store(to + s * kLanes, sum[s]);
            }
          }
        }
    }
}

// Gradient of psi, for taps [tap0, tap0 + Taps) of one row of outputs.
template <int M, int Taps, int kBlock, bool kFull, typename Stored, typename Real>
void correlate(const Task& k, const Stored* in, const Real* corner, double* dpsi, int64_t plane,
               int64_t row_size, int lanes, int64_t tap0) {
  const int64_t n = k.g.n, channels = k.g.channels, step = k.g.m * n * channels;
  int64_t offset[Taps];
  for (int tap = 0; tap < Taps; ++tap)
    offset[tap] = (tap0 + tap) / k.w.kernel * k.h.dilation * row_size +
                  (tap0 + tap) % k.w.kernel * k.w.dilation * kBlock;
  Vec<Real> sum[M][Taps] = {};
  for (int64_t j = 0; j < n; ++j)
    for (int64_t w = 0; w < k.w.out; ++w) {
      const Real* from = corner + j * plane + w * k.w.stride * kBlock;
      const Stored* u = in + w * step + j * channels;
      for (int lane = 0; lane < (kFull ? kBlock : lanes); lane += kLanes) {
        Vec<Real> v[M];
        for (int i = 0; i < M; ++i) v[i] = load<kFull>(u + i * n * channels + lane, lanes - lane);
        for (int tap = 0; tap < Taps; ++tap) {
          const Vec<Real> x = load(from + offset[tap] + lane);
          for (int i = 0; i < M; ++i) sum[i][tap] += v[i] * x;
        }
      }
    }
  for (int i = 0; i < M; ++i)
    for (int tap = 0; tap < Taps; ++tap)
      for (int lane = 0; lane < kLanes; ++lane)
        dpsi[i * k.h.kernel * k.w.kernel + tap0 + tap] += sum[i][tap][lane];
}

template <int M, int kBlock, bool kFull, typename Stored, typename Real>
void spatial_correlation(const Task& k, const Stored* u, const Real* b, double* dpsi, const Rows& r,
                         int lanes, int64_t i0) {
  const int64_t row_size = k.width * kBlock, plane = k.input_rows(r.h1 - r.h0) * row_size;
  const int64_t taps = k.h.kernel * k.w.kernel, n = k.g.n, channels = k.g.channels;
  for (int64_t h = r.h0; h < r.h1; ++h) {
    const Stored* in = u + ((r.position + (h - r.h0) * k.w.out) * k.g.m + i0) * n * channels;
    const Real* corner = b + (h - r.h0) * k.h.stride * row_size;
    for (int64_t tap = 0; tap < taps;) {
      double* to = dpsi + i0 * taps;
      if (M * 9 <= kSums && taps - tap >= 9) {
        correlate<M, 9, kBlock, kFull>(k, in, corner, to, plane, row_size, lanes, tap);
        tap += 9;
      } else if (taps - tap >= 3) {
        correlate<M, 3, kBlock, kFull>(k, in, corner, to, plane, row_size, lanes, tap);
        tap += 3;
      } else {
        correlate<M, 1, kBlock, kFull>(k, in, corner, to, plane, row_size, lanes, tap);
        tap += 1;
      }
    }
  }
}

// Calls function(M, first atom) for 6, 3, 2 or 1 atoms at a time, at most Most.
template <int Most, typename Function>
void by_atoms(int64_t m, Function function) {
  for (int64_t i = 0; i < m;) {
    if constexpr (Most >= 6)
      if (m - i >= 6) {
        function(std::integral_constant<int, 6>(), i);
        i += 6;
        continue;
      }
    if (m - i >= 3) {
      function(std::integral_constant<int, 3>(), i);
      i += 3;
    } else if (m - i == 2) {
      function(std::integral_constant<int, 2>(), i);
      i += 2;
    } else {
      function(std::integral_constant<int, 1>(), i);
      i += 1;
    }
  }
}

template <int kBlock, bool kFull, typename Stored, typename Real>
void temporal_adjoint(const Task& k, const Stored* x, const Real* phi, const Real* db, Real* dx,
                      double* dphi, const Rows& r, int lanes) {
  const int64_t rows = k.input_rows(r.h1 - r.h0), n = k.g.n;
  const int64_t row_size = k.width * kBlock, plane = rows * row_size;
  const int64_t first = std::min(k.width, k.w.padding);
  const int64_t last = std::max(first, std::min(k.width, k.w.size + k.w.padding));
  for (int64_t tap = 0; tap < k.t.kernel; ++tap) {
    const int64_t t = r.time * k.t.stride - k.t.padding + tap * k.t.dilation;
    if (t < 0 || t >= k.t.size) continue;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t h = r.h0 * k.h.stride - k.h.padding + row;
      if (h < 0 || h >= k.h.size) continue;
      const int64_t at = ((r.clip * k.t.size + t) * k.h.size + h) * k.w.size - k.w.padding;
      const Real* grad = db + row * row_size;
      if (dx)
        for (int64_t column = first; column < last; ++column)
          for (int lane = 0; lane < (kFull ? kBlock : lanes); lane += kLanes) {
            Real* to = dx + (at + column) * k.g.position + lane;
            Vec<Real> sum = load<kFull>(to, lanes - lane);
            for (int64_t j = 0; j < n; ++j)
              sum += phi[j * k.t.kernel + tap] * load(grad + j * plane + column * kBlock + lane);
            store<kFull>(to, sum, lanes - lane);
          }
      if (dphi)
        for (int64_t j = 0; j < n; ++j) {
          Vec<Real> sum[kBlock / kLanes] = {};
          for (int64_t column = first; column < last; ++column) {
            const Real* a = grad + j * plane + column * kBlock;
            const Stored* v = x + (at + column) * k.g.position;
            for (int s = 0; s * kLanes < (kFull ? kBlock : lanes); ++s)
              sum[s] += load(a + s * kLanes) * load<kFull>(v + s * kLanes, lanes - s * kLanes);
          }
          for (int s = 1; s < kBlock / kLanes; ++s) sum[0] += sum[s];
          for (int lane = 0; lane < kLanes; ++lane) dphi[j * k.t.kernel + tap] += sum[0][lane];
        }
    }
  }
}

// Calls function(Rows) for output rows [first, last) of all clips' rows in one numbering.
template <typename Function>
void by_frames(const Task& k, int64_t first, int64_t last, Function function) {
  for (int64_t row = first; row < last;) {
    const int64_t frame = row / k.h.out, h0 = row % k.h.out;
    const int64_t h1 = std::min(k.h.out, h0 + last - row);
    function(Rows{frame / k.t.out, frame % k.t.out, h0, h1, (row - first) * k.w.out});
    row += h1 - h0;
  }
}

inline int thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

template <int kBlock, bool kFull, typename Stored, typename Real>
void block_maps(const Task& k, const Stored* x, const Real* psi, const Real* phi, Stored* maps,
                Real* b, const Rows& r, int lanes) {
  temporal<kBlock, kFull, Stored, Real>(k, x, phi, b, r, lanes);
  by_atoms<kFull ? 6 : 3>(k.g.m, [&](auto m, int64_t i0) {
    spatial_atoms<decltype(m)::value, kBlock, kFull>(k, b, psi, maps, r, lanes, i0);
  });
}

template <int kBlock, typename Stored, typename Real>
void make_maps(const Geometry& g, const Stored* x, const Real* psi, const Real* phi, Stored* maps,
               Real* scratch, int64_t scratch_size, int64_t first, int64_t last) {
  const Task k(g);
  const int64_t blocks = (g.channels + kBlock - 1) / kBlock;
  // A thread's rows lie together, as the matrix product will divide them.
  const int64_t rows = (last - first + g.threads - 1) / g.threads;
#pragma omp parallel for collapse(2) schedule(static) num_threads(g.threads)
  for (int64_t part = 0; part < g.threads; ++part)
    for (int64_t block = 0; block < blocks; ++block) {
      Real* b = scratch + thread() * scratch_size;
      const int64_t begin = first + part * rows, end = std::min(last, begin + rows);
      const int64_t at = block * kBlock;
      const int lanes = (int)std::min<int64_t>(kBlock, g.channels - at);
      by_frames(k, begin, end, [&](Rows r) {
        r.position += (begin - first) * k.w.out;
        if (lanes == kBlock)
          return block_maps<kBlock, true>(k, x + at, psi, phi, maps + at, b, r, lanes);
        if constexpr (kBlock == kSmall)
          block_maps<kBlock, false>(k, x + at, psi, phi, maps + at, b, r, lanes);
      });
    }
}

template <int kBlock, bool kFull, typename Stored, typename Real>
void block_adjoint(const Task& k, const Stored* x, const Stored* u, const Real* psi,
                   const Real* phi, Real* dx, double* dpsi, double* dphi, Real* b, Real* db,
                   const Rows& r, int lanes) {
  std::memset(db, 0, k.g.n * k.input_rows(r.h1 - r.h0) * k.width * kBlock * sizeof(Real));
  by_atoms<kFull ? 6 : 3>(k.g.m, [&](auto m, int64_t i0) {
    spatial_adjoint<decltype(m)::value, kBlock, kFull>(k, u, psi, db, r, lanes, i0);
  });
  if (dpsi) {
    temporal<kBlock, kFull, Stored, Real>(k, x, phi, b, r, lanes);
    by_atoms<3>(k.g.m, [&](auto m, int64_t i0) {
      spatial_correlation<decltype(m)::value, kBlock, kFull>(k, u, b, dpsi, r, lanes, i0);
    });
  }
  temporal_adjoint<kBlock, kFull, Stored, Real>(k, x, phi, db, dx, dphi, r, lanes);
}

template <int kBlock, typename Stored, typename Real>
void adjoint(const Geometry& g, const Stored* x, const Stored* u, const Real* psi, const Real* phi,
             Real* dx, double* datoms, Real* scratch, int64_t scratch_size, int64_t first,
             int64_t last) {
  const Task k(g);
  const int64_t blocks = (g.channels + kBlock - 1) / kBlock;
  const int64_t taps = g.m * k.h.kernel * k.w.kernel, atoms = taps + g.n * k.t.kernel;
#pragma omp parallel for schedule(static) num_threads(g.threads)
  for (int64_t block = 0; block < blocks; ++block) {
    Real* b = scratch + thread() * scratch_size;
    Real* db = b + scratch_size / 2;
    // A block's sums are its own: no other thread adds to them.
    double* dpsi = datoms ? datoms + block * atoms : nullptr;
    double* dphi = datoms ? dpsi + taps : nullptr;
    const int64_t at = block * kBlock;
    const int lanes = (int)std::min<int64_t>(kBlock, g.channels - at);
    Real* to = dx ? dx + at : nullptr;
    by_frames(k, first, last, [&](const Rows& r) {
      if (lanes == kBlock)
        return block_adjoint<kBlock, true>(k, x + at, u + at, psi, phi, to, dpsi, dphi, b, db, r,
                                           lanes);
      if constexpr (kBlock == kSmall)
        block_adjoint<kBlock, false>(k, x + at, u + at, psi, phi, to, dpsi, dphi, b, db, r, lanes);
    });
  }
}

// [n, rows, columns] to [n, columns, rows].
template <typename T>
void transpose(int64_t n, int64_t rows, int64_t columns, const T* from, T* to, int64_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; ++i)
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = 0; row < rows; ++row)
        to[(i * columns + column) * rows + row] = from[(i * rows + row) * columns + column];
}

}  // namespace

#define STDCF_KERNELS(NAME, STORED, REAL)                                                         \
  extern "C" void maps_##NAME(const Geometry* g, const STORED* x, const REAL* psi,                \
                              const REAL* phi, STORED* maps, REAL* scratch, int64_t scratch_size, \
                              int64_t first, int64_t last) {                                      \
    auto call = g->large_maps ? make_maps<kLarge, STORED, REAL> : make_maps<kSmall, STORED, REAL>; \
    call(*g, x, psi, phi, maps, scratch, scratch_size, first, last);                              \
  }                                                                                               \
  extern "C" void adjoint_##NAME(const Geometry* g, const STORED* x, const STORED* u,             \
                                 const REAL* psi, const REAL* phi, REAL* dx, double* datoms,      \
                                 REAL* scratch, int64_t scratch_size, int64_t first,              \
                                 int64_t last) {                                                  \
    auto call = g->large_adjoint ? adjoint<kLarge, STORED, REAL> : adjoint<kSmall, STORED, REAL>;  \
    call(*g, x, u, psi, phi, dx, datoms, scratch, scratch_size, first, last);                     \
  }                                                                                               \
  extern "C" void transpose_##NAME(int64_t n, int64_t rows, int64_t columns, const STORED* from,  \
                                   STORED* to, int64_t threads) {                                 \
    transpose(n, rows, columns, from, to, threads);                                               \
  }

STDCF_KERNELS(float32, float, float)
STDCF_KERNELS(float64, double, double)
STDCF_KERNELS(bfloat16, bfloat16, float)
