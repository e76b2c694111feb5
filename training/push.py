"""`irasim push`: a world as a repository on the Hugging Face Hub."""

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Upload a world to the Hugging Face Hub: its card, weights and starts."""

    world: Annotated[str, tyro.conf.Positional]
    """World to upload: a directory, or the name of a shipped world."""
    repository: Annotated[str, tyro.conf.Positional]
    """Repository OWNER/NAME to upload to; it is created if it does not exist."""
    revision: str | None = None
    """Branch to upload to, which is created if it does not exist (default: main)."""
    private: bool = False
    """If the repository is created, make it private."""
    message: str | None = None
    """Commit message (default: the world's name)."""
    dry_run: bool = False
    """List the files and their sizes without uploading anything."""


def main(config: PushConfig) -> str | None:
    """Push, in one commit; its hash, None after a dry run.

    Raises:
        ValueError: There is no such world or it is damaged, the repository's name has another form,
            or the Hub does not take it.
    """
    from world_model.io.checkpoint import CARD, FILES, find_world, read_world
    from world_model.io.hub import is_hub_id, upload

    if not is_hub_id(config.repository):
        raise ValueError(
            f"repository {config.repository!r}: expected the form owner/name, as in me/my-world"
        )
    directory = find_world(config.world)
    world = read_world(config.world)  # whole and undamaged, or nothing is pushed
    if world.card is None:
        raise ValueError(
            f"{directory} has no card ({CARD}); write one with irasim bench card, or load the "
            "world and save_pretrained it"
        )
    sizes = {name: (directory / name).stat().st_size for name in FILES}
    for name, size in sizes.items():
        print(f"{size / 2**20:9.2f} MiB  {name}")
    whole = f"{sum(sizes.values()) / 2**20:9.2f} MiB"
    where = f"{config.repository}, {config.revision or 'main'}"
    if config.dry_run:
        print(f"{whole}  to {where}: nothing uploaded (--dry-run)")
        return None
    commit = upload(
        directory,
        FILES,
        config.repository,
        revision=config.revision,
        private=config.private,
        message=config.message or f"World {world.config.name}",
    )
    print(f"{whole}  to {where}: commit {commit}")
    print(
        f'next: WorldModel.from_pretrained("{config.repository}", revision="{commit}"), or '
        f"irasim play --world {config.repository}"
    )
    return commit
