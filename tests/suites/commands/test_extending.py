"""docs/extending.md: what it says of a layer, done to a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from suites.experiments.kth_table2 import suite as kth_table2
from suites.paths import REPOSITORY
from tests.suites.conftest import write_video

PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Its runs of Table 2 at a small size, within this process; then it prints their rows.
RUNS = """
import json, sys
from pathlib import Path
from suites.engine import catalog, train
from suites.engine.store.folder import RunFolder
from suites.engine.store.provenance import header
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.shared import kth

root, results = sys.argv[1:]
options = {"size": [16, 16], "clip_frames": 8, "train_step": 8}
manifest = catalog.load_dataset("video_folder", root, **options).manifest
own = {"temporal_first": {"width": 2}}
request = Request("quick", "video_folder", epochs=1, data_options=options, layer_options=own)
rows = []
for spec in kth.specs(request, manifest):
    if spec.layer == "temporal_first" and spec.mode in ("full", "itsl"):
        folder = RunFolder.create(Path(results), spec)
        row = train.train(Run(folder, data_root=root, num_workers=0))
        rows.append({**header(spec, "cpu"), **row, "shipped": False})
print(json.dumps(rows))
"""


def test_a_layer_by_one_file_and_one_line_has_its_rows_in_table_2(
    video_root: Path, small_env: dict[str, str], tmp_path: Path
) -> None:
    layer, imported, line = BLOCK.findall(PAGE)[:3]
    for name in ("stdcf", "baselines", "suites", "slurm", "results/published"):
        shutil.copytree(
            REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    file = re.findall(r"Write it into `(.*)`:", PAGE)[0]
    (tmp_path / file).write_text(layer, encoding="utf-8")
    catalog = tmp_path / "suites" / "engine" / "catalog.py"
    text = catalog.read_text(encoding="utf-8")
    first = "from baselines.layers import Rank1Conv3d\n"
    last = '    "stdcf": STDCFConv3d,\n'
    assert (text.count(first), text.count(last)) == (1, 1)
    text = text.replace(first, first + imported).replace(last, last + line)
    catalog.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", RUNS, str(video_root), str(tmp_path / "results")],
        env={**os.environ, **small_env, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    accuracy, cost, memory = kth_table2.SUITE.tables(rows)
    for table in (accuracy, cost, memory):
        names = [cells[0] for cells in table.rows]
        assert names[:4] == ["Reg. 3D", "Rank-1 3D", "STDCF", "temporal_first"]
    full, itsl = [cells for cells in cost.rows if cells[0] == "temporal_first"]
    # t taps of 2·C_in, then k² of 2·C_in → C_out; biases; BatchNorm; the classifier of 2 classes.
    params = sum(
        c_in * 2 * c_in * 3 + 2 * c_in * c_out * 9 + 2 * c_in + c_out + 2 * c_out
        for c_in, c_out in ((1, 16), (16, 32), (32, 64))
    )
    assert full[2] == itsl[2] == f"{params + 2 * 64 + 2:,}"
    accuracies = [cells for cells in accuracy.rows if cells[0] == "temporal_first"]
    for cells in accuracies[:2]:
        assert 0 <= float(cells[3]) <= 100
        assert cells[5] == "–"
    assert accuracies[2][3] == "not run"


GESTURES = ("nod", "wave")
LOADS = """
import sys
from pathlib import Path
from suites.engine.catalog import load_dataset
from suites.engine.registry import get_suite
from suites.engine.request import make_request

root = sys.argv[1]
suite = get_suite("kth_table2")
own = ["test_persons=2"]
request = make_request(suite, None, "gestures", data_root=Path(root), data_options=own)
data = load_dataset("gestures", root, **suite.dataset_options(request))
runs = suite.specs(request, data.manifest)
print(data.classes, sorted(data.test.video_names), len(runs), runs[0].dataset_options)
"""


def test_a_data_set_by_one_file_and_its_name(small_env: dict[str, str], tmp_path: Path) -> None:
    text, imported, line = BLOCK.findall(PAGE)[3:]
    (name,) = re.findall(r'by the line `("gestures",)`', PAGE)
    for folder in ("stdcf", "baselines", "suites", "slurm", "results/published"):
        shutil.copytree(
            REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    file = re.findall(r"Write it into `(.*)`:", PAGE)[1]
    (tmp_path / file).write_text(text, encoding="utf-8")
    changes = {
        "suites/engine/catalog.py": {
            "from baselines.layers import Rank1Conv3d\n": imported,
            '    "video_list": video_list.load,\n': line,
        },
        "suites/experiments/shared/kth.py": {
            '    *("video_folder", "video_list"),\n': f"    {name}\n"
        },
    }
    for changed, lines in changes.items():
        path = tmp_path / changed
        content = path.read_text(encoding="utf-8")
        for before, added in lines.items():
            assert content.count(before) == 1
            content = content.replace(before, before + added)
        path.write_text(content, encoding="utf-8")
    for number, person in enumerate(("ada", "bob", "eve")):
        for place, gesture in enumerate(GESTURES):
            write_video(tmp_path / "v" / f"{person}-{gesture}-1.avi", 2 * number + place)
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(tmp_path / "v")],
        env={**os.environ, **small_env, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    tested = [
        f"{person}-{gesture}-1.avi" for person in ("bob", "eve") for gesture in ("nod", "wave")
    ]
    expected = f"('nod', 'wave') {tested} 12 "
    assert done.stdout.startswith(expected), done.stdout
    assert "'test_persons': 2" in done.stdout
