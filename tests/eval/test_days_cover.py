"""On worlds with planted truth every estimate covers the truth at its stated rate."""

import math

import pytest

from tests.eval.coverage import coverage

DEPENDENT = {"recall_0.5s", "precision_lower_0.5s", "f1_lower_0.5s", "mae_0.5s", "false_per_hour"}
"""Where intervals that take rows as independent must be seen to fail."""


def test_estimates_cover_the_truth_quick():
    """200 worlds: an interval of 95 % is four binomial deviations, 6.2 %, below only by a fault."""
    worlds = 200
    margin = 4 * math.sqrt(0.95 * 0.05 / worlds)
    clustered, independent, without = coverage(12, 20, worlds)
    assert not any(without.values()), without
    assert min(clustered.values()) >= 0.95 - margin, clustered
    assert max(independent[name] for name in DEPENDENT) < 0.85, independent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stations", "events", "recorded"), [(12, 30, 1.0), (50, 50, 0.5), (200, 200, 0.05)]
)
def test_estimates_cover_the_truth_at_93_to_97_percent(stations, events, recorded):
    clustered, independent, without = coverage(stations, events, 2_000, recorded)
    assert not any(without.values()), without
    assert min(clustered.values()) >= 0.93, clustered
    assert max(clustered.values()) <= 0.97, clustered
    assert max(independent[name] for name in DEPENDENT) < 0.88, independent
