import subprocess
import sys

import pytest

from stdcf.errors import UserError
from stdcf.memory.savers import SAVERS, parse_savers
from stdcf.memory.savers.accumulate import Accumulate
from stdcf.memory.savers.checkpoint import Checkpoint
from stdcf.memory.savers.names import NAMES, canonical


def test_every_name_has_a_saver():
    assert list(SAVERS) == list(NAMES)
    values = {"accumulate": "=2", "plan": "=layer1:offload", "freeze": "=stem", "budget": "=1"}
    values["stochastic"] = "=0.5"
    # Needs torchao, which is optional: test_state8bit.py.
    names = [name for name in NAMES if name != "state8bit"]
    words = [name + values.get(name, "") for name in names]
    savers = [saver for word in words for saver in parse_savers(word)]
    assert [saver.name for saver in savers] == names
    assert [str(saver) for saver in savers] == words
    assert all(saver.__doc__ for saver in savers)


def test_one_spelling_whatever_the_order():
    assert canonical("checkpoint, bf16,accumulate=04") == ("bf16", "checkpoint", "accumulate=4")
    assert canonical(("budget=0.50",)) == ("budget=0.5",)
    assert canonical("") == canonical(()) == ()


def test_savers_and_words_mix():
    mine = Checkpoint()
    bf16, checkpoint, parts = parse_savers(["accumulate=3", mine, "bf16"])
    assert (bf16.name, checkpoint, parts.micro_batches) == ("bf16", mine, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "chekpoint",
            "unknown saver 'chekpoint'; there are bf16, recompute, checkpoint, accumulate=4",
        ),
        ("checkpoint=2", "takes no number: write checkpoint"),
        ("accumulate", "needs a number, as accumulate=4"),
        ("accumulate=two", "needs a number, as accumulate=4"),
        ("accumulate=1", "at least 2 micro-batches, not 1"),
        ("stochastic=0", "a share of frames above 0 and up to 1, not 0"),
        ("stochastic=0.5,checkpoint", "leave one of them out"),
        ("budget=2", "a share from 0 to 1, not 2"),
        ("bf16,bf16", "named twice"),
        ([Accumulate(2), "accumulate=4"], "named twice"),
    ],
)
def test_mistakes_are_one_line(words, said):
    with pytest.raises(UserError, match=said) as caught:
        parse_savers(words)
    assert "\n" not in str(caught.value)


def test_reading_names_takes_no_torch():
    code = "import sys, stdcf.memory.savers.names as n; n.canonical('bf16'); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
