"""One run of any model, layer, clip, batch and savers: what `suites.plan` proposes.

    python -m suites.run single --option model=r3d.py:build --option clip=16x112x112 \\
        --option savers=bf16,checkpoint --cap 4GiB
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stdcf.errors import UserError
from stdcf.memory.savers.names import canonical, label
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.imported_model import is_import_path, source_digest
from suites.engine.request import beta_gamma, clip_size
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite
from suites.experiments.shared.kth import DATASETS

# The defaults; the paper's KTH setting, cut short.
DEFAULTS: dict[str, Any] = {
    "model": "kth_cnn",
    "layer": "regular",
    "clip": "16x60x80",
    "channels": 1,
    "batch": 16,
    "mode": "full",
    "itsl": "2,2",
    "iterations": 3,
    "savers": "",
    "optimizer": "adam",
    "lr": 1e-3,
}
EPOCHS = 5
MODES = ("full", "itsl")


def dataset_options(request: Request) -> dict[str, Any]:
    """Clips of the size that the options name."""
    options = _options(request)
    frames, *size = clip_size("--option clip", str(options["clip"]))
    found = {"size": size, "clip_frames": frames, "channels": options["channels"]}
    return found | dict(request.data_options)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """The run, for each seed."""
    options = _options(request)
    model, layer, mode = str(options["model"]), str(options["layer"]), str(options["mode"])
    savers = canonical(str(options["savers"]))
    own = {"model_sha256": source_digest(model)} if is_import_path(model) else {}
    return [
        request.spec(
            "single",
            manifest,
            dataset_options=dataset_options(request),
            model=model,
            layer=layer,
            options=own,
            mode="-".join([mode, *map(label, savers)]),
            stages=_stages(mode, options, request.epochs or EPOCHS),
            seed=seed,
            batch_size=options["batch"],
            savers=savers,
        )
        for seed in request.each_seed(1)
    ]


def _options(request: Request) -> Mapping[str, Any]:
    options = DEFAULTS | dict(request.options)
    for name in ("channels", "batch", "iterations"):
        if not isinstance(options[name], int) or options[name] < 1:
            raise UserError(
                f"--option {name} must be a whole number of at least 1, not {options[name]!r}"
            )
    if options["mode"] not in MODES:
        raise UserError(f"--option mode must be one of {', '.join(MODES)}, not {options['mode']!r}")
    return options


def _stages(mode: str, options: Mapping[str, Any], epochs: int) -> tuple[Stage, ...]:
    common: dict[str, Any] = {
        "epochs": epochs,
        "lr": options["lr"],
        "optimizer": options["optimizer"],
    }
    try:
        if mode == "full":
            return full_size(**common)
        beta, gamma = beta_gamma("--option itsl", str(options["itsl"]))
        return itsl(options["iterations"], beta=beta, gamma=gamma, **common)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--option lr or optimizer: {' '.join(str(error).split())}") from error


def tables(rows: Sequence[Row]) -> list[Any]:
    """Accuracy, memory and time of each run."""
    from suites.experiments.single.tables import table

    return [table(rows)] if rows else []


SUITE = Suite(
    name="single",
    title="One run of any model, layer, clip and savers, as suites.plan proposes",
    profiles=("own",),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    options=tuple(DEFAULTS),
)
