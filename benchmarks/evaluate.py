"""`irasim evaluate`: scores models and policies."""

from irasim_env.console import Command, dispatch

PARTS = {
    "short": Command(
        config="benchmarks.irasim.config:ShortConfig",
        run="benchmarks.irasim.command:main",
        summary="windows of one chunk, each from its true first frame",
    ),
    "long": Command(
        config="benchmarks.irasim.config:LongConfig",
        run="benchmarks.irasim.command:main",
        summary="whole episodes, each chunk from the last predicted frame",
    ),
    "table": Command(
        config="benchmarks.irasim.config:TableConfig",
        run="benchmarks.irasim.table:main",
        summary="table of earlier measurements",
    ),
    "policy": Command(
        config="benchmarks.control.config:PolicyConfig",
        run="benchmarks.policy_evaluation:main",
        summary="a policy in a learned world and in its real environment, from the same starts",
    ),
}
DESCRIPTION = """\
Score a chunk model on recorded episodes by IRASim's protocols (short and long; on several GPUs:
accelerate launch --no-python irasim evaluate short ...), or a policy in a learned world."""


def cli(arguments: list[str]) -> None:
    """Run `irasim evaluate PART ...`."""
    dispatch("irasim evaluate", DESCRIPTION, PARTS, arguments)
