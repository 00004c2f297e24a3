"""The page about the layer does what it says."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "layer.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_of_the_page_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STDCF_PLANS", str(tmp_path / "plans.json"))
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") > 10
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for block in blocks:
            # The page's own line numbers stand in a traceback.
            lines = "\n" * (text[: block.start(1)].count("\n")) + block[1]
            exec(compile(lines, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "temporaries MiB" in printed
    assert "(measured) for 1×64×4×28×28" in printed


def test_the_page_names_every_plan_and_every_initialisation() -> None:
    from stdcf.layers.atoms import INITS
    from stdcf.layers.plain import PLANS

    text = PAGE.read_text(encoding="utf-8")
    for name in (*PLANS, *INITS):
        assert f"| `{name}` |" in text, name
