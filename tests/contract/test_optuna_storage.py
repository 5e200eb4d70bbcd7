"""Optuna's own contract of a storage, kept by ours on every back end."""

import optuna
import pytest
from optuna.testing.pytest_storages import StorageTestCase

from ecgopt.database.engine import open_database
from ecgopt.database.optuna.storage import TESTED_MINOR_VERSIONS
from ecgopt.errors import StorageError

TIMES = (
    "test_create_new_trial",
    "test_create_new_trial_with_template_trial",
    "test_get_trial",
    "test_get_all_trials",
)
"""Tests that compare times to the microsecond; Optuna's columns in MySQL hold whole seconds."""


@pytest.fixture
def storage(url, request):
    if url.startswith("mysql") and request.node.originalname in TIMES:
        reason = "Optuna keeps whole seconds in MySQL"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=False))
    database = open_database(url)
    yield database.optuna
    database.engine.dispose()


class TestSlotStorage(StorageTestCase):
    pass


@pytest.mark.parametrize("version", ["5.1.0", "6.0.0", "4.9.1", "5.10.0.dev"])
def test_an_optuna_that_was_not_tested_is_refused_in_one_line(version, sqlite_url, monkeypatch):
    monkeypatch.setattr(optuna, "__version__", version)
    with pytest.raises(StorageError, match=f"but is {version}") as refused:
        open_database(sqlite_url)
    assert "\n" not in str(refused.value)


def test_the_installed_optuna_was_tested():
    assert optuna.__version__.startswith(TESTED_MINOR_VERSIONS)
