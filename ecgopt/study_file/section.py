"""What all tables of a study file share: strictness, and the kinds of their values."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
PartName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?$", max_length=100),
]
"""A built-in name, the name of an entry point, or `package.module:name`."""
PositiveInt = Annotated[int, Field(ge=1, le=10_000_000)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Size = PositiveInt | Literal["all"]
"""A number of labelled records, or all that are not sealed."""


class Section(BaseModel):
    """A table of the study file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
