import subprocess
import sys

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
