"""The report of `irasim bench gpu` as text, in Markdown."""

from typing import Any

from benchmarks.report import number, table

# What issue and docs ask for, and the stage that measures it; "not measured" until it has.
TARGETS = {
    "tests that passed, share": "truth",
    "captured over eager steps a second, batch 1": "step",
    "steps a second, batch 1": "step",
    "steps a second in total, best batch": "step",
    "decisions a second, K = 64, H = 16, by frames": "step",
    "chunk, captured bf16 over eager float32": "chunk",
    "chunk, PSNR of bf16 to float32 in dB": "chunk",
    "frames a second, few-step sampler, decode included": "chunk",
}


def as_text(content: dict[str, Any]) -> str:
    """The whole report, whatever has been measured by now."""
    stages = content["stages"]
    parts = [
        "# On a GPU",
        f"Device: {content['device'] or 'not known yet'}. Versions: "
        + ", ".join(f"{name} {version}" for name, version in content["versions"].items())
        + ".",
        _summary(stages),
        _targets(stages),
    ]
    for name, stage in stages.items():
        parts.append(f"## {name}: {stage['status']}")
        if "exit" in stage:
            parts.append(f"It ended by itself: {stage['exit']}.")
        if "last_lines" in stage:
            parts.append("Its last lines:\n\n```\n" + "\n".join(stage["last_lines"]) + "\n```")
        for title, rows in stage.get("tables", {}).items():
            parts.append(f"{title}:\n\n{table(rows['header'], rows['rows'])}")
    return "\n\n".join(parts)


def _summary(stages: dict[str, Any]) -> str:
    rows = [
        (name, stage["status"], number(stage.get("seconds"), 1), number(stage.get("limit"), 0))
        for name, stage in stages.items()
    ]
    return table(("stage", "status", "seconds", "limit"), rows)


def _targets(stages: dict[str, Any]) -> str:
    noted = {name: figure for stage in stages.values() for name, figure in _noted(stage)}
    rows = []
    for name in TARGETS:
        figure = noted.get(name)
        if figure is None:
            rows.append((name, "-", "not measured", ""))
        else:
            met = "yes" if figure["met"] else "no"
            rows.append((name, f"{figure['least']:g}", number(figure["measured"], 2), met))
    return table(("asked for", "at least", "measured", "met"), rows)


def _noted(stage: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(stage.get("targets", {}).items())
