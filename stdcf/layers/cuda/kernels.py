# ruff: noqa: E741, RUF005 -- O is a block of outputs; Triton joins tuples by + alone.
# mypy: ignore-errors
"""Triton kernels: a tile of output positions and channels, with its maps in registers.

A map is Y_ij = Σ φ_j[kt]·ψ_i[kh, kw]·x(position + tap). P is a tile of output positions of one
frame, numbered through clips, rows and columns; C of a group's input channels; O of its output
channels. Tiles are [P, C] where channels are last in memory, else [C, P], so that neighbouring
threads read neighbouring numbers in both layouts; what has a suffix _P, _C or _O is a tile's column
or row, of length 1 in the other axis.

A program makes FRAMES output frames; an input frame that several of them see is filtered in space
once. SEEN has bit r where any of them sees input frame r, counted from the first one's first tap.
Pairs of atoms are taken in steps of M_STEP and N_STEP, as many as the registers hold. Loops over a
frame's taps are functions of their own, for a name that was bound before a loop is carried through
it. Offsets within a clip have 32 bits, clips are reached by 64.
"""

import triton
import triton.language as tl

# Sizes that only bound loops and masks: a kernel serves them all, whatever they are.
_ANY = ["in_t", "in_h", "in_w", "out_t", "out_h", "out_w", "positions", "pad_t", "pad_h", "pad_w"]


@triton.jit
def _along(v, FIRST: tl.constexpr):
    """A vector as a column where it runs along a tile's first axis, else as a row."""
    return v[:, None] if FIRST else v[None, :]


@triton.jit
def _zeros(n: tl.constexpr, P: tl.constexpr, C: tl.constexpr, LAST: tl.constexpr):
    """n tiles."""
    out = ()
    for _ in tl.static_range(n):
        if LAST:
            out = out + (tl.full((P, C), 0.0, tl.float32),)
        else:
            out = out + (tl.full((C, P), 0.0, tl.float32),)
    return out


@triton.jit
def _weight(atoms, number, taps: tl.constexpr, tap, n: tl.constexpr, STEP: tl.constexpr):
    """A tap of atom `number`, which may be beyond the last where STEP does not divide n."""
    if n % STEP == 0:
        weight = tl.load(atoms + number * taps + tap)
    else:
        weight = tl.load(atoms + number * taps + tap, mask=number < n, other=0.0)
    return weight.to(tl.float32)


@triton.jit
def _over_space(x_P, h_P, w_P, valid_P, c_C, valid_C, spatial, i0, in_h, in_w, x_c, x_h, x_w,
                M: tl.constexpr, K_H: tl.constexpr, K_W: tl.constexpr, D_H: tl.constexpr,
                D_W: tl.constexpr, M_STEP: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
                UNROLL: tl.constexpr, LAST: tl.constexpr):  # fmt: skip
    """Z_i, an input frame seen through M_STEP spatial atoms."""
    z = _zeros(M_STEP, P, C, LAST)
    for tap in tl.range(0, K_H * K_W, loop_unroll_factor=UNROLL):
        kh, kw = tap // K_W * D_H, tap % K_W * D_W
        h, w = h_P + kh, w_P + kw
        inside_P = valid_P & (h >= 0) & (h < in_h) & (w >= 0) & (w < in_w)
        at = x_P + (kh * x_h + kw * x_w) + c_C * x_c
        pixels = tl.load(at, mask=inside_P & valid_C, other=0.0).to(tl.float32)
        new = ()
        for i in tl.static_range(M_STEP):
            weight = _weight(spatial, i0 + i, K_H * K_W, tap, M, M_STEP)
            new = new + (z[i] + weight * pixels,)
        z = new
    return z


@triton.jit
def _maps(x_P, t_in, h_P, w_P, valid_P, c_C, valid_C, spatial, temporal, i0, j0,
          in_t, in_h, in_w, x_c, x_t, x_h, x_w,
          M: tl.constexpr, N: tl.constexpr, K_T: tl.constexpr, K_H: tl.constexpr,
          K_W: tl.constexpr, S_T: tl.constexpr, D_T: tl.constexpr, D_H: tl.constexpr,
          D_W: tl.constexpr, FRAMES: tl.constexpr, SEEN: tl.constexpr, M_STEP: tl.constexpr,
          N_STEP: tl.constexpr, P: tl.constexpr, C: tl.constexpr, UNROLL: tl.constexpr,
          LAST: tl.constexpr):  # fmt: skip
    """Y_ij of FRAMES output frames, number (t·M_STEP + i)·N_STEP + j.

    x_P, t_in, h_P and w_P are of the first tap.
    """
    y = _zeros(FRAMES * M_STEP * N_STEP, P, C, LAST)
    for r in tl.static_range((FRAMES - 1) * S_T + (K_T - 1) * D_T + 1):
        if (SEEN >> r) & 1:
            there_P = valid_P & (t_in + r >= 0) & (t_in + r < in_t)
            z = _over_space(x_P + r * x_t, h_P, w_P, there_P, c_C, valid_C, spatial, i0,
                            in_h, in_w, x_c, x_h, x_w, M, K_H, K_W, D_H, D_W, M_STEP,
                            P, C, UNROLL, LAST)  # fmt: skip
            new = ()
            for t in tl.static_range(FRAMES):
                for i in tl.static_range(M_STEP):
                    for j in tl.static_range(N_STEP):
                        total = y[(t * M_STEP + i) * N_STEP + j]
                        for k in tl.static_range(K_T):
                            if t * S_T + k * D_T == r:
                                total += _weight(temporal, j0 + j, K_T, k, N, N_STEP) * z[i]
                        new = new + (total,)
            y = new
    return y


@triton.jit
def _place(tile, positions, out_h, out_w, P: tl.constexpr, LAST: tl.constexpr):
    """Clip, row and column of a tile's positions, and whether there are such."""
    p_P = _along(tile * P + tl.arange(0, P), LAST)
    rest = p_P % (out_h * out_w)
    return p_P // (out_h * out_w), rest // out_w, rest % out_w, p_P < positions


@triton.jit(do_not_specialize=_ANY)
def convolve(x, mixing, spatial, temporal, bias, y,
             x_b, x_c, x_t, x_h, x_w, y_b, y_c, y_t, y_h, y_w,
             in_t, in_h, in_w, out_t, out_h, out_w, positions, group_in, group_out,
             pad_t, pad_h, pad_w,
             M: tl.constexpr, N: tl.constexpr,
             K_T: tl.constexpr, K_H: tl.constexpr, K_W: tl.constexpr,
             S_T: tl.constexpr, S_H: tl.constexpr, S_W: tl.constexpr,
             D_T: tl.constexpr, D_H: tl.constexpr, D_W: tl.constexpr,
             HAS_BIAS: tl.constexpr, LAST: tl.constexpr, PRECISION: tl.constexpr,
             P: tl.constexpr, C: tl.constexpr, O: tl.constexpr,
             FRAMES: tl.constexpr, SEEN: tl.constexpr,
             M_STEP: tl.constexpr, N_STEP: tl.constexpr, UNROLL: tl.constexpr):  # fmt: skip
    """y = Σ_ij Y_ij·α_ij. Grid: output blocks fastest, then frames, then tiles; groups.

    mixing is α as [M·N, groups, C_in/groups, C_out/groups].
    """
    blocks = (group_out + O - 1) // O
    rows = (out_t + FRAMES - 1) // FRAMES
    group, groups = tl.program_id(1), tl.num_programs(1)
    t0 = tl.program_id(0) // blocks % rows * FRAMES
    tile = tl.program_id(0) // blocks // rows
    b_P, h_P, w_P, valid_P = _place(tile, positions, out_h, out_w, P, LAST)
    o_O = _along(tl.program_id(0) % blocks * O + tl.arange(0, O), not LAST)
    valid_O = o_O < group_out

    t_in, ih_P, iw_P = t0 * S_T - pad_t, h_P * S_H - pad_h, w_P * S_W - pad_w
    x_P = x + b_P.to(tl.int64) * x_b
    x_P += group * group_in * x_c + t_in * x_t + ih_P * x_h + iw_P * x_w
    totals = _zeros(FRAMES, P, O, LAST)
    for c0 in range(0, group_in, C):
        c = c0 + tl.arange(0, C)
        c_C = _along(c, not LAST)
        for i0 in range(0, M, M_STEP):
            for j0 in range(0, N, N_STEP):
                maps = _maps(x_P, t_in, ih_P, iw_P, valid_P, c_C, c_C < group_in,
                             spatial, temporal, i0, j0, in_t, in_h, in_w, x_c, x_t, x_h, x_w,
                             M, N, K_T, K_H, K_W, S_T, D_T, D_H, D_W, FRAMES, SEEN,
                             M_STEP, N_STEP, P, C, UNROLL, LAST)  # fmt: skip
                # α's tile is [C, O] or [O, C].
                inner_C = _along(c, LAST)
                for i in tl.static_range(M_STEP):
                    for j in tl.static_range(N_STEP):
                        pair = (i0 + i) * N + j0 + j
                        at = mixing + ((pair * groups + group) * group_in + inner_C) * group_out
                        there = (inner_C < group_in) & (i0 + i < M) & (j0 + j < N) & valid_O
                        alpha = tl.load(at + o_O, mask=there, other=0.0)
                        new = ()
                        for t in tl.static_range(FRAMES):
                            one = maps[(t * M_STEP + i) * N_STEP + j].to(alpha.dtype)
                            if LAST:
                                total = tl.dot(one, alpha, totals[t], input_precision=PRECISION)
                            else:
                                total = tl.dot(alpha, one, totals[t], input_precision=PRECISION)
                            new = new + (total,)
                        totals = new

    channel_O = group * group_out + o_O
    y_P = y + b_P.to(tl.int64) * y_b + (h_P * y_h + w_P * y_w + t0 * y_t)
    for t in tl.static_range(FRAMES):
        total = totals[t]
        if HAS_BIAS:
            total += tl.load(bias + channel_O, mask=valid_O, other=0.0).to(tl.float32)
        there = valid_P & (t0 + t < out_t) & valid_O
        tl.store(y_P + t * y_t + channel_O * y_c, total.to(y.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=[*_ANY, "tiles_each"])
def grad_mixing(x, grad, spatial, temporal, sums,
                x_b, x_c, x_t, x_h, x_w, y_b, y_c, y_t, y_h, y_w,
                in_t, in_h, in_w, out_t, out_h, out_w, positions, group_in, group_out,
                pad_t, pad_h, pad_w, tiles_each,
                M: tl.constexpr, N: tl.constexpr,
                K_T: tl.constexpr, K_H: tl.constexpr, K_W: tl.constexpr,
                S_T: tl.constexpr, S_H: tl.constexpr, S_W: tl.constexpr,
                D_T: tl.constexpr, D_H: tl.constexpr, D_W: tl.constexpr,
                LAST: tl.constexpr, PRECISION: tl.constexpr,
                P: tl.constexpr, C: tl.constexpr, O: tl.constexpr,
                FRAMES: tl.constexpr, SEEN: tl.constexpr,
                M_STEP: tl.constexpr, N_STEP: tl.constexpr, UNROLL: tl.constexpr):  # fmt: skip
    """α's gradient, Σ_positions Y_ij·dJ, of one part of the positions.

    sums: float32 [parts, M·N, groups, C_in/groups, C_out/groups], which are added up afterwards.
    Grid: output blocks fastest, input blocks, steps of atoms; groups; parts of `tiles_each` tiles.
    """
    blocks_o, blocks_c = (group_out + O - 1) // O, (group_in + C - 1) // C
    n_steps: tl.constexpr = (N + N_STEP - 1) // N_STEP
    o = tl.program_id(0) % blocks_o * O + tl.arange(0, O)
    c = tl.program_id(0) // blocks_o % blocks_c * C + tl.arange(0, C)
    step = tl.program_id(0) // blocks_o // blocks_c
    i0, j0 = step // n_steps * M_STEP, step % n_steps * N_STEP
    group, groups, part = tl.program_id(1), tl.num_programs(1), tl.program_id(2)
    c_C, o_O = _along(c, not LAST), _along(o, not LAST)
    channel_O = group * group_out + o_O

    rows = (out_t + FRAMES - 1) // FRAMES
    tiles = (positions + P - 1) // P * rows
    totals = _zeros(M_STEP * N_STEP, C, O, True)
    for number in range(part * tiles_each, tl.minimum((part + 1) * tiles_each, tiles)):
        t0 = number % rows * FRAMES
        b_P, h_P, w_P, valid_P = _place(number // rows, positions, out_h, out_w, P, LAST)
        t_in, ih_P, iw_P = t0 * S_T - pad_t, h_P * S_H - pad_h, w_P * S_W - pad_w
        x_P = x + b_P.to(tl.int64) * x_b
        x_P += group * group_in * x_c + t_in * x_t + ih_P * x_h + iw_P * x_w
        maps = _maps(x_P, t_in, ih_P, iw_P, valid_P, c_C, c_C < group_in,
                     spatial, temporal, i0, j0, in_t, in_h, in_w, x_c, x_t, x_h, x_w,
                     M, N, K_T, K_H, K_W, S_T, D_T, D_H, D_W, FRAMES, SEEN,
                     M_STEP, N_STEP, P, C, UNROLL, LAST)  # fmt: skip
        y_P = grad + b_P.to(tl.int64) * y_b + (h_P * y_h + w_P * y_w + t0 * y_t)
        for t in tl.static_range(FRAMES):
            there = valid_P & (t0 + t < out_t) & (o_O < group_out)
            slope = tl.load(y_P + t * y_t + channel_O * y_c, mask=there, other=0.0)
            if not LAST:
                slope = tl.trans(slope)
            new = ()
            for pair in tl.static_range(M_STEP * N_STEP):
                one = maps[t * M_STEP * N_STEP + pair].to(slope.dtype)
                if LAST:
                    one = tl.trans(one)
                new = new + (tl.dot(one, slope, totals[pair], input_precision=PRECISION),)
            totals = new

    there = (c < group_in)[:, None] & (o < group_out)[None, :]
    for i in tl.static_range(M_STEP):
        for j in tl.static_range(N_STEP):
            pair = part.to(tl.int64) * (M * N) + (i0 + i) * N + j0 + j
            at = sums + ((pair * groups + group) * group_in + c[:, None]) * group_out + o[None, :]
            tl.store(at, totals[i * N_STEP + j], mask=there & (i0 + i < M) & (j0 + j < N))


@triton.jit
def _pull_space(d, x_P, t_in, h_P, w_P, valid_P, c_C, valid_C, atom, in_t, in_h, in_w,
                x_c, x_t, x_h, x_w, to,
                K_H: tl.constexpr, K_W: tl.constexpr, D_H: tl.constexpr, D_W: tl.constexpr,
                span: tl.constexpr, SEEN: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
                UNROLL: tl.constexpr, LAST: tl.constexpr):  # fmt: skip
    """Input frames seen through one spatial atom; stores Σ d·x of each tap."""
    z = _zeros(span, P, C, LAST)
    for tap in tl.range(0, K_H * K_W, loop_unroll_factor=UNROLL):
        kh, kw = tap // K_W * D_H, tap % K_W * D_W
        h, w = h_P + kh, w_P + kw
        inside_P = valid_P & (h >= 0) & (h < in_h) & (w >= 0) & (w < in_w)
        weight = tl.load(atom + tap).to(tl.float32)
        products = _zeros(1, P, C, LAST)[0]
        new = ()
        for r in tl.static_range(span):
            one = z[r]
            if (SEEN >> r) & 1:
                at = x_P + (r * x_t + kh * x_h + kw * x_w) + c_C * x_c
                there = inside_P & (t_in + r >= 0) & (t_in + r < in_t) & valid_C
                pixels = tl.load(at, mask=there, other=0.0).to(tl.float32)
                products += d[r] * pixels
                one += weight * pixels
            new = new + (one,)
        z = new
        tl.store(to + tap, tl.sum(products))
    return z


@triton.jit(do_not_specialize=_ANY)
def grad_atoms(x, grad, mixing, spatial, temporal, spatial_sums, temporal_sums,
               x_b, x_c, x_t, x_h, x_w, y_b, y_c, y_t, y_h, y_w,
               in_t, in_h, in_w, out_t, out_h, out_w, positions, group_in, group_out,
               pad_t, pad_h, pad_w,
               M: tl.constexpr, N: tl.constexpr,
               K_T: tl.constexpr, K_H: tl.constexpr, K_W: tl.constexpr,
               S_T: tl.constexpr, S_H: tl.constexpr, S_W: tl.constexpr,
               D_T: tl.constexpr, D_H: tl.constexpr, D_W: tl.constexpr,
               LAST: tl.constexpr, PRECISION: tl.constexpr,
               P: tl.constexpr, C: tl.constexpr, O: tl.constexpr,
               FRAMES: tl.constexpr, SEEN: tl.constexpr,
               N_STEP: tl.constexpr, UNROLL: tl.constexpr):  # fmt: skip
    """ψ's and φ's gradients of one tile of positions and input channels, for one ψ_i.

    With dY_ij = α_ijᵀ·dJ: dφ_j[kt] = Σ dY_ij·Z_i and dψ_i[tap] = Σ D_i·x, where D_i are an input
    frame's φ_j[kt]·dY_ij. Both are linear in j, so steps of j are summed afterwards like tiles.

    spatial_sums: float32 [M, steps of N, tiles, kH·kW]; temporal_sums: [M, N, kT, tiles].
    Grid: blocks of C fastest, then frames, then tiles; groups; spatial atoms and steps of N.
    """
    blocks = (group_in + C - 1) // C
    rows = (out_t + FRAMES - 1) // FRAMES
    n_steps: tl.constexpr = (N + N_STEP - 1) // N_STEP
    span: tl.constexpr = (FRAMES - 1) * S_T + (K_T - 1) * D_T + 1
    group, groups = tl.program_id(1), tl.num_programs(1)
    i, j0 = tl.program_id(2) // n_steps, tl.program_id(2) % n_steps * N_STEP
    t0 = tl.program_id(0) // blocks % rows * FRAMES
    tile = tl.program_id(0) // blocks // rows
    b_P, h_P, w_P, valid_P = _place(tile, positions, out_h, out_w, P, LAST)
    c_C = _along(tl.program_id(0) % blocks * C + tl.arange(0, C), not LAST)

    y_P = grad + b_P.to(tl.int64) * y_b + (h_P * y_h + w_P * y_w + t0 * y_t)
    slopes = _zeros(FRAMES * N_STEP, P, C, LAST)
    for o0 in range(0, group_out, O):
        # dJ's tile is [P, O] or [O, P], α's [O, C] or [C, O].
        o_O = _along(o0 + tl.arange(0, O), not LAST)
        inner_O = _along(o0 + tl.arange(0, O), LAST)
        alphas = ()
        for j in tl.static_range(N_STEP):
            at = mixing + (((i * N + j0 + j) * groups + group) * group_in + c_C) * group_out
            there = (c_C < group_in) & (j0 + j < N) & (inner_O < group_out)
            alphas = alphas + (tl.load(at + inner_O, mask=there, other=0.0),)
        new = ()
        for t in tl.static_range(FRAMES):
            there = valid_P & (t0 + t < out_t) & (o_O < group_out)
            at = y_P + t * y_t + (group * group_out + o_O) * y_c
            slope = tl.load(at, mask=there, other=0.0)
            for j in tl.static_range(N_STEP):
                one = slopes[t * N_STEP + j]
                if LAST:
                    one = tl.dot(slope, alphas[j], one, input_precision=PRECISION)
                else:
                    one = tl.dot(alphas[j], slope, one, input_precision=PRECISION)
                new = new + (one,)
        slopes = new

    d = ()
    for r in tl.static_range(span):
        total = _zeros(1, P, C, LAST)[0]
        for t in tl.static_range(FRAMES):
            for k in tl.static_range(K_T):
                if t * S_T + k * D_T == r:
                    for j in tl.static_range(N_STEP):
                        weight = _weight(temporal, j0 + j, K_T, k, N, N_STEP)
                        total += weight * slopes[t * N_STEP + j]
        d = d + (total,)

    t_in, ih_P, iw_P = t0 * S_T - pad_t, h_P * S_H - pad_h, w_P * S_W - pad_w
    x_P = x + b_P.to(tl.int64) * x_b
    x_P += group * group_in * x_c + t_in * x_t + ih_P * x_h + iw_P * x_w
    tiles = tl.num_programs(0).to(tl.int64) * groups
    number = tl.program_id(0).to(tl.int64) * groups + group
    to = spatial_sums + ((i * n_steps + j0 // N_STEP) * tiles + number) * (K_H * K_W)
    z = _pull_space(d, x_P, t_in, ih_P, iw_P, valid_P, c_C, c_C < group_in, spatial + i * K_H * K_W,
                    in_t, in_h, in_w, x_c, x_t, x_h, x_w, to, K_H, K_W, D_H, D_W, span, SEEN,
                    P, C, UNROLL, LAST)  # fmt: skip
    for j in tl.static_range(N_STEP):
        for k in tl.static_range(K_T):
            products = _zeros(1, P, C, LAST)[0]
            for t in tl.static_range(FRAMES):
                products += slopes[t * N_STEP + j] * z[t * S_T + k * D_T]
            at = temporal_sums + ((i * N + j0 + j) * K_T + k) * tiles + number
            tl.store(at, tl.sum(products), mask=j0 + j < N)
