"""Waveforms and curves of a catalogue's stations, read and computed again as they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from catalog.schema import TraceId
from catalog.store import S3Options
from service.web.recorded import Recorded
from workers.archives import Archive, open_archive
from workers.picker import Assignment, Picker
from workers.snippets import Snippet, snippets

KEPT = 64
"""Snippets that are kept; each is some 0.3 MB a minute and two candidates."""


class Desk:
    """Holds the networks and the archives. Of one thread at a time."""

    def __init__(self, catalog: str, recorded: Recorded) -> None:
        """Loads every candidate. Raises WeightsError and StoreError."""
        self._recorded = recorded
        self._archives: dict[str, Archive] = {}
        self._kept: OrderedDict[tuple[object, ...], list[Snippet]] = OrderedDict()
        self._picker: Picker | None = None
        if recorded.candidates:
            run = next(iter(recorded.archives))
            self._picker = Picker(
                Assignment(
                    run=run,
                    catalog=catalog,
                    catalog_options=S3Options(),
                    archive=recorded.archives[run],
                    candidates=list(recorded.candidates.values()),
                )
            )

    @property
    def names(self) -> frozenset[str]:
        """Candidates whose curves can be made."""
        return frozenset(self._recorded.candidates)

    def snippets(
        self, run: str, trace: TraceId, start_ns: int, end_ns: int, names: Sequence[str]
    ) -> list[Snippet]:
        """What the candidates saw and said over [start_ns, end_ns), from the archive of a run.

        One snippet for each rate and quality among them. Raises what reading an archive raises.
        """
        key = (run, trace, start_ns, end_ns, *sorted(names))
        if key not in self._kept:
            assert self._picker is not None
            candidates = [self._picker.candidate(name) for name in names]
            found = list(snippets(self._archive(run), trace, start_ns, end_ns, candidates))
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _archive(self, run: str) -> Archive:
        config = self._recorded.archives[run]
        key = config.model_dump_json()
        if key not in self._archives:
            self._archives[key] = open_archive(config)
        return self._archives[key]
