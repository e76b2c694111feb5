"""A hook of MkDocs: puts what `make docs` has made for the player beside its page.

The exported world and onnxruntime-web are not committed. A site that is built without them is whole
but for the player, whose page then says so.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

MADE = Path("build/play")
logger = logging.getLogger("mkdocs.hooks.player")


def on_post_build(config: Any) -> None:
    """Copy both folders into the site, where there are any."""
    root = Path(config["config_file_path"]).parent
    for name in ("world", "runtime"):
        made, place = root / MADE / name, Path(config["site_dir"]) / "play" / name
        if made.is_dir():
            shutil.copytree(made, place, dirs_exist_ok=True)
        else:
            logger.info("the player's page has no %s: make docs makes %s", name, MADE / name)
