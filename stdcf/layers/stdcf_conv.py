"""The STDCF layer: a 3D convolution whose filter is decomposed jointly over space and time."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from stdcf.layers import auto, measuring
from stdcf.layers.atoms import INITS, rescale_, reset_bias_
from stdcf.layers.checks import check_size
from stdcf.layers.composed import Parameters, compose
from stdcf.layers.fit import fit_atoms
from stdcf.layers.padding import (
    PADDING_MODES,
    Triple,
    extent,
    pad_input,
    pad_sides,
    padding_for_extent,
    triple,
)
from stdcf.layers.plain import PLANS, Options
from stdcf.layers.plans import run_plan


class STDCFConv3d(nn.Module):
    """A 3D convolution with the filter W = Σ_ij α^ij ψ_i φ_j (paper §2.1, Eq. 1 and 2).

    Takes nn.Conv3d's arguments, and maps [B, C_in, T, H, W] to nn.Conv3d's output shape.

    Attributes:
        spatial_atoms: ψ, [M, kH, kW], shared by all channels.
        temporal_atoms: φ, [N, kT], shared by all channels.
        coefficients: α, [C_out, C_in/groups, M·N], index i·N + j.
        bias: [C_out] or None.
        memory_limit_bytes: of what "auto" may use beside input, output and their gradients.

    Args:
        num_spatial_atoms: M.
        num_temporal_atoms: N.
        plan: how it is executed: "composed", "spatial_first", "temporal_first", "factored" or
            "auto", which takes the fastest for each input (see `explain`); settable at any time,
            and no plan changes output or gradients.
        init: how the parameters start, a name of `stdcf.layers.atoms.INITS`: "kaiming" (random
            atoms, the dense filter's variance), "balanced" (the same filter, all parts of one
            size), "orthogonal" (random atoms at right angles), "normal" (DCFNet's draw),
            "fourier_bessel" or "dct" (fixed atoms of the lowest frequencies, the dense filter's
            variance).

    Raises:
        ValueError: for arguments that make no convolution, or more atoms than `init` has.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        num_spatial_atoms: int = 3,
        num_temporal_atoms: int = 2,
        plan: str = "auto",
        init: str = "kaiming",
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                "in_channels and out_channels must be at least 1, "
                f"not {in_channels} and {out_channels}"
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels: "
                f"groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        if num_spatial_atoms < 1 or num_temporal_atoms < 1:
            raise ValueError(
                "num_spatial_atoms and num_temporal_atoms must be at least 1, "
                f"not {num_spatial_atoms} and {num_temporal_atoms}"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {', '.join(PADDING_MODES)}, not {padding_mode!r}"
            )
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, not {init!r}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"padding must be ints, 'same' or 'valid', not {padding!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: Triple = triple(kernel_size, "kernel_size")
        self.stride: Triple = triple(stride, "stride")
        self.padding: str | Triple = (
            padding if isinstance(padding, str) else triple(padding, "padding", 0)
        )
        self.dilation: Triple = triple(dilation, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        self.init = init
        if padding == "same" and any(s != 1 for s in self.stride):
            raise ValueError(f"padding='same' needs stride 1, not {self.stride}")
        self.plan = plan
        self.memory_limit_bytes: int | None = None

        k_t, k_h, k_w = self.kernel_size
        kw = {"device": device, "dtype": dtype}
        self.spatial_atoms = nn.Parameter(torch.empty(num_spatial_atoms, k_h, k_w, **kw))
        self.temporal_atoms = nn.Parameter(torch.empty(num_temporal_atoms, k_t, **kw))
        self.coefficients = nn.Parameter(
            torch.empty(
                out_channels, in_channels // groups, num_spatial_atoms * num_temporal_atoms, **kw
            )
        )
        self.bias: nn.Parameter | None
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, **kw))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        INITS[self.init](*self._parts)
        if self.bias is not None:
            k_t, k_h, k_w = self.kernel_size
            reset_bias_(self.bias, self.in_channels // self.groups * k_t * k_h * k_w)

    def reset_by_fan_out(self) -> None:
        """Draws all parameters anew; the composed filter gets the variance 2 / fan_out.

        It is that of nn.Conv3d under ``kaiming_normal_(mode="fan_out")`` (He et al., 2015), so that
        networks start alike with either layer. The bias is 0; "normal" keeps DCFNet's variance.
        """
        self.reset_parameters()
        taps = math.prod(self.kernel_size)
        fan_in, fan_out = self.in_channels // self.groups * taps, self.out_channels * taps
        rescale_(self.init, *self._parts, 2 / fan_out * 3 * fan_in)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.spatial_atoms, self.temporal_atoms, self.coefficients

    @property
    def plan(self) -> str:
        """The execution plan asked for."""
        return self._plan

    @plan.setter
    def plan(self, plan: str) -> None:
        if plan != "auto" and plan not in PLANS:
            raise ValueError(f"plan must be one of auto, {', '.join(PLANS)}, not {plan!r}")
        self._plan = plan

    @property
    def num_spatial_atoms(self) -> int:
        """M."""
        return self.spatial_atoms.shape[0]

    @property
    def num_temporal_atoms(self) -> int:
        """N."""
        return self.temporal_atoms.shape[0]

    def compose_weight(self) -> Tensor:
        """The dense filter, [C_out, C_in/groups, kT, kH, kW] (Eq. 2)."""
        return compose(self._parameters_in_order)

    @property
    def _parameters_in_order(self) -> Parameters:
        return self.coefficients, self.spatial_atoms, self.temporal_atoms

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T', H', W']; one clip may come without B, too."""
        if isinstance(x_BCTHW, fx.Proxy):
            # A leaf of the graph, as torch.fx makes one of nn.Conv3d by its name.
            tracer = x_BCTHW.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(self), (x_BCTHW,), {})
        if x_BCTHW.ndim == 4:
            return self.forward(x_BCTHW[None])[0]
        call = self._call(x_BCTHW)
        plan = self.plan
        if plan == "auto":
            plan = auto.plan_of(*call, self.memory_limit_bytes)
        return run_plan(plan, *call, self.bias)

    def _call(self, x_BCTHW: Tensor) -> tuple[Tensor, Parameters, Options]:
        """The input, padded where a convolution cannot do it, the parameters, and the rest."""
        sides = pad_sides(self.padding, self.kernel_size, self.dilation)
        x_BCTHW, padding = pad_input(x_BCTHW, sides, self.padding_mode)
        check_size(x_BCTHW, self.in_channels, self.kernel_size, padding, self.dilation)
        options = Options(self.stride, padding, self.dilation, self.groups)
        return x_BCTHW, self._parameters_in_order, options

    def explain(
        self,
        input_shape: Sequence[int],
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> str:
        """What "auto" takes for an input of this shape, [B, C_in, T, H, W], and why."""
        call = self._call(self._example(input_shape, dtype, memory_format))
        found = auto.situation(*call)
        return auto.explain(found, auto.choose(found, self.memory_limit_bytes))

    def tune(
        self,
        input_shape: Sequence[int],
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> str:
        """Measures on this machine what "auto" may take, keeps it in `plan_book.book_file()`.

        Returns:
            `explain` with the measured times.
        """
        measuring.tune(*self._call(self._example(input_shape, dtype, memory_format).normal_()))
        return self.explain(input_shape, dtype, memory_format)

    def _example(
        self, shape: Sequence[int], dtype: torch.dtype | None, memory_format: torch.memory_format
    ) -> Tensor:
        like = self.coefficients
        x = torch.empty(*shape, dtype=dtype or like.dtype, device=like.device)
        return x.to(memory_format=memory_format) if x.ndim == 5 else x

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """ψ is spatial, φ temporal and α joint (§2.2)."""
        return {
            "spatial": [self.spatial_atoms],
            "temporal": [self.temporal_atoms],
            "joint": [self.coefficients],
        }

    def set_dilation(self, temporal: int = 1, spatial: int = 1) -> None:
        """Dilates the atoms (§2.3); the padding follows so that output sizes stay.

        Raises:
            ValueError: if no whole padding does that; nothing is changed then.
        """
        dilation = triple((temporal, spatial, spatial), "dilation")
        self.padding = padding_for_extent(
            self.padding,
            extent(self.kernel_size, self.dilation),
            extent(self.kernel_size, dilation),
        )
        self.dilation = dilation

    def swap_atoms(self, spatial: Tensor | None = None, temporal: Tensor | None = None) -> None:
        """Replaces atoms by as many of any size, everything else kept (§2.1.2).

        Args:
            spatial: [M, kH', kW'].
            temporal: [N, kT'].

        The padding becomes padding + d·(k_new − k_old)/2, so output sizes stay. A new size is a new
        parameter: an optimiser made before must be made again.

        Raises:
            ValueError: for another number of atoms, or if no whole padding exists; nothing is
                changed.
        """
        k_t, k_h, k_w = self.kernel_size
        if spatial is not None:
            self._check_atoms("spatial", spatial, self.spatial_atoms)
            k_h, k_w = spatial.shape[1:]
        if temporal is not None:
            self._check_atoms("temporal", temporal, self.temporal_atoms)
            k_t = temporal.shape[1]
        padding = padding_for_extent(
            self.padding,
            extent(self.kernel_size, self.dilation),
            extent((k_t, k_h, k_w), self.dilation),
        )
        if spatial is not None:
            self.spatial_atoms = self._as_parameter(spatial, self.spatial_atoms)
        if temporal is not None:
            self.temporal_atoms = self._as_parameter(temporal, self.temporal_atoms)
        self.kernel_size, self.padding = (k_t, k_h, k_w), padding

    def inflate(self, weight_OCHW: Tensor) -> None:
        """Starts from a 2D filter, repeated over time and divided by kT, fitted in least squares.

        The first temporal atom becomes constant and the spatial atoms the best M. Atoms that this
        needs none of keep their values, with coefficients 0 that training can raise. The bias
        becomes 0.
        """
        m, k_t = min(self.num_spatial_atoms, weight_OCHW[0, 0].numel()), self.kernel_size[0]
        spatial, _, fitted, _ = fit_atoms(weight_OCHW.unsqueeze(2), m, 1)
        with torch.no_grad():
            self.spatial_atoms[:m] = spatial.to(self.spatial_atoms)
            self.temporal_atoms[0] = k_t**-0.5
            self.coefficients.zero_()
            first = self.coefficients.unflatten(2, (-1, self.num_temporal_atoms))[:, :, :m, 0]
            first.copy_(fitted * k_t**-0.5)
            if self.bias is not None:
                self.bias.zero_()

    @staticmethod
    def _check_atoms(part: str, new: Tensor, old: Tensor) -> None:
        if new.ndim != old.ndim or new.shape[0] != old.shape[0] or 0 in new.shape:
            sizes = "kH, kW" if part == "spatial" else "kT"
            raise ValueError(
                f"{part} atoms must have shape [{old.shape[0]}, {sizes}], not {list(new.shape)}"
            )

    @staticmethod
    def _as_parameter(new: Tensor, old: nn.Parameter) -> nn.Parameter:
        value = new.detach().to(device=old.device, dtype=old.dtype, copy=True)
        return nn.Parameter(value, requires_grad=old.requires_grad)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding!r}, dilation={self.dilation}, "
            f"groups={self.groups}, bias={self.bias is not None}, "
            f"M={self.num_spatial_atoms}, N={self.num_temporal_atoms}, plan={self.plan!r}"
        )
