"""``python -m suites.synthetic_card``: the card of the embedded data set.

kth_cnn with regular layers, trained and tested on full clips, on every second frame, at half size
and on one frame: what the data asks of time and of detail. It runs what is missing, as suites do.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from stdcf.errors import UserError
from stdcf.training.stage import full_size
from suites import store
from suites.catalog import load_dataset
from suites.cli import EXIT_ROWS_NOT_OK, new_app, run
from suites.display import RunDisplay
from suites.runner import default_workers, make_jobs, run_missing
from suites.spec import RunSpec
from suites.stats import estimate

DATASET = "synthetic_actions"
CONDITIONS: dict[str, dict[str, Any]] = {
    "full_clip": {},
    "every_second_frame": {"frames": "every_second"},
    "half_size": {"size": [30, 40]},
    "one_frame": {"frames": "one"},
}
LABELS = {
    "full_clip": "full clip, 16×60×80",
    "every_second_frame": "every second frame, 8×60×80",
    "half_size": "half size, 16×30×40",
    "one_frame": "one frame",
}

app = new_app("Measure what the synthetic data set asks of time and of detail.")


def specs(manifests: dict[str, str], seeds: int, epochs: int, amp: bool) -> list[RunSpec]:
    """Every condition for the first seed, then for the next."""
    return [
        RunSpec(
            suite="synthetic_card",
            profile="paper",
            dataset=DATASET,
            dataset_options=options,
            manifest=manifests[condition],
            model="kth_cnn",
            layer="regular",
            mode=condition,
            stages=full_size(epochs=epochs, lr=1e-3, milestones=(epochs * 3 // 4,)),
            seed=seed,
            batch_size=16,
            amp=amp,
        )
        for seed in range(seeds)
        for condition, options in CONDITIONS.items()
    ]


@app.command()
def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of each run.")] = 32,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 autocast.")] = False,
    results: Annotated[
        Path | None, typer.Option(help="Where runs are kept; default results/local.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time; changes no result.")] = None,
) -> int:
    """Run what is missing of the card, then print it."""
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, not {workers}")
    folder = (results or store.LOCAL).expanduser().resolve()
    store.check_writable(folder)
    manifests = {
        condition: load_dataset(DATASET, None, **options).manifest
        for condition, options in CONDITIONS.items()
    }
    wanted = specs(manifests, seeds, epochs, amp)
    jobs, done = make_jobs(wanted, folder)
    count = workers or default_workers("cpu")
    with RunDisplay("synthetic_card", done) as display:
        run_missing(jobs, workers=count, device="cpu", data_root=None, display=display)
    rows = {row["run_id"]: row for row in store.rows(folder, "synthetic_card")}
    typer.echo("| clips | accuracy, % (95% interval) | seeds |\n|---|---|---|")
    missing = 0
    for condition in CONDITIONS:
        mine = [rows.get(spec.run_id, {}) for spec in wanted if spec.mode == condition]
        found = [100 * row["accuracy"] for row in mine if row.get("status") == "ok"]
        missing += len(mine) - len(found)
        typer.echo(f"| {LABELS[condition]} | {_shown(found)} | {len(found)} |")
    return EXIT_ROWS_NOT_OK if missing else 0


def _shown(values: list[float]) -> str:
    if not values:
        return "—"
    found = estimate(values)
    return f"{found.mean:.1f}" + (f" ± {found.half_width:.1f}" if found.half_width else "")


if __name__ == "__main__":
    run(app)
