"""Parts from outside the package: how they are found, and which code they are."""

import hashlib

import pytest

from ecgopt.data.sources.catalog import source
from ecgopt.errors import UserError
from ecgopt.plugins import code_identity, find, outside_code

BUILT_IN = {"tpe": "built in", "random": "built in too"}
CODE = "class Sampler:\n    pass\n\n\ndef build():\n    return 1\n\n\nready = Sampler()\n"


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return a folder of modules that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(lab, module, code=CODE):
    (lab / f"{module}.py").write_text(code)
    return f"{module} sha256:{hashlib.sha256(code.encode()).hexdigest()}"


def distribution(lab, name, version, *, entry_points="", modules="", origin=None):
    folder = lab / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "top_level.txt").write_text(modules)
    (folder / "entry_points.txt").write_text(entry_points)
    if origin is not None:
        (folder / "direct_url.json").write_text(origin)


def test_a_built_in_name_comes_first():
    assert find("sampler", "tpe", BUILT_IN) == "built in"


def test_a_reference_names_an_attribute_of_a_module(lab):
    write(lab, "lab_reference")
    assert find("sampler", "lab_reference:build", {})() == 1
    assert find("sampler", "lab_reference:Sampler.__name__", {}) == "Sampler"


def test_an_entry_point_of_an_installed_distribution_has_a_name(lab):
    write(lab, "lab_entry")
    distribution(
        lab, "lab_entry_dist", "2.1", entry_points="[ecgopt.samplers]\nmine = lab_entry:build\n"
    )
    assert find("sampler", "mine", BUILT_IN)() == 1
    with pytest.raises(UserError, match="network 'mine' is not known"):
        find("network", "mine", {"resnet1d18": 0})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("randam", "sampler 'randam' is not known: did you mean 'random'?"),
        ("q", "sampler 'q' is not known: choose one of tpe, random"),
        ("lab_absent:build", "'lab_absent' cannot be imported.*PYTHONPATH"),
        ("lab_wrong:bild", "lab_wrong has no 'bild': did you mean 'build'?"),
        ("lab_wrong:", "lab_wrong has no ''"),
        (":build", "'' cannot be imported"),
        ("lab_broken:build", "'lab_broken' cannot be imported \\(ZeroDivisionError"),
    ],
)
def test_a_part_that_cannot_be_found_is_said_in_one_line(lab, name, message):
    write(lab, "lab_wrong")
    write(lab, "lab_broken", "1 / 0")
    with pytest.raises(UserError, match=message) as raised:
        find("sampler", name, BUILT_IN)
    assert "\n" not in str(raised.value)


def code_of(name):
    (code,) = outside_code("sampler", ["tpe", name], BUILT_IN).values()
    return code


def test_a_module_of_no_distribution_counts_by_its_source(lab):
    identity = write(lab, "lab_source")
    assert code_of("lab_source:build") == identity
    assert code_of("lab_source:ready") == identity


def test_the_module_that_defines_the_object_counts_too(lab):
    defining = write(lab, "lab_defining")
    naming = write(lab, "lab_naming", "from lab_defining import build\n")
    assert code_of("lab_naming:build") == f"{defining}, {naming}"


def test_an_installed_distribution_counts_by_its_version(lab):
    write(lab, "lab_installed")
    distribution(lab, "lab_dist", "1.4.2", modules="lab_installed\n")
    assert code_of("lab_installed:build") == "lab_dist 1.4.2"


def test_an_editable_distribution_counts_by_its_source(lab):
    identity = write(lab, "lab_editable")
    distribution(
        lab,
        "lab_editable_dist",
        "0.1",
        modules="lab_editable\n",
        origin='{"url": "file:///lab", "dir_info": {"editable": true}}',
    )
    assert code_of("lab_editable:build") == identity


def test_a_part_of_the_package_needs_no_identity():
    assert code_identity(source("ptbxl")) == ""
