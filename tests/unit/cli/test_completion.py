"""The shell completes what the command line accepts."""

import shutil
import subprocess

import pytest
from processes import ecgopt

from ecgopt.cli.app import VERBS, build_app


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Return a function that asks a real bash for the completions of the last of some words."""
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    script = tmp_path_factory.mktemp("bash") / "ecgopt"
    script.write_text(build_app().generate_completion(shell="bash"))

    def completions(*words):
        typed = " ".join(f'"{word}"' for word in words)
        asked = f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _ecgopt; "
        done = subprocess.run(
            ["bash", "-c", asked + 'printf "%s\\n" "${COMPREPLY[@]}"'],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return set(done.stdout.split())

    return completions


def test_every_verb_is_completed(complete):
    assert complete("ecgopt", "") >= set(VERBS)


def test_a_verb_begun_is_completed(complete):
    assert complete("ecgopt", "wor") == {"worker", "workers"}


def test_the_commands_of_a_group_are_completed(complete):
    assert complete("ecgopt", "data", "pre") == {"prepare"}


def test_an_option_and_its_choices_are_completed(complete):
    assert complete("ecgopt", "run", "demo.toml", "--workers") >= {"--workers"}
    assert complete("ecgopt", "report", "demo.toml", "--format", "") == {"html", "md", "latex"}


def test_installing_writes_the_script_and_names_it_in_the_start_up_file(tmp_path):
    done = ecgopt("--install-completion", "--shell", "bash", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    script = tmp_path / ".local/share/bash-completion/completions/ecgopt"
    assert "complete -F _ecgopt ecgopt" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text().replace("$HOME", str(tmp_path))
