"""The report of `irasim bench speed` as text, in Markdown. A world's card shows it too."""

from typing import Any

from benchmarks.report import interval, number, table


def tables(results: dict[str, Any]) -> str:
    """All that was measured, also from reports of earlier versions, which hold less."""
    parts = [_batches(results)]
    if "ceilings" in results:
        parts.append(_roofline(results))
    if "age" in results:
        parts.append(_age(results["age"]))
    if "contexts" in results:
        parts.append(_contexts(results["contexts"]))
    if "compare" in results:
        parts.append(_compare(results["compare"]))
    return "\n\n".join(parts)


def _batches(results: dict[str, Any]) -> str:
    world, config = results["world"], results["config"]
    header = ("batch", "through", "steps/s", "range", "p50 ms", "p99 ms", "peak RSS MiB")
    header += ("peak CUDA MiB", "eager steps/s")
    rows = [
        (
            str(at["batch"]),
            at["through"],
            number(at["steps_per_second"], 1),
            interval(at["steps_per_second_range"], 1),
            number(at["latency_ms_p50"], 1),
            number(at["latency_ms_p99"], 1),
            number(at["peak_rss_mib"], 0),
            number(at["peak_cuda_mib"], 0),
            number(at["eager"]["steps_per_second"], 1) if at.get("eager") else "not applicable",
        )
        for at in results["batches"]
    ]
    title = (
        f"World {world['name']} in {config.get('precision', 'float32')}: environment steps a "
        "second, decode included, "
        f"{world['evaluations_per_step']} network evaluations a step; median of "
        f"{config['repeats']} repeats of {config['steps']} steps, latency of a call over all of "
        f"them, seeds from {config['seed']}; memory is the process's highest so far; steps are "
        f"captured graphs on a GPU, there beside eager ones, and eager on a processor; "
        f"{results['hardware']}."
    )
    return f"{title}\n\n{table(header, rows)}"


def _roofline(results: dict[str, Any]) -> str:
    peaks = results["ceilings"]
    header = ("batch", "GFLOP a call", "GFLOP/s", "own shapes GFLOP/s", "share", "operands GB/s")
    rows = [
        (
            str(at["batch"]),
            number(at["gflop_per_call"]),
            number(at["gflops"], 1),
            number(at["gflops_ceiling"], 1),
            _share(at),
            number(at["gbytes_per_second"], 1),
        )
        for at in results["batches"]
    ]
    title = (
        "Share of the roofline: matrix products, convolutions and attention of a step, compared "
        "with the same products alone (the model's own layer shapes), interleaved; medians over "
        "turns, that of the share with its 95 % interval; operands are what unfused operations "
        "read and write. In this run a large matrix product in "
        f"{peaks['dtype']} reaches {number(peaks['gflops'], 1)} GFLOP/s, a large copy "
        f"{number(peaks['copy_gbytes_per_second'], 1)} GB/s."
    )
    return f"{title}\n\n{table(header, rows)}"


def _share(at: dict[str, Any]) -> str:
    if "share" not in at:  # an earlier report, whose two rates were not measured interleaved
        return f"{at['gflops'] / at['gflops_ceiling']:.0%}"
    low, high = at["share_interval"]
    return f"{at['share']:.0%} [{low:.0%}, {high:.0%}]"


def _age(age: dict[str, Any]) -> str:
    on_gpu = age.get("grown_cuda_mib")  # older reports have none
    return (
        f"An episode {age['age']} steps old against a fresh one, {age['turns']} steps each, "
        f"interleaved: {number(age['old_ms'])} against {number(age['fresh_ms'])} ms (medians), "
        f"ratio {number(age['ratio'], 3)} {interval(age['ratio_interval'], 3)}; state of "
        f"{age['old_state_bytes']} against {age['fresh_state_bytes']} bytes; the process grew by "
        f"{number(age['grown_mib'])} MiB from step 100 to {age['age']}"
        + (f", tensors on the GPU by {number(on_gpu)} MiB." if on_gpu is not None else ".")
    )


def _contexts(contexts: list[dict[str, Any]]) -> str:
    header = ("context", "step ms", "state KiB", f"ratio to {contexts[0]['context']}", "interval")
    rows = [
        (
            str(at["context"]),
            number(at["step_ms"], 1),
            number(at["state_bytes"] / 2**10, 0),
            number(at["ratio"], 3),
            interval(at["ratio_interval"], 3),
        )
        for at in contexts
    ]
    title = "Batch 1 against the length of the past, fresh weights, interleaved:"
    return f"{title}\n\n{table(header, rows)}"


def _compare(compare: dict[str, Any]) -> str:
    return (
        f"Against `{compare['command']}`, {compare['turns']} steps each, interleaved: "
        f"{number(compare['ours_ms'], 1)} ms ours, {number(compare['theirs_ms'], 1)} ms theirs "
        f"(medians); ours is {number(compare['ratio'])} {interval(compare['ratio_interval'])} "
        "times as fast (95 % interval of the median over turns)."
    )
