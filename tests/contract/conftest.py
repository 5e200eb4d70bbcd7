"""Databases of every kind that a contract must hold on."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request):
    return request.getfixturevalue(f"{request.param}_url")
