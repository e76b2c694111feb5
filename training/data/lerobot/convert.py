"""`irasim convert`: LeRobot datasets into our episodes, and our episodes into LeRobot v3.

What SOURCE is decides the direction. Frames are imported exactly as their video decodes; where
that video is yuv420p (LeRobot's own always is), it had lost colour before it came here.
"""

from pathlib import Path

from training.data.lerobot.config import ConvertConfig
from training.data.lerobot.index import parquet
from training.data.missing_split import LEROBOT
from world_model.directories import check_directory
from world_model.io.hub import fetch


def main(config: ConvertConfig) -> None:
    """Convert in the direction that the source calls for."""
    check_directory(config.out)
    parquet()  # told before the work, where it is missing
    source = _locate(config.source)
    if source.resolve() == config.out.resolve():
        raise ValueError(f"{config.out}: source and out are the same directory")
    if (source / LEROBOT).is_file():
        from training.data.lerobot.convert_in import bring_in

        bring_in(config, source)
    elif (source / "annotation").is_dir():
        from training.data.lerobot.convert_out import write_out

        write_out(config, source)
    else:
        raise ValueError(
            f"{source}: neither a LeRobot dataset (meta/info.json) nor our episodes (annotation/)"
        )


def _locate(source: str) -> Path:
    """The directory of a dataset, downloaded if it is one of the Hub's."""
    path = Path(source).expanduser()
    return path if path.is_dir() else fetch(source, "dataset", kind="dataset")
