"""What was labelled, how well, and what was not, in figures and in words."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.data.labels.scene import Scene
from training.data.labels.symmetry import ROUND
from training.data.labels.track import Track

# Episodes named in words, at most.
NAMED = 5


@dataclass(eq=False)
class Summary:
    """Of one run.

    Attributes:
        names: Of the bodies.
        scene_: That was used.
        tracks: By split, of each episode its id and a `Track` for each body.
    """

    names: tuple[str, ...]
    scene_: Scene
    tracks: dict[str, list[tuple[str, list[Track]]]] = field(default_factory=dict)

    def add(self, split: str, episode_id: str, tracks: list[Track]) -> None:
        """Take an episode into account."""
        self.tracks.setdefault(split, []).append((episode_id, tracks))

    def scene(self) -> dict[str, Any]:
        """What was found in the frames."""
        scene = self.scene_
        return {
            "background": {
                "noise": scene.background.noise,
                "explained": scene.background.explained,
                "seen": scene.background.seen,
            },
            "robot": [
                {
                    "follows": list(scene.observations),
                    "off_px": part.off,
                    "area_px": part.sprite.area,
                }
                for part in scene.robot
            ],
            "bodies": [
                {
                    "name": name,
                    "colour": [round(value) for value in mean_colour(body.sprite)],
                    "area_px": body.sprite.area,
                    "reach_px": body.sprite.reach,
                    "symmetry": "round" if body.symmetry == ROUND else body.symmetry,
                    "residual": float(np.sqrt(body.error)),
                    "sprite_frames": body.instances,
                }
                for name, body in zip(self.names, scene.bodies, strict=True)
            ],
            "unexplained": scene.unexplained,
            "not_rigid": scene.soft,
            **self._camera(),
        }

    def _camera(self) -> dict[str, Any]:
        """Of a camera that looks aslant."""
        camera = self.scene_.camera
        if camera is None:
            return {}
        sides = {
            name: None if body.sprite.side is None else body.sprite.side.tall
            for name, body in zip(self.names, self.scene_.bodies, strict=True)
        }
        return {
            "camera": {
                "follows": camera.state,
                "off_px": camera.off,
                "homography": camera.homography.tolist(),
                "units_per_rectified_pixel": camera.scale,
                "height_of_side_over_camera": sides,
            }
        }

    def figures(self, seconds: float) -> dict[str, Any]:
        """Of each split and body: how much was labelled, and residuals."""
        return {
            "seconds": round(seconds, 1),
            "frames": sum(
                len(tracks[0].poses) for found in self.tracks.values() for _, tracks in found
            ),
            "splits": {
                split: {
                    "episodes": len(found),
                    "bodies": {
                        name: self._of_body(found, number) for number, name in enumerate(self.names)
                    },
                }
                for split, found in self.tracks.items()
            },
        }

    def _of_body(self, found: list[tuple[str, list[Track]]], number: int) -> dict[str, Any]:
        tracks = [(episode_id, tracks[number]) for episode_id, tracks in found]
        labelled = np.concatenate([track.labelled for _, track in tracks])
        visible = np.concatenate([track.visible for _, track in tracks])[labelled]
        residual = np.concatenate([track.residual for _, track in tracks])[labelled]
        deviation = np.concatenate([track.deviation for _, track in tracks])[labelled]
        some = len(visible) > 0
        return {
            "frames": len(labelled),
            "labelled": float(labelled.mean()),
            "visible_median": float(np.median(visible)) if some else None,
            "residual_median": float(np.median(residual)) if some else None,
            "residual_99": float(np.quantile(residual, 0.99)) if some else None,
            "deviation_median": np.median(deviation, axis=0).tolist() if some else None,
            "never_found": [i for i, track in tracks if not track.labelled.any()],
        }


def mean_colour(sprite: Any) -> list[float]:
    """Of what a sprite covers, (R, G, B)."""
    return np.average(sprite.colour.reshape(-1, 3), axis=0, weights=sprite.alpha.ravel()).tolist()


def described(summary: Summary, num_before: int) -> str:
    """In words: what was found, labelled, and not."""
    scene = summary.scene_
    lines = []
    if scene.robot:
        off = ", ".join(f"{part.off:.2f}" for part in scene.robot)
        lines.append(
            f"robot: {len(scene.robot)} part{'s' * (len(scene.robot) != 1)} following "
            f"{', '.join(scene.observations)}, to {off} px"
        )
    elif scene.camera is not None:
        lines.append(
            f"robot: no sprite, but a mark that is seen to {scene.camera.off:.2f} px where "
            f"{scene.camera.state} says, by a camera that looks aslant: bodies are labelled in the "
            "plane in which it touches them"
        )
    else:
        lines.append(
            "robot: nothing in the picture is an affine function of the observation "
            f"({', '.join(scene.observations) or 'none is recorded'}): it has no layer, and "
            "occludes bodies like anything else"
        )
    for name, body in zip(summary.names, scene.bodies, strict=True):
        colour = " ".join(f"{value:.0f}" for value in mean_colour(body.sprite))
        line = f"{name}: colour {colour}, {body.sprite.area:.0f} px"
        if body.symmetry == ROUND:
            line += "; its rotation cannot be seen, so its angle is written as 0"
        elif body.symmetry > 1:
            line += (
                f"; turned by 1/{body.symmetry} it looks the same: its angle begins within "
                f"{180 / body.symmetry:.0f} degrees of 0 and is followed from there"
            )
        lines.append(line)
    if scene.soft:
        lines.append(
            f"{scene.soft} more kind(s) of things move whose look changes from frame to frame: "
            "not rigid, or not in the picture's plane; they are not labelled"
        )
    if scene.unexplained > 0.05:
        lines.append(
            f"{scene.unexplained:.0%} of what moves is neither robot nor one of these bodies: soft "
            "or shapeless things, bodies that are rarely visible alone, shadows"
        )
    for split, found in summary.tracks.items():
        for number, name in enumerate(summary.names):
            tracks = [(episode_id, tracks[number]) for episode_id, tracks in found]
            labelled = np.concatenate([track.labelled for _, track in tracks])
            never = [episode_id for episode_id, track in tracks if not track.labelled.any()]
            line = f"{split}: {name} labelled in {labelled.mean():.2%} of {len(labelled):,} frames"
            if not labelled.all():
                line += (
                    "; elsewhere too little of it is visible, or it looks different: interpolated"
                )
            if never:
                line += (
                    f"; never found in {len(never)} episodes ({', '.join(never[:NAMED])}"
                    f"{', ...' if len(never) > NAMED else ''}): take these out before training"
                )
            lines.append(line)
    if num_before:
        lines.append(
            f"{num_before} episodes were labelled already and are unchanged (--overwrite labels "
            "them again)"
        )
    return "\n".join(lines)
