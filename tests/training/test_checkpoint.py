"""Checkpoints: whole, verified, and never run."""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from stdcf.models import create_model
from stdcf.training import checkpoint
from stdcf.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

STATE = {"weights": torch.arange(3.0), "epoch": 3}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    return path


def test_round_trip_of_all_that_training_keeps(tmp_path: Path) -> None:
    model = create_model("kth_cnn")
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 1, 4, 8, 8)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random_state": torch.get_rng_state(),
        "numbers": [
            1,
            0.1 + 0.2,
            float("inf"),
            None,
            True,
            "t1",
            (2, 1),
            torch.tensor(0.5).bfloat16(),
        ],
    }
    save_checkpoint(tmp_path / "c.pt", state)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert loaded["numbers"] == state["numbers"]
    assert torch.equal(loaded["random_state"], state["random_state"])
    for name, tensor in state["model"].items():
        assert torch.equal(loaded["model"][name], tensor), name
    fresh = torch.optim.Adam(create_model("kth_cnn").parameters())
    fresh.load_state_dict(loaded["optimizer"])
    assert torch.equal(
        fresh.state_dict()["state"][0]["exp_avg_sq"], state["optimizer"]["state"][0]["exp_avg_sq"]
    )


def test_any_changed_byte_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(content):
            file.seek(position)
            file.write(bytes([byte ^ 1 << position % 8]))
            with pytest.raises(CheckpointError, match=r"checkpoint\.pt is"):
                load_checkpoint(path)
            file.seek(position)
            file.write(bytes([byte]))
    assert load_checkpoint(path)["epoch"] == 3


def test_any_truncation_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_a_missing_file_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent.pt")


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def _zipped(evil: object) -> bytes:
    file = io.BytesIO()
    torch.save({"model": evil}, file)
    return file.getvalue()


def _legacy(evil: object) -> bytes:
    file = io.BytesIO()
    torch.save({"model": evil}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize("write", [pickle.dumps, _zipped, _legacy])
def test_code_is_refused_even_under_a_right_checksum(write: Any, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "checkpoint.pt"
    payload = write(_Evil(marker))
    path.write_bytes(checkpoint._MAGIC + hashlib.sha256(payload).digest() + payload)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not marker.exists()
    # and the payload would have run, had it been unpickled
    if write is pickle.dumps:
        pickle.loads(payload)
        assert marker.exists()


@pytest.mark.parametrize("payload", [b"", b"text", b"PK\x03\x04", pickle.dumps([1])])
def test_what_is_no_state_is_refused_under_a_right_checksum(payload: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(checkpoint._MAGIC + hashlib.sha256(payload).digest() + payload)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_one_whole(
    step: str, error: type[BaseException], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        assert load_checkpoint(path)["epoch"] == 3
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises(error):
            save_checkpoint(path, STATE | {"epoch": 4})
    assert load_checkpoint(path)["epoch"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]
    save_checkpoint(path, STATE | {"epoch": 4})
    assert load_checkpoint(path)["epoch"] == 4
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]
