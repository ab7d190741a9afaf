"""tidepick ingest: any archive -> Zarr, with a bar."""

from __future__ import annotations
