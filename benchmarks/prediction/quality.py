"""`irasim bench quality`: how near a world's predictions are to the truth it was learned from.

Held-out episodes, half of them the expert's: some context frames, then predictions under the
recorded actions. One window opens each episode; another closes each that ended, to score its end.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.prediction import action_controls, frame_scores, outcome_scores, pictures
from benchmarks.prediction.config import QualityConfig
from benchmarks.prediction.predict import predict
from benchmarks.prediction.readings import readings_of
from benchmarks.prediction.windows import (
    Window,
    choose_episodes,
    count_by_policy,
    ending,
    episode_lengths,
    opening,
)
from training.data.episodes import list_episodes, read_episode
from world_model import WorldConfig, WorldModel
from world_model.given_states import known_states
from world_model.progress import progress_bar

# How many episodes are measured on if nobody says how many.
MOST_EPISODES = 100
ABOUT_FRAMES = (
    'PSNR is that of uint8 frames, capped at 60 dB; "nothing moves" is the last context frame, '
    "repeated; sharpness is gradient energy, predicted over true. Intervals are bootstrapped over "
    "episodes, those of rates are Wilson's."
)
ABOUT_OUTCOMES = (
    "Opening: the windows above. Closing: the last frames of each episode that ended. Hit: the end "
    "within 3 steps; false: an end earlier than that, or where there is none."
)
ABOUT_CONTROLS = (
    "Under altered actions: PSNR to the simulator replayed under them and to the original, on "
    "frames where these differ; contrast: how much more that favours the replay than the "
    "prediction under the recorded actions does (0 if actions are ignored)."
)


def main(config: QualityConfig) -> dict[str, Any]:
    """Measure, print tables, write the report, and return it."""
    world = report.open_world(config)
    config = settle(config)
    results = {
        **report.heading("irasim bench quality", config, str(world.device), world),
        "conventions": {
            "psnr": "all channels, uint8 arrays, at most 60 dB, mean over episodes of dB",
            "ssim": "7 x 7 uniform windows, mean over channels",
            "sharpness": "gradient energy, predicted over true",
            "intervals": "95 %: bootstrap over episodes, Wilson for rates",
        },
        **measure(world, config),
    }
    return report.publish(results, tables(results, world.config), config.out, "quality")


def settle(config: QualityConfig) -> QualityConfig:
    """The config with the split and the numbers of episodes and of frames given that these data
    have."""
    split = config.split
    if split is None:
        split = "test" if list_episodes(config.data, "test") else "val"
        if split == "val":
            print(f"{config.data} has no test episodes: measured on val")
    lengths = [num_steps for _, num_steps in episode_lengths(config.data, split).values()]
    context = min(4, max(lengths)) if config.context is None else config.context
    fitting = sum(num_steps >= context for num_steps in lengths)
    count = max(1, min(MOST_EPISODES, fitting)) if config.episodes is None else config.episodes
    return replace(config, split=split, context=context, episodes=count)


def measure(world: WorldModel, config: QualityConfig) -> dict[str, Any]:
    """All scores of a world, and the pictures; a config without gaps (`settle`)."""
    assert config.split is not None and config.episodes is not None, "settled before"
    assert config.context is not None, "settled before"
    openings, endings = [], []
    chosen = choose_episodes(config.data, config.split, config.episodes, config.context)
    for episode_id in progress_bar(chosen, desc="reading", unit="episodes"):
        episode = read_episode(config.data, config.split, episode_id)
        openings.append(opening(episode, config.context, config.horizon))
        if episode.terminated.any() and world.config.reward_head:
            endings.append(ending(episode, config.context, config.horizon))
    _check_fit(world, openings[0], config)
    known = list(known_states(world.config, openings[0].context_states))
    if not config.observed_start:
        known = []
        openings, endings = (
            [replace(window, context_states={}) for window in windows]
            for windows in (openings, endings)
        )

    seeds = [config.seed + i for i in range(len(openings))]
    predictions = predict(
        world,
        openings,
        [window.future_actions for window in openings],
        seeds=seeds,
        batch=config.batch,
        title="from the start",
    )
    scores = frame_scores.score_frames(openings, predictions, config.horizon)
    results: dict[str, Any] = {
        "episodes": {
            "count": len(openings),
            "by_policy": count_by_policy(openings),
            "ids": [w.episode_id for w in openings],
            "frames_predicted": sum(w.num_predicted for w in openings),
            "noise_seeds": f"{config.seed} + index",
            "handed_in": known,
            "actions_at_once": world.config.actions_at_once,
        },
        "frames": frame_scores.summarise_frames(scores, config.seed),
        "observations": outcome_scores.score_observations(openings, predictions),
    }
    horizons = sorted({min(16, config.horizon), config.horizon})
    readings = readings_of(world.config)
    if readings is not None:
        results["readings"] = readings.score(openings, predictions, horizons, config.seed)
    if world.config.reward_head:
        rewards = {"opening": outcome_scores.score_rewards(openings, predictions)}
        ends = {"opening": outcome_scores.score_ends(openings, predictions)}
        if endings:
            # Late by some steps is still a hit, so the last action is held a little longer.
            actions = [_held(w, outcome_scores.END_TOLERANCE) for w in endings]
            closing = predict(
                world,
                endings,
                actions,
                seeds=seeds[: len(endings)],
                batch=config.batch,
                title="to the end",
            )
            rewards["closing"] = outcome_scores.score_rewards(endings, closing)
            ends["closing"] = outcome_scores.score_ends(endings, closing)
        results |= {"rewards": rewards, "ends": ends}
    if config.controls and len(openings) == 1:
        print("one episode: there are no others to take altered actions from, so no controls")
    elif config.controls:
        indices = pictures.spread_kinds(openings, config.controls)
        results["controls"] = action_controls.score_controls(
            world,
            [openings[i] for i in indices],
            [predictions[i] for i in indices],
            shifts=config.shifts,
            seeds=[seeds[i] for i in indices],
            batch=config.batch,
            replay=_replayable(world, openings),
        )
    shown = pictures.spread_kinds(openings, config.videos)
    if shown:
        parts = [openings[i] for i in shown], [predictions[i] for i in shown]
        pictures.write_videos(config.out / "videos", *parts, world.config.fps)
        steps = [h for h in frame_scores.SHOWN if h <= config.horizon]
        pictures.write_strip(config.out / "strip.png", *parts, steps)
    return results


def tables(results: dict[str, Any], config: WorldConfig) -> str:
    """The report as printed, in Markdown; `config` is that of its world."""
    world, episodes, asked = results["world"], results["episodes"], results["config"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in episodes["by_policy"].items())
    at_once = episodes.get("actions_at_once", 1)  # older reports do not say
    steps = "a step" if at_once == 1 else f"for every {at_once} steps at once"
    parts = [
        f"World {world['name']}: {episodes['count']} {asked['split']} episodes ({kinds}), "
        f"{asked['context']} context frames{_handed_in(episodes)}, up to {asked['horizon']} "
        "predicted with the "
        f"recorded actions; {world['evaluations_per_step']} network evaluations {steps}, decode "
        f"included; noise seeds from {asked['seed']}; {results['hardware']}.",
        ABOUT_FRAMES,
        frame_scores.frames_table(results["frames"]),
    ]
    readings = readings_of(config)
    if readings is not None and "readings" in results:
        parts += [readings.about, readings.table(results["readings"])]
    if "rewards" in results:
        parts += [ABOUT_OUTCOMES, outcome_scores.rewards_table(results["rewards"])]
        parts.append(outcome_scores.ends_table(results["ends"]))
    for name, scores in results["observations"].items():
        error = scores["mae"]
        shown = f"{error:.2f}" if error >= 0.1 else f"{error:.2g}"  # pixels, or parts of a metre
        parts.append(f"Predicted {name}: mean absolute error {shown}")
    if "controls" in results:
        parts += [ABOUT_CONTROLS, action_controls.controls_table(results["controls"])]
    return "\n\n".join(parts)


def _replayable(world: WorldModel, windows: list[Window]) -> bool:
    """Whether the simulator can be put where the windows begin; says why not."""
    if world.config.ground_truth is None:
        print("the world names no simulator: altered actions are compared with the recorded alone")
        return False
    if any(window.seed is None for window in windows):
        print(
            "the recordings have no seed of the simulator's reset, so it cannot be put where they "
            "begin: altered actions are compared with the recorded alone"
        )
        return False
    return True


def _handed_in(episodes: dict[str, Any]) -> str:
    """What was given beside the context frames, as the report says it."""
    known = episodes.get("handed_in")
    return f" with {', '.join(known)} as observed there" if known else ""


def _check_fit(world: WorldModel, window: Window, config: QualityConfig) -> None:
    expected = (world.config.height, world.config.width, world.config.action_dim)
    got = (*window.frames.shape[1:3], window.actions.shape[1])
    if got != expected:
        raise ValueError(
            f"{config.data} has frames of {got[0]} x {got[1]} and actions of {got[2]} components, "
            f"world {world.config.name!r} expects {expected[0]} x {expected[1]} and "
            f"{expected[2]}: give the data it was learned from"
        )


def _held(window: Window, steps: int) -> Any:
    """The window's actions to predict, the last one held for some steps more."""
    return np.pad(window.future_actions, ((0, steps), (0, 0)), mode="edge")
