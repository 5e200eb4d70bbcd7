"""The report in a real browser: nothing broken, cut off, or asked of the network."""

import re
from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.report.write import write_report

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 900), (390, 844)
WORLDS = {
    "three sizes": World(
        replicates=2, final_seeds=1, trials=10, train_sizes=(200, 800, 3200), beside=True,
        has_subgroups=True,
    ),
    "seven arms": World(
        replicates=2,
        final_seeds=1,
        trials=10,
        train_sizes=(200, 800, 3200),
        has_subgroups=True,
        regimes=("scratch", "fine_tune", "linear_probe", "svm_probe", "lp_ft", "layer_decay",
                 "frozen_random"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=WORLDS)
def report(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    evidence = invent(WORLDS[request.param], folder / "workspace")
    long_name = "a_comparison_with_a_name_that_is_longer_than_a_phone_is_wide_by_some_way"
    evidence = replace(evidence, comparison=replace(evidence.comparison, name=long_name))
    return write_report(conclude(evidence, folder / "workspace"), folder / "out").html


@pytest.fixture(
    params=[(size, scheme) for size in (DESKTOP, PHONE) for scheme in ("light", "dark")],
    ids=["desktop-light", "desktop-dark", "phone-light", "phone-dark"],
    scope="module",
)
def opened(request, open_page, report):
    (width, height), scheme = request.param
    page = open_page(width, height, color_scheme=scheme)
    page.goto(report.as_uri())
    page.scheme = scheme
    yield page
    page.context.close()


def test_the_console_stays_empty(opened):
    assert opened.said == []


def test_no_request_leaves_the_page(opened, report):
    assert opened.requests == [report.as_uri()]


def test_nothing_is_wider_than_the_screen(opened):
    overflow = opened.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0


def test_every_figure_is_drawn_and_inside_the_screen(opened):
    boxes = opened.evaluate(
        """[...document.querySelectorAll('svg')].map(svg => {
            const box = svg.getBoundingClientRect();
            return [box.left, box.right, box.width, box.height];
        })"""
    )
    width = opened.evaluate("document.documentElement.clientWidth")
    assert len(boxes) > 20
    for left, right, box_width, box_height in boxes:
        assert box_width > 200
        assert box_height > 60
        assert left >= 0
        assert right <= width + 1


def test_no_text_of_a_figure_is_cut_off(opened):
    cut = opened.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 2 || box.right > frame.right + 2
                    || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
            }).map(text => text.textContent);
        })"""
    )
    assert cut == []


def test_no_two_texts_of_a_figure_lie_on_each_other(opened):
    clashes = opened.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => {
            const texts = [...svg.querySelectorAll('text')].map(text => {
                const box = text.getBoundingClientRect();
                return [text.textContent, box.left, box.right, box.top, box.bottom];
            });
            return texts.flatMap((one, i) => texts.slice(i + 1).filter(other =>
                Math.min(one[2], other[2]) - Math.max(one[1], other[1]) > 1 &&
                Math.min(one[4], other[4]) - Math.max(one[3], other[3]) > 4
            ).map(other => one[0] + ' / ' + other[0]));
        })"""
    )
    assert clashes == []


def test_text_of_figures_is_readable(opened):
    smallest = opened.evaluate(
        """Math.min(...[...document.querySelectorAll('svg text')].map(text => {
            const scale = text.ownerSVGElement.getScreenCTM().a;
            return parseFloat(getComputedStyle(text).fontSize) * scale;
        }))"""
    )
    assert smallest >= 7


def test_colours_follow_the_scheme(opened):
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = opened.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    brightness = [
        sum(int(part) for part in colour[4:-1].split(",")) / 3 for colour in (background, ink)
    ]
    if opened.scheme == "dark":
        assert brightness[0] < 60 < 180 < brightness[1]
    else:
        assert brightness[1] < 60 < 180 < brightness[0]


def test_no_table_of_a_desktop_hides_a_column(opened):
    if opened.evaluate("innerWidth") < DESKTOP[0]:
        pytest.skip("a phone scrolls wide tables, with a shade at the edge")
    clipped = opened.evaluate(
        """[...document.querySelectorAll('.scroll')].filter(
            box => box.offsetParent && box.scrollWidth > box.clientWidth
        ).map(box => box.getAttribute('aria-label'))"""
    )
    assert clipped == []


def test_the_answer_takes_few_screens_before_the_details(opened):
    top, height = opened.evaluate(
        "[document.querySelector('#details').getBoundingClientRect().top, innerHeight]"
    )
    assert top / height <= (8 if height == DESKTOP[1] else 12)


def test_it_prints_on_few_pages(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 8
    page.close()
