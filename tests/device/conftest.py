"""One host build of the device library for all tests."""

from __future__ import annotations

import pytest

from tests.device.runtime import Library


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("device"))
