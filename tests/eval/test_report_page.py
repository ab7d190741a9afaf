"""The page says what the tables say: every number, what is missing, and who did not win."""

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from catalog.examined import SNIPPET_SCHEMA
from eval import noise, reviewed
from eval.arena.answers import Answers
from eval.arena.battles import battles
from eval.arena.board import leaderboard, matrix
from eval.arena.tallies import of_traces as of_ruled
from eval.calibration import calibration, reliability
from eval.comparison import compare, compare_rates, found_in
from eval.leakage import FRACTION_SCHEMA
from eval.oracle import composition, score
from eval.report.honesty import PROVENANCE_SCHEMA
from eval.report.page import render
from eval.report.rows import FORMS
from eval.report.section import Subject
from eval.report.verdicts import overall
from eval.residuals import of_traces
from eval.snr.days import of_found
from eval.snr.decisions import by_size
from eval.snr.measures import labelled
from eval.snr.table import table as snr_table
from eval.splits import OPENING_SCHEMA
from eval.thresholds import Frozen, Thresholds

T0 = 1_644_105_600_000_000_000
HOUR = 3_600_000_000_000
UTC_NS = pa.timestamp("ns", tz="UTC")
STRATA = ("all", "dist_bin")
CANDIDATES = {"original": (0.80, 0.15), "volpick": (0.86, 0.14), "broken": (0.02, 0.05)}
"""name -> (recall at 0.3, scatter of its residuals in s)"""
STATIONS, PER_HOUR = 8, {"original": 1.2, "volpick": 1.5, "broken": 0.0}


def traces_of(rng, n=600):
    event, station = np.arange(n) // 6, rng.integers(0, 30, n)
    distance = np.exp(rng.uniform(np.log(5), np.log(4000), n))
    parts = []
    for name, (recall, scatter) in CANDIDATES.items():
        columns = {
            "weight": [name] * n,
            "trace_name": [f"t{k}" for k in range(n)],
            "dataset": ["ncedc"] * n,
            "event_id": [f"e{k}" for k in event],
            "station": [f"XX.S{k}" for k in station],
            "distance_km": distance,
        }
        for phase in "ps":
            label = np.full(n, 500 if phase == "p" else 900)
            if phase == "s":
                label[distance > 1500] = -1  # teleseismic S has no label
            probability = np.where(
                rng.random(n) < recall, rng.uniform(0.3, 1, n), rng.uniform(0, 0.3, n)
            )
            columns |= {
                f"{phase}_in_window": label,
                f"{phase}_prob": pa.array(probability, mask=label < 0),
                f"{phase}_residual_s": pa.array(rng.normal(0.02, scatter, n), mask=label < 0),
            }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def days_of(rng):
    """Arrivals, picks with extras, and a table of noise on the hours that follow."""
    arrivals = [
        {
            "network": "XX", "station": f"S{s}", "location": "", "phase": phase,
            "time": T0 + (200 * k + 3 * s + (8 if phase == "S" else 0)) * 10**9, "event": f"e{k}",
        }
        for k in range(16) for s in range(STATIONS) for phase in "PS"
    ]  # fmt: skip
    picks = []
    for name, (recall, scatter) in CANDIDATES.items():
        found = [a for a in arrivals if rng.random() < recall]
        hours = rng.poisson(PER_HOUR[name], (STATIONS, 10))
        false = [
            (f"S{s}", 1 + h + rng.random()) for s in range(STATIONS) for h in range(10)
            for _ in range(hours[s, h])
        ]  # fmt: skip
        for a in found:
            late = round(rng.normal(0, scatter) * 1e9)
            picks.append(
                {**a, "candidate": name, "time": a["time"] + late, "p": rng.uniform(0.3, 1)}
            )
        for station, hour in false:
            at = T0 + round(hour * HOUR)
            picks.append(
                {"candidate": name, "network": "XX", "station": station, "location": "",
                 "phase": "PS"[rng.integers(2)], "time": at, "p": rng.uniform(0.1, 0.7)}
            )  # fmt: skip
    table = pa.Table.from_pylist(picks)
    kept = table.select(["candidate", "network", "station", "location", "phase"])
    kept = kept.append_column("time", table["time"].cast(UTC_NS))
    n = kept.num_rows
    for column, values in (
        ("offset_ns", pa.repeat(0, n).cast(pa.int32())),
        ("probability", table["p"].cast(pa.float32())),
        ("saddle", pa.repeat(0.0, n).cast(pa.float32())),
        ("amplitude", pa.array(rng.uniform(2, 90, n), pa.float32())),
        ("noise_amplitude", pa.repeat(1.0, n).cast(pa.float32())),
    ):
        kept = kept.append_column(column, values)
    truth = pa.Table.from_pylist(arrivals)
    truth = truth.set_column(4, "time", truth["time"].cast(UTC_NS))
    quiet = pa.table(
        {
            "network": ["XX"] * STATIONS,
            "station": [f"S{s}" for s in range(STATIONS)],
            "location": [""] * STATIONS,
            "start": pa.array([T0 + HOUR] * STATIONS, UTC_NS),
            "end": pa.array([T0 + 11 * HOUR] * STATIONS, UTC_NS),
        }
    )
    return kept, truth, quiet


def snippets_of(rng, candidate="original"):
    n = 1500
    row = {
        "kind": "miss", "candidate": candidate, "phase": "P", "trace": "XX.S1..HH", "start": T0,
        "sampling_rate": 100.0, "waveform": rng.normal(size=3 * n).tolist(),
        "curves": [
            {"candidate": candidate, "phase": phase, "probability": rng.uniform(0, 0.2, n).tolist()}
            for phase in "PS"
        ],
        "marks": [{"candidate": None, "phase": "P", "time": T0 + 7 * 10**9}],
    }  # fmt: skip
    return pa.Table.from_pylist([row], SNIPPET_SCHEMA)


def make_tables(seed=0):
    rng = np.random.default_rng(seed)
    traces = traces_of(rng)
    picks, arrivals, quiet = days_of(rng)
    thresholds, names = (0.1, 0.2, 0.3, 0.5, 0.7), tuple(CANDIDATES)
    standing = picks.filter(pc.field("probability") >= 0.3)
    judged = reviewed.judged_picks(picks, arrivals)
    counts = noise.window_counts(picks, quiet, 0.3, names)
    rates_differ = compare_rates(counts, "original", seed=0, margin=0.5)
    on_days = reviewed.found_on(standing, arrivals, candidates=names)
    leaks = [
        {"candidate": "original", "dataset": "ncedc", "traces": 600, "events": 100, "leaked": 62,
         "clean": 30, "unverifiable": 8, "unresolved": 0, "value": 62 / 92, "low": 0.57,
         "high": 0.76, "n": 92}
    ]  # fmt: skip
    opened = [{"opened": "2026-01-02T03:04:05", "candidates": "original, volpick", "why": "paper"}]
    about = [{"about": "original", "name": "weights sha256", "value": "ab" * 32}]
    arrived = {p: of_found(on_days, p, names)[0].scores(seed=0) for p in "PS"}
    solved = Frozen.solved(Thresholds.of(0.3), "one an hour", "noise", ["w"])
    rule = Answers.of_rule(battles(of_ruled(traces, solved)))
    every = labelled(traces, "P", names).measures(0.3)
    return {
        "snr": snr_table(traces, names, 0.3, ("all", "dist_bin"), days=arrived, seed=0),
        "snr_sizes": by_size(every[0], arrived["P"], (4, 16, 64), seed=0),
        "ruled_board": leaderboard(rule),
        "ruled_matrix": matrix(rule),
        "oracle": score(traces, 0.3, STRATA, seed=0),
        "composition": composition(traces, STRATA),
        "residual_bins": of_traces(traces, 0.3),
        "comparison": pa.concat_tables(
            [compare(found_in(traces, 0.3), "original", seed=0), rates_differ]
        ),
        "comparison_days": pa.concat_tables([compare(on_days, "original", seed=0), rates_differ]),
        "noise_rates": noise.rates(picks, quiet, thresholds, names, seed=0),
        "noise_stations": noise.station_rates(picks, quiet, (0.3,), names),
        "continuous": reviewed.score(standing, arrivals, strata=("all", "station"), seed=0),
        "continuous_curve": reviewed.curve(picks, arrivals, thresholds),
        "extras": reviewed.extras(standing, arrivals),
        "calibration": calibration(judged, seed=0),
        "reliability": reliability(judged, seed=0),
        "leakage": pa.Table.from_pylist(leaks, FRACTION_SCHEMA),
        "openings": pa.Table.from_pylist(opened, OPENING_SCHEMA),
        "provenance": pa.Table.from_pylist(about, PROVENANCE_SCHEMA),
        "snippets": snippets_of(rng),
    }


@pytest.fixture(scope="module")
def tables():
    return make_tables()


def subject_of(tables, **changes):
    given = {
        "name": "spring", "file": "evaluation.toml", "baseline": "original",
        "candidates": list(CANDIDATES), "threshold": 0.3, "made": "2026-03-01 12:00 UTC",
        "tables": tables,
    }  # fmt: skip
    return Subject(**(given | changes))


@pytest.fixture(scope="module")
def page(tables):
    return render(subject_of(tables))


def found(pattern, page, group):
    match = re.search(pattern, page, re.S)
    assert match, pattern
    return match[group]


class Reader(HTMLParser):
    """Quoted numbers, attributes that could load something, and the text."""

    def __init__(self, text):
        super().__init__()
        self.quotes, self.loads, self.tags, self.text = [], [], [], []
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.loads += [
            given[name] for name in ("src", "href", "xlink:href", "data") if name in given
        ]
        if tag == "data":
            self._open = (given["value"], given["data-of"])

    def handle_endtag(self, tag):
        if tag == "data":
            self._open = None

    def handle_data(self, text):
        self.text.append(text)
        if self._open:
            self.quotes.append((*self._open, text))


def test_every_quoted_number_is_that_of_its_table(page, tables):
    quotes = Reader(page).quotes
    assert len(quotes) > 500
    assert {place.split("/")[0] for _, place, _ in quotes} >= {
        "oracle", "composition", "comparison", "noise_rates", "noise_stations", "continuous",
        "continuous_curve", "calibration", "reliability", "leakage", "residual_bins",
        "snr", "ruled_board", "ruled_matrix",
    }  # fmt: skip
    for value, place, text in quotes:
        name, row, column = place.split("/")
        held = tables[name][column][int(row)].as_py()
        assert float(value) == held, place
        shown = text.replace("\N{MINUS SIGN}", "-")
        assert shown in {format(held, form) for form in FORMS.values()}, place


def test_no_number_of_recall_or_timing_stands_without_its_interval_and_count(page):
    board = found(r"<caption><span>Labelled traces.*?</table>", page, 0)
    rows = re.findall(r"<tr>(?!<th scope=\"col\").*?</tr>", board, re.S)
    assert len(rows) == 6
    for row in rows:
        recall, timed, mae, outliers = re.findall(r"<td>(.*?)</td>", row, re.S)[:4]
        for cell in (recall, timed, mae, outliers):
            assert 'class="interval"' in cell and 'class="count"' in cell, cell


def test_the_rule_and_people_stand_apart_and_battles_are_linked_where_they_are_served(page, tables):
    part = found(r'<section id="arena".*?</section>', page, 0)
    assert "By rule, labelled traces: all windows" in part and "By people: all windows" not in part
    assert "what people said of pairs of candidates" in part and "/arena" not in part
    served = render(subject_of(tables, serve="http://127.0.0.1:8080/"))
    assert '<a href="http://127.0.0.1:8080/arena">' in served
    signal = found(r'<section id="signal".*?</section>', page, 0)
    assert "Degenerate, and no signal: broken" in signal
    assert signal.count("<figure") == 2


def test_nothing_is_loaded(page):
    read = Reader(page)
    assert all(link.startswith("#") for link in read.loads)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(read.tags)
    style = found(r"<style>(.*?)</style>", page, 1)
    assert "url(" not in style and "@import" not in style
    assert "http" not in re.sub(r"\s", "", page).replace("tidepickevalhttp", "")


def test_links_lead_somewhere_and_anchors_are_unique(page):
    targets = re.findall(r'\bid="([^"]+)"', page)
    for link in re.findall(r'<a href="#([^"]+)"', page):
        assert targets.count(link) == 1


def test_names_are_text_and_never_markup(tables):
    wild = "<script>alert(1)</script>&$a$"
    renamed = {}
    for name, table in tables.items():
        if name == "snippets":
            renamed[name] = snippets_of(np.random.default_rng(0), wild)
            continue
        for column in ("candidate", "baseline"):
            if column in table.column_names:
                values = [wild if v == "original" else v for v in table[column].to_pylist()]
                at = table.column_names.index(column)
                table = table.set_column(at, column, pa.array(values))
        renamed[name] = table
    page = render(
        subject_of(renamed, name=wild, baseline=wild, candidates=[wild, "volpick", "broken"])
    )
    read = Reader(page)
    assert "script" not in read.tags
    assert "".join(read.text).count(wild) > 20


def test_what_is_missing_is_said_with_its_command(tables):
    page = render(subject_of({}))
    for command in ("oracle", "compare", "noise", "continuous", "splits", "report", "snr"):
        assert f"tidepick eval {command} evaluation.toml" in page, command
    assert "tidepick arena battle evaluation.toml" in page
    assert "<table" not in re.sub(r'<section id="definitions".*?</section>', "", page, flags=re.S)
    assert "<figure" not in page
    without = {name: table for name, table in tables.items() if name != "noise_rates"}
    part = found(r'<section id="trade".*?</section>', render(subject_of(without)), 0)
    assert "The table <code>noise_rates</code> is missing" in part
    assert "recall on continuous days against the threshold" in part  # what is there still stands


def test_an_undefined_bin_is_undefined_and_not_zero(page):
    numbers = found(r"<summary>By distance.*?</table>", page, 0)
    [row] = re.findall(
        r"<tr><th scope=\"row\">teleseismic[^<]*<code>original</code> S</th>.*?</tr>", numbers, re.S
    )
    assert row.count("undefined") >= 4 and ">0.000<" not in row


def test_the_broken_one_never_wins(page, tables):
    """It makes no false pick at all; that is told beside its recall, and is no gain."""
    rates = tables["noise_rates"].filter(pc.field("candidate") == "broken")
    assert max(rates["value"].to_pylist()) == 0.0
    better = tables["comparison"].filter(
        (pc.field("candidate") == "broken") & (pc.field("verdict") == "better")
    )
    assert "false_picks_per_hour" in better["measure"].to_pylist()

    for caption in ("Labelled traces", "Continuous days"):
        board = found(rf"<caption><span>{caption}.*?</table>", page, 0)
        rows = re.findall(r"<tr><th scope=\"row\"><code>broken</code>.*?</tr>", board, re.S)
        assert len(rows) == 2
        for row in rows:
            assert "chip better" not in row
            assert re.search(r"at recall <data[^>]*>0.0\d\d</data>", row)
    board = found(r"<caption><span>Labelled traces.*?</table>", page, 0)
    for row in re.findall(r"<tr><th scope=\"row\"><code>broken</code>.*?</tr>", board, re.S):
        assert row.endswith('<span class="chip worse">▼ worse</span></td></tr>')
        assert "fewer, but recall is worse" in row
    text = "".join(Reader(page).text)
    assert re.search(r"broken is worse than original in P recall \(\N{MINUS SIGN}0\.\d+, 95", text)
    assert re.search(
        r"broken has lower values.*? false picks an hour .*?no gain can be concluded", text
    )
    assert text.count("never has the baseline's recall") == 4


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (
            {"recall": "worse", "false_picks_per_hour": "better", "mae_both_found": "better"},
            "worse",
        ),
        ({"recall": "better", "recall_1.0s": "worse"}, "mixed"),
        ({"recall": "better", "recall_1.0s": "inconclusive"}, "inconclusive"),
        ({"recall": "better", "recall_1.0s": "better", "mae_both_found": "worse"}, "mixed"),
        ({"recall": "better", "recall_1.0s": "better", "mae_both_found": "inconclusive"}, "better"),
        ({"recall": "not separated", "recall_1.0s": "not separated"}, "not separated"),
        ({"recall": "not separated", "mae_both_found": "better"}, "better"),
        ({"recall": "inconclusive", "mae_both_found": "better"}, "inconclusive"),
        ({"false_picks_per_hour": "better"}, "inconclusive"),
        ({}, "inconclusive"),
    ],
)
def test_one_verdict_of_many(verdicts, expected):
    assert overall(verdicts) == expected


def test_a_table_of_another_schema_is_refused_by_name(tables):
    with pytest.raises(ValueError, match=r"table 'oracle': no column 'clusters'"):
        render(subject_of(tables | {"oracle": tables["oracle"].drop_columns("clusters")}))


def test_a_curve_that_is_high_everywhere_has_no_recall_worth_its_false_picks(tables):
    """Told where to look it finds every arrival, seconds off: at 0.2 it has recall 1."""
    traces = traces_of(np.random.default_rng(5))
    wide = pc.equal(traces["weight"], "broken")
    for column, value in (("p_prob", 0.25), ("p_residual_s", 4.0)):
        at = traces.column_names.index(column)
        traces = traces.set_column(at, column, pc.if_else(wide, value, traces[column]))
    oracle = score(traces, 0.3, ("all",), seed=0)
    (row,) = oracle.filter(
        (pc.field("candidate") == "broken")
        & (pc.field("phase") == "P")
        & (pc.field("metric") == "recall_t0.20")
    ).to_pylist()
    assert row["value"] == 1.0
    page = render(subject_of({"oracle": oracle, "noise_rates": tables["noise_rates"]}))
    equal = found(r"<caption><span>At equal recall on labelled traces.*?</table>", page, 0)
    row = found(r"<tr><th scope=\"row\"><code>broken</code> P.*?</tr>", equal, 0)
    assert "never has the baseline's recall" in "".join(Reader(row).text)
