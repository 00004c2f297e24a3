"""docs/cluster.md says what there is. Needs no SLURM."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from slurm.profile import ClusterProfile, load_profile
from suites.cluster.ends import ended_row
from suites.cluster.resubmit import STATUSES
from suites.paths import REPOSITORY

TEXT = (REPOSITORY / "docs" / "cluster.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}python -m (suites\.\w+) (.*)$", TEXT, re.MULTILINE)


def test_its_settings_are_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "cluster.toml"
    path.write_text(block)
    a100, cpu = (load_profile(path, name) for name in ("a100", "cpu"))
    assert (a100.gpus_per_node, a100.max_minutes, cpu.gpus_per_node) == (8, 1440, 0)


def test_every_setting_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert set(ClusterProfile.model_fields) <= named


def test_every_end_of_a_run_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert set().union(*STATUSES.values()) <= named
    assert ended_row("", "TIMEOUT")["status"] in named


@pytest.mark.parametrize(("module", "words"), COMMANDS)
def test_every_command_is_taken(module: str, words: str) -> None:
    """As far as the command line goes: known options, with values of their types."""
    group: Any = typer.main.get_command(importlib.import_module(module).app)
    arguments = shlex.split(words)
    if hasattr(group, "commands"):
        group = group.commands[arguments.pop(0)]
    with group.make_context(module, arguments) as context:
        assert context.params


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8
