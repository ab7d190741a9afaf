"""What a failed try of a request to S3 means: which error, and whether it may pass.

The words of the cause are left out: a store, or a credential process, may put secrets in them.
"""

from __future__ import annotations

import errno
import re
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as NotConnected

from catalog.verbs import (
    AccessDenied,
    CredentialsRefused,
    MissingObject,
    StoreError,
    StoreUnavailable,
    Throttled,
)

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}

BAD_CREDENTIALS = EXPIRED | {"InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId"}
"""Not SignatureDoesNotMatch: a key that is written in another way upstream can have it alone, and a
silence over all objects would deny its neighbours."""

THROTTLING = {
    *("SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled"),
    *("TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded"),
}

PASSING = {"RequestTimeout", "InternalError"}
"""Codes that pass, whatever the status they come with."""

BROKEN = (NotConnected, HTTPClientError, IncompleteReadError, FlexibleChecksumError)
"""Failures of botocore's that are the network's or the store's, not the request's."""


class ConditionFailed(StoreError):
    """The object is there, or is another, against the request's condition (412)."""


class OutOfRange(StoreError):
    """The object ends before the range that was asked for (416)."""


def judged(error: Exception, url: str, source: str) -> StoreError:
    """The error that a failed try amounts to. StoreUnavailable: it may pass.

    source: where the credentials came from, in words.
    """
    status, code = status_of(error), code_of(error)
    said = " ".join(dict.fromkeys(part for part in (str(status), code) if part))
    if status is None:
        return _unanswered(error, url, source)
    if status == 429 or code in THROTTLING:
        return Throttled(
            errno.EBUSY,
            f"throttled ({said}): {url}; lower [compute] workers, or try again later",
        )
    if status == 409 or status >= 500 or code in PASSING:
        return StoreUnavailable(errno.EIO, f"{url}: the store answers {said}")
    if code in BAD_CREDENTIALS:
        return CredentialsRefused(
            errno.EACCES,
            f"{_bucket(url)}: the credentials of {source} are refused ({said}); renew or correct "
            "them, or name a profile",
        )
    if status in (401, 403):
        return AccessDenied(
            errno.EACCES,
            f"access denied: {url} ({said}); check the credentials, the region and the "
            "bucket's policy, or set anonymous = true for an open bucket",
        )
    if code == "NoSuchBucket":
        return StoreError(
            errno.ENOENT, f"no such bucket: {_bucket(url)}; make it, or correct the URL"
        )
    if status == 404:
        return MissingObject(errno.ENOENT, f"no such object: {url}")
    if status == 412:
        return ConditionFailed(errno.EEXIST, f"another object is there: {url}")
    if status == 416:
        return OutOfRange(errno.EINVAL, f"ends before the range asked for: {url}")
    return StoreError(
        errno.EINVAL,
        f"{url}: the store refuses the request ({said}); check the region and the endpoint",
    )


def _unanswered(error: Exception, url: str, source: str) -> StoreError:
    """What a failure without an answer means."""
    name = type(error).__name__
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CredentialsRefused(
            errno.EACCES,
            f"{_bucket(url)}: no credentials found in {source}; set a profile or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or anonymous = true for an open bucket",
        )
    if isinstance(error, ProfileNotFound):
        return CredentialsRefused(
            errno.EACCES, f"{_bucket(url)}: {source} is not in the AWS configuration"
        )
    if isinstance(error, BotoCoreError) and not isinstance(error, BROKEN):
        return StoreError(
            errno.EINVAL,
            f"{url}: cannot be asked for ({name}); check the URL, the region and the endpoint",
        )
    return StoreUnavailable(
        errno.EIO, f"{url}: no whole answer ({name}); check the network and the endpoint"
    )


def _bucket(url: str) -> str:
    return "/".join(url.split("/")[:3])


def may_have_expired(error: Exception) -> bool:
    """Of a HEAD request the answer has no body, and so no code but its status."""
    status, code = status_of(error), code_of(error)
    return code in EXPIRED or (status == 400 and code in ("400", "Bad Request"))


def _response(error: Exception) -> dict[str, Any]:
    """botocore's view of the store's answer; empty where there was none."""
    found = getattr(error, "response", None)
    return found if isinstance(found, dict) else {}


def status_of(error: Exception) -> int | None:
    """HTTP status of a botocore error; None where no answer came."""
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return None if status is None else int(status)


def code_of(error: Exception) -> str:
    """The store's name for what is wrong; empty where it is no plain word."""
    code = str(_response(error).get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else ""


def asked_to_wait(error: Exception) -> float:
    """Seconds that the store asks to wait (Retry-After), else 0."""
    headers = _response(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    asked = str(headers.get("retry-after", ""))
    return float(asked) if asked.isdecimal() else 0.0
