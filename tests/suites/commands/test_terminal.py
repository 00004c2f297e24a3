"""What commands print on a terminal of 80 columns, and in a log."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from importlib import import_module
from typing import Any

import pytest
from rich.cells import cell_len

from suites.engine.registry import get_suite
from suites.paths import REPOSITORY

COMMANDS = ("run --list", "data list", "report kth_table2", "results list --suite kth_table2")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(words: list[str], columns: int) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    written = b""
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, cwd=REPOSITORY, env=env) as process:
        os.close(theirs)
        # The kernel's word for a terminal that nobody writes to any more is an I/O error.
        while piece := _read(ours):
            written += piece
    os.close(ours)
    assert process.returncode == 0, written
    return STYLE.sub("", written.decode().replace("\r\n", "\n"))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:
        return b""


@pytest.mark.parametrize("command", COMMANDS)
def test_80_columns_suffice(command: str) -> None:
    module, *words = command.split()
    shown = on_a_terminal([sys.executable, "-m", f"suites.{module}", *words], 80)
    assert len(shown.splitlines()) > 20
    assert [line for line in shown.splitlines() if cell_len(line) > 80] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_log_holds_no_control_characters(command: str) -> None:
    module, *words = command.split()
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", f"suites.{module}", *words],
        capture_output=True, text=True, cwd=REPOSITORY, env=env,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert [c for c in set(done.stdout) if ord(c) < 32 and c != "\n"] == []


def test_no_line_of_help_is_cut_short() -> None:
    code = "import sys; sys.argv = ['stdcf', '--help']; from suites.cli import main; main()"
    commands = on_a_terminal([sys.executable, "-c", code], 80).partition("Commands:")[2]
    assert "doctor" in commands
    assert "..." not in commands


def test_what_to_try_next_can_be_tried(call: Any) -> None:
    guide = get_suite("kth_table2").guide.splitlines()
    for words in (line.split() for line in guide[-3:]):
        assert words[:2] == ["python", "-m"]
        shown = call(import_module(words[2]), "--help")[1]
        assert {word for word in words if word.startswith("--")} <= set(shown.split())
