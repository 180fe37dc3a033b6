"""What several tests of the probe need."""

import sys

import pytest
import torch


@pytest.fixture
def one_process(tmp_path):
    """A group of processes, of which this one is all."""
    told = sys.excepthook  # a process group puts its own there, and leaves it
    torch.distributed.init_process_group("gloo", init_method=(tmp_path / "store").as_uri(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()
    sys.excepthook = told
