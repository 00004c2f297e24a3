"""Cluster settings: what is read, and what is said of a file that is wrong. Needs no SLURM."""

from pathlib import Path

import pytest

from slurm.profile import ClusterProfile, load_profile, parse_overrides
from stdcf.errors import UserError
from suites.paths import REPOSITORY

EXAMPLE = REPOSITORY / "slurm" / "clusters" / "example.toml"
TWO = """\
parallel = 7
sbatch = {nice = 100}

[small]
partition = "short"

[large]
partition = "long"
parallel = 3
"""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    return path


def test_the_example_has_a_gpu_and_a_cpu_partition() -> None:
    a100, cpu = (load_profile(EXAMPLE, name) for name in ("a100", "cpu"))
    assert (a100.gpus_per_node, a100.gpu_type, a100.gpu_memory_gib) == (8, "a100", 80)
    assert (cpu.gpus_per_node, cpu.partition) == (0, "cpu")
    assert a100.max_time_limits == cpu.max_time_limits == 20


def test_what_is_common_holds_unless_a_profile_or_the_command_line_says_otherwise(
    two: Path,
) -> None:
    assert load_profile(two, "small").parallel == 7
    assert load_profile(two, "large").parallel == 3
    large = load_profile(two, "large", ["parallel=5", "partition=other", 'modules=["a", "b"]'])
    assert (large.parallel, large.partition, large.modules) == (5, "other", ("a", "b"))
    assert large.sbatch == {"nice": 100}


def test_a_file_without_tables_is_one_profile(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('partition = "main"\n')
    assert load_profile(path) == ClusterProfile(partition="main")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ('[a]\npartion = "x"\n', "a", "profile a: unknown key 'partion'; there are partition, "),
        ("[a]\nparallel = 0\n", "a", "profile a: parallel: input should be greater than 0 (given"),
        ("[a]\nmodules = 'cuda'\n", "a", "modules: input should be a valid tuple"),
        ("[a]\n[b]\n", None, "has a, b; choose with --cluster-profile"),
        ("[a]\n[b]\n", "c", "no profile 'c' in "),
        ("parallel =\n", None, "is not TOML: "),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_valid(
    tmp_path: Path, content: str, name: str | None, words: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        load_profile(path, name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_names_the_example(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cluster file .*; slurm/clusters/example.toml is one"):
        load_profile(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("partition", "--cluster-option takes KEY=VALUE, not 'partition'"),
        ("gpus=2", "--cluster-option: unknown key 'gpus'; there are partition, "),
        ("minutes=1.5", "--cluster-option: minutes: input should be a valid integer"),
    ],
)
def test_an_option_that_is_wrong_is_named(word: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_overrides([word])
    assert str(error.value).startswith(message)
