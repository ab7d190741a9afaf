"""Figures and terminal tables are written, and show what they were given."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread
from rich.console import Console

from eval.continuous import MATCHED_SCHEMA
from eval.metrics import score_complete_truth
from eval.report.figure import Mark, WindowView, draw_windows
from eval.report.score_figure import draw_scores
from eval.report.terminal import scores_table

T0 = 1_644_105_600_000_000_000


def view_of(**changes):
    n = 3_000
    given: dict[str, Any] = {
        "waveform": np.sin(np.arange(3 * n)).reshape(3, n),
        "rate": 100.0,
        "start_ns": T0,
        "title": "XX.SYN1..HH",
        "curves": {"one": np.zeros((2, n)), "two": np.full((2, n), 0.5)},
        "picks": {"one": [Mark("P", T0 + 10 * 10**9)]},
        "arrivals": [Mark("P", T0 + 10 * 10**9), Mark("S", T0 + 15 * 10**9)],
        "thresholds": {"one": {"P": 0.3, "S": 0.3}},
    }
    return WindowView(**(given | changes))


def scores_of(tolerance_s=0.5, **residuals):
    return pa.Table.from_pylist(
        [
            {"candidate": candidate, "phase": phase}
            | score_complete_truth(np.array(values), 12, 20, 6.0, tolerance_s)
            for candidate, values in residuals.items()
            for phase in ("P", "S", "P+S")
        ]
    )


def printed(table, width=80):
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue()


def test_windows_picture_grows_with_windows_and_gaps_are_drawn(tmp_path):
    gap = view_of().waveform.copy()
    gap[:, 500:700] = np.nan
    gap[1] = np.nan  # a dead component
    draw_windows(tmp_path / "one.png", [view_of()])
    draw_windows(tmp_path / "two.png", [view_of(), view_of(waveform=gap)])
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert one.shape[1] == two.shape[1] == 1600
    assert two.shape[0] > 1.7 * one.shape[0]


def coloured(path, colour):
    """How many pixels have a colour, given as #rrggbb."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return int((np.abs(imread(path)[..., :3] - rgb) < 0.01).all(axis=-1).sum())


def test_every_pick_leaves_ink(tmp_path):
    """S has no pick: adding one adds the colour of S."""
    with_s = {"one": [Mark("P", T0 + 10 * 10**9), Mark("S", T0 + 20 * 10**9)]}
    draw_windows(tmp_path / "p.png", [view_of()])
    draw_windows(tmp_path / "ps.png", [view_of(picks=with_s)])
    assert coloured(tmp_path / "ps.png", "#D55E00") > coloured(tmp_path / "p.png", "#D55E00") + 100


def test_picks_outside_the_window_are_not_drawn(tmp_path):
    outside = [Mark("S", T0 + 33 * 10**9), Mark("S", T0 - 1)]
    draw_windows(tmp_path / "none.png", [view_of(picks={})])
    draw_windows(tmp_path / "outside.png", [view_of(picks={"one": outside})])
    assert np.array_equal(imread(tmp_path / "none.png"), imread(tmp_path / "outside.png"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"waveform": np.zeros((2, 3_000))}, r"waveform of 'XX.SYN1..HH': shape \(2, 3000\)"),
        ({"curves": {"one": np.zeros((2, 9))}}, r"curves\['one'\] .* shape \(2, 9\), not \(2, 300"),
        ({"picks": {"other": []}}, r"no curves for \['other'\]"),
    ],
)
def test_a_window_that_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        view_of(**changes)


def test_a_mark_of_another_phase_is_refused():
    with pytest.raises(ValueError, match="phase 'Pn'"):
        Mark("Pn", T0)


def test_no_windows_is_an_error_not_an_empty_picture(tmp_path):
    with pytest.raises(ValueError, match="windows"):
        draw_windows(tmp_path / "none.png", [])


def test_scores_picture_takes_many_candidates_and_undefined_values(tmp_path):
    scores = scores_of(**{f"candidate-{i}": [0.1] * i for i in range(8)})
    pairs = pa.Table.from_pylist(
        [{"candidate": "candidate-1", "phase": "P", "residual_s": 0.1}], MATCHED_SCHEMA
    )
    draw_scores(tmp_path / "scores.png", scores, pairs)
    assert coloured(tmp_path / "scores.png", "#0072B2") > 1_000


def test_terminal_table_shows_counts_and_fits_80_columns():
    text = printed(scores_table(scores_of(one=[0.1] * 9, silent=[])))
    assert all(len(line) <= 80 for line in text.splitlines())
    for shown in (
        "one",
        "silent",
        "P+S",
        "45.0",
        "9/20",
        "9/12",
        "3 in 6 h",
        "+100",
        "within 0.5 s",
    ):
        assert shown in text, shown
    assert "nan" not in text


def test_terminal_table_refuses_mixed_tolerances():
    mixed = pa.concat_tables(
        [scores_of(one=[0.1]), scores_of(1.0, one=[0.1])], promote_options="default"
    )
    with pytest.raises(ValueError, match=r"\[0.5, 1.0\]"):
        scores_table(mixed)
