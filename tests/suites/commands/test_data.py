import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from stdcf.errors import UserError
from suites.data import CARDS, app


def call(*arguments: str):
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_help_and_list_do_not_wait_for_torch():
    code = (
        "import sys; sys.argv = ['data', 'list']\n"
        "from suites.data import app\n"
        "app(standalone_mode=False)\n"
        "assert not {'torch', 'av', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in CARDS)


def test_every_set_has_a_card_and_is_verified():
    from stdcf.data.tools.verify import _EXPECTED
    from suites.engine.catalog import DATASETS

    assert {*CARDS} == {*DATASETS} - {"tr_mnist"}
    filmed = {name for name, card in CARDS.items() if not card.synthetic}
    assert filmed == {*_EXPECTED}
    shown = call("list").output
    for name in filmed:
        card = CARDS[name]
        assert card.licence
        assert card.tree
        assert all(text in shown for text in (card.needs, card.licence, card.source, *card.tree))


@pytest.mark.parametrize("flag", ["--data-root", "--root"])
def test_both_names_of_the_folder_and_options_of_the_set(tmp_path, make_list, flag):
    make_list(tmp_path / "v")
    (tmp_path / "v" / "train.txt").rename(tmp_path / "mine.txt")
    words = ["video_list", flag, str(tmp_path / "v"), "--data-option"]
    result = call("verify", *words, f"train={tmp_path / 'mine.txt'}")
    assert result.output.startswith("4 videos sound")
    out = tmp_path / "sheet.png"
    result = call("preview", *words, f"train={tmp_path / 'mine.txt'}", "--out", str(out))
    assert "Split at random" in result.output
    assert out.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="verified without an option 'layout'"):
        call("verify", *words, "layout=classes")


@pytest.fixture
def make_list():
    from stdcf.data.video.encode import Codec, write_video

    def make(root):
        root.mkdir()
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 256, (12, 24, 32, 3), np.uint8)
            write_video(root / f"{number}.mp4", noise, Codec("mpeg4", {}), fps=25)
        (root / "train.txt").write_text("".join(f"{n}.mp4 {n % 2}\n" for n in range(4)))

    return make


def test_list_says_where_each_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "kth").mkdir()
    monkeypatch.setenv("STDCF_DATA", str(tmp_path))
    shown = call("list").output
    assert f"{tmp_path / 'kth'} (found)" in shown
    assert f"{tmp_path / 'weizmann'} (not there)" in shown


def test_verify_names_faults_and_exits_with_1(tmp_path):
    (tmp_path / "hop").mkdir()
    (tmp_path / "hop" / "bad.avi").write_bytes(b"no video")
    result = call("verify", "video_folder", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert "hop/bad.avi: " in result.output
    assert "0 videos sound, 1 broken, 0 missing." in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["download", "kht"], "No data set 'kht': choose kth"),
        (["download", "weizmann"], "cannot be downloaded here"),
        (["download", "synthetic_actions"], "generated at first use"),
        (["verify", "kth", "--root", "/nowhere"], "No folder /nowhere"),
    ],
)
def test_mistakes_are_user_errors(arguments, message):
    with pytest.raises(UserError, match=message):
        call(*arguments)


def test_preview_writes_a_png(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    out = tmp_path / "sheets" / "kth.png"
    result = call("preview", "kth", "--root", str(real_data("kth")), "--out", str(out))
    assert result.exit_code == 0
    assert "17 of 599 KTH videos found" in result.output
    assert out.read_bytes().startswith(b"\x89PNG")
