import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fakes_evidence import World, invent, with_identical_arms

from ecgopt.analysis.conclude import conclude
from ecgopt.errors import UserError
from ecgopt.report import words
from ecgopt.report.paper_table import paper_table
from ecgopt.report.terminal import answer_lines, verdict_lines, verdict_table
from ecgopt.report.write import write_report
from ecgopt.training.metrics import METRICS, Metric

ONE_CELL = World(replicates=3, final_seeds=2)
VOID = {"meta", "link", "br", "hr", "img"}


@pytest.fixture(scope="module")
def evidence(workspace):
    return invent(replace(ONE_CELL, train_sizes=(200, 800, 3200)), workspace)


@pytest.fixture(scope="module")
def paths(evidence, workspace, tmp_path_factory):
    return write_report(conclude(evidence, workspace), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(paths):
    return paths.html.read_text("utf-8")


@pytest.fixture(scope="module")
def results(paths):
    return json.loads(paths.results.read_text("utf-8"))


class Checker(HTMLParser):
    """Collects what a page must not have: unbalanced tags, doubled ids, addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.unbalanced = [], [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


@pytest.fixture(scope="module")
def checked(page):
    checker = Checker()
    checker.feed(page)
    return checker


def test_the_page_asks_nothing_of_the_network(checked):
    outside = [a for a in checked.addresses if not a.startswith(("#", "data:"))]
    assert outside == []


def test_the_page_is_well_formed(checked):
    assert (checked.open, checked.unbalanced) == ([], [])


def test_every_link_inside_the_page_has_its_target(checked):
    targets = {address[1:] for address in checked.addresses if address.startswith("#")}
    assert targets <= set(checked.ids)


def test_every_figure_says_in_words_what_it_shows(page):
    drawings = re.findall(r"<svg [^>]*>", page)
    assert drawings
    assert all(re.search(r'role="img" aria-label="[^"]{20,}"', drawing) for drawing in drawings)


def test_figures_on_the_page_take_their_colours_from_it(page):
    for drawing in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        assert not re.search(r"(fill|stroke): #(?!ffffff\b|000000\b)", drawing)


@pytest.mark.parametrize(
    "part",
    [
        "verdicts", "scores", "budget", "learning-rate", "size", "time", "published", "trade-off",
        "parameters", "cost", "findings", "trials", "gates", "sealed-test", "provenance",
    ],
)  # fmt: skip
def test_every_point_of_the_protocol_has_its_place(checked, part):
    assert part in checked.ids


def test_text_from_the_study_is_escaped(evidence, workspace, tmp_path):
    evil = replace(
        evidence, comparison=replace(evidence.comparison, question="<script>alert(1)</script>")
    )
    text = write_report(conclude(evil, workspace), tmp_path).html.read_text("utf-8")
    assert "<script>" not in text


def test_reports_of_the_same_evidence_are_equal_bytes(paths, evidence, workspace, tmp_path):
    again = write_report(conclude(evidence, workspace), tmp_path)
    assert again.html.read_bytes() == paths.html.read_bytes()
    assert [path.read_bytes() for path in again.figures] == [
        path.read_bytes() for path in paths.figures
    ]


def test_no_half_written_file_is_left(paths):
    assert not [path for path in paths.html.parent.rglob("*.part")]


def test_a_folder_that_cannot_be_written_is_named(evidence, workspace, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken"):
        write_report(conclude(evidence, workspace), tmp_path / "taken")


def test_results_hold_counts_winner_and_finals_per_cell_and_regime(results, evidence):
    for cell in results["cells"]:
        for arm in cell["regimes"].values():
            assert arm["counts"]["complete"] + arm["counts"]["pruned"] > 0
            for replicate in arm["replicates"]:
                assert set(replicate["winner"]) >= {"parameters", "validation_macro_auroc"}
                assert {final["role"] for final in replicate["finals"]} == {"tuned", "published"}
                assert all({"seed", "test_macro_auroc"} <= set(f) for f in replicate["finals"])


def test_results_hold_difference_interval_margin_and_verdict_per_cell(results):
    for cell in results["cells"]:
        (found,) = cell["comparisons"]
        low, high = found["interval"]
        assert low <= found["difference"] <= high
        assert found["margin"] == 0.01
        wins = found["p_difference_holm"] <= 0.05 and found["difference"] > 0.01
        expected = ("fine_tune wins", "fine_tune") if wins else ("undecided", None)
        assert (found["verdict"], found["winner"]) == expected
        assert (found["n_pairs"], found["n_pairs_planned"]) == (6, 6)


def test_the_csv_of_trials_holds_every_trial_with_full_precision(paths, evidence):
    (path,) = (path for path in paths.tables if path.name == "trials.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    trials = [trial for study in evidence.studies for trial in study.trials]
    assert len(rows) == len(trials)
    assert float(rows[3]["learning_rate"]) == trials[3].parameters["learning_rate"]


def test_pdf_figures_are_written_on_demand(tmp_path):
    small = invent(World(replicates=1, final_seeds=1, trials=4), tmp_path / "workspace")
    paths = write_report(conclude(small, tmp_path / "workspace"), tmp_path, with_pdf=True)
    pdfs = [path for path in paths.figures if path.suffix == ".pdf"]
    svgs = [path for path in paths.figures if path.suffix == ".svg"]
    assert {path.stem for path in pdfs} == {path.stem for path in svgs}
    assert all(path.read_bytes().startswith(b"%PDF") for path in pdfs)


def test_a_comparison_without_any_trial_still_has_a_report(evidence, workspace, tmp_path):
    empty = replace(evidence, studies=(), finals=(), openings=(), checks=(), pretrainings=())
    text = write_report(conclude(empty, workspace), tmp_path).html.read_text("utf-8")
    assert "Not finished: 0 of 216 trials and 0 of 36 final fits are done. No verdict yet." in text


def test_a_comparison_with_trials_but_no_finals_says_that_there_is_no_verdict(evidence, workspace):
    halfway = replace(evidence, finals=(), openings=())
    lines = verdict_lines(conclude(halfway, workspace))
    assert "Not finished: 0 of 6 planned pairs of final fits are done. No verdict yet." in lines[0]


def test_the_terminal_table_fits_eighty_columns(evidence, workspace):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(verdict_table(conclude(evidence, workspace)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("undecided" in line or "wins" in line for line in lines) == 3


def test_the_answer_has_three_lines(evidence, workspace):
    for each in (evidence, with_identical_arms(evidence)):
        assert len(answer_lines(conclude(each, workspace))) == 3


def test_markdown_and_latex_tables_hold_a_row_per_cell(evidence, workspace):
    conclusions = conclude(evidence, workspace)
    markdown, latex = (paper_table(conclusions, form) for form in ("md", "latex"))
    assert sum(line.startswith("| georgia") for line in markdown.splitlines()) == 3
    assert sum(line.startswith("georgia") for line in latex.splitlines()) == 3
    assert latex.count("&") == 4 * 9
    comment, *lines = [line for line in latex.splitlines() if line != r"\begin{table}"]
    assert comment == r"% needs \usepackage{booktabs}"
    assert not re.search(r"(?<!\\)%", "\n".join(lines))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0301, "+0.030"), (-0.0301, "−0.030"), (0.0, "0.000"), (-0.0001, "0.000"),
        (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_differences_carry_a_sign_and_zero_none(value, text):
    assert words.signed(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.6, "60 s"), (600, "10 min"), (86_400, "24.0 h"), (864_000, "10 days")],
)
def test_durations_have_a_unit_that_suits_them(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(1234.0, "1,200"), (87.0, "87"), (5.0, "5")])
def test_sizes_have_two_digits(size, text):
    assert words.size(size) == text


def test_a_new_metric_is_shown_everywhere(tmp_path, monkeypatch):
    coverage = Metric(
        name="predicted_share",
        title="share predicted",
        score=lambda tested: float((tested.scores >= tested.thresholds).mean()),
        trivial=lambda labels: float(labels.mean()),
        higher_is_better=False,
        needs_thresholds=True,
    )
    monkeypatch.setitem(METRICS, coverage.name, coverage)
    paths = write_report(conclude(invent(ONE_CELL, tmp_path), tmp_path), tmp_path / "out")
    (cell,) = json.loads(paths.results.read_text("utf-8"))["cells"]
    for arm in cell["regimes"].values():
        assert 0 <= arm["scores"]["means"]["predicted_share"] <= 1
        assert 0 <= arm["scores"]["trivial"]["predicted_share"] <= 1
        for replicate in arm["replicates"]:
            assert all("predicted_share" in final["metrics"] for final in replicate["finals"])
    (finals,) = [path for path in paths.tables if path.stem == "finals"]
    assert "predicted_share" in finals.read_text("utf-8").splitlines()[0].split(",")
    title = "share predicted, thresholds from validation (lower is better)"
    assert title in paths.html.read_text("utf-8")


def test_a_metric_newer_than_the_finals_follows_from_their_predictions(tmp_path, monkeypatch):
    evidence = invent(ONE_CELL, tmp_path)
    count = Metric(
        name="n_labels",
        title="labels",
        score=lambda tested: float(tested.labels.shape[1]),
        trivial=lambda _: 0.0,
    )
    monkeypatch.setitem(METRICS, count.name, count)
    (cell,) = conclude(evidence, tmp_path).cells
    assert {arm.scores.means["n_labels"] for arm in cell.arms.values()} == {
        float(len(cell.arms["scratch"].arm.finals[0].per_label))
    }
