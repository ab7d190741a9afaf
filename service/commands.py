"""How every command of the command line looks: summary, example, `--json`."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[Any]"
"""Where commands are added: what `add_subparsers` gives."""


def add_command(
    commands: Commands, name: str, summary: str, epilog: str, **told: str
) -> argparse.ArgumentParser:
    """A command with `--json`. told: what parsing it sets, beside its arguments."""
    command: argparse.ArgumentParser = _parser(commands, name, summary, summary, epilog)
    command.add_argument("--json", action="store_true", help="print JSON for machines")
    command.set_defaults(**told)
    return command


def add_family(
    commands: Commands, name: str, summary: str, description: str, epilog: str
) -> Commands:
    """A command that has commands of its own, and where these are added."""
    family = _parser(commands, name, summary, description, epilog)
    return family.add_subparsers(metavar="WHAT", required=True)


def _parser(
    commands: Commands, name: str, summary: str, description: str, epilog: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
