"""What `tidepick run FILE` does, by one process without Ray: `-m tests.chaos.undisturbed FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from service.campaign import load_campaign
from service.outstanding import outstanding
from service.prepare import prepare
from workers.picker import Picker


def main() -> None:
    prepared = prepare(load_campaign(Path(sys.argv[1])))
    plan = prepared.plan
    picker = Picker(prepared.assignment)
    asked = plan, prepared.assignment.candidates, prepared.store
    for work in outstanding(*asked, plan.months()):
        picker.pick(work)


if __name__ == "__main__":
    main()
