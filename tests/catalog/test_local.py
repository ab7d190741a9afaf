"""What a disk may hold in place of a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from catalog.local import LocalStore
from catalog.verbs import AccessDenied, MissingObject


def listed(root: Path) -> list[str]:
    return [entry.key for entry in LocalStore(str(root)).list()]


def test_links_in_a_circle_are_gone_round_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "day").touch()
    os.symlink("..", tmp_path / "a" / "up")
    os.symlink("../b", tmp_path / "a" / "other")
    os.symlink("../a", tmp_path / "b" / "other")
    # by whichever way a folder is reached, no way leads through it twice
    assert listed(tmp_path) == ["a/day", "a/other/day", "b/day", "b/other/day"]
    assert listed(tmp_path / "a")[:2] == ["day", "other/day"]


def test_a_link_that_leads_nowhere_is_an_object_that_is_refused(tmp_path: Path) -> None:
    os.symlink("gone", tmp_path / "day")
    os.symlink("self", tmp_path / "self")
    store = LocalStore(str(tmp_path))
    assert listed(tmp_path) == ["day", "self"] and not store.folders("")
    with pytest.raises(AccessDenied, match=re.escape(f"leads nowhere: {tmp_path}/day")):
        store.fetch("day")
    with pytest.raises(AccessDenied, match="leads in a circle"):
        store.fetch_part("self", 0, 10)


def test_a_pipe_is_refused_and_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "day")
    holder = os.open(tmp_path / "day", os.O_RDWR)
    try:
        with pytest.raises(AccessDenied, match="not a regular file"):
            LocalStore(str(tmp_path)).fetch_part("day", 0, 10)
    finally:
        os.close(holder)
    with pytest.raises(AccessDenied, match="not a regular file"):  # also where nobody has it open
        LocalStore(str(tmp_path)).fetch("day")


def test_a_name_that_is_no_text_is_read_and_told_as_text(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/a\xff")).write_bytes(b"samples")
    store = LocalStore(str(tmp_path))
    (entry,) = store.list()
    assert store.fetch(entry.key)[0] == b"samples"
    assert store.url_of(entry.key) == f"{tmp_path}/a\\xff"
    with pytest.raises(MissingObject) as refusal:
        store.fetch(entry.key + "b")
    assert str(refusal.value.strerror).encode().endswith(rb"a\xffb")
