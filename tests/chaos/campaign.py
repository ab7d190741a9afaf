"""One seed: a whole campaign under attack, and what came of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.archive import CANDIDATES, Network, fill_archive
from tests.chaos.endpoints import ROOT, client, environment, faulty, inhabit, moto, options
from tests.chaos.monkey import Monkey
from tests.chaos.nodes import ray_nodes
from tests.chaos.people import Reader, User
from tests.chaos.verdict import Verdict, judge

INVOCATIONS = 80
"""So often a user starts the run at most."""

PATIENCE_S = 900.0
"""Where no run begins and nothing is committed for so long, something hangs."""

UNDISTURBED = "s3://undisturbed/catalog"


@dataclass(frozen=True, slots=True)
class Place:
    """The endpoint, the archive in it, and the catalogue of the run that nothing befell."""

    network: Network
    endpoint: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Result:
    """Of one seed. deeds: the monkey's. faults: the proxy's. ends: exit code -> invocations."""

    seed: int
    verdict: Verdict
    complete: bool
    invocations: int
    ends: Mapping[str, int]
    why: list[str]
    deeds: Mapping[str, int]
    faults: Mapping[str, int]
    requests: Mapping[str, int]
    reads: Mapping[str, int]
    misread: list[str]
    seconds: float

    @property
    def holds(self) -> bool:
        return self.complete and self.verdict.holds and not self.misread

    def to_json(self) -> dict[str, Any]:
        return {"holds": self.holds, **asdict(self)}


@contextmanager
def place(network: Network, folder: Path) -> Iterator[Place]:
    """The endpoint with a full archive, and the campaign picked once by one process."""
    with moto(folder / "moto.log") as endpoint:
        fill_archive(network, folder / "archive", endpoint)
        client(endpoint).create_bucket(Bucket="undisturbed")
        campaign = folder / "undisturbed.toml"
        campaign.write_text(network.campaign("undisturbed"))
        subprocess.run(
            [sys.executable, "-m", "tests.chaos.undisturbed", str(campaign)],
            cwd=ROOT,
            env=environment(endpoint),
            check=True,
        )
        with inhabit(environment(endpoint)):
            yield Place(network, endpoint, folder)


def run_seed(
    where: Place, seed: int, actions: int, say: Callable[[str], None], read_every_s: float = 8.0
) -> Result:
    """The campaign on a cluster and through a proxy of its own, attacked `actions` times."""
    folder = where.folder / f"seed-{seed}"
    folder.mkdir()
    bucket = f"seed-{seed}"
    client(where.endpoint).create_bucket(Bucket=bucket)
    campaign = folder / "campaign.toml"
    campaign.write_text(where.network.campaign(bucket))
    url = f"s3://{bucket}/catalog"
    begun = time.monotonic()
    with faulty(where.endpoint, seed, folder, where.network.folder(seed)) as door:
        known = environment(door.url)
        with ray_nodes(known) as (nodes, ours), Reader(url, known, read_every_s) as reader:
            user = User(campaign, nodes.address, ours, door.admit)
            monkey = Monkey(seed, actions, nodes, door, user, folder / "monkey.log")
            try:
                _attack(user, monkey, lambda: _commits(where.endpoint, bucket), say)
            finally:
                monkey.rest()
                for driver in user.drivers:
                    driver.process.kill()
                    driver.process.wait()
    planned = where.network.station_days * len(CANDIDATES)
    return Result(
        seed,
        judge(UNDISTURBED, url, planned, options(where.endpoint)),
        user.complete,
        user.invocations,
        dict(user.ends),
        user.why,
        dict(monkey.done),
        door.counts.get("faults", {}),
        door.counts.get("requests", {}),
        dict(reader.seen),
        reader.wrong,
        time.monotonic() - begun,
    )


def _attack(
    user: User, monkey: Monkey, commits: Callable[[], int], say: Callable[[str], None]
) -> None:
    """Until a run has ended complete and none goes on, or nothing moves any more."""
    next_deed = time.monotonic() + monkey.pause_s()
    seen, moved, next_look = (0, 0), time.monotonic(), 0.0
    while True:
        user.look()
        monkey.follow_up()
        if not user.drivers:
            if user.complete or user.invocations >= INVOCATIONS:
                return
            user.start()
        now = time.monotonic()
        if monkey.left > 0 and now >= next_deed:
            monkey.act()
            next_deed = time.monotonic() + monkey.pause_s()
        if now >= next_look:
            stand, next_look = (user.invocations, commits()), now + 10.0
            if stand != seen:
                seen, moved = stand, now
        if now - moved > PATIENCE_S:
            user.why.append(f"hung: no run and no commit in {PATIENCE_S:.0f} s")
            return
        say(f"{user.invocations} invocations, {monkey.left} attacks to come")
        time.sleep(0.2)


def _commits(endpoint: str, bucket: str) -> int:
    """How many there are. A machine that is merely busy goes on making them."""
    pages = client(endpoint).get_paginator("list_objects_v2")
    return sum(
        page["KeyCount"] for page in pages.paginate(Bucket=bucket, Prefix="catalog/commits/")
    )
