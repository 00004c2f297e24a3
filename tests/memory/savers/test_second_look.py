import pytest
import torch
from torch.utils import checkpoint as torch_checkpoint

from stdcf.errors import UserError
from stdcf.memory.savers.second_look import VALUES, Look


def test_torch_still_compares_what_its_table_says():
    """Private: the looks of both runs are compared because their function stands there."""
    assert torch_checkpoint._allowed_determinism_checks_to_fns[VALUES] is Look
    assert hasattr(torch_checkpoint, "_enable_checkpoint_early_stop")
    calls = [1.0, 2.0]
    out = torch_checkpoint.checkpoint(
        lambda x: (x * calls.pop()).exp(),
        torch.ones(3, requires_grad=True),
        use_reentrant=False,
        determinism_check=VALUES,
    )
    with pytest.raises(UserError, match="does not compute the same"):
        out.sum().backward()
