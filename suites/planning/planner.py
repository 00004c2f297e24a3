"""Which ways of training fit under a cap: a few are predicted, all interpolated, some confirmed.

The peak of a step is affine in the positions that it trains on (clips × frames × height × width):
two batches of full-size clips give that of every batch, micro-batch and stage of ITSL. What is to
be shown is then predicted exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stdcf.errors import UserError
from stdcf.memory.cuda.cudnn_fallback import Versions
from stdcf.memory.predict import Predictor
from stdcf.memory.report import CONTEXT_BYTES, MemoryReport
from stdcf.memory.savers.names import canonical
from stdcf.stages.stage import Stage
from suites.planning.ways import (
    ACCUMULATED,
    BASES,
    FULL_SIZE,
    MICRO_BATCHES,
    Schedule,
    Way,
    parse_micro_batches,
    preference,
)

_ON_CUDA = ("allocated_bytes", "smallest_cap_bytes", "reserved_bytes")


@dataclass(frozen=True)
class _Line:
    """A quantity as constant + slope · clips of full size."""

    constant: float
    slope: float

    def at(self, clips: float) -> float:
        return self.constant + self.slope * clips


@dataclass(frozen=True)
class _Base:
    lines: dict[str, _Line]
    host: _Line
    relative_macs: float
    gradient_bytes: int
    clip_bytes: int


class Planner:
    """Plans for one model and one clip.

    Args:
        clip_shape: [C, T, H, W].
        device: whose operators and allocator are modelled, "cuda" or "cpu".
        alloc_conf: see `predict_peak`.
        context_bytes: what CUDA's context takes of the cap; 0 where the cap is the allocator's own.
        versions: of torch and cuDNN in the run; None: this machine's.
        options: further ones of `predict_peak`, such as the optimiser.

    Raises:
        UserError: if the model cannot be built or does not take the clip.
    """

    def __init__(
        self,
        model_fn: Callable[[], nn.Module],
        clip_shape: tuple[int, int, int, int],
        batch: int,
        *,
        device: str = "cuda",
        alloc_conf: str = "",
        context_bytes: int = CONTEXT_BYTES,
        versions: Versions | None = None,
        **options: Any,
    ) -> None:
        self._clip_shape, self._batch, self._on_cuda = clip_shape, batch, device != "cpu"
        self._options = options
        self._context_bytes = context_bytes if self._on_cuda else 0
        self._predictor = Predictor(model_fn, device, alloc_conf, versions)
        self._reports: dict[Any, MemoryReport] = {}
        # Savers that this model cannot have, and why.
        self.left_out: dict[str, str] = {}

    def ways(self, found: Sequence[Schedule], cap_bytes: int) -> list[Way]:
        """Every combination, interpolated, the best first."""
        ways = []
        for savers in BASES:
            base = self._base(savers)
            if base is None:
                continue
            for schedule in found:
                whole = self._interpolated(schedule, savers, 1, base, cap_bytes)
                ways.append(whole)
                # A batch that fits needs no parts.
                if savers in ACCUMULATED and not whole.fits(cap_bytes):
                    ways += self._accumulated(schedule, savers, base, cap_bytes)
        return sorted(ways, key=lambda way: preference(way, cap_bytes))

    def way(self, schedule: Schedule, savers: Sequence[str], cap_bytes: int) -> Way:
        """One combination, interpolated.

        Raises:
            UserError: if the model cannot have the savers.
        """
        plain = tuple(word for word in canonical(savers) if not word.startswith("accumulate"))
        base = self._base(plain)
        if base is None:
            raise UserError(self.left_out["+".join(plain)])
        return self._interpolated(schedule, plain, parse_micro_batches(savers), base, cap_bytes)

    def confirmed(self, way: Way) -> Way | None:
        """The same way, predicted exactly; None if the model does not take a stage's clips."""
        try:
            found = [self._exact(stage, way) for stage in way.schedule.stages]
        except UserError as error:
            self.left_out[way.schedule.name] = str(error)
            return None
        sizes: dict[str, Any] = {
            name: max(of(report) + more for report, more in found)
            for name, of in self._quantities.items()
        }
        return replace(
            way,
            **sizes,
            host_bytes=max(report.host_bytes for report, _ in found),
            confirmed=True,
        )

    def needs_bytes(self, way: Way, clip: tuple[int, int, int]) -> int:
        """What a way needs, with margin and context, on other clips [T, H, W].

        Raises:
            UserError: if the model does not take them.
        """
        of = self._quantities["needs_bytes"]
        stages = way.schedule.stages
        return max(of(self._report(stage, way.savers, way.batch, clip)) for stage in stages)

    def testing_bytes(self, way: Way) -> int:
        """What a test of full-size clips needs in batches of the same size, by the way's types."""
        key = ("test", "bf16" in way.savers)
        if key not in self._reports:
            options = {k: v for k, v in self._options.items() if k in ("optimizer", "inputs")}
            autocast = "bfloat16" if "bf16" in way.savers else None
            shape = (self._batch, *self._clip_shape)
            self._reports[key] = self._predictor.evaluation(shape, autocast=autocast, **options)
        return self._quantities["needs_bytes"](self._reports[key])

    @property
    def has_batch_norm(self) -> bool:
        """Whether the model normalises by statistics of the batch."""
        return any(isinstance(m, _BatchNorm) for m in self._predictor.model.modules())

    def report(self, way: Way) -> MemoryReport:
        """The prediction of a way's step, of ITSL of its larger stage.

        Raises:
            UserError: if the model does not take the clips.
        """
        found = [self._report(stage, way.savers, way.batch) for stage in way.schedule.stages]
        return max(found, key=lambda report: report.smallest_cap_bytes or report.peak_bytes)

    def _exact(self, stage: Stage, way: Way) -> tuple[MemoryReport, int]:
        """A step, and what of the batch is not in it.

        All micro-batches from the second on are alike; beside them lie the clips of the others.
        """
        micro_batches = way.micro_batches
        if micro_batches <= 2:
            return self._report(stage, way.savers, way.batch), 0
        two = 2 * way.batch // micro_batches
        savers = tuple("accumulate=2" if "=" in word else word for word in way.savers)
        report = self._report(stage, savers, two)
        return report, report.breakdown["batch"] * (way.batch - two) // two

    def _base(self, savers: tuple[str, ...]) -> _Base | None:
        """A saver's line: through its own peak at the batch, and what plain steps need without
        clips, which is of parameters, gradients and the optimiser's state.
        """
        large = max(self._batch, 2)
        plain = self._report(FULL_SIZE[0], (), large)
        half = self._report(FULL_SIZE[0], (), large // 2)
        try:
            own = self._report(FULL_SIZE[0], savers, large)
        except UserError as error:
            self.left_out["+".join(savers)] = str(error)
            return None

        def line(of: Callable[[MemoryReport], float]) -> _Line:
            slope = (of(plain) - of(half)) / (large - large // 2)
            constant = min(max(of(plain) - slope * large, 0), of(own))
            return _Line(constant, (of(own) - constant) / large)

        return _Base(
            {name: line(of) for name, of in self._quantities.items()},
            _Line(0, own.host_bytes / large),
            (own.macs or 0) / (plain.macs or 1),
            own.breakdown["parameters"],
            own.breakdown["batch"] // large,
        )

    def _accumulated(
        self, schedule: Schedule, savers: tuple[str, ...], base: _Base, cap_bytes: int
    ) -> list[Way]:
        """The fewest micro-batches that fit, or the most that there can be."""
        counts = [n for n in MICRO_BATCHES if self._batch % n == 0]
        ways = [self._interpolated(schedule, savers, n, base, cap_bytes) for n in counts]
        fitting = [way for way in ways if way.fits(cap_bytes)]
        return fitting[:1] or ways[-1:]

    def _interpolated(
        self,
        schedule: Schedule,
        savers: tuple[str, ...],
        micro_batches: int,
        base: _Base,
        cap_bytes: int,
    ) -> Way:
        largest = max(stage.relative_cost() for stage in schedule.stages)
        # Beside a micro-batch lie the other clips and, from the second on, all gradients.
        more_slope = base.clip_bytes * largest * (1 - 1 / micro_batches)
        more = base.gradient_bytes if micro_batches > 1 else 0

        def at(line: _Line, clips: int) -> int:
            own = line.at(clips * largest / micro_batches)
            return round(own + more + more_slope * clips)

        needs = base.lines["needs_bytes"]
        per_clip = needs.slope * largest / micro_batches + more_slope
        left_bytes = cap_bytes - needs.constant - more
        accumulate = (f"accumulate={micro_batches}",) if micro_batches > 1 else ()
        sizes: dict[str, Any] = dict.fromkeys(_ON_CUDA)
        sizes |= {name: at(line, self._batch) for name, line in base.lines.items()}
        return Way(
            schedule=schedule,
            savers=(*savers, *accumulate),
            batch=self._batch,
            **sizes,
            context_bytes=self._context_bytes,
            host_bytes=round(base.host.at(self._batch * largest / micro_batches)),
            step_cost=schedule.step_cost * base.relative_macs,
            training_cost=schedule.training_cost * base.relative_macs,
            room=max(left_bytes / per_clip, 0.0) if per_clip > 0 else 0.0,
            fixed_bytes=round(needs.constant) + more,
        )

    @property
    def _quantities(self) -> dict[str, Callable[[MemoryReport], int]]:
        """What is read off a prediction, by `Way`'s names."""

        def read(name: str) -> Callable[[MemoryReport], int]:
            return lambda report: getattr(report, name)

        if not self._on_cuda:
            return {"peak_bytes": read("peak_bytes"), "needs_bytes": read("peak_bytes")}
        return {name: read(name) for name in ("peak_bytes", *_ON_CUDA)} | {
            "needs_bytes": lambda report: report.needs_bytes(self._context_bytes)
        }

    def _report(
        self,
        stage: Stage,
        savers: tuple[str, ...],
        batch: int,
        clip: tuple[int, int, int] | None = None,
    ) -> MemoryReport:
        channels, *asked = self._clip_shape
        shape = (batch, channels, *(clip or asked))
        key = (stage, savers, shape)
        if key not in self._reports:
            try:
                report = self._predictor.peak(shape, stage=stage, savers=savers, **self._options)
            except UserError:
                raise
            # Whatever a model of anyone's own raises on a clip that it does not take.
            except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
                if savers and (stage, (), shape) in self._reports:
                    raise
                size = "×".join(map(str, stage.clip_shape(shape)))
                first = (str(error) or type(error).__name__).splitlines()[0]
                raise UserError(f"the model does not take clips {size}: {first}") from error
            self._reports[key] = report
        return self._reports[key]
