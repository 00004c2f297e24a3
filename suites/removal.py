"""Runs taken out of a results folder."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from suites.engine.store.folder import Claimed, RunFolder


def remove(folders: Sequence[Path]) -> list[Path]:
    """Removes runs; returns those that stay because a process works on them.

    A run is gone at once: its folder is renamed, then deleted.
    """
    running = []
    for folder in folders:
        # Too high for a run's folder, so that nobody takes it for one.
        doomed = folder.parents[2] / f".removed-{os.getpid()}"
        try:
            with RunFolder(folder).claim():
                folder.rename(doomed)
        except Claimed:
            running.append(folder)
            continue
        shutil.rmtree(doomed)
        for parent in folder.parents[:2]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
    return running
