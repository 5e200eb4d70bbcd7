"""The sealed test cannot be reached from tuning code: neither by an import nor by a type."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing

import grimp
import pytest

import ecgopt
from ecgopt import jobs
from ecgopt.data.splits import TuningData

TUNING = ("models", "training", "regimes", "study_file", "database", "queue")
"""Packages that trials are trained with."""

BLIND = (*TUNING, "evidence", "analysis")
"""Packages that must not find the test: those, and what judges what was measured."""

OPENS_THE_TEST = "ecgopt.jobs.final"

BLIND_JOBS = sorted(
    {module.name for module in pkgutil.iter_modules(jobs.__path__)} - {"final", "registry"}
)
"""Modules of the jobs that must not find the test; only the final fit opens it."""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("ecgopt")


def blind_modules():
    return sorted(
        found.name
        for found in pkgutil.walk_packages(ecgopt.__path__, "ecgopt.")
        if not found.ispkg
        and (
            found.name.split(".")[1] in TUNING
            or found.name in {f"ecgopt.jobs.{job}" for job in BLIND_JOBS}
        )
    )


@pytest.mark.parametrize("package", BLIND)
def test_no_import_leads_from_tuning_code_to_where_the_test_is_opened(graph, package):
    reached = graph.find_upstream_modules(f"ecgopt.{package}", as_package=True)
    assert not {name for name in reached if name in (OPENS_THE_TEST, "ecgopt.data.sealed")}


@pytest.mark.parametrize("job", BLIND_JOBS)
def test_no_import_leads_from_another_job_to_where_the_test_is_opened(graph, job):
    reached = graph.find_upstream_modules(f"ecgopt.jobs.{job}")
    assert not {name for name in reached if name in (OPENS_THE_TEST, "ecgopt.data.sealed")}


def test_only_final_fits_find_the_sealed_rows(graph):
    assert graph.find_modules_that_directly_import("ecgopt.data.sealed") == {OPENS_THE_TEST}


def test_what_tuning_may_see_has_a_training_and_a_validation_part_and_no_other():
    assert [field.name for field in dataclasses.fields(TuningData)] == ["train", "validation"]


def annotated(thing):
    """Return the annotations of a function, or of a class, its fields and its methods."""
    found = []
    parts = [thing]
    if inspect.isclass(thing):
        methods = (part for _, part in inspect.getmembers(thing, inspect.isfunction))
        parts += [part for part in methods if part.__module__.startswith("ecgopt")]
    for part in parts:
        try:
            found += typing.get_type_hints(part).values()
        except (NameError, TypeError):
            found += getattr(part, "__annotations__", {}).values()
    return found


def classes_in(annotation):
    """Return every class that an annotation is made of."""
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return {annotation}
    return {found for part in typing.get_args(annotation) for found in classes_in(part)}


def types_reachable_from(module):
    """Return every class of ecgopt that the module's functions and classes take, give or hold."""
    own = [
        thing
        for _, thing in inspect.getmembers(module)
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    ]
    seen, waiting = set(), own
    while waiting:
        thing = waiting.pop()
        for annotation in annotated(thing):
            for found in classes_in(annotation):
                if found.__module__.startswith("ecgopt") and found not in seen:
                    seen.add(found)
                    waiting.append(found)
    return seen


@pytest.mark.parametrize("name", blind_modules())
def test_no_type_in_tuning_code_holds_a_test_part(name):
    for found in types_reachable_from(importlib.import_module(name)):
        assert "Sealed" not in found.__name__
        fields = getattr(found, "__dataclass_fields__", None) or getattr(found, "model_fields", {})
        assert not {"test", "sealed", "sealed_test", "test_rows"} & set(fields)


def test_the_walk_over_types_finds_what_training_is_given():
    training = importlib.import_module("ecgopt.training.fit")
    assert TuningData in types_reachable_from(training)
