"""How an archive of day objects names them: one template, and where the archive has its home.

A template says everything: the key of an object, what a key is named for, the prefix under which a
trace's objects of a day lie, and the fewest prefixes that hold the days of a campaign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from string import Formatter
from typing import Any, NamedTuple

from catalog.codes import spelled_code, upper
from catalog.schema import TraceId

BY_NAME = 4
"""So few stations are listed one by one: of a day of all that is the smaller part."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a public archive keeps its objects."""

    root: str
    region: str
    anonymous: bool = True

    @property
    def bucket(self) -> str:
        """Its S3 bucket."""
        return self.root.removeprefix("s3://").partition("/")[0]


class Named(NamedTuple):
    """What a key is named for; location and channel are empty where a key has none."""

    network: str
    station: str
    location: str
    channel: str
    day: date


class Wanted(NamedTuple):
    """Networks and stations that a listing may be confined to, None where it may not."""

    networks: frozenset[str] | None = None
    stations: frozenset[tuple[str, str]] | None = None

    @classmethod
    def of(cls, globs: Sequence[str]) -> Wanted:
        """What NET.STA[.LOC[.BAND]] globs name without a wildcard."""
        codes = [tuple(glob.split(".")[:2]) for glob in globs]
        if not codes or any(len(pair) < 2 or _is_glob(pair[0]) for pair in codes):
            return cls()
        codes = [(spelled_code(network), spelled_code(station)) for network, station in codes]
        networks = frozenset(network for network, _ in codes)
        if len(set(codes)) > BY_NAME or any(_is_glob(station) for _, station in codes):
            return cls(networks)
        return cls(networks, frozenset((network, station) for network, station in codes))


@dataclass(frozen=True)
class Layout:
    """template: of a key, with {year} {doy} {net} {sta} and, for an object a channel-day, {loc}
    {cha}; a field of fixed width is padded as in {sta:_<5}."""

    template: str
    home: Home | None = None

    def key(self, named: Named) -> str:
        """The key of an object, the inverse of `parse`."""
        return self.template.format(
            year=f"{named.day.year:04d}",
            doy=f"{named.day:%j}",
            net=named.network,
            sta=named.station,
            loc=named.location,
            cha=named.channel,
        )

    def parse(self, key: str) -> Named | None:
        """What a key is named for, None where it is no key of this layout."""
        match = self._pattern.fullmatch(key)
        if match is None:
            return None
        codes = {
            name: text.rstrip(self._padding.get(name)) if name in self._padding else text
            for name, text in match.groupdict().items()
        }
        year, doy = int(codes["year"]), int(codes["doy"])
        if not year or not doy:
            return None
        try:
            day = date(year, 1, 1) + timedelta(days=doy - 1)
        except OverflowError:
            return None
        band = codes.get("cha", "")[:-1]
        if band not in (upper(band), band.lower()):
            return None  # one in mixed case would be listed under a trace, and not found by it
        named = Named(codes["net"], codes["sta"], codes.get("loc", ""), codes.get("cha", ""), day)
        return named if self.key(named) == key else None

    def prefix(self, trace: TraceId, day: date) -> str:
        """Under which all objects of a trace's day lie, and as little else as their names allow.

        A blank location may be spelled in more ways than one: it ends a prefix that it stands in.
        """
        network, station = spelled_code(trace.network), spelled_code(trace.station)
        location = spelled_code(trace.location) or _BLANK
        before, cut, _ = self.key(Named(network, station, location, _CUT, day)).partition(_CUT)
        known, blank, _ = before.partition(_BLANK)
        return before + spelled_code(trace.band) if cut and not blank else known

    def prefixes(
        self, start: date, end: date, wanted: Wanted, folders: Callable[[str], Sequence[str]]
    ) -> Iterator[str]:
        """Prefixes that hold every key of [start, end), none twice; a trace's days come in order.

        folders: names of the folders directly below a prefix (`Store.folders`), asked where a
        network or station stands before the days and is not known.
        """
        return self._walk(0, "", {}, _Asked(start, end, wanted, folders))

    def _walk(self, at: int, prefix: str, known: dict[str, str], asked: _Asked) -> Iterator[str]:
        for k in range(at, len(self._pieces)):
            literal, name, spec = self._pieces[k]
            prefix += literal
            if name in ("", *known):
                prefix += format(known.get(name, ""), spec)
                continue
            choices: Sequence[str] | None = None
            if name == "year":
                choices = asked.years()
            elif name == "doy":
                days = [*asked.days(int(known["year"]))]
                if asked.wanted.stations is None:
                    yield from (prefix + digits for digits in _covering(days[0], days[-1]))
                    return
                choices = [f"{day:03d}" for day in days]
            elif name in ("net", "sta"):
                choices = asked.codes(name, known)
                is_folder = self._pieces[k + 1][0].startswith("/") and not spec
                if choices is None and is_folder:
                    choices = asked.folders(prefix)
            if choices is None:
                break
            for choice in choices:
                yield from self._walk(
                    k + 1, prefix + format(choice, spec), {**known, name: choice}, asked
                )
            return
        yield prefix

    @cached_property
    def _pieces(self) -> list[tuple[str, str, str]]:
        """(literal before a field, field, its format)."""
        return [(text, name or "", spec or "") for text, name, spec, _ in _PARSE(self.template)]

    @cached_property
    def _padding(self) -> dict[str, str]:
        return {name: spec[0] for _, name, spec in self._pieces if spec}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        text, seen = "", set()
        for literal, name, spec in self._pieces:
            text += re.escape(literal)
            if name in seen:
                text += f"(?P={name})"
            elif name:
                width = f"[^/]{{{spec[2:]}}}" if spec else _FIELDS.get(name, "[^/.]*")
                text += f"(?P<{name}>{width})"
                seen.add(name)
        return re.compile(text)


@dataclass(frozen=True, slots=True)
class _Asked:
    start: date
    end: date
    wanted: Wanted
    folders: Callable[[str], Sequence[str]]

    def years(self) -> list[str]:
        return [f"{y:04d}" for y in range(self.start.year, self._last.year + 1)]

    def days(self, year: int) -> range:
        """Days of a year that are asked for, by number."""
        first = self.start if self.start.year == year else date(year, 1, 1)
        last = self._last if self._last.year == year else date(year, 12, 31)
        return range(first.timetuple().tm_yday, last.timetuple().tm_yday + 1)

    def codes(self, name: str, known: dict[str, str]) -> list[str] | None:
        """Networks or stations that are wanted beside what is known of them."""
        networks, stations = self.wanted
        if stations is not None:
            fit = [
                {"net": network, "sta": station}
                for network, station in stations
                if known.get("net", network) == network and known.get("sta", station) == station
            ]
            return sorted({codes[name] for codes in fit})
        return sorted(networks) if name == "net" and networks is not None else None

    @property
    def _last(self) -> date:
        return self.end - timedelta(days=1)


def _covering(first: int, last: int) -> Iterator[str]:
    """The fewest prefixes of day numbers, of a day or of ten, that hold just those days."""
    day = 0 if first == 1 else first
    last = 369 if last >= 365 else last  # no day has a higher number
    while day <= last:
        ten = day % 10 == 0 and day + 9 <= last
        yield f"{day // 10:02d}" if ten else f"{day:03d}"
        day += 10 if ten else 1


def _is_glob(code: str) -> bool:
    return bool(set(code) & set("*?["))


_CUT, _BLANK = "\x00", "\x01"
_PARSE: Callable[[str], Any] = Formatter().parse
_FIELDS = {"year": r"\d{4}", "doy": r"\d{3}", "cha": "[^/.]+"}
