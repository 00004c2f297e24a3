"""How every command ends: one line for a user's mistake, a traceback for a bug."""

import errno
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from stdcf.errors import UserError

# Typer carries a copy of click of its own, or uses the installed one, depending on its version.
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

# What the commands that show results take alike.
SuiteArgument = Annotated[str | None, typer.Argument(help="The suite; default all.")]
ResultsBeside = Annotated[
    Path | None, typer.Option(help="Folder of runs beside those shipped; default results/local.")
]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

EXIT_ROWS_NOT_OK = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


# What `stdcf --help` says of those of one command, then of those of several.
COMMANDS = {
    "run": "Run what is missing of a suite; print its tables.",
    "plan": "What fits under a memory cap, and what it costs.",
    "report": "The tables again, or all on one page, from results alone.",
    "plot": "The figures again, as PNG and SVG.",
    "status": "Each run of a suite: its state, and where it is.",
    "doctor": "What this machine can do, and the remedies.",
}
GROUPS = {
    "results": "List, show, remove, export, import and merge runs.",
    "data": "Download, verify, list, preview and pack data sets.",
}

# Of every command's help.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def new_app(help_text: str) -> typer.Typer:
    """A command with plain help and Python's own tracebacks."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=CONTEXT,
    )


def run(app: typer.Typer) -> NoReturn:
    """Runs a command and exits with its status."""
    try:
        status = typer.main.get_command(app).main(standalone_mode=False)
    except UserError as error:
        _say(str(error))
        sys.exit(EXIT_USER_ERROR)
    except _USAGE_ERROR as error:
        _say(error.format_message())
        sys.exit(EXIT_USER_ERROR)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _say(
            f"{error.strerror}: {error.filename or 'a file'}; make room or choose another folder, "
            "and give the same command again: what was finished is there"
        )
        sys.exit(EXIT_USER_ERROR)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    print("error: " + " ".join(message.split()), file=sys.stderr)


def main() -> NoReturn:
    """``stdcf COMMAND …``: every command by one name, with completion."""
    app = typer.Typer(
        help="What training a video network costs in memory, and what that buys in accuracy.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=CONTEXT,
    )
    for name, words in COMMANDS.items():
        app.command(name, short_help=words)(importlib.import_module(f"suites.{name}").main)
    for name, words in GROUPS.items():
        app.add_typer(importlib.import_module(f"suites.{name}").app, name=name, short_help=words)
    run(app)
