"""Shows how far a suite is: bars on a terminal, a line a run elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from suites.engine.runner import Job
from suites.engine.spec import RunSpec


class RunDisplay:
    """A context in which `update` and `ended` may be called."""

    def __init__(self, suite: str, done_before: int) -> None:
        self._console = Console(highlight=False)
        self._suite = suite
        self._done_before = done_before
        self._started = time.monotonic()
        self._start_cost: float | None = None
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[detail]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "RunDisplay":
        self._total = self._progress.add_task(self._suite, total=1.0, detail="")
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, jobs: Sequence[Job]) -> None:
        """Moves the bars."""
        total = sum(job.cost for job in jobs)
        done = sum(job.cost * job.fraction for job in jobs)
        ended = sum(job.done for job in jobs)
        count = f"{self._done_before + ended} of {self._done_before + len(jobs)} runs"
        self._progress.update(
            self._total,
            completed=done / (total or 1.0),
            detail=f"{count}, {self._time_left(done, total)}",
        )
        for job in jobs:
            if job.process is not None and not job.done:
                self._show(job)

    def ended(self, job: Job, result: dict[str, Any] | None) -> None:
        """Takes a run's bar away and says how it ended."""
        name = job.folder.path.name
        if name in self._bars:
            self._progress.remove_task(self._bars.pop(name))
        result = result or {"status": "error", "reason": "no row"}
        self._console.print(describe_end(job.spec, result), markup=False)

    def _show(self, job: Job) -> None:
        name, state = job.folder.path.name, job.state
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(f"  {label(job.spec)}", total=1.0, detail="")
        detail = state.get("status", "starting")
        if "stage" in state:
            detail = (
                f"stage {state['stage']}, epoch {state['epoch']}/{state['epochs']}, "
                f"{state['clips_per_second']:.0f} clips/s"
            )
        self._progress.update(self._bars[name], completed=job.fraction, detail=detail)

    def _time_left(self, done: float, total: float) -> str:
        # What a resumed run had done before is not this session's speed.
        if self._start_cost is None:
            self._start_cost, self._started = done, time.monotonic()
        gained = done - self._start_cost
        if gained <= 0:
            return "estimating"
        seconds = (time.monotonic() - self._started) * (total - done) / gained
        minutes, seconds = divmod(int(seconds), 60)
        return (
            f"{minutes // 60} h {minutes % 60} min left"
            if minutes >= 60
            else (f"{minutes} min {seconds:02d} s left")
        )


def label(spec: RunSpec) -> str:
    """A run by what tells it from its neighbours."""
    fold = [spec.fold] if spec.fold else []
    words = [spec.layer or spec.model, spec.mode, *fold, f"seed {spec.seed}"]
    return " ".join(word for word in words if word)


def describe_end(spec: RunSpec, result: Mapping[str, Any]) -> str:
    """How a run ended, in one line."""
    if result["status"] == "ok" and "read_off" in result:
        text = f"accuracy {100 * result['accuracy']:.2f}%, read off {result['read_off']}"
    elif result["status"] == "ok" and "summary" in result:
        text = result["summary"]
    elif result["status"] == "ok":
        text = f"accuracy {100 * result['accuracy']:.2f}%, {result['train_seconds']:.0f} s"
    else:
        text = f"{result['status']}: {result['reason']}"
    return f"{label(spec)}: {text}"
