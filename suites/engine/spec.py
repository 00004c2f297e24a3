"""A run is a frozen spec; its id is a hash of what changes the result."""

import hashlib
import json
import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stdcf.errors import UserError
from stdcf.frozen import Frozen
from stdcf.memory.savers.names import canonical
from stdcf.stages.stage import Stage

# Labels that sort runs into tables; two runs that differ in these alone give the same numbers.
_LABELS = frozenset({"suite", "profile", "mode", "overrides", "base_manifest"})

# What is done with the weights, or beside them, with the values that say nothing is.
_NOT_TRAINING: dict[str, Any] = {"options": {}, "published": None, "epochs_override": None}

_ORIGIN = r"^(imagenet|kinetics400|kinetics400-tsm_r50)(:[0-9a-f]{64})?$"

# Tasks that train a classifier by the stages; see `suites.engine.registry`.
_TRAINING = ("train", "train_and_test", "stage_maps")

# Of a stage, what its optimizer is made with.
_OPTIMIZER_FIELDS = (
    "optimizer",
    "nesterov",
    "atom_lr",
    "bias_lr",
    "head_lr",
    "weight_decay",
    "no_decay",
)

# The data set of runs that need none.
NO_DATA = "none"


class PublishedSetting(Frozen):
    """The setting of the published memory figure, for which the peak is predicted beside the run's.

    Attributes:
        input_shape: [B, C, T, H, W] of a full-size batch.
        model_options: changes to the run's.
        counted_shape: of the clip whose multiply-accumulates are published; None: none are.
    """

    input_shape: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    num_classes: PositiveInt
    model_options: dict[str, Any] = {}
    counted_shape: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt] | None = (
        None
    )


class RunSpec(Frozen):
    """All that determines one run's result: never a path, a host or an executor.

    Attributes:
        manifest: SHA-256 of the clips it is trained and tested on.
        base_manifest: of the clips that its table is about, where its own are a variation of them.
        task: what the run does, a name in `suites.engine.registry.TASKS`.
        options: what a task other than "train" is asked for.
        mode: "full", "itsl" or a control's name; what it means stands in `stages`.
        savers: names of the memory savers (see `stdcf.memory.savers`); "bf16" among them is amp.
        device: "cpu" or "cuda"; which one of several is not part of the run.
        threads: of torch within a step; results differ in the last digits between 1 and 2.
        epochs_override: the user's --epochs, shown in the title.
        overrides: the user's other options as words, such as "test_persons=fold-eli".
        cap_bytes: limit on the peak memory of a training step.
        ranks: processes that train it together, a device each; batch_size is of all of them.
        sync_batchnorm: batch normalisation over the batch of all ranks, not over each one's part.
        starts_from: where all weights but the classifier's come from, "imagenet" or "kinetics400",
            or TIN's from "kinetics400-tsm_r50", with the SHA-256 of the file (see
            `suites.engine.weights`); None: they are drawn.
        published: adds columns to the row and changes nothing else.
    """

    schema_version: Literal[1] = 1
    task: str = "train"
    options: dict[str, Any] = {}
    suite: str
    profile: str
    dataset: str = NO_DATA
    dataset_options: dict[str, Any] = {}
    manifest: str = NO_DATA
    base_manifest: str | None = None
    model: str = ""
    model_options: dict[str, Any] = {}
    layer: str = ""
    layer_options: dict[str, Any] = {}
    mode: str
    stages: Annotated[tuple[Stage, ...], Field(validate_default=True)] = ()
    seed: Annotated[int, Field(ge=0)]
    batch_size: PositiveInt = 1
    amp: bool = False
    savers: tuple[str, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"
    threads: PositiveInt = 1
    epochs_override: PositiveInt | None = None
    overrides: tuple[str, ...] = ()
    cap_bytes: PositiveInt | None = None
    ranks: PositiveInt = 1
    sync_batchnorm: bool = True
    starts_from: Annotated[str, Field(pattern=_ORIGIN)] | None = None
    published: PublishedSetting | None = None

    @model_validator(mode="before")
    @classmethod
    def _bf16_is_amp(cls, content: Any) -> Any:
        savers = content.get("savers") if isinstance(content, dict) else None
        if isinstance(savers, list | tuple) and "bf16" in savers:
            return content | {"amp": True}
        return content

    @field_validator("savers")
    @classmethod
    def _one_spelling(cls, savers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word for word in canonical(savers) if word != "bf16")

    @property
    def techniques(self) -> tuple[str, ...]:
        """All savers by name, autocast among them."""
        return canonical((*self.savers, *(["bf16"] if self.amp else [])))

    @field_validator("stages")
    @classmethod
    def _stages_fit(cls, stages: tuple[Stage, ...], info: ValidationInfo) -> tuple[Stage, ...]:
        if info.data.get("task") in _TRAINING and not stages:
            raise ValueError("training needs at least 1")
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names):
            raise ValueError(f"each stage needs a name of its own, not {', '.join(names)}")
        for before, stage in pairwise(stages):
            if stage.fresh_optimizer:
                continue
            for field in _OPTIMIZER_FIELDS:
                old, new = getattr(before, field), getattr(stage, field)
                if new != old:
                    raise ValueError(
                        f"stage {stage.name} goes on with {before.name}'s optimizer, so its "
                        f"{field} cannot change from {old} to {new}; set fresh_optimizer"
                    )
        return stages

    @property
    def is_training(self) -> bool:
        """Whether it trains a classifier by its stages, whatever it does with it then."""
        return self.task in _TRAINING

    def as_published(self) -> "RunSpec":
        """With the model of the published setting."""
        assert self.published is not None, "only a run beside a published one has such a setting"
        return self.changed(model_options={**self.model_options, **self.published.model_options})

    @property
    def fold(self) -> str | None:
        """The fold that it is tested on, "fold-eli" or "split2"; None of an ordinary split."""
        split = self.dataset_options.get("split")
        if isinstance(split, int):
            return f"split{split}"
        persons = self.dataset_options.get("test_persons")
        return persons if isinstance(persons, str) and persons.startswith("fold-") else None

    @property
    def training_id(self) -> str:
        """The same for runs whose weights are the same after training, whatever is done then."""
        return self.changed(task="train", **_NOT_TRAINING).run_id

    def training_apart(self, *fields: str) -> str:
        """The same for runs whose weights differ, if they do, by these fields alone."""
        aside = {*_LABELS, *_NOT_TRAINING, "task", *fields}
        content = self.model_dump(mode="json", exclude=aside, exclude_defaults=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @property
    def run_id(self) -> str:
        """12 hex digits."""
        # A later field whose default means what was done before changes no id.
        content = self.model_dump(mode="json", exclude=set(_LABELS), exclude_defaults=True)
        content["schema_version"] = self.schema_version
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def setting(self) -> str:
        """Names the table that the run belongs to: data set, profile and what departs from it."""
        parts = [self.profile] if self.dataset == NO_DATA else [self.dataset, self.profile]
        if self.epochs_override is not None:
            parts.append(f"epochs{self.epochs_override}")
        if self.device != "cpu":
            parts.append(self.device)
        # A mode that names it stands beside modes without it, in one table.
        if self.amp and "bf16" not in re.split(r"[-+]", self.mode):
            parts.append("bf16")
        if self.cap_bytes is not None:
            parts.append(f"cap{self.cap_bytes}")
        if self.ranks > 1:
            parts.append(f"{self.ranks}ranks" + ("" if self.sync_batchnorm else "-own-batchnorm"))
        parts += [re.sub(r"[^\w.=,+-]", "_", word) for word in self.overrides]
        return "-".join(parts)

    @property
    def folder_name(self) -> str:
        """Where the run lies under a results folder; but for the id unique within a suite."""
        words = [self.layer or self.model, self.mode, f"s{self.seed}", self.run_id]
        # Where the setting says it, it is the user's own choice for all runs.
        own = {f"test_persons={self.fold}", f"split={self.dataset_options.get('split')}"}
        if self.fold is not None and not own & {*self.overrides}:
            words.insert(2, self.fold)
        name = "-".join(re.sub(r"[^\w.=,+-]", "_", word) for word in words if word)
        return f"{self.suite}/{self.setting}/{name}"


_NESTED: dict[str, type[BaseModel]] = {"stages": Stage, "published": PublishedSetting}


def parse_spec(text: str) -> RunSpec:
    """Reads a spec.json.

    Raises:
        UserError: naming the field that is wrong, what was given and what is valid.
    """
    try:
        return RunSpec.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"invalid spec: {describe(error)}") from error


# Of a pydantic error's complaints, how many are told.
_TOLD = 3


def describe(error: ValidationError) -> str:
    """A pydantic error as one line."""
    lines, names_told = [], False
    found = error.errors()
    for item in found[:_TOLD]:
        loc = item["loc"]
        line = f"{'.'.join(str(part) for part in loc) or 'spec'}: {item['msg']}"
        if item["type"] == "extra_forbidden" and not names_told:
            model = _NESTED.get(str(loc[0]), RunSpec) if len(loc) > 1 else RunSpec
            line += f"; there are {', '.join(model.model_fields)}"
            names_told = True
        if item["type"] != "missing":
            line += f" (given: {item['input']!r:.60})"
        lines.append(" ".join(line.split()))
    more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return "; ".join([*lines, *more])
