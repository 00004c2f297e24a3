"""A published table of video networks, of which each row exists twice: by its authors' recipe
("own", which is what compares with the published accuracies) and by one recipe for all ("common").

Tables 3 and 4 declare themselves with `RecipeSuite`, which makes their runs, tables and dry run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from baselines.recipes import Recipe
from stdcf.stages.stage import Stage
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.engine.weights import IMAGENET, OWN
from suites.experiments.shared import recipes
from suites.experiments.shared.video_systems import KINETICS, MEMORY_BATCH, System, clip, make_spec
from suites.experiments.shared.video_tables import (
    Line,
    PublishedTable,
    cost_tables,
    tables_of_recipes,
)
from suites.tables.table import Table

STDCF_R50 = "STDCF-R50"
# Of the quick profiles: a twelfth of the pixels.
SMALL_CLIPS: Mapping[str, Any] = {
    "crop": 64,
    "short_side": [72, 90],
    "test_crop": 64,
    "test_short_side": 72,
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a profile sets.

    Attributes:
        epochs: of full-size learning.
        data: options of the data set.
        is_published: rows that the paper starts from ImageNet do so, and own recipes keep their
            epochs and batches; otherwise they have those of the profile, and their rates in
            proportion.
    """

    epochs: int
    batch_size: int
    seeds: int = 1
    data: Mapping[str, Any]
    is_published: bool = True


P = TypeVar("P", bound=Profile)


@dataclass(frozen=True)
class RecipeSuite(Generic[P]):
    """What differs between such tables.

    Attributes:
        title: "Table 3".
        name: of the suite.
        file, key: see `PublishedTable`.
        classes: of the published networks.
        stdcf: the paper's network, which learns at full size and by ITSL.
        others: published name -> network and mode.
        iterations: of ITSL.
        own: model -> its authors' recipe.
        schedules: of the common recipe, by mode; epochs are --epochs, of full-size learning.
        own_itsl: ITSL whose stages train as this one does. Also takes by what the rate of the
            profile's batch is to be multiplied.
        common: cells of the common recipe in the table of recipes, then what it is.
    """

    title: str
    name: str
    file: str
    key: str
    classes: int
    stdcf: System
    others: Mapping[str, tuple[System, str]]
    iterations: int
    own: Mapping[str, Recipe]
    profiles: Mapping[str, P]
    schedules: Callable[[P, int | None], Mapping[str, Sequence[Stage]]]
    own_itsl: Callable[[Stage, P, int | None, float], Sequence[Stage]]
    common: tuple[Sequence[str], str]

    def dataset_options(self, request: Request) -> dict[str, Any]:
        """Those of the networks that see 8 frames."""
        return recipes.clip_options(self.profiles[request.profile].data, {}, request)

    def specs(self, request: Request, manifest: str) -> list[RunSpec]:
        """Every row for the first seed, then for the next; own recipes and STDCF's rows first."""
        kinds = recipes.asked(request)
        request = recipes.without_choice(request)
        profile = self.profiles[request.profile]
        make = {"own": self._by_own, "common": self._by_common}
        rows = ((self.stdcf, "full"), (self.stdcf, "itsl"), *self.others.values())
        return [
            make_spec(
                replace(system, starts_from=self._start(fields.pop("starts_from"), profile)),
                request,
                suite=self.name,
                manifest=manifest,
                seed=seed,
                num_classes=self.classes,
                **fields,
            )
            for seed in request.each_seed(profile.seeds)
            for kind in kinds
            for system, mode in rows
            for fields in [make[kind](system, mode, request)]
        ]

    def _start(self, origin: str | None, profile: P) -> str | None:
        return None if origin == IMAGENET and not profile.is_published else origin

    def _by_common(self, system: System, mode: str, request: Request) -> dict[str, Any]:
        profile = self.profiles[request.profile]
        return {
            "mode": mode,
            "stages": self.schedules(profile, request.epochs)[mode],
            "batch_size": profile.batch_size,
            "data_options": self.dataset_options(request),
            "starts_from": system.starts_from,
        }

    def _by_own(self, system: System, mode: str, request: Request) -> dict[str, Any]:
        profile, recipe = self.profiles[request.profile], self.own[system.model]
        # Folders of frames have no times to resample by.
        data = {k: v for k, v in recipe.data.items() if k != "fps" or request.dataset in KINETICS}
        usual = profile.is_published
        batch_size = recipe.batch_size if usual else profile.batch_size
        epochs = request.epochs or (None if usual else profile.epochs)
        (full,) = stages = recipe.stages(epochs, batch_size)
        if mode == "itsl":
            share = batch_size / recipe.batch_size
            stages = tuple(self.own_itsl(full, profile, request.epochs, share))
        return {
            "mode": mode + OWN,
            "stages": stages,
            "batch_size": batch_size,
            "data_options": recipes.clip_options(profile.data, data, request),
            "model_options": {"dropout": recipe.dropout},
            "starts_from": recipe.starts_from,
        }

    @property
    def published_tables(self) -> tuple[PublishedTable, PublishedTable]:
        """The published rows and their runs, by own recipes and by the common one."""
        named = {**self.others, STDCF_R50: (self.stdcf, "full")}
        parts = {f"{STDCF_R50}-{kind}-{self.iterations}": kind for kind in "ts"}
        counted_at = {name: clip(s.frames, s.counted_size) for name, (s, _) in named.items()}
        own, common = (
            PublishedTable(
                title=self.title,
                file=self.file,
                key=self.key,
                lines=tuple(self._lines(suffix)),
                counted_at=counted_at | dict.fromkeys(parts, counted_at[STDCF_R50]),
                recipe=recipe,
            )
            for recipe, suffix in (("own", OWN), ("common", ""))
        )
        return own, common

    def _lines(self, suffix: str) -> Iterator[Line]:
        def line(name: str, system: System, mode: str, stage: str, *strides: int) -> Line:
            run = (system.model, system.layer, mode + suffix)
            return Line(name, run, stage, system.frames, *strides)

        last = self.iterations
        for name, (system, mode) in self.others.items():
            yield line(name, system, mode, "full")
        yield line(f"{STDCF_R50}-t-{last}", self.stdcf, "itsl", f"t{last}", 1, 2)
        yield line(f"{STDCF_R50}-s-{last}", self.stdcf, "itsl", f"s{last}", 2, 1)
        yield line(STDCF_R50, self.stdcf, "full", "full")

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        """Accuracy by each recipe, cost in the paper's setting, and the recipes."""
        return [*tables_of_recipes(self.published_tables, rows, MEMORY_BATCH), self._recipes()]

    def plan(self, specs: Sequence[RunSpec]) -> list[Table]:
        """The cost of every row and the memory of every stage, predicted, and the recipes."""
        # Of the authors' recipes, where there are such.
        first = [spec for spec in specs if spec.mode.endswith(OWN)] or specs
        costs = {(s.model, s.layer, s.mode): predict_cost(s) for s in first if s.seed == 0}
        return [*cost_tables(self.published_tables, costs, MEMORY_BATCH), self._recipes()]

    def _recipes(self) -> Table:
        named = {**self.others, STDCF_R50: (self.stdcf, "full")}
        own = [(name, self.own[system.model]) for name, (system, _) in named.items()]
        return recipes.recipe_table(self.title, own, *self.common)

    def suite(self, title: str, datasets: Sequence[str], bind: Any) -> Suite:
        """The suite, with its title, data sets and where its runs' weights come from."""
        return Suite(
            name=self.name,
            title=f"{self.title}: {title}",
            profiles=tuple(self.profiles),
            datasets=datasets,
            dataset_options=self.dataset_options,
            specs=self.specs,
            tables=self.tables,
            figures=no_figures,
            plan=self.plan,
            bind=bind,
            options=("recipe",),
        )
