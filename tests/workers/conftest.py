"""Real data and real weights, where the machine has them beside the checkout."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Continuous data with analyst picks, labelled traces, published weights."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA
