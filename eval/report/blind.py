"""What a voter may see before the vote: two sides, and no word of who stands on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from eval.report.figure import WindowView

SIDES = ("left", "right")
SHOWN = ("battle", "issued")
"""Columns of BATTLE_SCHEMA that say nothing of the candidates. The window stays behind, by
whose name picks could be looked up, and the stratum, which may tell how far the two disagree."""


def shown(battle: Mapping[str, object]) -> dict[str, object]:
    """A battle as it may leave the server before the vote."""
    return {name: battle[name] for name in SHOWN}


def blinded(view: WindowView, battle: Mapping[str, str]) -> WindowView:
    """The window with its two candidates called `left` and `right`, and without the reference.

    view: of both candidates of the battle; others are left out. Thresholds stay behind, since they
    may tell candidates apart.
    """
    names = {side: battle[side] for side in SIDES}
    if lacking := set(names.values()) - view.curves.keys():
        raise ValueError(f"window {view.title!r}: no curves of {sorted(lacking)}")
    return replace(
        view,
        curves={side: view.curves[name] for side, name in names.items()},
        picks={side: view.picks.get(name, ()) for side, name in names.items()},
        arrivals=(),
        thresholds={},
    )
