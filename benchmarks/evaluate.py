"""`irasim evaluate`: scores models and policies."""

from benchmarks.subcommands import Part, dispatch

PARTS = {
    "short": Part(
        module="benchmarks.irasim.command",
        function="short_cli",
        summary="windows of one chunk, each from its true first frame",
    ),
    "long": Part(
        module="benchmarks.irasim.command",
        function="long_cli",
        summary="whole episodes, each chunk from the last frame predicted",
    ),
    "table": Part(module="benchmarks.irasim.table", summary="compare what was measured before"),
    "policy": Part(
        module="benchmarks.policy_evaluation",
        summary="a policy in a learned world and in its ground truth, from the same starts",
    ),
}
DESCRIPTION = """\
Score a chunk model on recorded episodes by IRASim's protocols (short, long; on many GPUs:
accelerate launch --no-python irasim evaluate short ...), or a policy inside a learned world."""


def cli(arguments: list[str]) -> None:
    """Run `irasim evaluate PART ...`."""
    dispatch("irasim evaluate", DESCRIPTION, PARTS, arguments)
