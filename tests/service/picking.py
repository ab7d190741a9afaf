"""A campaign picked as `tidepick run` does, in this process and without Ray."""

from pathlib import Path

from catalog.runs import write_run_record
from service.campaign import load_campaign
from service.prepare import prepare
from service.provenance import provenance
from workers.picker import Picker, Work


def pick(path: Path) -> None:
    """All of its shards, one after another."""
    prepared = prepare(load_campaign(path))
    facts = provenance(prepared, {}, str(path))
    write_run_record(prepared.store, prepared.assignment.run, "one", "start", facts)
    picker = Picker(prepared.assignment)
    names = tuple(candidate.name for candidate in prepared.assignment.candidates)
    for shard in prepared.plan.shards():
        picker.pick(Work(shard, names))
