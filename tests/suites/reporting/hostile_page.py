"""A page of made-up runs, some failed, some with names that are code, for the tests of the page."""

from pathlib import Path

import pytest

from suites import paths
from suites.engine.store.folder import RunFolder
from suites.engine.store.index import read_rows
from suites.reporting.page.page import write_page
from tests.suites.reporting.many_runs import make_runs

COUNT = 130
SCRIPT = "</script><script>document.title='owned'</script>"
IMAGE = "\"'><img src=https://evil.example/x onerror=\"document.title='owned'\">"
REASON = f"{SCRIPT} {IMAGE} {{{{data}}}} ]]> <!--"


def make_page(folder: Path) -> tuple[Path, Path]:
    """The page and the results that it is of."""
    results, page = folder / "results", folder / "report.html"
    # Four settings, the last one not whole.
    make_runs(results, COUNT, seeds=3, failures=0.1)
    name, row = next((n, r) for n, r in read_rows(results).items() if r["status"] == "ok")
    spec = RunFolder(results / name).spec()
    for mode, seed in ((IMAGE, 900), (IMAGE, 901), (IMAGE, 902), ("full", 901), ("full", 902)):
        own = {"layer": SCRIPT, "mode": mode, "seed": seed}
        copy = RunFolder.create(results, spec.model_copy(update=own))
        own["run_id"] = copy.spec().run_id
        own["stages"] = [{"stage": IMAGE, "accuracy": float("nan")}]
        bad = {"status": "error", "reason": REASON, "device": IMAGE, "accuracy": float("nan")}
        copy.write_result(row | own | (bad if seed == 900 else {"device": SCRIPT}))
        (copy.path / "curves.csv").write_text(f"stage,epoch,{SCRIPT}\n{IMAGE},1,2\n,2,nan\n")
        lines = [f"line {n} {SCRIPT} \x00\x1b[31m" for n in range(80)]
        copy.log_file.write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "SHIPPED", folder / "shipped")
        write_page(page, None, results)
    return page, results
