"""A reviewed sample of extras gives their real share, and an interval that covers it."""

import math

import numpy as np
import pyarrow as pa
import pytest

from eval.audit import audited, draw


def extras_of(n, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table({"time": np.arange(n), "probability": rng.random(n).astype(np.float32)})


def reviewed(sheet, answers):
    at = sheet.column_names.index("answer")
    return sheet.set_column(at, "answer", pa.array(answers, pa.string()))


def test_the_sheet_is_stratified_by_probability_and_the_same_for_the_same_seed():
    extras = extras_of(103)
    sheet = draw(extras, 20, seed=4)
    assert sheet.num_rows == 20
    ordered = np.sort(extras["probability"].to_numpy())
    for stratum in range(5):
        own = sheet.filter(pa.array(sheet["stratum"].to_numpy() == stratum))
        part = np.array_split(ordered, 5)[stratum]
        assert own.num_rows == 4
        assert set(own["extras_in_stratum"].to_pylist()) == {len(part)}
        assert np.isin(own["probability"].to_numpy(), part).all()
    shuffled = extras.take(np.random.default_rng(1).permutation(103))
    assert draw(shuffled, 20, seed=4).equals(sheet)
    assert not draw(extras, 20, seed=5).equals(sheet)
    assert len(set(sheet["time"].to_pylist())) == 20
    assert sheet["probability"].to_pylist() != sorted(sheet["probability"].to_pylist())


def test_the_formulas_by_hand():
    """Two strata of 6 and 4 extras: 1 of 3 and 2 of 2 real, and one unsure."""
    sheet = pa.table(
        {
            "sample": range(6),
            "stratum": [0, 0, 0, 1, 1, 1],
            "extras_in_stratum": [6, 6, 6, 4, 4, 4],
            "seed": [0] * 6,
            "answer": ["real", "false", "false", "real", "real", "unsure"],
        }
    )
    found = audited(sheet, matched=30, extras=10)
    assert found.real_share.value == pytest.approx(0.6 * 1 / 3 + 0.4 * 1.0)
    assert found.precision.value == pytest.approx((30 + 0.6 * 10) / 40)
    assert (found.drawn, found.answered, found.unsure) == (6, 5, 1)
    assert found.real_share.low < 0.6 < found.real_share.high < 1
    assert found.precision.low == pytest.approx((30 + 10 * found.real_share.low) / 40)


def test_all_reviewed_is_certain_and_unanswered_strata_are_undefined():
    extras = extras_of(12)
    sheet = draw(extras, 12, seed=0)
    full = audited(reviewed(sheet, ["real"] * 3 + ["false"] * 9), matched=8, extras=12)
    assert (full.precision.low, full.precision.value, full.precision.high) == (0.55, 0.55, 0.55)
    silent = audited(sheet, matched=8, extras=12)
    assert math.isnan(silent.real_share.value) and math.isnan(silent.precision.value)
    assert silent.answered == 0


def test_the_interval_covers_and_unanimous_answers_are_not_certain():
    rng = np.random.default_rng(7)
    held = 0
    for seed in range(400):
        extras = extras_of(300, seed)
        real = rng.random(300) < 0.05 + 0.9 * extras["probability"].to_numpy() ** 2
        sheet = draw(extras, 40, seed=seed)
        answers = np.where(real[sheet["time"].to_numpy()], "real", "false").tolist()
        share = audited(reviewed(sheet, answers), 0, 300).real_share
        held += share.low <= real.mean() <= share.high
    assert 0.93 <= held / 400 <= 0.995
    unanimous = audited(reviewed(sheet, ["real"] * 40), 0, 300).real_share
    assert unanimous.value == 1.0 and unanimous.low < 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: reviewed(s, ["yes"] * 10), r"'answer' holds \['yes'\]"),
        (lambda s: s.drop_columns("stratum"), "no column 'stratum'"),
        (lambda s: s.slice(0, 1), "extras, not 50"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        audited(change(draw(extras_of(50), 10, seed=0)), matched=1, extras=50)
    with pytest.raises(ValueError, match="size 3"):
        draw(extras_of(50), 3, seed=0)
