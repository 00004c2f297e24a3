"""suites.plan --mixed: a plan for each block as a file, and the run under it."""

import importlib.util
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from stdcf.memory import StepMeter
from stdcf.memory.savers import learn, parse_savers
from suites import plan, run
from suites.engine.store.folder import run_folders

MIB = 2**20
ASKED = ("--model", "net.py:build", "--channels", "1", "--classes", "2", "--batch", "8")
CLIP = ("--clip", "8x16x16", "--device", "cpu", "--dataset", "video_folder")
OWN = """
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.bn = nn.Conv3d(width, width, 3, padding=1), nn.BatchNorm3d(width)

    def forward(self, x):
        return x + self.bn(self.conv(x)).relu()

def build(num_classes=2):
    body = [nn.Conv3d(1, 16, 3, padding=1), *(Block(16) for _ in range(3))]
    return nn.Sequential(*body, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, num_classes))
"""


@pytest.fixture
def own_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN)
    return tmp_path


def test_a_users_own_model_runs_under_its_plan(
    call: Any, own_net: Path, video_root: Path, small_suite_here: Any
) -> None:
    code, out, err = call(plan, *ASKED, *CLIP, "--data-root", video_root, "--cap=8MiB", "--mixed")
    assert (code, err) == (0, ""), out
    (line,) = (line for line in out.splitlines() if line.startswith("run: "))
    words = shlex.split(line.removeprefix("run: "))
    assert words[:4] == ["python", "-m", "suites.run", "single"]
    written = json.loads((own_net / "plan.json").read_text())
    assert written["fits"]
    assert written["needs_bytes"] <= written["cap_bytes"] == 8 * MIB
    assert set(written["blocks"].values()) > {"keep"}
    assert 0 < written["relative_cost_bound"] <= written["relative_cost"]
    assert "beyond the plain step; the solver's lower bound is" in out
    code, out, err = call(run, *words[3:], "--epochs=1", "--results=results", "--workers=1")
    assert (code, err) == (0, ""), out
    (folder,) = run_folders(own_net / "results")
    row = folder.result()
    assert row is not None
    assert row["status"] == "ok"
    assert row["measured_peak_bytes"] == pytest.approx(written["peak_bytes"], rel=0.01)
    assert row["measured_peak_bytes"] <= written["cap_bytes"]
    # The plan itself is in the spec, so that its file is needed no more.
    (saver,) = row["savers"]
    assert saver.startswith("plan=")
    assert ".json" not in saver
    assert row["mode"].startswith("full-plan-")


def test_ten_steps_of_a_users_package_under_the_written_plan_learn_the_plain_gradients(
    call: Any, own_net: Path
) -> None:
    """The file that the command writes, as a saver in a loop of the user's own, at its cap."""
    package = own_net / "mypkg"
    package.mkdir()
    (package / "net.py").write_text(OWN)
    asked = ("--model", "mypkg/net.py:build", *ASKED[2:])
    code, _, err = call(plan, *asked, *CLIP, "--cap=8MiB", "--mixed")
    assert (code, err) == (0, "")
    found = importlib.util.spec_from_file_location("mypkg_net", package / "net.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    learnt = []
    for savers in ("", "plan=plan.json"):
        torch.manual_seed(0)
        model = module.build(2)
        optimizer = torch.optim.Adam(model.parameters())
        meter = StepMeter(model, optimizer, cap_bytes=8 * MIB if savers else None)
        gradients: list[torch.Tensor] = []
        for _ in range(10):
            clip, label = torch.rand(8, 1, 8, 16, 16), torch.randint(2, (8,))
            with meter.step(clip, label):
                learn(model, clip, label, F.cross_entropy, parse_savers(savers))
                optimizer.step()
            gradients += [parameter.grad.clone() for parameter in model.parameters()]
            optimizer.zero_grad()
        learnt.append([*gradients, *model.state_dict().values()])
        assert meter.report is not None
        # The plain step does not fit.
        assert (meter.report.peak_bytes > 8 * MIB) == (savers == "")
    assert all(map(torch.equal, *learnt))


def test_where_nothing_fits_the_leanest_is_written(call: Any, own_net: Path) -> None:
    asked = (*ASKED, *CLIP, "--cap=1MiB", "--mixed", "--plan-file=lean.json", "--block=[123]")
    code, out, err = call(plan, *asked, "--json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert found == json.loads((own_net / "lean.json").read_text())
    assert not found["fits"]
    assert found["needs_bytes"] > found["cap_bytes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mixed", "--block", "layer9.*"], "no module of Sequential is called 'layer9.*'"),
        (["--mixed", "--itsl", "2,2"], "--itsl is of whole networks: leave it or --mixed out"),
        (["--mixed", "--saver", "checkpoint"], "leave checkpoint out"),
        (["--mixed", "--bus", "fast"], "'fast' is not a size"),
        (["--block", "1"], "--block is of plans for each block: add --mixed"),
        (["--int8"], "--int8 is of plans for each block: add --mixed"),
    ],
    ids=lambda value: " ".join(value),
)
def test_it_refuses(call: Any, own_net: Path, arguments: list[str], said: str) -> None:
    code, out, err = call(plan, *ASKED, *CLIP, "--cap=8MiB", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
