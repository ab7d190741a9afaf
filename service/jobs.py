"""Submit a campaign to a cluster as a Ray job.

The job carries what it runs: this checkout's packages, the campaign, and the weight files that it
names. So the cluster runs the submitter's version and needs only tidepick's dependencies.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from catalog.errors import Refusal
from service.campaign import Campaign
from service.prepare import member_weights
from service.ray_auth import adopt_token
from workers.epochs import epoch_files
from workers.weights import Weights

PACKAGES = ("catalog", "workers", "eval", "service")
FORWARDED = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
)
"""Settings that travel with a job. Credentials do not: the cluster has its own."""


class JobError(Refusal):
    """A cluster that cannot be reached, or a job that did not succeed."""


def submit(
    campaign: Campaign,
    address: str,
    follow: Callable[[str], None] | None = None,
    retry: Sequence[str] = (),
) -> tuple[str, str]:
    """Submit through Ray Jobs at `address` (http://head:8265); returns the job's id and state.

    follow: called with each piece of the job's log until it ends; without it, returns at once.
    retry: outcomes that are to be tried again.
    Raises JobError where the address does not answer.
    """
    if not address.startswith(("http://", "https://")):
        raise JobError(f"--address {address}: not a dashboard's; it is http://HEAD:8265 as a rule")
    from ray.exceptions import AuthenticationError, RayError

    adopt_token()
    from ray.job_submission import JobStatus, JobSubmissionClient

    with tempfile.TemporaryDirectory(prefix="tidepick-job-") as folder:
        carried = pack(campaign, Path(folder))
        command = ["python", "-m", "service.cli", "run", carried.name, "--address", "auto"]
        if retry:
            command += ["--retry", ",".join(retry)]
        try:
            client = JobSubmissionClient(address)
        except AuthenticationError as error:
            raise JobError(
                f"--address {address}: {str(error).splitlines()[0]}; set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the cluster's token"
            ) from error
        except (ConnectionError, RuntimeError) as error:
            raise JobError(
                f"--address {address}: no Ray dashboard answers there "
                f"({str(error).splitlines()[0]}); it is http://HEAD:8265 as a rule"
            ) from error
        try:
            job: str = client.submit_job(
                entrypoint=shlex.join(command),
                runtime_env={
                    "working_dir": folder,
                    "env_vars": {
                        name: os.environ[name] for name in FORWARDED if name in os.environ
                    },
                },
                metadata={"campaign": campaign.name},
            )
        except (ConnectionError, RuntimeError, RayError) as error:
            raise JobError(
                f"--address {address}: the job was not taken ({str(error).splitlines()[0]})"
            ) from error
    try:
        if follow is None:
            return job, str(client.get_job_status(job))
        shown = 0
        while True:
            status = client.get_job_status(job)
            log = client.get_job_logs(job)
            if len(log) > shown:
                follow(log[shown:])
                shown = len(log)
            if status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED):
                return job, str(status)
            time.sleep(1.0)
    except (ConnectionError, RuntimeError, RayError) as error:
        raise JobError(
            f"--address {address}: the dashboard answers no more "
            f"({str(error).splitlines()[0]}); job {job} was submitted, see `ray job status {job}`"
        ) from error


def pack(campaign: Campaign, folder: Path) -> Path:
    """Fill a job's working folder; returns the campaign file in it, its paths made relative."""
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        shutil.copytree(
            root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    candidates = []
    for config in campaign.candidate:
        kept = [
            name
            if name.startswith(("builtin:", "seisbench:"))
            else _keep(folder, name, member_weights(config, name))
            for name in config.members
        ]
        candidates.append(config.renamed(kept))
    select = campaign.select
    if select.epochs is not None:
        metadata = folder / "epochs"
        metadata.mkdir()
        for number, file in enumerate(epoch_files(select.epochs)):
            shutil.copyfile(file, metadata / f"{number:06d}{file.suffix}")
        select = select.model_copy(update={"epochs": metadata.name})
    path = folder / "campaign.toml"
    document = to_toml(campaign.model_copy(update={"candidate": candidates, "select": select}))
    path.write_text(document, encoding="utf-8")
    return path


def _keep(folder: Path, source: str, weights: Weights) -> str:
    """Write weights and their json into the job's folder; returns their path in it."""
    kept = folder / "weights" / weights.identity[:16]
    kept.mkdir(parents=True, exist_ok=True)
    name = Path(source).name
    (kept / name).write_bytes(weights.body)
    (kept / _sidecar(name)).write_text(to_json(weights.metadata))
    return str((kept / name).relative_to(folder))


def _sidecar(name: str) -> str:
    """The json's name, as `workers.weights.load` looks for it."""
    ending = next(e for e in (".safetensors", ".pth", ".pt") if e in name)
    return name.replace(ending, ".json")


def to_json(value: Any) -> str:
    """JSON with sorted keys, the same for the same value."""
    import json

    return json.dumps(value, indent=1, sort_keys=True)


def to_toml(campaign: Campaign) -> str:
    """The campaign as a TOML file that `load_campaign` reads back equal."""
    document = campaign.model_dump(mode="json", exclude_none=True)
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    lines = [
        f"{key} = {_value(value)}"
        for key, value in document.items()
        if key not in tables and key != "candidate"
    ]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    for candidate in document["candidate"]:
        lines += ["", "[[candidate]]"]
        lines += [f"{key} = {_value(value)}" for key, value in candidate.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists of them are TOML's."""
    import json

    # But for two things: no surrogate pairs, and DEL must be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
