"""What the tests of the hook share."""

import pytest
from hooked import Project, create


@pytest.fixture
def project(tmp_path) -> Project:
    return create(tmp_path / "project")
