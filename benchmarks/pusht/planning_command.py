"""`irasim bench pusht-planning`, apart from its work so that --help is quick."""

import tyro

from benchmarks.pusht.planning_config import PushTPlanningConfig


def cli(arguments: list[str]) -> None:
    """Run `irasim bench pusht-planning` with command-line arguments."""
    config = tyro.cli(PushTPlanningConfig, args=arguments, prog="irasim bench pusht-planning")
    from benchmarks.pusht.planning import main

    main(config)
