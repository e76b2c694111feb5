"""`irasim play`: drives a learned world from the keyboard or the mouse."""

import os
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from world_model.config import DEFAULT_WORLD
from world_model.config_fields import check_least
from world_model.tasks import task_packages
from world_model.versions import versions

if TYPE_CHECKING:
    from irasim_env.controls import KeyControls
    from irasim_env.overlay import Overlay
    from irasim_env.player import Player
    from world_model import WorldModel

# Frames are enlarged by a whole factor to about this height.
_HEIGHT = 480
_BROWSER_HEIGHT = 192
# Packages that a video may depend on, besides those of tasks.
VERSIONS_NOTED = ("irasim-env", "torch", "numpy", "gymnasium", "pygame")


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """Drive a learned world with arrow keys or mouse; H shows all keys. Worlds with the chunk
    engine wait for typed actions. With --keys, --steps or --typed it plays without a window."""

    world: str = DEFAULT_WORLD
    """Name of a shipped world, directory, or Hub id."""
    start: int | None = None
    """Start of the first episode; without it the seed draws one."""
    seed: int = 0
    """Decides the start and all noise."""
    device: str = "cpu"
    """Where the world runs, as in torch: cpu, cuda."""
    fps: float | None = None
    """Steps a second; without it as many as the world's."""
    scale: int | None = None
    """Whole factor by which frames are enlarged; without it to about 480 pixels."""
    smooth: bool = False
    """Interpolate between pixels instead of showing squares."""
    reality: bool = False
    """Show the real simulator beside the world from the first frame on."""
    directions: (
        tuple[Literal["right", "left", "down", "up"], Literal["right", "left", "down", "up"]] | None
    ) = None
    """Arrows that make the first and the second component of an action grow (default: the
    world's)."""
    speed: float = 1.0
    """Factor on what held keys do: 1 moves a position by 4 % of its range a step, and holds a
    velocity at what the world says, or half its bound."""
    auto_reset: bool = False
    """Begin again a second after an episode's end, instead of waiting for R."""
    max_episode_steps: int | None = None
    """Time limit of an episode, 0 for none; without it the world's."""
    record: Path | None = None
    """Record a video (mp4) of the window from the first frame on; a JSON of the same name beside it
    says how it was made."""
    keys: str | None = None
    """Play without a window: keys held or pressed, as in "right*20 right+down*10 wait*5 g n*3"."""
    steps: int | None = None
    """Play without a window: at most this many steps; no key is held once `keys` are done."""
    typed: str | None = None
    """Play without a window: actions as letters, as in "wwaasd" ("." is none); "-" reads lines of
    them from the standard input. The session is recorded, once there is an action."""
    chunk: int | None = None
    """Most typed actions to predict at once. In a window keys then are collected and ENTER predicts
    (default: without a window as many as the world predicts in one go, in a window 1)."""

    browser: bool = False
    """Serve a page that plays in a browser, on this machine's port 8765; it prints what to open."""
    host: str = "127.0.0.1"
    """Address to serve the page on; one that other machines reach needs --token."""
    port: int = 8765
    """Port to serve the page on (0: any that is free)."""
    token: bool = False
    """Make a token, without which no page plays; it is part of the address that is printed."""
    origins: tuple[str, ...] = ()
    """Origins of other pages that may play, as of a proxy before this: https://robots.example.org"""
    players: int = 20
    """Most players at once in browsers; each has an episode of its own in the one world."""
    idle: float = 300.0
    """Seconds after which a player in a browser who asks for nothing is closed."""
    uncertainty_samples: int = 3
    """Samples of each step where a page asks for the world's uncertainty (0: none may ask)."""
    uncertain_above: float = 1.0
    """Grey levels of uncertainty above which a page marks a step."""

    def __post_init__(self) -> None:
        for name in ("fps", "scale", "steps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, expected a positive number")
        check_least(self, max_episode_steps=0, chunk=1)
        if self.record is not None and self.record.suffix != ".mp4":
            raise ValueError(f"record is {self.record}, expected a file name that ends in .mp4")
        if self.is_typed:
            self.check_typed()
        if self.browser:
            self.check_browser()

    def check_typed(self) -> None:
        """Raise ValueError if there is an option that typed actions do not know."""
        for name in ("keys", "steps", "reality", "auto_reset", "max_episode_steps"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} is for steps at a steady rate, typed actions go without it; leave it "
                    "out"
                )

    def check_browser(self) -> None:
        """Raise ValueError if there is an option that the browser does not know."""
        for name in ("keys", "steps", "typed", "chunk", "record"):
            if getattr(self, name) is not None:
                cure = "press V in the page" if name == "record" else "leave it out"
                raise ValueError(
                    f"{name} is for play without a page; {cure}, or leave out --browser"
                )

    @property
    def is_typed(self) -> bool:
        """Typed actions are asked for."""
        return self.typed is not None or self.chunk is not None

    @property
    def headless(self) -> bool:
        """Without a window."""
        return self.keys is not None or self.steps is not None or self.typed is not None


def main(config: PlayConfig) -> None:
    """Play until the window is closed or the keys are done, then say how it went."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from irasim_env.window import check_display
    from world_model import WorldModel

    if config.browser:
        play_in_browsers(config)
        return
    if not config.headless:
        check_display('play without one: irasim play --record out.mp4 --keys "right*20 down*10"')
    world = WorldModel.from_pretrained(config.world, device=config.device)
    steady = config.keys is not None or config.steps is not None
    # A chunk engine is too slow to be stepped at a steady rate: a window waits for what is typed.
    if config.is_typed or (not steady and world.config.actions_at_once > 1):
        play_typed(world, config)
    else:
        play_steadily(world, config)


def play_in_browsers(config: PlayConfig) -> None:
    """Serve a page, and a player to each that opens it."""
    try:
        from irasim_env.browser.server import serve_players
        from irasim_env.browser.settings import Settings, make_token
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"the browser needs the package {missing.name!r}, which is not installed; run pip "
            "install 'irasim-env[browser]'"
        ) from missing
    from world_model import WorldModel

    settings = Settings(
        host=config.host,
        port=config.port,
        token=make_token() if config.token else None,
        origins=config.origins,
        players=config.players,
        idle_seconds=config.idle,
        samples=config.uncertainty_samples or None,
        uncertain_above=config.uncertain_above,
    )
    print(f"loading {config.world}", file=sys.stderr, flush=True)
    world = WorldModel.from_pretrained(config.world, device=config.device)
    # A video of a page shows the frames smaller than a window does: several are made at once.
    scale = config.scale or max(1, round(_BROWSER_HEIGHT / world.config.height))
    each = replace(config, scale=scale)
    make_player(each, world).session.close()  # A mistake is told before anything is served.
    serve_players(lambda folder: make_player(each, world, folder), settings)


def play_steadily(world: "WorldModel", config: PlayConfig) -> None:
    """Step at a steady rate, by the keys that are held."""
    from irasim_env.key_script import parse_keys
    from irasim_env.player import COMMANDS

    # Before anything is recorded: a mistake in the keys leaves nothing.
    presses = parse_keys(config.keys or "", make_controls(world, config).keys, tuple(COMMANDS))
    player = make_player(config, world)
    try:
        if config.headless:
            player.run_script(presses, config.steps)
        else:
            player.run_window()
    finally:
        # What was played is kept however it ended, and said.
        player.close()
        print(summary(player), flush=True)


def play_typed(world: "WorldModel", config: PlayConfig) -> None:
    """Take typed actions, in a window or without one."""
    import pygame

    from irasim_env.typed import TypedSession, run_typed
    from irasim_env.typed_window import TypedWindow

    config.check_typed()
    at_once = world.config.actions_at_once if config.headless else 1
    controls = make_controls(world, config)
    fps = config.fps or world.config.fps
    chunk = config.chunk or at_once
    session = TypedSession(
        world,
        controls,
        make_overlay(world, controls, config),
        chunk=chunk,
        start=config.start,
        seed=config.seed,
        record=config.record or Path(f"irasim-play-{datetime.now():%Y%m%d-%H%M%S}.mp4"),
        fps=fps,
        about=about(config, world, controls, chunk=chunk),
    )
    wanted = ended = False
    try:
        if config.typed is None:
            TypedWindow(session, fps).run()
        else:
            run_typed(session, sys.stdin if config.typed == "-" else [config.typed])
        wanted, ended = config.record is not None, True
    finally:
        # What was played is kept however it ended; a mistake at once leaves nothing.
        if wanted or session.total_steps:
            session.save()
        else:
            session.discard()
        pygame.display.quit()
        if ended or session.total_steps:
            print(session.summary(), flush=True)


def make_controls(world: "WorldModel", config: PlayConfig) -> "KeyControls":
    """The world's keys, with what the options say otherwise."""
    from irasim_env.world_controls import controls_of

    return controls_of(world.config, config.directions, config.speed)


def choose_scale(world: "WorldModel", config: PlayConfig) -> int:
    """The factor by which frames are enlarged."""
    return config.scale or max(1, round(_HEIGHT / world.config.height))


def make_overlay(world: "WorldModel", controls: "KeyControls", config: PlayConfig) -> "Overlay":
    """What the window looks like."""
    from irasim_env.overlay import Overlay

    shown = world.config
    return Overlay(
        controls,
        shown.name,
        (shown.height, shown.width),
        reward_range=(shown.reward_low, shown.reward_high),
        scale=choose_scale(world, config),
        smooth=config.smooth,
    )


def make_player(
    config: PlayConfig, world: "WorldModel | None" = None, folder: Path = Path()
) -> "Player":
    """Put everything together, around the world of the config or a loaded one; videos that are
    asked for by a key go to the folder."""
    from irasim_env.play_session import PlaySession
    from irasim_env.player import Player
    from world_model import WorldModel

    world = world or WorldModel.from_pretrained(config.world, device=config.device)
    controls = make_controls(world, config)
    limit = config.max_episode_steps
    if limit is None:
        limit = world.config.max_episode_steps
    session = PlaySession(
        world,
        controls,
        start=config.start,
        seed=config.seed,
        max_episode_steps=limit or None,
    )
    if config.reality:
        session.show_reality()
    return Player(
        session,
        make_overlay(world, controls, config),
        fps=config.fps or world.config.fps,
        record=config.record,
        auto_reset=config.auto_reset,
        about=about(config, world, controls, max_episode_steps=limit or None),
        folder=folder,
    )


def about(
    config: PlayConfig, world: "WorldModel", controls: "KeyControls", **resolved: int | None
) -> dict[str, Any]:
    """What the JSON beside a video says of how it was made.

    Args:
        config: What was asked for.
        world: The world that is played.
        controls: What keys and mouse do.
        resolved: What else options that were left open came to.
    """
    here = f"{Path.cwd()}{os.sep}"  # paths in it become relative to it: videos are shared
    settings = {
        name: str(value).removeprefix(here) if isinstance(value, str | Path) else value
        for name, value in asdict(config).items()
    }
    return {
        "command": "irasim play",
        "config": settings,
        "resolved": {
            "directions": controls.directions,
            "scale": choose_scale(world, config),
            **resolved,
        },
        "world": {"name": world.config.name, "loaded_from": settings["world"]},
        "versions": versions(*VERSIONS_NOTED, *task_packages()),
    }


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
