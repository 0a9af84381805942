import pytest
import torch

from mlcore.engine.config import NetworkConfig
from mlcore.engine.model.networks import build_network
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


@pytest.fixture
def cpu():
    return torch.device("cpu")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="session")
def trained_like():
    """Make a network whose running statistics are not those of a fresh one."""

    def make(*, dual: bool):
        network = build_network(NetworkConfig(name="resnet10"), 2, dual=dual, seed=3)
        generator = torch.Generator().manual_seed(5)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
        return network

    return make
