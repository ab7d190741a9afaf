"""The three tasks of Muenchmeyer et al. (2022), a table each."""

from __future__ import annotations

from markupsafe import Markup

from eval.muenchmeyer import TASK_SCHEMA
from eval.report.rows import code, distinct, estimate, first, of, quote, rows_of
from eval.report.section import Grid, Part, Subject, Words, missing

_TASKS = (
    ("_detection", "1, detection: does a 30 s window hold an event?"),
    ("_phase_id_10s", "2, phase identification: is the one arrival of 10 s P or S?"),
    ("_10s", "3, onset: the peak of 10 s against its label, without any threshold"),
)
"""How the metrics of a task end, the longest ending first; and the task."""


def tasks(subject: Subject) -> list[Part]:
    """A table a task, recall beside precision and error beside outliers; what is undefined, why."""
    left = rows_of(subject.tables, "muenchmeyer", TASK_SCHEMA)
    lacking = [row["why"] for row in subject.rows("muenchmeyer_undefined")]
    if not (left or lacking):
        return [missing(subject, "muenchmeyer")]
    parts: list[Part] = []
    for end, about in _TASKS:
        own = [row for row in left if row["metric"].endswith(end)]
        left = [row for row in left if row not in own]
        if not own:
            continue
        metrics = distinct(own, "metric")
        decided = own[0].known("threshold")
        body = []
        for candidate in subject.in_order(distinct(own, "candidate")):
            for dataset in distinct(own, "dataset"):
                for phase in distinct(own, "phase"):
                    where = {"candidate": candidate, "dataset": dataset, "phase": phase}
                    here = list(of(own, **where))
                    if not here:
                        continue
                    cells = [estimate(first(here, metric=each), "share") for each in metrics]
                    at = [quote(here[0], "threshold", "probability")] if decided else []
                    name = Markup("{} {} {}").format(code(candidate), dataset or "", phase or "")
                    body.append([name, *at, *cells])
        solved = ". Thresholds are F1-optimal on the development split" if decided else ""
        parts.append(
            Grid(
                f"M\u00fcnchmeyer et al. (2022), task {about}{solved}",
                (
                    "candidate, data set" if decided else "candidate, data set, phase",
                    *(("threshold",) if decided else ()),
                    *map(code, metrics),
                ),
                body,
            )
        )
    if lacking:
        parts.append(Words(lacking, "Tasks that are undefined"))
    return parts
