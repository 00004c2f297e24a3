"""Training throughput of kth_cnn against a plain loop: same model and batch, own processes."""

import json
import subprocess
import sys
from statistics import median

import pytest
import torch

STEPS = 4
CHILD = """
import json, resource, sys, time
from stdcf.training.allocator import use_huge_pages

if sys.argv[1] != "plain":
    use_huge_pages()

import torch
from torch.nn import functional as F
from stdcf.models import create_model
from stdcf.training.step import Numerics

kind, steps = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)
model = create_model("kth_cnn", num_classes=6)
clip = torch.randint(0, 256, (16, 1, 16, 60, 80), dtype=torch.uint8)
label = torch.randint(0, 6, (16,))
numerics = Numerics(torch.device("cpu"), amp=kind == "amp", channels_last=kind != "plain")
model = numerics.place(model).train()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
times = []
for _ in range(steps + 1):
    started = time.perf_counter()
    x = numerics.prepare(clip)
    with numerics.autocast():
        loss = F.cross_entropy(model(x), label)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    times.append(time.perf_counter() - started)
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": min(times[1:]), "rss_kib": rss}))
"""


def _child(kind: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(STEPS)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _has_bf16() -> bool:
    return bool(
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


@pytest.mark.slow
def test_training_is_faster_than_a_plain_loop_in_no_more_memory() -> None:
    # In turn, so that a busy machine slows all of them.
    kinds = ("plain", "float32", "amp") if _has_bf16() else ("plain", "float32")
    runs = {kind: [] for kind in kinds}
    for _ in range(3):
        for kind in kinds:
            runs[kind].append(_child(kind))

    def ratio(kind: str) -> float:
        pairs = zip(runs["plain"], runs[kind], strict=True)
        return median(a["seconds"] / b["seconds"] for a, b in pairs)

    print({kind: round(ratio(kind), 2) for kind in kinds}, runs)
    assert ratio("float32") >= 1.3
    assert median(r["rss_kib"] for r in runs["float32"]) <= 1.05 * median(
        r["rss_kib"] for r in runs["plain"]
    )
    if "amp" in kinds:
        assert ratio("amp") >= 2.0
