"""Clips for small schedules."""

from pathlib import Path
from typing import Any

import pytest

from suites.engine.catalog import load_dataset
from tests.suites.engine.schedules import DATA


@pytest.fixture
def manifest(video_root: Path, small_env: dict[str, str], monkeypatch: Any) -> str:
    import torch

    monkeypatch.setenv("STDCF_CACHE", small_env["STDCF_CACHE"])
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    found: str = load_dataset("video_folder", str(video_root), **DATA).manifest
    return found
