"""A Ray to work in: a cluster that is joined, or one of our own for as long as a run lasts."""

from __future__ import annotations

import math
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from catalog.errors import Refusal
from service.campaign import Compute
from service.ray_auth import adopt_token, private_token


class ClusterUnreachable(Refusal):
    """No Ray cluster answers at --address."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"--address {address}: no Ray cluster answers there ({why}); it is HOST:6379 as a "
            "rule, or auto on a machine of the cluster; one that asks for a token needs "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        )


class NoRoom(Refusal):
    """A Ray of our own has not what the campaign asks for."""


QUIET: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}


@contextmanager
def ray_cluster(compute: Compute, address: str | None) -> Iterator[dict[str, Any]]:
    """The cluster at `address`, or without one a Ray of our own; yields what it is made of.

    Raises ClusterUnreachable, or NoRoom where a Ray of our own lacks the GPUs asked for.
    """
    with _own(compute) if address is None else _joined(address):
        import ray

        resources = {
            name: amount
            for name, amount in cast(Any, ray).cluster_resources().items()
            if name in ("CPU", "GPU") or name.startswith("accelerator_type")
        }
        _enough(compute, resources, address)
        yield {
            "processor": platform.processor() or platform.machine(),
            "system": platform.system(),
            "resources": resources,
        }


@contextmanager
def _joined(address: str) -> Iterator[None]:
    _knock(address)
    adopt_token()
    import ray

    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ClusterUnreachable(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own(compute: Compute) -> Iterator[None]:
    # Ray would warn of what will change for actors without a GPU; theirs is none either way
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # short, because Ray's sockets live in it and their paths may have 107 characters
    short = "/tmp" if os.path.isdir("/tmp") else None
    folder = tempfile.mkdtemp(prefix="tidepick-", dir=short)
    with private_token():
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, math.ceil(compute.workers * compute.cpus_per_worker)),
            include_dashboard=False,
            object_store_memory=100_000_000,
            _temp_dir=folder,
            **QUIET,
        )
        try:
            yield
        finally:
            ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)  # Ray's logs; after a failure they stay


def _enough(compute: Compute, resources: Mapping[str, float], address: str | None) -> None:
    """Room for one worker in a cluster, which may grow; room for all in a Ray of our own."""
    wanted = compute.gpus_per_worker * (compute.workers if address is None else 1)
    if wanted > resources.get("GPU", 0.0):
        text = (
            f"compute.gpus_per_worker {compute.gpus_per_worker:g} x workers {compute.workers}: "
            f"this Ray has {resources.get('GPU', 0.0):g} GPUs"
        )
        if address is None:
            raise NoRoom(f"{text}; lower them, use 0 for CPUs, or give --address")
        print(f"tidepick: {text}; waiting for the cluster to grow", file=sys.stderr)


def _knock(address: str) -> None:
    """Whether anything listens there, in seconds: Ray itself takes minutes to give up."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or "/" in host or not port.isdecimal():
        raise ClusterUnreachable(address, "not HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnreachable(address, str(error)) from error
