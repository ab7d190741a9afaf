"""Any span picked by itself, as the days of a shard are: what cuts are held against."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.schema import TraceId
from workers.archives import Archive
from workers.candidate import Candidate
from workers.picked import Picked
from workers.pipeline import gather, pick_gathered


def pick_span(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> dict[str, Picked]:
    """Picks of every candidate in [start_ns, end_ns), by name. Raises what the archive raises."""
    return pick_gathered([gather(archive, trace, start_ns, end_ns, candidates)], candidates)[0]
