"""Saver plan: as the savers it is made of, block by block, and what it refuses."""

import json

import pytest
import torch
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.names import canonical, label
from stdcf.memory.savers.plan import Plan
from stdcf.memory.savers.plan_file import as_word, parse_word

ALIKE = {
    "recompute": ["", "stem", "layers.0", "layers.1", "norm", "mlp"],
    "checkpoint": ["stem", "layers.0", "layers.1", "mlp"],
    "offload": ["", "stem", "layers.0", "layers.1", "norm", "mlp"],
    "int8": ["", "stem", "layers.0", "layers.1", "norm", "mlp"],
    "recompute+offload": ["", "stem", "layers.0", "layers.1", "norm", "mlp"],
}


@pytest.mark.parametrize("choice", ALIKE)
def test_all_blocks_alike_are_the_saver_of_that_name(made, batch, learnt, choice):
    model, (clip, label_B) = made("residual"), batch()
    whole = learnt(model, choice.replace("+", ","), clip, label_B)
    planned = learnt(model, [Plan(dict.fromkeys(ALIKE[choice], choice))], clip, label_B)
    assert planned.same(whole)
    assert planned.tracker.peak_bytes == whole.tracker.peak_bytes
    assert planned.tracker.host_bytes == whole.tracker.host_bytes
    assert planned.tracker.macs == whole.tracker.macs


MIXES = {
    "residual": [
        "stem:recompute;layers.0:checkpoint;layers.1:offload",
        "stem:checkpoint;layers.0:offload;layers.1:checkpoint;mlp:recompute",
        ":offload;layers.0:keep;layers.0.bn:recompute+offload;layers.1.conv2:keep",
        "layers:offload;layers.1:recompute;layers.1.conv2:offload",
    ],
    "kth_cnn": [
        "blocks.0:checkpoint;blocks.1:offload;blocks.2:recompute",
        "blocks.0.1:recompute+offload;blocks.0.2:recompute+offload;blocks.1:checkpoint",
        "blocks:recompute;blocks.1.3:offload;blocks.2:checkpoint",
    ],
}


@pytest.mark.parametrize(("network", "word"), [(n, w) for n, words in MIXES.items() for w in words])
def test_neighbours_of_other_kinds_give_the_plain_bits(made, batch, learnt, network, word):
    model, (clip, label_B) = made(network), batch()
    plain = learnt(model, "", clip, label_B)
    mixed = learnt(model, f"plan={word}", clip, label_B)
    assert mixed.same(plain)
    assert mixed.tracker.peak_bytes < plain.tracker.peak_bytes


def test_with_micro_batches_it_is_the_plain_step_with_micro_batches(made, batch, learnt):
    model, (clip, label_B) = made("residual"), batch()
    parts = learnt(model, "accumulate=2", clip, label_B)
    word = "plan=stem:offload;layers.0:checkpoint;layers.1:recompute"
    assert learnt(model, f"accumulate=2,{word}", clip, label_B).same(parts)


def test_a_file_and_a_word_are_the_same_plan(tmp_path):
    blocks = {"stem": "keep", "layers.1": "offload", "layers.0": "checkpoint", "": "keep"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model": "anything", "blocks": blocks}))
    word = "plan=layers.0:checkpoint;layers.1:offload"
    assert canonical(f"plan={path}") == canonical(word) == (word,)
    (plan,) = parse_savers(f"plan={path}")
    assert plan.blocks == parse_word("layers.0:checkpoint;layers.1:offload")
    assert str(plan) == word
    # What is kept within something that is not must be said.
    assert as_word({"a": "offload", "a.b": "keep", "c": "keep"}) == "a:offload;a.b:keep"
    assert as_word({"a": "keep"}) == ":keep"


def test_a_label_is_short_and_of_the_plan_alone():
    one, other = "plan=layers.0:checkpoint", "plan=layers.0:offload"
    assert len(label(one)) < 20
    assert label(one) != label(other)
    assert label("accumulate=4") == "accumulate=4"


def test_gradients_are_said_to_be_exact_unless_int8_is_planned():
    assert Plan({"a": "offload", "b": "checkpoint"}).gradients == "the same bits"
    assert "1/255" in Plan({"a": "offload", "b": "int8"}).gradients


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plan=layers.0:forget", "block 'layers.0' cannot be planned as 'forget'"),
        ("plan=layers.0", "block '' cannot be planned as 'layers.0'"),
        ("plan", "saver plan needs a file, as plan=FILE.json"),
        ("plan=nowhere.json", "plan nowhere.json cannot be read: No such file"),
        ("plan=a:checkpoint;a.b:offload", "a is checkpointed, so nothing can be planned for a.b"),
        ("plan=a:offload,checkpoint", "a plan says for each block whether it is to checkpoint"),
        ("offload,plan=a:offload", "leave offload out"),
    ],
)
def test_it_refuses_to_read(words, said):
    with pytest.raises(UserError, match=said) as caught:
        parse_savers(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", 'has no blocks; it is written as {"blocks"'),
        ('{"blocks": {"a": "forget"}}', "block 'a' of .* the choices are keep, recompute"),
    ],
)
def test_it_refuses_a_file_that_is_no_plan(tmp_path, content, said):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        parse_savers(f"plan={path}")


@pytest.mark.parametrize("choice", ["offload", "checkpoint"])
def test_a_module_that_is_not_there_is_named(made, batch, choice):
    model, (clip, label_B) = made("residual"), batch()
    with pytest.raises(UserError, match=r"Residual has no module 'layer.0'; did you mean layers.0"):
        learn(model, clip, label_B, F.cross_entropy, [Plan({"layer.0": choice})])


def test_no_hook_stays_on_the_model(made, batch):
    model, (clip, label_B) = made("residual"), batch()
    plan = Plan("stem:offload;layers.0:checkpoint;norm:recompute")
    learn(model, clip, label_B, F.cross_entropy, [plan])
    for module in model.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
        assert "forward" not in module.__dict__
    assert torch.isfinite(model.stem[0].weight.grad).all()
