"""``python -m suites.run NAME``: runs what is missing of a suite, then prints its table."""

import time
from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites.cli import EXIT_ROWS_NOT_OK, new_app, run
from suites.engine.config_file import config_text, use_config

app = new_app("Run what is missing of a suite, then print its table beside the published one.")


@app.command()
def main(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="The suite, or a .py file with one; --list shows them.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True, callback=use_config, help="A TOML file of these options; see docs."
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print such a file of the options given.")
    ] = False,
    list_suites: Annotated[bool, typer.Option("--list", help="List the suites.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and run nothing.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="quick (minutes on a laptop) or paper (its own schedule).")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set; the default is synthetic.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Its folder; default $STDCF_DATA/NAME or data/NAME.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Where runs are kept; default results/local.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs a stage; milestones scale with it.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="How many folds: persons left out in turn, or official splits."),
    ] = None,
    cap: Annotated[
        str | None, typer.Option(help="Limit on a training step's peak memory, as 4GiB.")
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="bfloat16 autocast.")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or cuda:N; default cpu, or what the cluster profile has."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time; changes no result.")] = None,
    data_option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the data set, as test_persons=fold-eli; repeatable."),
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the model, as dropout=0.3; repeatable.")
    ] = None,
    layer_option: Annotated[
        list[str] | None,
        typer.Option(help="LAYER.NAME=VALUE, as stdcf.num_spatial_atoms=6; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the suite itself, as single's savers; repeatable."),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="kinetics_gradcam: the file to look at.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="kinetics_gradcam: stage-NAME.pt in a run's folder; repeatable."),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="local, or slurm: send the runs to a cluster.")
    ] = "local",
    cluster: Annotated[
        Path | None,
        typer.Option(help="Its settings; default $STDCF_CLUSTER or cluster.toml."),
    ] = None,
    cluster_profile: Annotated[
        str | None, typer.Option(help="Which profile of that file, if there are several.")
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of the profile, as partition=a100; repeatable."),
    ] = None,
    ranks: Annotated[
        int, typer.Option(help="Processes a run, each with a device of its own; needs slurm.")
    ] = 1,
    sync_batchnorm: Annotated[
        bool, typer.Option(help="Batch normalisation over the batch of all ranks.")
    ] = True,
    detach: Annotated[
        bool, typer.Option(help="With slurm: end when the runs are sent, or wait for them.")
    ] = True,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send more than 50 jobs without asking.")
    ] = False,
    archive: Annotated[
        Path | None,
        typer.Option(help="Put the ended runs into this .tar, for suites.results import."),
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Tell a tracker of each run when it ends: tensorboard, wandb, mlflow or trackio; "
            "repeatable."
        ),
    ] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; the same command goes on.")
    ] = None,
    budget_gpu_hours: Annotated[
        float | None,
        typer.Option(help="Only the trainings that fit, by what they decide; see --dry-run."),
    ] = None,
) -> int:
    """Run what is missing of a suite, then print its table beside the published one."""
    from suites.engine.registry import all_suites, get_suite
    from suites.engine.request import make_request
    from suites.engine.session import Session

    if list_suites:
        from suites.tables.text import hanging

        for suite_name, title in all_suites().items():
            typer.echo(hanging(f"{suite_name:<20} ", title))
        return 0
    if print_config:
        typer.echo(config_text(context), nl=False)
        return 0
    if name is None:
        raise UserError("which suite? python -m suites.run --list shows them")
    suite = get_suite(name)
    if executor not in ("local", "slurm"):
        raise UserError(f"--executor must be local or slurm, not {executor!r}")
    started = time.monotonic()
    partition = cluster_device = None
    if executor == "slurm":
        from suites.cluster.run import device_of, profile_of

        if budget_minutes is not None:
            raise UserError("--budget-minutes is for --executor local; jobs have time limits")
        partition = profile_of(cluster, cluster_profile, cluster_option or ())
        cluster_device = device_of(partition, device)
    elif ranks > 1:
        raise UserError("--ranks above 1 needs --executor slurm")
    elif cluster or cluster_profile or cluster_option:
        raise UserError("--cluster and its options are for --executor slurm")
    if tracker:
        from suites.engine.trackers.tracked import check_trackers

        check_trackers(tracker)
    if archive is not None:
        archive = _archive_file(archive, local=partition is None)
    if device is None and partition is None and suite.prefers_gpu:
        device = _gpu_if_any()
    request = make_request(
        suite,
        profile,
        dataset,
        seeds=seeds,
        epochs=epochs,
        folds=folds,
        cap=cap,
        amp=amp,
        device=device,
        ranks=ranks,
        sync_batchnorm=sync_batchnorm,
        cluster_device=cluster_device,
        data_root=data_root,
        data_options=data_option or (),
        model_options=model_option or (),
        layer_options=layer_option or (),
        options=option or (),
        video=video,
        checkpoints=checkpoint or (),
    )
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, not {workers}")
    session = Session(
        suite,
        request,
        video or data_root,
        results,
        config=config_text(context),
        prepare=not dry_run,
        gpu=None if partition is None else partition.gpu_type,
    )
    if budget_gpu_hours is not None:
        session.keep_within(budget_gpu_hours)
    if partition is not None:
        if dry_run:
            from suites.cluster.dry_run import print_cluster_plan

            print_cluster_plan(session, partition, workers)
            return 0
        from suites.cluster.run import run_on_cluster

        return run_on_cluster(session, partition, detach=detach, yes=yes, parallel=workers)
    if dry_run:
        session.print_plan()
        return 0
    deadline = None if budget_minutes is None else started + 60 * budget_minutes
    session.run(workers, deadline)
    if archive is not None:
        session.archive(archive)
    return 0 if session.print_tables() else EXIT_ROWS_NOT_OK


def _archive_file(file: Path, *, local: bool) -> Path:
    from suites.engine.store.archive import SUFFIXES
    from suites.engine.store.folder import check_writable

    if not local:
        raise UserError("--archive is for --executor local; suites.results export does it later")
    if not file.name.endswith(SUFFIXES):
        raise UserError(f"--archive must end in {', '.join(SUFFIXES)}, not {file.name}")
    file = file.expanduser().resolve()
    check_writable(file.parent, "another --archive")
    return file


def _gpu_if_any() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    run(app)
