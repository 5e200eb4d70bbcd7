"""`ecgopt launch`: starts workers on this machine or on a cluster.

Each launcher is a command. Its options are the resources, and the launcher's keyword arguments.
"""

from collections.abc import Callable
from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, ExistingFile, PlaceOptions
from ecgopt.launchers.contract import LAUNCHERS, Resources, find_launcher

if TYPE_CHECKING:
    from ecgopt.launchers.contract import Launcher

app = App(name="launch", help="Start workers on this machine, Slurm, Ray, or elsewhere.")

_DEFAULT_RESOURCES = Resources()


def _command(name: str, launcher_class: type[Any]) -> Callable[..., None]:
    """Return the command of a launcher."""

    def launch(
        study: ExistingFile,
        *,
        resources: Annotated[Resources, FLAT] = _DEFAULT_RESOURCES,
        launcher: "Launcher",
        place: PlaceOptions = DEFAULT_PLACE,
        wait: bool = False,
        dry_run: bool = False,
    ) -> None:
        _launch(study, launcher, resources, place, wait=wait, dry_run=dry_run)

    launch.__name__ = name
    launch.__annotations__["launcher"] = Annotated[launcher_class, FLAT]
    launch.__kwdefaults__ = {**(launch.__kwdefaults__ or {}), "launcher": launcher_class()}
    launch.__doc__ = f"""{cleandoc(launcher_class.__doc__ or "")}

    Example: `ecgopt launch {name} studies/demo.toml --workers 8`

    Args:
        study: Study file.
        wait: Stay and show the progress until the study is finished, also where workers do not
            depend on this command; Ctrl-C then stops them.
        dry_run: Only print what would be started.
    """
    return launch


for _name in LAUNCHERS:
    app.command(_command(_name, find_launcher(_name)), name=_name)


@app.default
def other(
    launcher: str,
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
) -> None:
    """Start workers with a launcher from outside the package.

    It has the options of the other launchers, and its own.

    Example: `ecgopt launch my_cluster:Launcher studies/demo.toml --workers 8`

    Args:
        launcher: `package.module:name`, or the name of an entry point.
        tokens: Study file and options.
    """
    outside = App(name=f"ecgopt launch {launcher}", version_flags=[])
    outside.default(_command(launcher, find_launcher(launcher)))
    outside(tokens)


def _launch(
    study: ExistingFile,
    launcher: "Launcher",
    resources: Resources,
    place: PlaceOptions,
    *,
    wait: bool,
    dry_run: bool,
) -> None:
    import sys

    from ecgopt.cli.live import LiveProgress
    from ecgopt.cli.output import print_lines
    from ecgopt.errors import UserError
    from ecgopt.launchers.contract import Launch
    from ecgopt.launchers.launch import launch_study
    from ecgopt.launchers.notify import Notifier
    from ecgopt.study_file.reading import load_spec
    from ecgopt.trackers.follow import Follower
    from ecgopt.workspace import chosen_workspace

    workspace, spec = chosen_workspace(place.workspace), load_spec(study)
    if dry_run:
        launch = Launch.of(study, spec, workspace, place.storage)
        sys.stdout.write(launcher.plan(launch, resources))
        return
    notifier = Notifier(spec)
    follower = Follower(study, spec, place.storage, workspace)
    with follower.to_the_end(), notifier.telling_failures():
        with LiveProgress() as live:
            finished = launch_study(
                study, workspace, place.storage, launcher, resources, wait=wait,
                on_prepare=live.preparing, on_submit=live.line,
                on_progress=follower.watching(notifier.watching(live.show)),
            )  # fmt: skip
        if not finished and (wait or not launcher.is_detached):
            raise UserError(
                "the study is unfinished, but no worker is left: run the same command again to "
                "resume"
            )
    if finished:
        if notifier.tells_the_end:
            notifier.finished([f"next: ecgopt report {study}"])
        print_lines(f"finished; next: ecgopt report {study}")
        return
    if spec.notify.is_set:
        print_lines("[notify] sends nothing, because no command waits for the study: see --wait")
    if spec.track.is_set:
        print_lines("[track] gets nothing before `ecgopt study track`: see --wait")
