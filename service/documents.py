"""A TOML document -> a checked model: unknown keys refused, every complaint with its field."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from catalog.errors import Refusal
from catalog.store import refuse_credentials


class CampaignError(Refusal):
    """A document that cannot be followed; the message names the file, the field and the fix."""


class Table(BaseModel):
    """A table of a document."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Document = TypeVar("Document", bound=Table)


def load(model: type[Document], path: Path, called: str, example: str) -> Document:
    """Raises CampaignError in one line: a missing file, broken TOML, unknown or unfit fields.

    called: what the message names the document; example: where a user sees one.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CampaignError(f"{called} {path}: no such file") from error
    except IsADirectoryError as error:
        raise CampaignError(f"{called} {path}: a folder; name the .toml file in it") from error
    except OSError as error:
        raise CampaignError(f"{called} {path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CampaignError(f"{called} {path}: not valid TOML: {error}") from error
    _refuse_secrets(document, f"{called} {path}: ")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        complaints = [_complaint(entry, model, called, example) for entry in error.errors()]
        raise CampaignError(f"{called} {path}: {'; '.join(complaints)}") from error


def anchored(path: str, base: Path) -> str:
    """A path of a document in folder `base`; URLs and absolute paths stay."""
    if "://" in path or Path(path).expanduser().is_absolute():
        return path
    return str(base / path)


def _refuse_secrets(value: object, where: str) -> None:
    """Before anything is said of a value, or stored: no URL in it may carry credentials."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_secrets(inner, f"{where}{'' if where.endswith(' ') else '.'}{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_secrets(inner, f"{where}[{number}]")
    elif isinstance(value, str):
        try:
            refuse_credentials(value)
        except Refusal as error:
            raise CampaignError(f"{where}: {error}") from None


def _complaint(entry: Any, model: type[Table], called: str, example: str) -> str:
    location = entry["loc"]
    field = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in location))
    if entry["type"] == "extra_forbidden":
        table = field.rpartition(".")[0]
        known = ", ".join(sorted(_table(model, location[:-1]).model_fields))
        return f"{field}: unknown key; {f'[{table}]' if table else f'the {called}'} has {known}"
    if entry["type"] == "missing":
        return f"{field}: missing; {example}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] == "value_error":
        return ": ".join(part for part in (field, message) if part)
    if field.endswith("endpoint_url"):  # its value may hold a password
        return f"{field}: write it as http(s)://HOST[:PORT], without credentials"
    return f"{field}: {message}, not {entry['input']!r}"


def _table(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The table of a document in which a field stands."""
    for part in location:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, (_model_in(each) for each in get_args(annotation))), None)
