"""What is random in training, as a function of the seed and of where training stands."""

import numpy as np


def shuffled(seed: int, stage: int, epoch: int, clips: int) -> np.ndarray:
    """The order of an epoch's clips."""
    return np.random.default_rng([seed, stage, epoch]).permutation(clips)


def torch_seed(*numbers: int) -> int:
    """A seed for torch's generator."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
