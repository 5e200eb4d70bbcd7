import pytest

from ecgopt.errors import UserError
from ecgopt.training.recipe import DECLARATIONS, Recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("n_epochs", 0),
        ("batch_size", 0),
        ("weight_decay", -1.0),
        ("warmup_share", 1.0),
        ("clip_norm", 0.0),
        ("n_frozen_stages", -1),
        ("dropout", 1.0),
        ("head_rate_ratio", 0.0),
        ("layer_decay", 1.5),
        ("head_first_share", 1.0),
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(field, value):
    settings = {"learning_rate": 1e-3, "n_epochs": 2} | {field: value}
    name = DECLARATIONS[field].name
    with pytest.raises(UserError, match=rf"{name} must be from .* to .*, but is {value}"):
        Recipe(**settings)


def test_gradients_need_not_be_clipped():
    assert Recipe(learning_rate=1e-3, n_epochs=1, clip_norm=None).clip_norm is None
