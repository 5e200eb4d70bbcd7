"""What is built of the project can be installed: nothing is missing in the wheel and the sdist."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml
from documents import ROOT

import ecgopt

BUILD = (
    "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
)
LEFT_OUT = {".git", ".venv", "site", "out", "build", "storage", "docs", "benchmarks"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the wheel and the sdist, built from a copy of the source."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    shutil.copytree(
        ROOT, source, ignore=lambda _, names: [name for name in names if name in LEFT_OUT]
    )
    for kind in ("build_wheel", "build_sdist"):
        command = [sys.executable, "-c", BUILD, kind, str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def package_files():
    """Return every file that the package needs besides its compiled ones."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ecgopt").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(built):
    with zipfile.ZipFile(built[0]) as wheel:
        assert package_files() - set(wheel.namelist()) == set()


def test_the_sdist_holds_every_file_of_the_package(built):
    with tarfile.open(built[1]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert package_files() - names == set()


def test_the_command_of_the_wheel_works_without_the_source(built, tmp_path):
    with zipfile.ZipFile(built[0]) as wheel:
        wheel.extractall(tmp_path / "installed")
        (points,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
        assert "ecgopt = ecgopt.cli.app:main" in wheel.read(points).decode()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    for arguments in (["--version"], ["--help"], ["data", "list", "ptbxl", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "ecgopt", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "PTB-XL" in done.stdout


def test_the_citation_names_the_version_and_the_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == ecgopt.__version__
    assert citation["license"] == "Apache-2.0"
    assert ecgopt.__version__ in (ROOT / "docs" / "cite.md").read_text()


def test_make_alone_prints_its_targets():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "docs", "docs-test", "format"):
        assert f"\n  {target} " in done.stdout
