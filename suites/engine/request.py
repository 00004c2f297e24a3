"""The words of a command line, checked, as a request of a suite."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stdcf.data.sets.roots import FILE_OPTIONS, named_from_root
from stdcf.errors import UserError
from stdcf.sizes import parse_bytes
from suites.engine.spec import NO_DATA
from suites.engine.suite import FLAGS, Request, Suite


def make_request(
    suite: Suite,
    profile: str | None,
    dataset: str | None,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    folds: int | None = None,
    cap: str | None = None,
    amp: bool = False,
    device: str | None = None,
    ranks: int = 1,
    sync_batchnorm: bool = True,
    cluster_device: str | None = None,
    data_root: Path | None = None,
    data_options: Sequence[str] = (),
    model_options: Sequence[str] = (),
    layer_options: Sequence[str] = (),
    options: Sequence[str] = (),
    video: Path | None = None,
    checkpoints: Sequence[Path] = (),
) -> Request:
    """The command line's words, checked.

    Args:
        cluster_device: of the nodes that the runs are sent to; None: they run on this machine,
            which must have `device`.
        video, checkpoints: options of the suite too, where it has them; a video takes the place
            of a data set.

    Raises:
        UserError: for what the suite does not know or honour, or this machine does not have.
    """
    profile = profile or suite.profiles[0]
    if profile not in suite.profiles:
        raise UserError(f"no profile {profile!r}; {suite.name} has {', '.join(suite.profiles)}")
    files = {"video": video, "checkpoint": list(checkpoints)}
    for name, given in files.items():
        if given and name not in suite.options:
            raise UserError(f"{suite.name} takes no --{name}")
    if video is not None and dataset is not None:
        raise UserError("--video is all the data: give no --dataset beside it")
    dataset = NO_DATA if video is not None else dataset or suite.datasets[0]
    if dataset not in suite.datasets:
        raise UserError(f"{suite.name} does not run on {dataset!r}; on {', '.join(suite.datasets)}")
    for option, value in (
        ("--seeds", seeds),
        ("--epochs", epochs),
        ("--folds", folds),
        ("--ranks", ranks),
    ):
        if value is not None and value < 1:
            raise UserError(f"{option} must be at least 1, not {value}")
    if data_root is not None and dataset == NO_DATA:
        raise UserError(f"{suite.name} reads no data set here: leave out --data-root")
    if ranks == 1 and not sync_batchnorm:
        raise UserError("--no-sync-batchnorm is for --ranks above 1")
    request = Request(
        profile=profile,
        dataset=dataset,
        seeds=seeds,
        epochs=epochs,
        folds=folds,
        amp=amp,
        cap_bytes=None if cap is None else parse_bytes(cap),
        device=device or "cpu",
        ranks=ranks,
        sync_batchnorm=sync_batchnorm,
        data_options=parse_data_options(data_options, dataset, data_root),
        model_options=dict(name_and_value("--model-option", text) for text in model_options),
        layer_options=_layer_options(layer_options),
        options=_suite_options(suite, options)
        | {name: given for name, given in files.items() if given},
    )
    _check_taken(suite, request)
    if cluster_device is None:
        return replace(request, device=_checked_device(request.device))
    return replace(request, device=cluster_device if _takes(suite, dataset, "device") else "cpu")


def parse_data_options(
    texts: Sequence[str], dataset: str, data_root: Path | None
) -> dict[str, Any]:
    """NAME=VALUE of a data set; files are named from its folder."""
    options = dict(name_and_value("--data-option", text) for text in texts)
    for name in FILE_OPTIONS:
        if isinstance(options.get(name), str):
            options[name] = named_from_root(options[name], dataset, data_root)
    return options


def _takes(suite: Suite, dataset: str, field: str) -> bool:
    return field in (suite.takes_without_data if dataset == NO_DATA else suite.takes)


def _check_taken(suite: Suite, request: Request) -> None:
    """UserError for the first option that no run of the suite would honour."""
    usual = Request(request.profile, request.dataset)
    for field, flag in FLAGS.items():
        given = getattr(request, field) != getattr(usual, field)
        if given and not _takes(suite, request.dataset, field):
            without = request.dataset == NO_DATA and len(suite.datasets) > 1
            raise UserError(
                f"{suite.name} takes no {flag}{' without a --dataset' * without}: {suite.because}"
            )


def _suite_options(suite: Suite, texts: Sequence[str]) -> dict[str, Any]:
    options = dict(name_and_value("--option", text) for text in texts)
    for name in options:
        if name not in suite.options:
            known = f"has {', '.join(suite.options)}" if suite.options else "takes none"
            raise UserError(f"no --option {name!r}; {suite.name} {known}")
    return options


def _layer_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, value = name_and_value("--layer-option", text)
        layer, dot, name = path.partition(".")
        if not dot:
            raise UserError(f"--layer-option takes LAYER.NAME=VALUE, not {text!r}")
        options.setdefault(layer, {})[name] = value
    return options


def _checked_device(device: str) -> str:
    kind, _, index = device.partition(":")
    if device == "cpu":
        return device
    if kind != "cuda" or not (index.isdecimal() or device == "cuda"):
        raise UserError(f"--device must be cpu, cuda or cuda:N, not {device!r}")
    import torch

    if int(index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"no {device} on this machine ({torch.cuda.device_count()} CUDA devices); --device cpu"
        )
    return f"cuda:{index or 0}"


def name_and_value(flag: str, text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as JSON where it is JSON, else as a word.

    Raises:
        UserError: for anything else, naming the flag.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"{flag} takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def clip_size(flag: str, text: str) -> tuple[int, int, int]:
    """Frames, height and width of "8x224x224".

    Raises:
        UserError: for anything else, naming the flag.
    """
    match = re.fullmatch(r"(\d+)[x×](\d+)[x×](\d+)", text.strip())
    if match is None or "0" in match.groups():
        raise UserError(f"{flag} takes frames x height x width, as 8x224x224, not {text!r}")
    frames, height, width = map(int, match.groups())
    return frames, height, width


def beta_gamma(flag: str, text: str) -> tuple[int, int]:
    """β and γ of "2,2".

    Raises:
        UserError: for anything else, naming the flag.
    """
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None or "0" in match.groups():
        raise UserError(f"{flag} takes β,γ of at least 1, as 2,2, not {text!r}")
    return int(match[1]), int(match[2])
