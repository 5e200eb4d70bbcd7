import pytest

from tests.support.fakes_evidence import invent


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def evidence(request, workspace):
    """Return evidence of the world that the test's module names `WORLD`."""
    return invent(request.module.WORLD, workspace)
