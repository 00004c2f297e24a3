"""`python -m suites.data`: download, generate, verify, list, preview and pack data sets."""

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stdcf.data.sets.cards import CARDS, Card
from suites.cli import EXIT_ROWS_NOT_OK, new_app, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

app = new_app("Download, generate, verify, list, preview and pack data sets.")


Name = Annotated[str, typer.Argument(help="The data set: see `list`.", show_default=False)]
Root = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        "--root",
        help="Its folder (default: $STDCF_DATA/NAME, or data/NAME).",
        show_default=False,
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--data-option",
        help="NAME=VALUE of the data set, as train=lists/train.txt; repeatable.",
        show_default=False,
    ),
]


@app.command("list")
def list_data_sets() -> None:
    """Show the data sets, what each needs and where it is looked for."""
    from stdcf.data.sets.roots import default_root
    from suites.tables.text import hanging

    for name, card in CARDS.items():
        root = default_root(name)
        state = "found" if root.is_dir() else "not there"
        typer.echo(hanging(f"{name}: ", card.what))
        typer.echo(hanging("  needs   ", card.needs))
        for number, line in enumerate(card.tree):
            typer.echo(f"  {'' if number else 'as':<7} {line}")
        if not card.synthetic:
            place = f"{root} ({state}), or the folder that --data-root gives"
            typer.echo(hanging("  place   ", place))
            typer.echo(hanging("  source  ", card.source))
        typer.echo(hanging("  licence ", card.licence))


@app.command()
def download(
    name: Name,
    root: Root = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the archives too.")] = False,
) -> None:
    """Fetch a data set: goes on where it stopped, checks SHA-1, unpacks."""
    from stdcf.data.sets.roots import default_root
    from stdcf.data.tools.download import KTH_ARCHIVES, KTH_SEQUENCES_URL
    from stdcf.data.tools.download import download as fetch
    from stdcf.errors import UserError

    card = _card(name)
    if card.synthetic:
        raise UserError(f"{name} needs no download: it is generated at first use.")
    if name != "kth":
        raise UserError(f"{name} cannot be downloaded here; it comes from {card.source}.")
    folder = root if root is not None else default_root(name)
    with _bars("bytes") as bars:
        tasks: dict[str, Any] = {}

        def report(file: str, done_bytes: int, whole_bytes: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=whole_bytes)
            bars.update(tasks[file], completed=done_bytes, total=whole_bytes)

        fetched = fetch(
            KTH_ARCHIVES,
            folder,
            files=[("00sequences.txt", KTH_SEQUENCES_URL)],
            keep=keep,
            progress=report,
        )
    typer.echo(f"{', '.join(fetched) or 'Nothing'} fetched; {name} is complete in {folder}.")


@app.command()
def generate(
    name: Annotated[
        str,
        typer.Argument(help="kinetics400, something_v1 or something_v2.", show_default=False),
    ],
    root: Root = None,
    classes: Annotated[int, typer.Option(min=2, help="How many.")] = 4,
    train: Annotated[int, typer.Option(min=1, help="Training videos of each class.")] = 6,
    test: Annotated[int, typer.Option(min=1, help="Test videos of each class.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each video.")] = 72,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other videos.")] = 0,
) -> None:
    """Write a small tree in a data set's format: drawn, encoded videos to try a suite on."""
    from stdcf.data.sets.roots import default_root
    from stdcf.data.tools.generate import Amount
    from stdcf.data.tools.generate import generate as write

    folder = root if root is not None else default_root(name)
    amount = Amount(classes=classes, train=train, test=test, frames=frames, seed=seed)
    number = write(name, folder, amount)
    typer.echo(f"{number} videos in {folder}, drawn and not filmed.")


@app.command()
def verify(name: Name, root: Root = None, data_option: Options = None) -> None:
    """Decode every video; name every broken or missing file (exit status 1 if there is any)."""
    from stdcf.data.tools.verify import verify as check
    from stdcf.errors import printable

    _card(name)
    with _bars("files") as bars:
        given = _options(data_option, name, root)
        verdict = check(name, root, options=given, progress=_counter(bars, "decoding"))
    sound, faults = verdict.sound, verdict.faults
    for fault in faults:
        typer.echo(printable(f"{fault.file}: {fault.reason}"))
    for item in verdict.left_out:
        typer.echo(printable(f"{item.name}: not read ({item.reason})"))
    missing = sum(fault.reason == "missing" for fault in faults)
    counts = f"{sound} videos sound, {len(faults) - missing} broken, {missing} missing."
    typer.echo(counts + (f" Not read: {len(verdict.left_out)}." if verdict.left_out else ""))
    if faults:
        raise typer.Exit(EXIT_ROWS_NOT_OK)


@app.command()
def preview(
    name: Name,
    out: Annotated[Path, typer.Option(help="The PNG to write.", show_default=False)],
    root: Root = None,
    data_option: Options = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of each class.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = 8,
) -> None:
    """Write a contact sheet: some clips of each class, labelled."""
    from stdcf.data.tools.preview import contact_sheet
    from stdcf.errors import UserError
    from suites.engine.catalog import load_dataset

    _card(name)
    with _bars("files") as bars:
        progress = _counter(bars, "decoding")
        given = _options(data_option, name, root)
        data = load_dataset(name, None if root is None else str(root), progress=progress, **given)
    sheet = contact_sheet(data, clips_per_class=clips, frames=frames)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out, "PNG")
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error.strerror}.") from error
    for note in data.notes:
        typer.echo(note)
    typer.echo(f"{out}: {sheet.width} x {sheet.height}")


@app.command()
def pack(
    name: Annotated[str, typer.Argument(help="weizmann.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The .npz to write.", show_default=False)],
    size: Annotated[str, typer.Option(help="Height x width of the frames.")] = "60x80",
    root: Root = None,
) -> None:
    """Put a data set's decoded frames into one file, which stands for its folder elsewhere."""
    from stdcf.data.frames.pack import pack_videos
    from stdcf.data.sets.roots import data_root
    from stdcf.data.sets.weizmann import decoded_videos
    from stdcf.errors import UserError

    if name != "weizmann":
        raise UserError(f"only weizmann fits into a pack, not {name!r}")
    height, by, width = size.partition("x")
    if not (by and height.isdecimal() and width.isdecimal() and int(height) * int(width)):
        raise UserError(f"--size is HEIGHTxWIDTH, as 60x80, not {size!r}")
    frame = (int(height), int(width))
    folder = data_root(name, root, "Weizmann's <person>_<action>.avi")
    with _bars("files") as bars:
        videos = decoded_videos(folder, frame, progress=_counter(bars, "decoding"))
    n_bytes = pack_videos(name, videos, frame, 1, file)
    typer.echo(f"{len(videos)} videos in {file} ({n_bytes / 1e6:.1f} MB)")


def _options(words: list[str] | None, name: str, root: Path | None) -> dict[str, Any]:
    from suites.engine.request import parse_data_options

    return parse_data_options(words or (), name, root)


def _card(name: str) -> Card:
    from stdcf.errors import UserError

    if name not in CARDS:
        raise UserError(f"No data set {name!r}: choose {', '.join(CARDS)}.")
    return CARDS[name]


@contextmanager
def _bars(unit: str) -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    counts = (
        [DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [MofNCompleteColumn()]
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=unit != "bytes",
    ) as bars:
        yield bars


def _counter(bars: "Progress", what: str) -> Callable[[int, int, str], None]:
    task = bars.add_task(what, total=None)

    def report(done: int, total: int, file: str) -> None:
        bars.update(task, completed=done, total=total)

    return report


if __name__ == "__main__":
    run(app)
