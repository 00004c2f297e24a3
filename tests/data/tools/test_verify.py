import pytest

from stdcf.data.tools.verify import Fault, find_faults
from stdcf.errors import UserError


def test_every_broken_and_missing_file_is_named(tmp_path, make_video):
    for name in ("person11_boxing_d1", "person12_boxing_d1", "person13_boxing_d1"):
        make_video(tmp_path / "boxing" / f"{name}_uncomp.avi", 50)
    broken = tmp_path / "boxing" / "person12_boxing_d1_uncomp.avi"
    broken.write_bytes(broken.read_bytes()[:4000])
    (tmp_path / "00sequences.txt").write_text(
        "person11_boxing_d1 frames 1-50\nperson12_boxing_d1 frames 1-50\n"
        "person13_boxing_d1 frames 1-40, 41-60\nperson14_boxing_d1 frames 1-50\n"
    )
    steps = []
    sound, faults = find_faults("kth", tmp_path, progress=lambda *step: steps.append(step[:2]))
    assert sound == 1
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert "truncated" in faults[0].reason
    assert faults[1:] == [
        Fault(
            "boxing/person13_boxing_d1_uncomp.avi", "50 frames, but 00sequences.txt annotates 60"
        ),
        Fault("boxing/person14_boxing_d1_uncomp.avi", "missing"),
    ]


def test_a_sound_folder_has_no_faults(tmp_path, make_video):
    make_video(tmp_path / "hop" / "a.avi", 5)
    assert find_faults("video_folder", tmp_path) == (1, [])


def test_the_real_sets(real_data):
    assert find_faults("weizmann", real_data("weizmann")) == (90, [])
    sound, faults = find_faults("kth", real_data("kth"))
    assert (sound, len(faults)) == (17, 582)
    assert {fault.reason for fault in faults} == {"missing"}


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="choose kth, weizmann, video_folder"):
        find_faults("imagenet", tmp_path)
