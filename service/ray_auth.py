"""Ray's token authentication, without a trace on the machine.

Ray turns it on for a cluster that it starts itself and keeps the token in the home folder, where
it changes what every later `ray start` of this user asks for. So a Ray of our own gets a token of
this process, and a cluster that we join gets the one that the user already has.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from catalog.errors import Refusal

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextmanager
def private_token() -> Iterator[None]:
    """A token in the environment for as long as this lasts, unless the user chose otherwise.

    Mode `token` with none to be found is no choice of one: the container image says it.
    """
    mode = os.environ.get(MODE)
    if TOKEN in os.environ or (mode is not None and (mode != "token" or _users_token())):
        yield
        return
    os.environ[MODE], os.environ[TOKEN] = "token", _token()
    _reread()
    try:
        yield
    finally:
        del os.environ[TOKEN]
        if mode is None:
            del os.environ[MODE]
        _reread()


def refuse_secrets(address: str) -> None:
    """Raises Refusal for a user, a password or a query in it; the message does not repeat it."""
    if "@" in address or "?" in address:
        raise Refusal(
            "--address: one with a user, a password or a query in it: write it without; a cluster "
            "that asks for a token finds it in RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token"
        )


def adopt_token() -> None:
    """Use the user's token for a cluster, where there is one and no mode was chosen."""
    if MODE not in os.environ and _users_token():
        os.environ[MODE] = "token"
        _reread()


def _users_token() -> bool:
    """Whether the user has a token where Ray looks for it."""
    kept = Path("~/.ray/auth_token").expanduser()
    return TOKEN in os.environ or TOKEN_PATH in os.environ or kept.is_file()


def _reread() -> None:
    """Ray reads the mode once in a process; this is what it does itself when it changes it."""
    import ray._raylet

    raylet: Any = ray._raylet
    raylet.Config.initialize("")


@cache
def _token() -> str:
    """One for the life of the process: Ray reads it once."""
    return secrets.token_hex(32)
