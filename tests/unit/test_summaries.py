"""The overview and each verb's own help say the same."""

import importlib

import pytest
from cyclopts import App

from ecgopt.cli.app import SUMMARIES, VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_the_overview_says_what_the_verb_says_of_itself(verb):
    module, name = VERBS[verb].split(":")
    found = getattr(importlib.import_module(module), name)
    text = found.help if isinstance(found, App) else found.__doc__
    assert text.splitlines()[0] == SUMMARIES[verb]
