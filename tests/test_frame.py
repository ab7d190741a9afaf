"""The frame around the code is what it says: packages, floors, pins, top level, versions."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLOORS = ("catalog", "workers", "eval", "service")
TOP_LEVEL = {
    *FLOORS,
    "infra",
    "docker",
    "tests",
    "docs",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "constraints.txt",
}


@pytest.fixture(scope="module")
def project_files() -> list[str]:
    """Files that are in the project or could be added to it, relative to its top."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project is not known")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_every_package_is_installed():
    in_tree = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for floor in FLOORS
        for file in (ROOT / floor).rglob("*.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == in_tree
    assert all((ROOT / package.replace(".", "/") / "__init__.py").is_file() for package in in_tree)


def test_top_level_holds_only_the_house(project_files):
    top = {name.split("/")[0] for name in project_files}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_no_path_of_one_machine(project_files):
    machine = re.compile(rb"(?<![\w.])/(?:" + b"|".join([b"work", b"root", b"Users"]) + rb")/")
    found = [name for name in project_files if machine.search((ROOT / name).read_bytes())]
    assert found == []


def _name(requirement: str) -> str:
    """A requirement's or a pin's project name, normalised."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def test_constraints_pin_everything_but_torch():
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    project = PROJECT["project"]
    direct = {
        _name(requirement)
        for requirement in project["dependencies"] + project["optional-dependencies"]["dev"]
    }
    assert "torch" in direct
    assert direct - {_name(pin) for pin in pins} == {"torch"}


def test_every_import_is_a_declared_dependency():
    extras = PROJECT["project"]["optional-dependencies"]["associate"]
    declared = {_name(each) for each in PROJECT["project"]["dependencies"] + extras}
    providers = {_name(extra): [extra] for extra in extras} | dict(packages_distributions())
    undeclared = set()
    for floor in FLOORS:
        for file in (ROOT / floor).rglob("*.py"):
            for package in _imported(file) - set(FLOORS) - sys.stdlib_module_names:
                if not {_name(project) for project in providers.get(package, [])} & declared:
                    undeclared.add(f"{file.relative_to(ROOT)}: {package}")
    assert undeclared == set()


def _imported(file: Path) -> set[str]:
    """Top-level packages that a module imports, at its head or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    for file in ("docker/Dockerfile", "docker/docker-compose.yml", "infra/ray-aws.yaml"):
        tags = re.findall(r"tidepick(?::|:\$\{TIDEPICK_TAG:-)([\d.]+)-", (ROOT / file).read_text())
        assert set(tags) == {version}, file
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def _yaml(file: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / file).read_text())
    assert isinstance(document, dict)
    return document


def test_containers_have_the_least_rights():
    """Of every service of ours; and nothing of any service is open to other machines."""
    compose = _yaml("docker/docker-compose.yml")
    ours = [s for s in compose["services"].values() if s["image"].startswith("tidepick:")]
    assert len(ours) == 3
    for service in ours:
        environment = service["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
        assert "RAY_AUTH_TOKEN" not in environment
        assert service["secrets"] == ["ray_token"]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
    for service in compose["services"].values():
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert not {"privileged", "network_mode", "pid", "user"} & set(service)
    assert compose["secrets"] == {"ray_token": {"file": "./ray-token"}}
    ignored = (ROOT / "docker/.gitignore").read_text().split()
    assert {".env", "ray-token"} <= set(ignored)


def test_the_image_runs_as_nobody_in_particular_and_asks_for_a_token():
    lines = (ROOT / "docker/Dockerfile").read_text().splitlines()
    final = lines[lines.index(next(line for line in lines if line.endswith(" AS cpu"))) :]
    assert "USER 1000:1000" in final and not any(line.startswith("USER root") for line in final)
    text = "\n".join(final)
    assert "RAY_AUTH_MODE=token" in text and "RAY_USAGE_STATS_ENABLED=0" in text
    assert not re.search(r"RAY_AUTH_TOKEN|SECRET|ACCESS_KEY", "\n".join(lines))
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed and "!docker" not in allowed


def test_a_cluster_on_aws_asks_for_a_token_and_keeps_its_dashboard_to_itself():
    cluster = _yaml("infra/ray-aws.yaml")
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["file_mounts"] == {"/home/tidepick/.ray/auth_token": "~/.ray/auth_token"}
    (head,) = [c for c in cluster["head_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in head
    for command in [head, *cluster["worker_start_ray_commands"][1:]]:
        assert "--disable-usage-stats" in command
    profile = cluster["available_node_types"]["gpu_worker"]["node_config"]["IamInstanceProfile"]
    assert profile == {"Name": "tidepick-worker"}


def _broken_contracts(folder: Path) -> list[str]:
    """Names of the import contracts that the packages in a folder break."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    report = re.sub(r"\x1b\[[\d;]*m", "", done.stdout)
    broken = [line.split(" BROKEN")[0] for line in report.splitlines() if " BROKEN" in line]
    assert (done.returncode == 0) == (not broken), report + done.stderr
    return broken


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to break."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for floor in FLOORS:
        for file in (ROOT / floor).rglob("*.py"):
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return tmp_path


def test_the_house_keeps_its_floors(house):
    assert _broken_contracts(house) == []


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("catalog/intruder.py", "import workers.waveform", "Four floors"),
        ("eval/intruder.py", "import workers.waveform", "Four floors"),
        ("workers/intruder.py", "import eval.matching", "Four floors"),
        ("workers/intruder.py", "import service.cli", "Four floors"),
        ("catalog/intruder.py", "import ray", "The catalogue is light"),
        ("workers/intruder.py", "import ray", "Below service"),
        ("eval/intruder.py", "import torch", "torch"),
        ("service/intruder.py", "def f():\n    import torch.nn", "torch"),
        ("catalog/schema.py", "import catalog.store", "No circles"),
    ],
)
def test_a_broken_rule_is_seen(house, file, line, contract):
    with (house / file).open("a") as text:
        text.write(f"\n{line}\n")
    if contract == "No circles":
        with (house / "catalog/store.py").open("a") as text:
            text.write("\nimport catalog.schema\n")
    assert any(name.startswith(contract) for name in _broken_contracts(house))


@pytest.mark.parametrize(
    ("variant", "offered", "requirement"),
    [
        ("cpu", "2.15.0, 2.14.1, 2.13.0+cpu, 2.13.0, 2.12.0+cpu", "torch==2.13.0+cpu"),
        ("cpu", "2.15.0, 2.14.1+cu130, 2.14.1", "torch>=2.6"),
        ("cpu", "", "torch>=2.6"),
        ("cuda", "2.15.0, 2.13.0+cpu", "torch>=2.6"),
    ],
)
def test_choice_of_torch(tmp_path, variant, offered, requirement):
    python = tmp_path / "python"  # stands in for `python -m pip index versions torch`
    answer = f"torch (2.15.0)\nAvailable versions: {offered}" if offered else ""
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {0 if offered else 1}\n")
    python.chmod(0o755)
    script = ROOT / "docker/torch-requirement.sh"
    done = subprocess.run(
        ["sh", script, python, variant], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{requirement}\n"


def test_unknown_variant_of_torch_is_refused():
    done = subprocess.run(
        ["sh", ROOT / "docker/torch-requirement.sh", sys.executable, "rocm"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cpu or cuda" in done.stderr
