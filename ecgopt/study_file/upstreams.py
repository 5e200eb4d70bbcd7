"""What a comparison may start from: a pre-training with its objective, or weights of one's own."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ecgopt.models.weight_names import TABLES
from ecgopt.study_file.section import Name, Section

PretrainObjective = Literal["multi_label", "age", "masked_signal", "label_permuted"]


class UpstreamSection(Section):
    """An upstream that is more than the data of its name."""

    data: Name | None = None
    """Table of `[data]` to pre-train on; by default the one of the same name. With a checkpoint:
    the records it was trained on, if they are here, so that shared patients are found."""
    objective: PretrainObjective | None = None
    """Replaces that of `[pretrain]`, so that two upstreams may differ in the objective alone."""
    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    """One's own weights instead of a pre-training: a `.safetensors` file, or one of `torch.save`
    that holds nothing but tensors. Environment variables are filled in."""
    names: Literal["ecgopt", "torchvision"] | dict[str, str] | None = None
    """How the checkpoint's tensor names map to ours: a known scheme, or a table from dotted
    beginnings to ours, where `*` stands for one part."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.checkpoint is None and self.names is not None:
            raise ValueError("`names` belongs to a `checkpoint`, but none is given")
        if self.checkpoint is not None and self.objective is not None:
            raise ValueError("give a `checkpoint` or an `objective`, not both: it is trained")
        return self

    @property
    def name_table(self) -> Mapping[str, str]:
        """The checkpoint's names to ours."""
        if self.names is None or isinstance(self.names, str):
            return TABLES[self.names or "ecgopt"]
        return self.names
