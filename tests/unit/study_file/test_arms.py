"""Arms with a start, a network or an upstream of their own, in the study file."""

import pytest

from ecgopt.database.optuna.samplers import build_sampler
from ecgopt.errors import StudyFileError
from ecgopt.jobs.pretrain import pretrainings
from ecgopt.planning.plan import loads
from ecgopt.study_file.cells import are_rivals, expand_cells, expand_studies, upstreams_of
from ecgopt.study_file.reading import load_spec

TWO_NETWORKS = """
[[models]]
name = "inception1d"
width = 2

[arms.foundation]
start = "fine_tune"
model = "inception1d-w2"

[arms.rival]
model = "resnet1d18-w2"
"""
OWN_SPACE = "[space.fine_tune]\nfrozen_stages = { low = 0, high = 5 }"


def arms_file(study_file, arms=TWO_NETWORKS, regimes='["rival", "foundation"]', **changes):
    return study_file(regimes=regimes, own=OWN_SPACE + "\n" + arms, **changes)


def test_each_arm_has_its_own_network_start_and_upstream(study_file):
    spec = load_spec(arms_file(study_file, replicates=2))
    (cell,) = expand_cells(spec)
    assert cell.path == "down/own-networks/n60/up"
    assert [key.path for key in expand_studies(spec)] == [
        "down/resnet1d18-w2/n60/r0/rival",
        "down/inception1d-w2/n60/r0/foundation/from-up",
        "down/resnet1d18-w2/n60/r1/rival",
        "down/inception1d-w2/n60/r1/foundation/from-up",
    ]
    assert [spec.start(arm).name for arm in spec.regimes] == ["scratch", "fine_tune"]


def test_only_the_network_of_the_arm_that_starts_from_it_is_pretrained(study_file):
    studies = expand_studies(load_spec(arms_file(study_file)))
    assert [each.name for each in pretrainings(studies)] == ["up-inception1d-w2"]


def test_an_arm_searches_the_ranges_of_its_start_and_its_own(study_file):
    spec = load_spec(
        arms_file(
            study_file,
            TWO_NETWORKS + '[arms.decayed]\nstart = "layer_decay"\nmodel = "resnet1d18-w2"\n'
            "[space.decayed]\nlayer_decay = { low = 0.5, high = 1.0 }\n",
            regimes='["rival", "foundation", "decayed"]',
        )
    )
    names = {arm: set(spec.search_space(arm)) for arm in spec.regimes}
    shared = {"learning_rate", "epochs"}
    assert names == {
        "rival": shared,
        "foundation": {*shared, "frozen_stages"},
        "decayed": {*shared, "layer_decay"},
    }


def test_arms_of_different_networks_get_the_same_first_draws(study_file):
    spec = load_spec(arms_file(study_file))
    one, other = expand_studies(spec)
    drawn = [build_sampler(spec, key, 0)._seed for key in (one, other)]
    assert drawn[0] == drawn[1]


def test_an_arm_of_its_own_network_serves_the_cells_of_every_other(study_file):
    arms = """
[[models]]
name = "inception1d"
width = 2

[[models]]
name = "lstm"
width = 4

[arms.foundation]
start = "fine_tune"
model = "inception1d-w2"
"""
    spec = load_spec(arms_file(study_file, arms, regimes='["scratch", "foundation"]'))
    assert [cell.network for cell in expand_cells(spec)] == ["resnet1d18-w2", "lstm-w4"]
    paths = [key.path for key in expand_studies(spec)]
    assert paths == [
        "down/resnet1d18-w2/n60/r0/scratch",
        "down/inception1d-w2/n60/r0/foundation/from-up",
        "down/lstm-w4/n60/r0/scratch",
    ]
    resnet, foundation, lstm = expand_studies(spec)
    assert are_rivals(spec, resnet, foundation)
    assert are_rivals(spec, lstm, foundation)
    assert not are_rivals(spec, resnet, lstm)


TWO_UPSTREAMS = """
[upstream.masked]
data = "up"
objective = "masked_signal"

[arms.supervised]
start = "fine_tune"
upstream = "up"

[arms.unsupervised]
start = "fine_tune"
upstream = "masked"
"""


def two_upstreams(study_file, *, regimes='["supervised", "unsupervised"]'):
    path = arms_file(study_file, TWO_UPSTREAMS, regimes)
    path.write_text(path.read_text().replace('["up"]', '["up", "masked"]'))
    return path


def test_arms_with_upstreams_of_their_own_share_one_cell(study_file):
    spec = load_spec(two_upstreams(study_file))
    (cell,) = expand_cells(spec)
    assert cell.path == "down/resnet1d18-w2/n60/own-upstreams"
    assert upstreams_of(spec, cell) == ("up", "masked")
    one, other = expand_studies(spec)
    assert (one.upstream, other.upstream) == ("up", "masked")
    assert are_rivals(spec, one, other)


def test_an_arm_that_takes_its_cells_upstream_needs_one_that_is_left(study_file):
    with pytest.raises(StudyFileError, match="'lp_ft' starts from an upstream: name at least one"):
        load_spec(two_upstreams(study_file, regimes='["supervised", "unsupervised", "lp_ft"]'))


def test_the_plan_counts_each_arms_work_with_its_network(study_file):
    spec = load_spec(arms_file(study_file, trials=5))
    speeds = {"resnet1d18-w2": 0.5, "inception1d-w2": 2.0}
    resnet, inception = loads(spec, expand_studies(spec), speeds)
    assert (resnet.trials, inception.trials) == (5, 5)
    assert (resnet.pretrainings, inception.pretrainings) == (0, 1)
    assert inception.hours == pytest.approx(4 * resnet.hours)


@pytest.mark.parametrize(
    ("arms", "regimes", "complaint"),
    [
        ('[arms.a]\nstart = "fine_tuned"', '["scratch", "a"]', r"arms\.a\] start: .*fine_tune'"),
        ('[arms.a]\nmodel = "resnet18"', '["scratch", "a"]', r"'resnet18' is no label of .*-w2'"),
        ('[arms.scratch]\nstart = "lp_ft"', '["scratch", "lp_ft"]', "has a meaning of its own"),
        ("[arms.a]", '["scratch", "lp_ft"]', "'a' is not listed in regimes: add it there"),
        ('[arms.a]\nupstream = "up"', '["scratch", "a"]', "'scratch' needs no upstream: delete it"),
        ("[arms.a]", '["a"]', "at least 2 entries"),
        ("[arms.a]", '["a", "a"]', "'a' is there twice"),
        (
            '[arms.a]\nstart = "fine_tune"\nupstream = "upp"',
            '["scratch", "a"]',
            "'upp' is not listed in upstreams: did you mean 'up'",
        ),
        (
            '[arms.a]\nmodel = "resnet1d18-w2"',
            '["scratch", "a"]',
            "each network is that of an arm, and none is left for 'scratch': add one",
        ),
        (
            TWO_NETWORKS + '[[models]]\nname = "lstm"',
            '["rival", "foundation"]',
            r"models \(entry 3\): no arm has this network",
        ),
        (
            TWO_NETWORKS + '[[cells]]\nmodels = ["resnet1d18-w2"]',
            '["rival", "foundation"]',
            "every arm states its own: delete the list",
        ),
        (
            TWO_NETWORKS + "[space.rival]\nfrozen_stages = { low = 0, high = 5 }",
            '["rival", "foundation"]',
            "this table may hold nothing",
        ),
        (
            '[arms.a]\nstart = "layer_decay"',
            '["scratch", "a"]',
            r"space\.a\.layer_decay\]: 'a' needs a range",
        ),
    ],
)
def test_what_cannot_be_an_arm_is_refused(study_file, arms, regimes, complaint):
    own = OWN_SPACE if TWO_NETWORKS in arms else ""
    with pytest.raises(StudyFileError, match=complaint):
        load_spec(study_file(regimes=regimes, own=own + "\n" + arms))


def test_an_arm_does_not_start_from_the_data_that_it_is_judged_on(study_file):
    arms = '[arms.a]\nstart = "fine_tune"\nupstream = "down"'
    path = study_file(regimes='["scratch", "a"]', own=arms)
    path.write_text(path.read_text().replace('upstreams = ["up"]', 'upstreams = ["up", "down"]'))
    with pytest.raises(StudyFileError, match="'down' has the data of a downstream: name another"):
        load_spec(path)


THREE_ARMS = TWO_NETWORKS + '\n[arms.twin]\nmodel = "resnet1d18-w2"\n'


def with_pairs(study_file, pairs):
    path = arms_file(study_file, THREE_ARMS, '["rival", "foundation", "twin"]')
    text = path.read_text()
    text = (
        text.replace("[verdict]", f"[verdict]\npairs = {pairs}")
        if "[verdict]" in text
        else f"{text}\n[verdict]\npairs = {pairs}\n"
    )
    path.write_text(text)
    return path


def test_further_pairs_get_a_verdict_after_those_against_the_first_arm(study_file):
    spec = load_spec(with_pairs(study_file, '[["twin", "foundation"]]'))
    assert spec.contrasts() == (
        ("rival", "foundation"), ("rival", "twin"), ("twin", "foundation"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ('[["twin", "fundation"]]', "'fundation' is not listed in regimes: did you mean 'founda"),
        ('[["twin", "rival"]]', "'twin' and 'rival' have a verdict already: delete the pair"),
        ('[["twin", "twin"]]', "'twin' and 'twin' are one arm: name two"),
        (
            '[["twin", "foundation"], ["foundation", "twin"]]',
            "'foundation' and 'twin' have a verdict already: delete the pair",
        ),
    ],
)
def test_what_cannot_be_a_further_pair_is_refused(study_file, pairs, complaint):
    with pytest.raises(StudyFileError, match=complaint):
        load_spec(with_pairs(study_file, pairs))
