import pytest

from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")
