"""A head that draws signals instead of labels, for pre-training by reconstruction."""

import torch
from torch import Tensor

from ecgopt.models.stages import LinearHead, SignalBatch, StagedModel
from ecgopt.models.weight_names import HEAD
from ecgopt.seeds import seed_torch


class SignalDecoder(LinearHead):
    """One linear layer that turns each position of a feature map into the samples it covers.

    It is kept this weak on purpose: what can be reconstructed must be in the features.
    """

    def __init__(self, n_channels: int, n_positions: int, *, n_leads: int, n_samples: int) -> None:
        self.samples_per_position = -(-n_samples // n_positions)
        super().__init__(n_channels, n_leads * self.samples_per_position)
        self.n_leads = n_leads
        self.n_samples = n_samples

    def forward(self, features: Tensor) -> SignalBatch:
        """Return signals of shape (batch, lead, time) from a feature map."""
        drawn: Tensor = self.linear(self.dropout(positions_first(features)))
        drawn = drawn.unflatten(2, (self.n_leads, self.samples_per_position))
        # (batch, position, lead, sample) to (batch, lead, position x sample)
        return drawn.transpose(1, 2).flatten(2)[:, :, : self.n_samples]


def positions_first(features: Tensor) -> Tensor:
    """Return a feature map of either layout as (batch, position, channel)."""
    return features.squeeze(2).transpose(1, 2) if features.ndim == 4 else features


def attach_decoder(model: StagedModel, *, n_leads: int, n_samples: int, seed: int) -> list[str]:
    """Give `model` a signal decoder as its head, and return the name prefixes it leaves untrained.

    The decoder sees the feature map over time, so pooling and hidden layer are passed by.

    Args:
        model: The network, changed in place.
        n_leads: Leads of the signals.
        n_samples: Samples per lead.
        seed: The source of the decoder's weights.
    """
    last = model.last_stage
    last.keeps_time = True
    was_training = model.training
    model.eval()
    with torch.no_grad():
        probe = torch.zeros(1, n_leads, n_samples)
        feature_map = positions_first(model.features(probe, model.n_freezable_stages))
    with torch.random.fork_rng(devices=[]):
        seed_torch("decoder", seed)
        model.head = SignalDecoder(
            feature_map.shape[2], feature_map.shape[1], n_leads=n_leads, n_samples=n_samples
        )
    model.train(was_training)
    last_name = model.stage_names[model.stage_names.index(HEAD) - 1]
    return [f"{last_name}.pool.", f"{last_name}.hidden."]
