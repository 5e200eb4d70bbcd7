import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from ecgopt.training.objectives import AgeRegression, MaskedSignal, MultiLabel

NAN = float("nan")


def ages(*years):
    return AgeRegression().example(torch.zeros(len(years)), torch.tensor(years)[:, None])[1]


def test_the_code_for_ninety_and_over_is_read_as_ninety():
    assert ages(300.0).item() == ages(90.0).item()


@pytest.mark.parametrize("nonsense", [NAN, -1.0, 150.0, 1000.0])
def test_missing_and_impossible_ages_are_missing(nonsense):
    assert ages(nonsense).isnan()


def test_records_without_age_do_not_change_the_loss():
    objective = AgeRegression()
    outputs = torch.tensor([[0.5], [1.0], [7.0]])
    with_gap = objective.loss(outputs, ages(40.0, 70.0, NAN))
    assert with_gap == objective.loss(outputs[:2], ages(40.0, 70.0))


def test_a_batch_without_any_age_has_no_loss_and_no_gradient():
    outputs = torch.ones(3, 1, requires_grad=True)
    loss = AgeRegression().loss(outputs, ages(NAN, NAN, NAN))
    loss.backward()
    assert loss.item() == 0
    assert not outputs.grad.any()


def test_the_age_score_equals_scikit_learns_r_squared():
    targets = ages(20.0, 50.0, NAN, 300.0)
    outputs = torch.tensor([[-1.0], [0.0], [9.0], [1.0]])
    known = [0, 1, 3]
    expected = r2_score(targets[known].numpy(), outputs[known].numpy())
    assert AgeRegression().evaluate(outputs, targets).score == pytest.approx(expected)


@pytest.mark.parametrize("years", [(NAN, NAN), (50.0, 50.0)])
def test_ages_that_do_not_differ_allow_no_score(years):
    assert np.isnan(AgeRegression().evaluate(torch.zeros(2, 1), ages(*years)).score)


def test_hidden_segments_span_all_leads_and_about_half_of_the_time():
    torch.manual_seed(0)
    signals = torch.randn(40, 12, 1000) + 5
    seen, wanted = MaskedSignal().example(signals, torch.zeros(40, 0))
    is_hidden = wanted.isfinite()
    assert torch.equal(is_hidden, is_hidden[:, :1].expand_as(is_hidden))
    assert is_hidden.float().mean() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(seen == 0, is_hidden)
    assert torch.equal(wanted[is_hidden], signals[is_hidden])


def test_only_hidden_samples_count_in_reconstruction():
    wanted = torch.full((1, 12, 1000), NAN)
    wanted[..., :50] = 1.0
    drawn = torch.full((1, 12, 1000), 99.0)
    drawn[..., :50] = 1.5
    evaluation = MaskedSignal().evaluate(drawn, wanted)
    assert evaluation.loss == pytest.approx(0.25)
    assert evaluation.score == pytest.approx(0.75)


def test_signals_shorter_than_a_segment_can_be_hidden():
    seen, wanted = MaskedSignal().example(torch.ones(4, 12, 30), torch.zeros(4, 0))
    assert seen.shape == wanted.shape == (4, 12, 30)


def test_labels_are_scored_by_macro_auroc():
    labels = torch.tensor([[0.0], [1.0], [1.0]])
    evaluation = MultiLabel().evaluate(torch.tensor([[-1.0], [2.0], [-3.0]]), labels)
    assert evaluation.score == evaluation.macro_auroc.value == 0.5
