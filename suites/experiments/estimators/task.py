"""Every estimator's number for each step of one network, beside what a GPU measured."""

import time
from importlib import metadata
from typing import Any

from suites.engine.task import Run
from suites.experiments.estimators.ways import ESTIMATORS, Estimator
from suites.experiments.gpu_evidence.cases import Case
from suites.experiments.gpu_evidence.shipped import measured_steps

_KEPT = ("device", "finished", "peak_bytes", "reserved_bytes")


def measure(run: Run) -> dict[str, Any]:
    """The task "estimators"."""
    run.settle()
    measured, found = measured_steps(), []
    for one in run.spec.options["cases"]:
        estimates = {}
        for name, estimator in ESTIMATORS.items():
            run.stop_if_asked()
            estimates[name] = estimated(estimator, one)
        step = measured.get(one["name"])
        known = None if step is None else {key: step[key] for key in _KEPT}
        found.append({"name": one["name"], "measured": known, "estimates": estimates})
    states = [one["status"] for step in found for one in step["estimates"].values()]
    return {
        "status": "ok",
        "reason": None,
        "cases": found,
        "summary": f"{states.count('ok')} of {len(states)} estimates",
    }


def estimated(estimator: Estimator, one: Case) -> dict[str, Any]:
    """A step's bytes by name; or that the package is missing, or how it failed."""
    version = ""
    if estimator.package:
        try:
            version = metadata.version(estimator.package)
        except metadata.PackageNotFoundError:
            return {"status": "missing", "reason": f"pip install --no-deps {estimator.package}"}
    started = time.perf_counter()
    try:
        found = estimator.estimate(one)
    except MemoryError:
        raise
    except Exception as error:
        # Other people's programs fail in any way.
        first = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first}"[:200]
        return {"status": "failed", "reason": reason, "version": version}
    seconds = time.perf_counter() - started
    return {"status": "ok", "bytes": dict(found), "seconds": seconds, "version": version}
