"""The recurrent networks of the published study: one layer over all samples."""

from typing import Literal

from torch import Tensor, nn

from ecgopt.models.stages import LastStage, LinearHead, SignalBatch, StagedModel

PUBLISHED_WIDTH = 100

LayerType = Literal["gru", "lstm", "bilstm"]


class Recurrent(nn.Module):
    """One recurrent layer that returns its state at every sample, starting from zero."""

    def __init__(self, layer_type: LayerType, n_leads: int, width: int) -> None:
        super().__init__()
        if layer_type == "gru":
            self.layer: nn.RNNBase = nn.GRU(n_leads, width, batch_first=True)
        else:
            self.layer = nn.LSTM(
                n_leads, width, batch_first=True, bidirectional=layer_type == "bilstm"
            )

    def forward(self, signals: SignalBatch) -> Tensor:
        """Return states of shape (batch, time, width), twice as wide in two directions."""
        states: Tensor = self.layer(signals.transpose(1, 2))[0]
        return states


class MeanState(nn.Module):
    """The mean over time."""

    def forward(self, states: Tensor) -> Tensor:
        """Return features of shape (batch, width)."""
        return states.mean(dim=1)


def build_rnn(
    layer_type: LayerType, *, n_leads: int, n_samples: int, n_labels: int, width: int, pools: bool
) -> StagedModel:
    """Return a recurrent layer and a head.

    Args:
        layer_type: GRU, LSTM, or an LSTM in both directions.
        n_leads: input leads.
        n_samples: input samples per lead; only the flattened head depends on them.
        n_labels: logits.
        width: hidden units per direction; 100 as published.
        pools: whether the head sees the mean state. As published it sees all states flattened,
            which ties it to positions in time and leaves 81 to 97 % of the weights in the head,
            where a transfer re-initialises them; with the mean state less than 5 % are there.

    Source: arXiv:2402.02021, models as described there. The dropout of 0.3 that the published
    code passes to its single layer has no effect in PyTorch, so there is none here.
    """
    n_states = 2 * width if layer_type == "bilstm" else width
    pool = MeanState() if pools else nn.Identity()
    stages = {"recurrent": LastStage(Recurrent(layer_type, n_leads, width), pool)}
    head = LinearHead(n_states if pools else n_states * n_samples, n_labels)
    # oneDNN has no bf16 kernel for GRUs that pays (0.8 of the fp32 speed); for LSTMs, 1.9 times.
    devices = {"cuda"} if layer_type == "gru" else {"cpu", "cuda"}
    return StagedModel(stages, head, bf16_devices=devices)
