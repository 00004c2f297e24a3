"""TRN's relations against their definition."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from baselines.models.trn_r50 import TRN, Relation


def chosen(relation: Relation) -> list[tuple[int, ...]]:
    return [tuple(row) for row in relation.choose().tolist()]


def by_definition(mlp: nn.Module, features: Tensor, size: int) -> Tensor:
    """The sum over all frames t1 < … < ts."""
    frames = range(features.shape[1])
    return sum(
        mlp(torch.cat([features[:, t] for t in choice], 1))
        for choice in itertools.combinations(frames, size)
    )


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_with_all_choices_it_is_the_definition(size: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 5, 256)
    for training in (True, False):
        relation = Relation(5, size, num_classes=7, samples=100).train(training)
        expected = by_definition(relation.mlp, features, size)
        torch.testing.assert_close(relation(features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", range(2, 9))
def test_choices_are_ordered_distinct_and_at_most_three(size: int) -> None:
    every = list(itertools.combinations(range(8), size))
    relation = Relation(8, size, num_classes=2, samples=3)
    for training in (True, False):
        found = chosen(relation.train(training))
        assert len(set(found)) == len(found) == min(3, len(every))
        assert set(found) <= set(every)


def test_training_draws_all_choices_alike() -> None:
    torch.manual_seed(0)
    relation = Relation(5, 2, num_classes=2, samples=3).train()
    drawn = [choice for _ in range(2000) for choice in chosen(relation)]
    counts = [drawn.count(choice) for choice in itertools.combinations(range(5), 2)]
    # 6000 draws of 10 choices; the standard deviation of each is below 21.
    assert all(abs(count - 600) < 5 * 21 for count in counts), counts


def test_evaluation_takes_the_same_spread_choices_each_time() -> None:
    relation = Relation(8, 2, num_classes=2, samples=3).eval()
    every = list(itertools.combinations(range(8), 2))
    first = chosen(relation)
    assert first == [every[i] for i in (4, 14, 23)]
    assert all(chosen(relation) == first for _ in range(5))


def test_scores_are_the_sum_of_all_scales() -> None:
    torch.manual_seed(0)
    model = TRN(num_classes=3, num_frames=4, samples=6).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        features = model.reduce(model.backbone(clip))
        expected = sum(
            by_definition(relation.mlp, features, size)
            for size, relation in zip((2, 3, 4), model.relations, strict=True)
        )
        torch.testing.assert_close(model(clip), expected, rtol=1e-4, atol=1e-5)


def test_evaluation_is_deterministic_and_training_follows_the_seed() -> None:
    torch.manual_seed(0)
    model = TRN(num_classes=3, num_frames=4, samples=1, dropout=0.0)
    features = torch.randn(2, 4, 256)

    def scores(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return sum(relation(features) for relation in model.relations)

    assert torch.equal(scores(1), scores(1))
    assert any(not torch.equal(scores(1), scores(seed)) for seed in range(2, 12))
    model.eval()
    assert all(torch.equal(scores(1), scores(seed)) for seed in range(2, 12))


def test_order_counts() -> None:
    torch.manual_seed(0)
    relation = Relation(4, 4, num_classes=3, samples=3)
    features = torch.randn(1, 4, 256)
    assert not torch.allclose(relation(features), relation(features.flip(1)), atol=1e-3)
