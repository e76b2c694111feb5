"""`irasim play`: drives a learned world from the keyboard or the mouse."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from irasim_env.controls import Direction
    from irasim_env.player import Player

# Frames are enlarged by a whole factor to about this height.
_HEIGHT = 480


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """What to play, and how."""

    world: str = "pusht"
    """Name of a shipped world, directory, or Hub id."""
    start: int | None = None
    """Start of the first episode (default: drawn by the seed)."""
    seed: int = 0
    """Decides the start and all noise."""
    device: str = "cpu"
    """Where the world runs, as in torch: cpu, cuda."""
    fps: float | None = None
    """Steps a second (default: the world's)."""
    scale: int | None = None
    """Whole factor by which frames are enlarged (default: to about 480 pixels)."""
    smooth: bool = False
    """Interpolate between pixels instead of showing squares."""
    reality: bool = False
    """Show the real simulator beside the world from the first frame on."""
    directions: tuple[
        Literal["right", "left", "down", "up"], Literal["right", "left", "down", "up"]
    ] = ("right", "down")
    """Arrows that make the first and the second component of an action grow."""
    speed: float = 1.0
    """Factor on what held keys do: 1 moves a position by 4 % of its range a step, and holds a
    velocity at half its bound."""
    auto_reset: bool = False
    """Begin again a second after an episode's end, instead of waiting for R."""
    max_episode_steps: int | None = None
    """Time limit of an episode (default: the world's; 0: none)."""
    record: Path | None = None
    """Record a video (mp4) of the window from the first frame on."""
    keys: str | None = None
    """Play without a window: keys held or pressed, as in "right*20 right+down*10 wait*5 g n*3"."""
    steps: int | None = None
    """Play without a window: at most this many steps; no key is held once `keys` are done."""

    def __post_init__(self) -> None:
        for name in ("fps", "scale", "steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, expected a positive number")
        if self.max_episode_steps is not None and self.max_episode_steps < 0:
            raise ValueError(f"max_episode_steps is {self.max_episode_steps}, expected 0 or more")
        if self.record is not None and self.record.suffix != ".mp4":
            raise ValueError(f"record is {self.record}, expected a file name that ends in .mp4")

    @property
    def headless(self) -> bool:
        """Without a window."""
        return self.keys is not None or self.steps is not None


def main(config: PlayConfig) -> None:
    """Play until the window is closed or the keys are done, then say how it went."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from irasim_env.key_script import parse_keys
    from irasim_env.player import COMMANDS, check_display

    if not config.headless:
        check_display()
    player = make_player(config)
    try:
        if config.headless:
            holdable = player.session.controls.keys
            player.run_script(
                parse_keys(config.keys or "", holdable, tuple(COMMANDS)), config.steps
            )
        else:
            player.run_window()
    finally:
        player.close()
    print(summary(player))


def make_player(config: PlayConfig) -> "Player":
    """Load the world and put everything together."""
    from irasim_env.controls import KeyControls
    from irasim_env.overlay import Overlay
    from irasim_env.play_session import PlaySession
    from irasim_env.player import Player
    from world_model import WorldModel

    world = WorldModel.from_pretrained(config.world, device=config.device)
    about = world.config
    directions: tuple[Direction, Direction] = config.directions
    controls = KeyControls(
        low=about.action_low,
        high=about.action_high,
        names=about.action_names,
        directions=directions,
        speed=config.speed,
    )
    limit = (
        about.max_episode_steps if config.max_episode_steps is None else config.max_episode_steps
    )
    session = PlaySession(
        world,
        controls,
        start=config.start,
        seed=config.seed,
        max_episode_steps=limit or None,
    )
    if config.reality:
        session.show_reality()
    overlay = Overlay(
        controls,
        about.name,
        (about.height, about.width),
        reward_range=(about.reward_low, about.reward_high),
        scale=config.scale or max(1, round(_HEIGHT / about.height)),
        smooth=config.smooth,
    )
    return Player(
        session,
        overlay,
        fps=config.fps or about.fps,
        record=config.record,
        auto_reset=config.auto_reset,
    )


def summary(player: "Player") -> str:
    """One line: steps, how fast the world took them, where the videos are."""
    session = player.session
    words = [f"{session.total_steps} steps"]
    if session.latency_ms is not None:
        speed = 1000 / session.latency_ms
        words[0] += f", median {speed:.1f} steps/s ({session.latency_ms:.1f} ms a step)"
    if session.ending is not None:
        words.append(f"the last episode: {session.ending}")
    if player.videos:
        words.append(f"video: {', '.join(map(str, player.videos))}")
    return "; ".join(words)


def cli(arguments: list[str]) -> None:
    """Run `irasim play` with command-line arguments."""
    config = tyro.cli(
        PlayConfig,
        args=arguments,
        prog="irasim play",
        description="Drive a learned world with arrow keys or mouse; H shows all keys. With --keys "
        "or --steps it plays without a window.",
    )
    import gymnasium as gym

    try:
        main(config)
    except (ValueError, gym.error.Error) as error:
        sys.exit(f"irasim play: {error}")
