"""SeisComP data structure, on a file system or in any bucket. One object a channel-day."""

from __future__ import annotations

from workers.archives.layout import Layout

SDS = Layout("{year}/{net}/{sta}/{cha}.D/{net}.{sta}.{loc}.{cha}.D.{year}.{doy}")
