"""Tables of what `irasim evaluate short` and `long` measured, and `irasim evaluate table`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.irasim.config import TableConfig
from benchmarks.report import reading, table
from training.data.episodes import read_json

# Column, key of the score, digits.
COLUMNS = (
    ("PSNR", "psnr_rgb", 2),
    ("SSIM", "ssim_rgb", 3),
    ("PSNR grey", "psnr_gray", 2),
    ("SSIM grey", "ssim_gray", 3),
    ("LPIPS", "lpips", 4),
    ("FID", "fid", 2),
    ("FVD", "fvd", 2),
)
HEADER = ["dataset", "protocol", "model", "items", "scores on", "latent L2"]
ABSENT = "not available"


def main(config: TableConfig) -> str:
    """Print the comparison of all reports found, and return it."""
    reports = {path: read_json(path) for path in find_reports(config.results)}
    for path, report in reports.items():
        with reading(f"{path} is not as irasim evaluate writes it"):
            comparison([report])
    text = comparison(list(reports.values()))
    print(text)
    return text


def find_reports(places: Sequence[Path]) -> list[Path]:
    """Reports themselves, and those below directories."""
    found: list[Path] = []
    for place in places or [Path()]:
        if place.is_file():
            found.append(place)
            continue
        below = sorted([*place.rglob("short.json"), *place.rglob("long.json")])
        if not below:
            raise ValueError(
                f"{place}: no short.json or long.json in it; `irasim evaluate short` writes one"
            )
        found += below
    return found


def comparison(reports: Sequence[dict[str, Any]]) -> str:
    """A table of reports, by dataset, protocol and model, and what it leaves open below it."""
    for report in reports:
        if not str(report.get("command", "")).startswith("irasim evaluate"):
            raise ValueError("one of the files is no report of `irasim evaluate short` or `long`")
    ordered = sorted(reports, key=lambda r: (r["dataset"], r["protocol"], r["model"]["name"]))
    rows = [row for report in ordered for row in _rows(report)]
    text = table([*HEADER, *(name for name, _, _ in COLUMNS)], rows)
    notes = [note for report in ordered for note in _notes(report)]
    return "\n".join([text, *dict.fromkeys(notes)])


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """A model's scores on arrays, and on files as the reference takes them."""
    scores, missing = report["scores"], report["not_available"]
    head = [report["dataset"], report["protocol"], report["model"]["name"]]
    head.append(str(report["counts"]["items"]))
    rows = []
    for kind in ("arrays", "files"):
        cells = [_cell(scores["latent_l2"], 4, "latent_l2" in missing)]
        for _, key, digits in COLUMNS:
            metric = key.partition("_")[0]
            absent = metric in missing or f"{kind}/{metric}" in missing
            cells.append(_cell(scores[kind].get(key), digits, absent))
        rows.append([*head, kind, *cells])
    return rows


def _cell(value: float | None, digits: int, absent: bool) -> str:
    if value is None:
        return ABSENT if absent else "-"
    return f"{value:.{digits}f}"


def _notes(report: dict[str, Any]) -> list[str]:
    """Why scores are missing, and by which protocol the others were taken."""
    named = f"{report['dataset']} {report['protocol']} {report['model']['name']}"
    notes = [f"{named}: {ABSENT}: {name}: {why}" for name, why in report["not_available"].items()]
    notes += [f"{name}: {how}" for name, how in report["metrics"].items()]
    paired = report["scores"]["files"].get("psnr_rgb_script_pairing")
    if paired is not None:
        notes.append(
            f"{named}: files, each prediction against the true frame before it, as the "
            f"reference's script pairs them: PSNR {paired:.2f}"
        )
    return notes
