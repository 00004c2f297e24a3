"""Which operators' saved tensors may be off by a little, and the gradient by no more than that."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Their gradients are products with what they save, or with a bounded slope at it. Of the others
# some divide by it (division, logarithm, root, norm), take its exponential (attention, which saves
# the logarithm of its sums, and its mask) or multiply by small values beside a large one (softmax):
# there a little makes inf, NaN or nonsense.
_IX = ("", "_with_indices")
LINEAR = frozenset(
    {
        *(f"conv{transpose}{n}d" for transpose in ("", "_transpose") for n in (1, 2, 3)),
        *("linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot"),
        *("addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addmv", "einsum", "tensordot"),
        *("mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply", "square"),
        *("addcmul", "addcmul_", "lerp", "lerp_", "prelu"),
        *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu"),
        *("gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "hardtanh_", "glu"),
        *("sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "logsigmoid"),
        *("dropout", "dropout_", "native_dropout", "feature_dropout", "alpha_dropout"),
        *(f"dropout{n}d" for n in (1, 2, 3)),
        *(f"{kind}_pool{n}d" for kind in ("avg", "adaptive_avg") for n in (1, 2, 3)),
        *(f"{kind}max_pool{n}d{ix}" for kind in ("", "adaptive_") for n in (1, 2, 3) for ix in _IX),
    }
)
# Linear in their input, but not in the statistics that they save beside it.
NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm"})

_Rule = Callable[[Tensor], bool]


def _nothing(tensor: Tensor) -> bool:
    return False


def _anything(tensor: Tensor) -> bool:
    return True


def layers_of_parts(model: nn.Module) -> list[nn.Module]:
    """The layers with ``parts()``, which are convolutions of their own."""
    return [m for m in model.modules() if callable(getattr(m, "parts", None))]


@contextmanager
def hooked(
    layers: Iterable[nn.Module], before: Callable[..., None], after: Callable[..., None]
) -> Iterator[None]:
    """Within, `before` is called ahead of each layer's forward and `after` behind it, always."""
    handles = []
    for layer in layers:
        handles.append(layer.register_forward_pre_hook(before))
        handles.append(layer.register_forward_hook(after, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class BoundedOperators(TorchFunctionMode):
    """Knows at each moment whether what is saved just now may be off by a little.

    Of autograd functions of a user's own nothing is known, so they save exactly; those of layers
    with ``parts()`` are convolutions.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._takes: _Rule = _nothing
        self._layers = layers_of_parts(model)

    def takes(self, tensor: Tensor) -> bool:
        """Whether a tensor that is saved now may be off by a little."""
        return self._takes(tensor)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around forward."""
        before, after = (lambda *_: self._set(_anything)), (lambda *_: self._set(_nothing))
        with hooked(self._layers, before, after), self:
            yield

    def _set(self, rule: _Rule) -> None:
        self._takes = rule

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, before = getattr(func, "__name__", ""), self._takes
        if name in LINEAR:
            self._takes = _anything
        elif name in NORMS:
            values = (args[0] if args else kwargs["input"]).numel()
            self._takes = lambda tensor: tensor.numel() == values
        try:
            return func(*args, **kwargs)
        finally:
            self._takes = before
