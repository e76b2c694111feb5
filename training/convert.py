"""`irasim convert`: LeRobot datasets into our episodes, and our episodes into LeRobot v3.

What SOURCE is tells the direction. Frames are brought in exactly as their video decodes; where
that video is yuv420p (LeRobot's own always is), it had lost colour before it came here.
"""

from pathlib import Path

import tyro

from training.convert_config import ConvertConfig
from world_model.directories import check_directory


def main(config: ConvertConfig) -> None:
    """Convert in the direction that the source calls for."""
    check_directory(config.out)
    source = _locate(config.source)
    if source.resolve() == config.out.resolve():
        raise ValueError(f"{config.out}: source and out are the same directory")
    if (source / "meta" / "info.json").is_file():
        from training.convert_in import bring_in

        bring_in(config, source)
    elif (source / "annotation").is_dir():
        from training.convert_out import write_out

        write_out(config, source)
    else:
        raise ValueError(
            f"{source}: neither a LeRobot dataset (meta/info.json) nor our episodes (annotation/)"
        )


def _locate(source: str) -> Path:
    """The directory of a dataset, downloaded if it is one of the Hub's."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists():
        raise ValueError(f"{source}: is a file, expected a dataset's directory, or a Hub id")
    if source.count("/") != 1 or source.startswith((".", "/", "~")) or path.parent.is_dir():
        raise ValueError(f"{source}: no such directory, and no Hub id (owner/name) either")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, repo_type="dataset"))
    except Exception as error:  # the Hub's client and what lies below it raise dozens of kinds
        raise ValueError(
            f"{source}: no such directory, and it cannot be had from the Hub as a dataset "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0]})"
        ) from error


def cli(arguments: list[str]) -> None:
    """Run `irasim convert` with command-line arguments."""
    main(
        tyro.cli(
            ConvertConfig,
            args=arguments,
            prog="irasim convert",
            description="Bring a LeRobot dataset into our episodes, or write our episodes as one: "
            "the source tells the direction.",
        )
    )
