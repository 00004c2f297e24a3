"""What pyproject.toml cannot declare: what an sdist and a wheel carry beside the sources.

An sdist records the commit that it was made of. A wheel carries that record, the published values,
and the shipped runs as one archive; see `suites/paths.py`.
"""

import json
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))


def record_commit(root: Path) -> None:
    """Writes suites/snapshot.json under `root`."""
    from suites.engine.store.provenance import SNAPSHOT_FILE, commit

    head, dirty = commit()
    record = json.dumps({"commit": head, "dirty": dirty}) + "\n"
    (root / SNAPSHOT_FILE).write_text(record, encoding="utf-8")


class BuildWithResults(build_py):
    """Adds the record, the published values and the shipped runs; not to an editable install."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        from suites.engine.store.archive import write_archive

        library = Path(self.build_lib)
        shipped = library / "suites" / "shipped"
        shutil.rmtree(shipped, ignore_errors=True)
        shutil.copytree(ROOT / "results" / "published", shipped / "published")
        runs = ROOT / "results" / "runs"
        names = [str(spec.parent.relative_to(runs)) for spec in runs.glob("*/*/*/spec.json")]
        write_archive(runs, names, shipped / "runs.tar.gz")
        record_commit(library)


class SdistWithCommit(sdist):
    """Adds the record."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        record_commit(Path(base_dir))


setup(cmdclass={"build_py": BuildWithResults, "sdist": SdistWithCommit})
