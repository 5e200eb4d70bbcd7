"""The first screen: the answer in words, failed checks next to it, and what the data are."""

import re
from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.analysis.gates import Gate
from ecgopt.analysis.verdict import Decision
from ecgopt.report import words
from ecgopt.report.page.headline import answer, gate_sentence, marked_verdict
from ecgopt.report.page.html import render
from ecgopt.report.page.sections import build_page
from ecgopt.report.paper_table import paper_table
from ecgopt.report.terminal import answer_lines, verdict_lines

SIZES = (50, 100, 200)
GATE = "the best learning rate is not on the edge of its range"


@pytest.fixture(scope="module")
def concluded(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    world = World(replicates=3, final_seeds=2, trials=6, train_sizes=SIZES)
    return conclude(invent(world, workspace), workspace)


@pytest.fixture(scope="module")
def page(concluded):
    return build_page(concluded)


@pytest.fixture(scope="module")
def html(page):
    return render(page)


def decided(concluded, *decisions):
    """Return `concluded` with these decisions of its cells, and no failed check."""
    cells = tuple(
        replace(
            cell,
            comparisons=tuple(
                replace(found, judgement=replace(found.judgement, decision=decision))
                for found in cell.comparisons
            ),
        )
        for cell, decision in zip(concluded.cells, decisions, strict=True)
    )
    return replace(concluded, cells=cells, gates=(Gate(name="a", state="passed", finding=""),))


HIGHER, LOWER = Decision.HIGHER, Decision.LOWER
EQUIVALENT, UNDECIDED = Decision.EQUIVALENT, Decision.UNDECIDED


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        (
            (HIGHER, HIGHER, EQUIVALENT),
            "Fine-tune wins over scratch with up to 100 labelled records; "
            "fine-tune and scratch are equivalent with 200.",
        ),
        (
            (UNDECIDED, HIGHER, HIGHER),
            "Fine-tune against scratch is undecided with 50 labelled records; "
            "fine-tune wins over scratch with 100 and 200.",
        ),
        (
            (HIGHER, UNDECIDED, LOWER),
            "Fine-tune wins over scratch with 50 labelled records; "
            "fine-tune against scratch is undecided with 100; "
            "scratch wins over fine-tune with 200.",
        ),
        (
            (UNDECIDED,) * 3,
            "Fine-tune against scratch is undecided at all 3 training sizes, 50 to 200 records.",
        ),
    ],
)
def test_the_answer_says_what_holds_at_which_training_sizes(concluded, decisions, said):
    assert answer(decided(concluded, *decisions)) == said


def with_failed_gate(concluded, *arms):
    failed = Gate(name=GATE, state="failed", finding="2 of 6 on an edge", arms=arms)
    return replace(decided(concluded, HIGHER, HIGHER, UNDECIDED), gates=(failed,))


def test_a_failed_check_is_named_under_the_answer_and_marks_the_rows_it_concerns(concluded):
    cell = concluded.cells[2].cell
    found = with_failed_gate(concluded, (cell, "fine_tune"))
    said = f"1 of 1 checks failed: {GATE} (fine-tune, n\u00a0=\u00a0200)."
    page = build_page(found)
    assert (page.checks, page.has_failed_checks) == (said, True)
    html = render(page)
    assert html.index(said) < html.index('<nav aria-label="Sections">')
    rows = page.sections[0].tables[0].rows
    assert ["†" in row[1] for row in rows] == [False, False, True]
    for text in (paper_table(found, "md"), "\n".join(verdict_lines(found))):
        assert f"{GATE} (fine-tune, n\u00a0=\u00a0200)" in text
    assert "undecided †" in paper_table(found, "md")
    assert r"undecided \dag" in paper_table(found, "latex")
    assert GATE in answer_lines(found)[2]


def test_a_failed_check_of_the_whole_comparison_marks_no_row(concluded):
    found = with_failed_gate(concluded)
    assert f"1 of 1 checks failed: {GATE}." == gate_sentence(found)
    marks = [marked_verdict(each, found) for cell in found.cells for each in cell.comparisons]
    assert not any("†" in mark for mark in marks)


def test_each_failed_gate_of_an_arm_knows_the_arm(tmp_path):
    evidence = invent(World(replicates=3, final_seeds=1, trials=6, train_sizes=(50, 100)), tmp_path)
    span = {"low": 1e-5, "high": 0.1, "log": True}
    at_edge = {"learning_rate": 0.1, "epochs": 10}
    studies = tuple(
        replace(
            study,
            trials=tuple(
                replace(trial, parameters=at_edge, value=0.99) if trial.number == 2 else trial
                for trial in study.trials
            ),
        )
        if (study.regime, study.n_train) == ("scratch", 100)
        else study
        for study in evidence.studies
    )
    space = {**evidence.comparison.space, "shared": {"learning_rate": span}}
    comparison = replace(evidence.comparison, space=space)
    gates = conclude(replace(evidence, studies=studies, comparison=comparison), tmp_path).gates
    (edge,) = [gate for gate in gates if gate.name == GATE]
    assert edge.state == "failed"
    assert (evidence.comparison.cells[1], "scratch") in edge.arms
    assert (evidence.comparison.cells[0], "scratch") not in edge.arms


def test_each_score_on_the_first_screen_has_its_interval(page):
    (row, *_) = page.sections[0].tables[0].rows
    for value in row[-2:]:
        assert re.fullmatch(r"0\.\d{3} \[0\.\d\d, [01]\.\d\d\]", value)


def test_the_interval_of_a_score_holds_its_mean_and_widens_with_fewer_replicates(tmp_path):
    half = {}
    for replicates in (2, 8):
        world = World(name=f"w{replicates}", replicates=replicates, final_seeds=1, trials=4)
        evidence = invent(world, tmp_path)
        (cell,) = conclude(evidence, tmp_path).cells
        arm = cell.arms["scratch"]
        found = arm.intervals["tuned"]
        assert found.estimate == pytest.approx(arm.test_score())
        assert found.low < found.estimate < found.high
        half[replicates] = found.high - found.estimate
    assert half[8] < half[2]


def test_figure_one_is_written_for_print_and_its_panels_are_on_the_page(page):
    (section,) = [each for each in page.sections if each.name == "figure-1"]
    (figure,) = section.for_print
    width = float(re.search(r'width="([0-9.]+)pt"', figure.svg)[1])
    assert width / 72 * 25.4 == pytest.approx(183, abs=0.1)
    titles = [drawing.title[0] for drawing in section.galleries[0].drawings]
    assert titles == ["a", "b", "c", "d"]
    assert all(f">{letter}</text>" in figure.svg for letter in titles)


def test_the_page_names_the_paper_and_explains_twelve_words(page, html):
    assert words.PAPER.replace("&", "&amp;") in html
    (section,) = [each for each in page.sections if each.name == "words"]
    assert len(section.tables[0].rows) == 12


def test_the_data_are_described_with_positives_of_the_test(concluded, page):
    (section,) = [each for each in page.sections if each.name == "data"]
    assert "The sealed test of ptbxl has 150 records of 150 patients." in section.paragraphs
    (table,) = section.tables
    scores = concluded.cells[0].arms["scratch"].scores
    shown = {row[1]: row[3].split(" ")[0] for row in table.rows}
    assert shown == {label: str(count) for label, count in scores.positives.items()}


def test_ids_of_all_figures_differ(html):
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert used <= set(ids)
