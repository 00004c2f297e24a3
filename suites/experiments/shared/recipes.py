"""Rows that exist twice: by their authors' recipe ("own") and by one recipe for all ("common")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from baselines.recipes import Recipe
from stdcf.errors import UserError
from stdcf.stages.stage import Stage, itsl
from suites.engine.suite import Request
from suites.engine.weights import describe
from suites.tables.table import Table

RECIPES = ("own", "common")
# What a schedule sets for each of its stages itself.
_OF_A_SCHEDULE = {"name", "temporal_stride", "spatial_scale", "dilation", "test_dilation", "trains"}
_OF_A_SCHEDULE |= {"gamma"}  # of which ITSL has another


def asked(request: Request) -> tuple[str, ...]:
    """The recipes to run: both, unless --option recipe= names one.

    Raises:
        UserError: if it names anything else.
    """
    word = request.options.get("recipe", "both")
    if word not in (*RECIPES, "both"):
        raise UserError(f"--option recipe must be own, common or both, not {word!r}")
    return RECIPES if word == "both" else (word,)


def without_choice(request: Request) -> Request:
    """The request by which runs are named: a row is the same whichever others are asked for."""
    return replace(request, options={k: v for k, v in request.options.items() if k != "recipe"})


def clip_options(
    profile: Mapping[str, Any], own: Mapping[str, Any], request: Request
) -> dict[str, Any]:
    """A data set's options: the profile's, over them the recipe's, over them the user's."""
    options = {**profile, **own, **request.data_options}
    if options.get("multi_scale") and "short_side" not in request.data_options:
        # The profile's, which such crops have no use for.
        options.pop("short_side", None)
    return options


def two_stage(full: Stage, iterations: int, **changes: Any) -> tuple[Stage, ...]:
    """ITSL whose stages train as a full-size stage does, but for `changes`."""
    return itsl(iterations, **full.changed(**changes).model_dump(exclude=_OF_A_SCHEDULE))


def recipe_table(
    title: str, rows: Iterable[tuple[str, Recipe]], common: Sequence[str], common_text: str
) -> Table:
    """What each row's own recipe is and where it comes from, then the common one.

    Args:
        rows: published name and recipe.
        common: its cells from "Starts from" to "Else".
        common_text: what it is.
    """
    body, notes = [], []
    for name, recipe in rows:
        stage = recipe.stage
        body.append(
            [
                name,
                "own",
                describe(recipe.starts_from),
                f"{stage.epochs} × {recipe.batch_size}",
                _rate(stage),
                _decay(stage),
                "; ".join(_more(recipe)),
                recipe.source,
            ]
        )
        notes += [f"{name}: {sentence}" for sentence in recipe.differs]
    body.append(["all", "common", *common, common_text])
    columns = ["Model", "Recipe", "Starts from", "Epochs × batch", "Rate", "Decay", "Else"]
    return Table(
        title=f"{title}: recipes, as declared in baselines/recipes",
        columns=[*columns, "Source"],
        rows=body,
        notes=["what differs from the source:", *notes],
    )


def _rate(stage: Stage) -> str:
    words = [f"{stage.lr:g}"]
    if stage.schedule == "cosine":
        words.append("cosine")
    if stage.milestones:
        words.append(f"÷{1 / stage.gamma:g} at {', '.join(map(str, stage.milestones))}")
    if stage.warmup_epochs:
        rise = f" from {stage.lr * stage.warmup_start:g}" if stage.per_step else ""
        words.append(f"warm-up {stage.warmup_epochs}{rise}")
    if stage.per_step:
        words.append("per step")
    return ", ".join(words)


def _decay(stage: Stage) -> str:
    kinds = {"bias": "biases", "norm": "BatchNorm", "atoms": "atoms"}
    but = " and ".join(kinds[kind] for kind in stage.no_decay)
    return f"{stage.weight_decay or 0:g}" + (f", not of {but}" if but else "")


def _more(recipe: Recipe) -> list[str]:
    stage, data = recipe.stage, recipe.data
    words = [f"dropout {recipe.dropout:g}"]
    if stage.nesterov:
        words.append("Nesterov")
    if stage.bias_lr != 1:
        words.append(f"biases ×{stage.bias_lr:g}")
    if stage.head_lr != 1:
        words.append(f"classifier ×{stage.head_lr:g}")
    if stage.clip_norm is not None:
        words.append(f"gradient cut at {stage.clip_norm:g}")
    if stage.frozen_norm != "none":
        which = "all but the first" if stage.frozen_norm == "but_first" else "all"
        words.append(f"BatchNorm frozen: {which}")
    if stage.precise_batches:
        words.append(f"precise BatchNorm of {stage.precise_batches} batches")
    if "multi_scale" in data:
        words.append("multi-scale crops")
    if "fps" in data:
        words.append(f"resampled to {data['fps']:g} frames a second")
    if "sampling" in data:
        words.append(str(data["sampling"]))
    return words
