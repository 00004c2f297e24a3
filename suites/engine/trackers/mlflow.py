"""MLflow: a database in the results folder unless $MLFLOW_TRACKING_URI names a server."""

import os
from pathlib import Path

from suites.engine.trackers.tracked import TrackedRun

# What MLflow takes of a parameter.
_LONGEST_PARAMETER = 500


def send(run: TrackedRun, folder: Path) -> None:
    """Writes one MLflow run, in an experiment named by suite and setting."""
    from mlflow import MlflowClient

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    name = f"{run.suite}/{run.setting}"
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)
    made = client.create_run(experiment, run_name=run.name).info.run_id
    for key, value in run.config.items():
        client.log_param(made, key, str(value)[:_LONGEST_PARAMETER])
    for epoch, values in run.points:
        for metric, value in values.items():
            client.log_metric(made, metric, value, step=epoch)
    for metric, value in run.summary.items():
        client.log_metric(made, f"row/{metric}", value)
    status = run.row.get("status")
    client.set_tag(made, "status", status)
    client.set_terminated(made, "FINISHED" if status == "ok" else "FAILED")
