"""Which cells of the full grid a comparison holds."""

from collections.abc import Mapping, Sequence

from ecgopt.study_file.section import Name, Section, Size


class CellsSection(Section):
    """One block of cells: every combination of what its lists name.

    A list that is left out is the study's own, so an empty block is the whole grid.
    """

    upstreams: tuple[Name, ...] | None = None
    """Of the study's `upstreams`."""
    downstreams: tuple[Name, ...] | None = None
    """Of the study's `downstreams`."""
    models: tuple[str, ...] | None = None
    """Labels of `[[models]]`: names, with `-w16` for a width of 16 and `-pooled` for that head."""
    train_sizes: tuple[Size, ...] | None = None
    """Of the study's `train_sizes`."""

    def check(self, known: Mapping[str, Sequence[object]]) -> None:
        """Check that every name is one of the study's.

        Raises:
            ValueError: one is not.
        """
        for key, allowed in known.items():
            for name in getattr(self, key) or ():
                if name not in allowed:
                    raise ValueError(
                        f"[[cells]] {key} must be among the study's {list(allowed)}, but got "
                        f"{name!r}"
                    )
