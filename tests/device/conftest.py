"""A host build of the device library at each level of optimization, for all tests."""

from __future__ import annotations

import pytest

from tests.device.runtime import Library


@pytest.fixture(scope="session", params=["TM_OPT0", "TM_OPT1"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("device"), [f"-DTM_OPT_LEVEL={request.param}"])
