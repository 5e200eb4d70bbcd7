"""The transformer block that the public models share: attention and two linear layers."""

from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762)."""

    def __init__(self, width: int, n_heads: int, *, bias: bool = True, fused: bool = True) -> None:
        """Make the layers.

        Args:
            width: Of a token.
            n_heads: Heads; `width` must be a multiple.
            bias: Whether queries, keys and values have a bias; the output has one.
            fused: Whether queries, keys and values come from one linear layer or from three, as
                the checkpoint has them.
        """
        super().__init__()
        self._n_heads = n_heads
        if fused:
            self.query_key_value = nn.Linear(width, 3 * width, bias=bias)
        else:
            self.query = nn.Linear(width, width, bias=bias)
            self.key = nn.Linear(width, width, bias=bias)
            self.value = nn.Linear(width, width, bias=bias)
        self._fused = fused
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return tokens of the same shape, (batch, token, width).

        Args:
            tokens: The tokens.
            allowed: True where the token of a row may look at that of a column; None: everywhere.
        """
        if self._fused:
            three = self.query_key_value(tokens).chunk(3, dim=-1)
        else:
            three = self.query(tokens), self.key(tokens), self.value(tokens)
        query, key, value = (
            part.unflatten(-1, (self._n_heads, -1)).transpose(1, 2) for part in three
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        mixed: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention, then two linear layers around a GELU, each with a shortcut and a normalisation."""

    def __init__(self, width: int, attention: Attention, *, norm_first: bool) -> None:
        """Make the layers.

        Args:
            width: Of a token.
            attention: The first half.
            norm_first: Whether normalisation comes before each half or after its shortcut.
        """
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self._norm_first = norm_first

    def forward(self, tokens: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Return tokens of the same shape, (batch, token, width)."""
        if self._norm_first:
            tokens = tokens + self.attention(self.attention_norm(tokens), allowed)
            mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        else:
            tokens = self.attention_norm(tokens + self.attention(tokens, allowed))
            mixed = self.mlp_norm(tokens + self.mlp(tokens))
        return mixed


def n_heads(width: int, head_width: int) -> int:
    """Return the number of heads of `head_width`; one where they do not divide `width`."""
    return width // head_width if width % head_width == 0 else 1
