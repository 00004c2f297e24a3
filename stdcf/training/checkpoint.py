"""Checkpoints that are whole or not there, and that are verified before they are used."""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from stdcf.whole_file import whole_file

_MAGIC = b"stdcf-checkpoint-1\n"


class CheckpointError(Exception):
    """A checkpoint file that is not what was written: damaged, cut short or another format."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes `state` (tensors and plain values) by temporary file, fsync and rename."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    with whole_file(path) as file:
        file.write(_MAGIC)
        file.write(hashlib.sha256(payload).digest())
        file.write(payload)


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads what `save_checkpoint` wrote. No code in the file is ever run.

    Raises:
        FileNotFoundError: if there is none.
        CheckpointError: if its checksum or format is wrong.
    """
    content = path.read_bytes()
    digest, payload = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC):
        raise CheckpointError(f"{path} is not a checkpoint of this version")
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError(f"{path} is damaged (its checksum does not match)")
    if not zipfile.is_zipfile(io.BytesIO(payload)):
        raise CheckpointError(f"{path} is not a checkpoint of this version")
    try:
        return torch.load(io.BytesIO(payload), map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} holds more than tensors and plain values") from error
