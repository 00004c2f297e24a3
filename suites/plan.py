"""``python -m suites.plan --cap 6GiB …``: what fits under a memory cap, and what it costs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stdcf.errors import UserError
from stdcf.sizes import parse_bytes
from suites.cli import EXIT_ROWS_NOT_OK, new_app, run

if TYPE_CHECKING:
    from suites.planning.planner import Planner
    from suites.planning.report import Asked
    from suites.planning.ways import Schedule

app = new_app("List ways of training that fit under a memory cap, the cheapest first.")


@app.command()
def main(
    cap: Annotated[str, typer.Option(help="The memory that there is, as 6GiB.")],
    model: Annotated[
        str,
        typer.Option(
            help="A model of this project, torchvision:NAME, a video classifier as "
            "transformers:NAME, or one of your own as package.module:function or file.py:function."
        ),
    ],
    clip: Annotated[str, typer.Option(help="Frames, height and width of a clip, as 8x224x224.")],
    batch: Annotated[int, typer.Option(help="Clips a step.")] = 8,
    inputs: Annotated[
        str,
        typer.Option(
            help="Of a model that takes another thing than one clip: a function, as "
            "file.py:inputs, that gives (args, kwargs) for a batch size and a clip_shape."
        ),
    ] = "",
    loss: Annotated[
        str,
        typer.Option(
            help="A function, as file.py:loss, of the output and the target or, with --inputs, the "
            "batch; default cross entropy of the output or its logits."
        ),
    ] = "",
    layer: Annotated[str, typer.Option(help="The 3D convolution.")] = "regular",
    channels: Annotated[int, typer.Option(help="Of a frame; 1 is gray.")] = 3,
    classes: Annotated[int, typer.Option(help="How many classes.")] = 400,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd (momentum 0.9).")] = "adam",
    iterations: Annotated[int, typer.Option(help="E of ITSL.")] = 3,
    itsl: Annotated[
        list[str] | None,
        typer.Option(help="β,γ of ITSL; repeatable. Default 2,2; 2,4 too from 16 frames on."),
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the model; repeatable.")
    ] = None,
    layer_option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the layer, as num_spatial_atoms=6; repeatable."),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cuda or cpu: whose operators are modelled; it need not be there.")
    ] = "cuda",
    context: Annotated[
        str,
        typer.Option(
            help="What CUDA's context takes of the cap; 0MiB if the cap is the allocator's alone."
        ),
    ] = "800MiB",
    alloc_conf: Annotated[
        str, typer.Option(help="PYTORCH_CUDA_ALLOC_CONF of the run, as expandable_segments:True.")
    ] = "",
    torch_version: Annotated[
        str,
        typer.Option(help="Of the run, as 2.9.1; default this machine's. With --cudnn-version."),
    ] = "",
    cudnn_version: Annotated[
        str,
        typer.Option(help="The same, as 9.10; with some, bf16's convolutions do without cuDNN."),
    ] = "",
    dataset: Annotated[
        str, typer.Option(help="Data set of the command that is printed.")
    ] = "synthetic_actions",
    data_root: Annotated[
        Path | None, typer.Option(help="Its folder, for the command that is printed.")
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every way, not the best; takes longer.")
    ] = False,
    ranks: Annotated[
        int,
        typer.Option(
            help="Processes, each with a GPU, that share the batch, as suites.run has it."
        ),
    ] = 1,
    solve: Annotated[
        str,
        typer.Option(
            help="What to find the most of: batch; frames; or size, height and width in the "
            "proportion of --clip."
        ),
    ] = "batch",
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="WAY",
            help="Say where the memory of one way is, as 'full', 'bf16+checkpoint' or "
            "'itsl 2,2 bf16'.",
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Draw the step's memory, of --explain's way or of the one to take.",
        ),
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pickle", help="The same for pytorch.org/memory_viz."),
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Plan each block of the network by itself.")
    ] = False,
    block: Annotated[
        list[str] | None,
        typer.Option(help="With --mixed: modules that are blocks, as layer1.*; repeatable."),
    ] = None,
    saver: Annotated[
        list[str] | None,
        typer.Option(help="With --mixed: a saver beside the plan, as bf16; repeatable."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="With --mixed: int8 too; gradients are approximate.")
    ] = False,
    bus: Annotated[
        str | None, typer.Option(help="With --mixed: what crosses the bus in a second [12GiB].")
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option(help="With --mixed: where the plan is written [plan.json].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List ways of training that fit under a memory cap, the cheapest first."""
    from suites.engine.request import beta_gamma, clip_size, name_and_value
    from suites.experiments.single.suite import DATASETS
    from suites.planning.solve import SOLVED

    cap_bytes, context_bytes = parse_bytes(cap), parse_bytes(context, least=0)
    frames, height, width = clip_size("--clip", clip)
    for option, value in (
        ("--batch", batch),
        ("--channels", channels),
        ("--classes", classes),
        ("--iterations", iterations),
        ("--ranks", ranks),
    ):
        if value < 1:
            raise UserError(f"{option} must be at least 1, not {value}")
    if solve not in SOLVED:
        raise UserError(f"--solve must be one of {', '.join(SOLVED)}, not {solve!r}")
    if solve != "batch" and (explain or timeline or snapshot):
        raise UserError(f"--solve {solve} goes without --explain, --timeline and --snapshot")
    if dataset not in DATASETS:
        raise UserError(f"--dataset must be one of {', '.join(DATASETS)}, not {dataset!r}")
    # Four frames are left of 16 at γ=4, as few as kth_cnn takes.
    words = itsl or (("2,2", "2,4") if frames >= 16 else ("2,2",))
    sizes = [beta_gamma("--itsl", text) for text in words]
    model_options = dict(name_and_value("--model-option", t) for t in model_option or ())
    layer_options = dict(name_and_value("--layer-option", t) for t in layer_option or ())

    from stdcf.memory.cuda.cudnn_fallback import Versions
    from stdcf.memory.predict import Predictor
    from suites.planning.explain import as_object as explained
    from suites.planning.explain import read_way, save, tables
    from suites.planning.mixed import by_block
    from suites.planning.models import planned
    from suites.planning.planner import Planner
    from suites.planning.report import Asked, as_object, notes, table
    from suites.planning.ways import preference, schedules, selection

    versions = Versions.read(torch_version, cudnn_version)
    subject = planned(
        model,
        (frames, height, width),
        classes=classes,
        channels=channels,
        layer=layer,
        layer_options=layer_options,
        model_options=model_options,
        inputs=inputs,
        loss=loss,
    )
    asked = Asked(
        cap=cap,
        cap_bytes=cap_bytes,
        model=model,
        layer=layer,
        shape=(batch, channels, frames, height, width),
        optimizer=optimizer,
        device=device,
        dataset=dataset,
        data_root=data_root,
        alloc_conf=alloc_conf,
        context_bytes=context_bytes,
        model_options=model_options,
        layer_options=layer_options,
        ranks=ranks,
        versions_warning=versions.warning if device != "cpu" else "",
        runs_here=subject.runs_here,
    )
    of_whole: dict[str, object] = {"--itsl": itsl, "--all": show_all, "--explain": explain}
    of_blocks: dict[str, object] = {
        "--block": block,
        "--saver": saver,
        "--int8": int8,
        "--bus": bus,
    }
    of_whole |= {"--timeline": timeline, "--snapshot": snapshot, "--solve": solve != "batch"}
    of_whole |= {"--ranks": ranks > 1, "--inputs": inputs, "--loss": loss}
    of_blocks |= {"--plan-file": plan_file}
    for option, given in (of_whole if mixed else of_blocks).items():
        if given and mixed:
            raise UserError(f"{option} is of whole networks: leave it or --mixed out")
        if given:
            raise UserError(f"{option} is of plans for each block: add --mixed")
    if mixed and not subject.runs_here:
        raise UserError(f"--mixed plans for models of one clip, and {model} takes other inputs")
    if mixed:
        predictor = Predictor(subject.build, device, alloc_conf, versions)
        return by_block(asked, predictor, block, saver or (), int8, bus, plan_file, as_json)
    planner = Planner(
        subject.build,
        (channels, frames, height, width),
        -(-batch // ranks),
        device=device,
        alloc_conf=alloc_conf,
        context_bytes=context_bytes,
        versions=versions,
        optimizer=optimizer,
        ranks=ranks,
        **subject.options,
    )
    asked = replace(asked, batch_norm=planner.has_batch_norm)
    found = schedules(iterations, sizes)
    if solve != "batch":
        return _solved(asked, planner, found, solve, show_all, as_json)
    if explain is not None:
        way = read_way(explain, planner, found, cap_bytes)
        report = planner.report(way)
        lines = save(asked, way, report, timeline, snapshot)
        if as_json:
            typer.echo(json.dumps(explained(way, report), indent=1))
        else:
            for one in tables(asked, way, report):
                one.print()
            for line in lines:
                typer.echo(line)
        return 0 if way.fits(cap_bytes) else EXIT_ROWS_NOT_OK
    ways = planner.ways(found, cap_bytes)
    picked = ways if show_all else selection(ways)
    exact = [planner.confirmed(way) for way in picked]
    shown = sorted((w for w in exact if w), key=lambda way: preference(way, cap_bytes))
    lines = []
    if timeline is not None or snapshot is not None:
        lines = save(asked, shown[0], planner.report(shown[0]), timeline, snapshot)
    testing_bytes = planner.testing_bytes(shown[0]) if shown[0].fits(cap_bytes) else None
    if as_json:
        others = [way for way in ways if way not in picked]
        typer.echo(json.dumps(as_object(asked, shown, others, testing_bytes), indent=1))
    else:
        table(asked, shown).print()
        words = notes(asked, shown, len(ways), planner.left_out, testing_bytes)
        for line in [*words, *lines]:
            typer.echo(line)
    return 0 if shown[0].fits(cap_bytes) else EXIT_ROWS_NOT_OK


def _solved(
    asked: "Asked",
    planner: "Planner",
    found: "Sequence[Schedule]",
    unknown: str,
    every: bool,
    as_json: bool,
) -> int:
    from suites.planning.solve import Solver, as_object, notes, table

    _, _, frames, height, width = asked.shape
    largest = Solver(planner, unknown, (frames, height, width), asked.cap_bytes).ways(found, every)
    if as_json:
        typer.echo(json.dumps(as_object(asked, largest, unknown), indent=1))
    else:
        table(asked, largest, unknown).print()
        for line in notes(asked, largest, planner.left_out):
            typer.echo(line)
    return 0 if any(one.clip for one in largest) else EXIT_ROWS_NOT_OK


if __name__ == "__main__":
    run(app)
