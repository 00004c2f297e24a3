"""Two processes over gloo and one process: the same training, clip by clip."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stdcf.training.distributed import ALONE, Ranks, joined

pytestmark = pytest.mark.slow

SCENARIOS = Path(__file__).with_name("rank_scenarios.py")
TRAIN, TEST = 17, 7


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes saw."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    env |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCENARIOS), str(folder)],
            env={**env, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert [status for _, status in ends] == [0, 0], "\n".join(error for error, _ in ends)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same in this process alone."""
    scenarios = runpy.run_path(str(SCENARIOS))["scenarios"]
    found: dict[str, Any] = scenarios(tmp_path_factory.mktemp("one"), ALONE)
    return found


def test_fifty_steps_have_the_losses_of_one_process(two: Any, one: Any) -> None:
    alone = one["curve"]
    assert len(alone["losses"]) == 50
    for found in (rank["curve"] for rank in two):
        assert found["losses"] == pytest.approx(alone["losses"], abs=1e-9)
        assert found["epochs"] == [pytest.approx(row, abs=1e-9) for row in alone["epochs"]]
        assert found["stages"] == alone["stages"]
        for name, value in alone["weights"].items():
            # A last batch of one clip stands in both processes: the n/(n-1) of its variance.
            rough = name.endswith("running_var")
            torch.testing.assert_close(
                found["weights"][name], value, rtol=1e-2 if rough else 1e-7, atol=1e-7
            )


def test_both_processes_hold_the_same_weights(two: Any) -> None:
    first, second = (rank["curve"]["weights"] for rank in two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_without_synchronisation_the_losses_are_others(two: Any, one: Any) -> None:
    alone = one["unsynchronised"]["losses"]
    assert two[0]["synchronised"]["losses"] == pytest.approx(alone, abs=1e-9)
    assert abs(two[0]["unsynchronised"]["losses"][0] - alone[0]) > 1e-3
    # All the same one set of weights and statistics is trained: the first process's.
    first, second = (rank["unsynchronised"]["weights"] for rank in two)
    trained = [n for n in first if "running" not in n]
    assert all(torch.equal(first[name], second[name]) for name in trained)


def test_every_clip_is_trained_once_an_epoch_and_tested_once(two: Any) -> None:
    train, test = zip(*(rank["curve"]["asked"] for rank in two), strict=True)
    # Two stages of five epochs; the one clip of each last batch goes to both processes.
    counts = torch.bincount(torch.tensor(train[0] + train[1]), minlength=TRAIN)
    assert counts.sum() == 10 * (TRAIN + 1)
    assert counts.min() == 10
    assert sorted(test[0] + test[1]) == sorted(2 * list(range(TEST)))
    for number in (1, 7):
        found = [rank["test"][number] for rank in two]
        assert sorted(found[0]["asked"] + found[1]["asked"]) == list(range(number))


def test_the_test_gathers_what_one_process_finds(two: Any, one: Any) -> None:
    for number in (1, 7):
        for rank in two:
            assert rank["test"][number]["accuracy"] == one["test"][number]["accuracy"]


def test_every_video_is_tested_once_and_a_stop_loses_none(two: Any, one: Any) -> None:
    alone = one["views"]
    assert (alone["accuracy"]["num_videos"], alone["accuracy"]["num_clips"]) == (8, 16)
    assert sorted(alone["asked"]) == list(range(9))
    views = [rank["views"] for rank in two]
    assert sorted(views[0]["asked"] + views[1]["asked"]) == list(range(9))
    assert [found["accuracy"] for found in views] == 2 * [alone["accuracy"]]
    # Whoever could not decode it says so; the trainer gathers that.
    assert views[0]["broken"] | views[1]["broken"] == {"v3": "cut short"}


def test_the_first_process_alone_writes(two: Any) -> None:
    # Both look into one folder.
    assert two[0]["curve"]["written"] == ["checkpoint.pt", "stage-s1.pt", "stage-t1.pt"]


def test_a_stop_of_one_process_stops_both_and_changes_no_digit(two: Any) -> None:
    for rank in two:
        assert rank["interrupted"]["epochs"] == rank["undisturbed"]["epochs"]
        for name, value in rank["undisturbed"]["weights"].items():
            assert torch.equal(rank["interrupted"]["weights"][name], value), name


def test_batch_norm_over_processes_is_batch_norm_over_all_clips(two: Any, one: Any) -> None:
    alone = one["batch_norm"]
    assert sorted(two[0]["batch_norm"]["mine"] + two[1]["batch_norm"]["mine"]) == list(range(7))
    for found in (rank["batch_norm"] for rank in two):
        for part in ("out", "grad"):
            torch.testing.assert_close(found[part], alone[part][found["mine"]])
        for mine, native in zip(found["running"], alone["running"], strict=True):
            torch.testing.assert_close(mine, native)
    both = two[0]["batch_norm"]["weight_grad"] + two[1]["batch_norm"]["weight_grad"]
    torch.testing.assert_close(both, alone["weight_grad"])


@given(size=st.integers(1, 9), batch=st.lists(st.integers(0, 99), min_size=1, unique=True))
def test_shares_are_the_batch(size: int, batch: list[int]) -> None:
    shares = [Ranks(rank, size).share(batch) for rank in range(size)]
    together = [clip for share in shares for clip in share]
    copies = ALONE.copies(len(batch)) if size == 1 else Ranks(0, size).copies(len(batch))
    assert sorted(together) == sorted(batch * copies)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_an_environment_of_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(RuntimeError, match="made for 2 processes, and WORLD_SIZE is 4"),
        joined(torch.device("cpu"), size=2),
    ):
        pass
