"""Every catalogue test runs on a local directory and on a real S3 endpoint."""

from pathlib import Path
from typing import Any

import pytest

from catalog.store import Store, open_store


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(str(tmp_path / "catalogue"))
    s3: Any = request.getfixturevalue("s3")
    return open_store(s3.url("catalogue"))
