"""Draws the figures of a step and of the packages, as SVG: python docs/scripts/figures.py

Circled numbers are those of the files in docs/step.md. The background is opaque, so that a figure
reads the same on a light page and on a dark one.
"""

from pathlib import Path
from xml.sax.saxutils import escape

ASSETS = Path(__file__).parents[1] / "assets"
PAPER, INK, DIM, RULE = "#ffffff", "#1c2128", "#59636e", "#8b949e"
PLAIN, BLUE, GREEN, AMBER, GREY = "#f6f8fa", "#ddeeff", "#dcf5e3", "#fff3d1", "#eceff3"
FONT = "font-family='Helvetica, Arial, DejaVu Sans, sans-serif'"


class Figure:
    """Boxes, arrows and text, in the order in which they are drawn."""

    def __init__(self, width: int, height: int, title: str):
        self.size = width, height
        self.title = title
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, words: str, *, size: int = 13, fill: str = INK, style: str = ""
    ) -> None:
        """Words around (x, y); `style` takes SVG attributes, such as an anchor."""
        style = style or "text-anchor='middle'"
        self.parts.append(
            f"<text x='{x}' y='{y}' font-size='{size}' fill='{fill}' {style}>{escape(words)}</text>"
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        note: str = "",
        *,
        fill: str = PLAIN,
        dashed: bool = False,
        number: int = 0,
    ) -> None:
        """A box with a name, and a smaller note whose lines are split at "|"."""
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.parts.append(
            f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='7' fill='{fill}' "
            f"stroke='{RULE}'{dash}/>"
        )
        lines = note.split("|") if note else []
        middle = x + width / 2
        top = y + height / 2 + 5 - 8 * len(lines)
        if words:
            self.text(middle, top, words, style="text-anchor='middle' font-weight='bold'")
        for index, line in enumerate(lines):
            self.text(middle, top + 17 + 15 * index, line, size=11, fill=DIM)
        if number:
            self.parts.append(f"<circle cx='{x}' cy='{y}' r='11' fill='{INK}'/>")
            self.text(x, y + 4, str(number), size=12, fill=PAPER)

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through the points, with a head at its end."""
        dash = " stroke-dasharray='5 4'" if dashed else ""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f"<polyline points='{path}' fill='none' stroke='{DIM}' stroke-width='1.6'{dash} "
            "marker-end='url(#head)'/>"
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        width, height = self.size
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
            f"width='{width}' height='{height}' role='img' {FONT}>"
            f"<title>{escape(self.title)}</title><defs><marker id='head' viewBox='0 0 10 10' "
            "refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M0,0 L10,5 L0,10 z' fill='{DIM}'/></marker></defs>"
            f"<rect width='{width}' height='{height}' rx='10' fill='{PAPER}'/>"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([head, *self.parts, "</svg>"]) + "\n")


def step() -> Figure:
    """From an action to the next frame."""
    figure = Figure(960, 590, "How an action becomes the next frame")
    figure.box(20, 20, 130, 56, "action", "of a policy, a planner,|a person", fill=BLUE)
    figure.box(190, 20, 200, 56, "WorldEnv.step", "checks the action,|keeps the episode", number=1)
    figure.box(430, 20, 200, 56, "WorldTask.step", "one batched call of the world", number=2)
    figure.box(670, 20, 270, 56, "StreamingWorld.step_", "predict, advance: a CUDA graph on a GPU")
    for left, right in ((150, 190), (390, 430), (630, 670)):
        figure.arrow((left, 48), (right, 48))
    figure.box(20, 104, 920, 466, fill="#fbfcfd")
    figure.arrow((805, 76), (805, 104))
    figure.text(40, 128, "advance: one frame, in latents", size=14, style="font-weight='bold'")
    figure.parts.append(f"<circle cx='20' cy='104' r='11' fill='{INK}'/>")
    figure.text(20, 108, "3", size=12, fill=PAPER)
    # What goes in.
    figure.box(
        40,
        150,
        190,
        60,
        "conditioning",
        "action; with states also|these and the last action",
        fill=BLUE,
    )
    figure.box(
        40,
        240,
        190,
        60,
        "dynamics",
        "the next states, before|any picture is drawn",
        fill=AMBER,
        dashed=True,
    )
    figure.box(40, 330, 190, 60, "newest frame", "and the change|that led to it", fill=BLUE)
    figure.box(
        40,
        420,
        190,
        60,
        "noise",
        "counted from seed and step;|none with one pass",
        fill=BLUE,
        number=4,
    )
    figure.text(135, 505, "The sampler calls the denoiser", size=11, fill=DIM)
    figure.text(135, 520, "once for each pass.", size=11, fill=DIM)
    figure.text(135, 545, "Dashed: only in worlds that know states", size=11, fill=DIM)
    # The denoiser.
    figure.box(280, 150, 370, 370, fill=GREY, number=5)
    figure.text(465, 174, "denoiser", style="text-anchor='middle' font-weight='bold'")
    figure.text(465, 191, "newest frame and the frame to draw, together", size=11, fill=DIM)
    figure.box(305, 204, 320, 212, fill=PAPER)
    figure.text(465, 224, "4 blocks, each modulated by the action (adaLN)", size=12)
    figure.box(325, 236, 280, 46, "attention in space", "the tokens of a frame see each other")
    figure.box(
        325, 294, 280, 46, "attention in time", "the same place in earlier frames, never later"
    )
    figure.box(325, 352, 280, 46, "MLP")
    figure.arrow((465, 282), (465, 294))
    figure.arrow((465, 340), (465, 352))
    figure.box(
        325,
        440,
        280,
        62,
        "change to the newest frame",
        "coarse, from tokens, and fine, from the|high-resolution head",
    )
    figure.arrow((465, 416), (465, 440))
    figure.arrow((230, 180), (305, 222))
    figure.arrow((230, 270), (305, 250), dashed=True)
    figure.arrow((135, 210), (135, 240), dashed=True)
    figure.arrow((230, 360), (305, 320))
    figure.arrow((230, 450), (305, 396))
    # The past.
    figure.box(
        700,
        280,
        220,
        74,
        "ring of keys and values",
        "of the last frames: memory and cost|do not grow with the episode",
        fill=AMBER.replace("fff3d1", "e9e3ff"),
        number=6,
    )
    figure.arrow((700, 305), (605, 305))
    figure.arrow((605, 329), (700, 329))
    # What comes out.
    figure.box(
        700,
        150,
        220,
        92,
        "head",
        "reward, end, observations,|from the tokens that drew the|frame, and from the states",
        fill=GREEN,
    )
    figure.arrow((625, 210), (700, 196))
    figure.box(
        700,
        398,
        220,
        56,
        "newest frame + change",
        "after change threshold, change mask",
        fill=PLAIN,
    )
    figure.arrow((605, 470), (660, 470), (660, 426), (700, 426))
    figure.box(700, 482, 220, 56, "codec", "decodes to uint8, height x width x 3", fill=GREEN)
    figure.arrow((810, 454), (810, 482))
    return figure


def packages() -> Figure:
    """Which package imports which: what `tests/test_structure.py` checks."""
    figure = Figure(760, 336, "Which package imports which")
    figure.box(
        30,
        20,
        700,
        58,
        "benchmarks",
        "prediction, speed, policies, planning, IRASim's protocols; imports all four",
        fill=GREEN,
    )
    figure.box(
        30, 128, 330, 58, "policies", "planners, reinforcement learning, recorders", fill=BLUE
    )
    figure.box(400, 128, 330, 58, "training", "episodes, datasets, trainers", fill=BLUE)
    figure.box(
        30, 236, 330, 58, "irasim_env", "Gymnasium environments, play, the command", fill=AMBER
    )
    figure.box(
        400,
        236,
        330,
        58,
        "world_model",
        "worlds: engines, codecs, files; imports nothing of ours",
        fill=GREY,
    )
    figure.arrow((195, 78), (195, 128))
    figure.arrow((565, 78), (565, 128))
    figure.arrow((195, 186), (195, 236))
    figure.arrow((565, 186), (565, 236))
    figure.arrow((360, 265), (400, 265))
    figure.arrow((330, 186), (430, 236))
    figure.text(
        380,
        320,
        "training and policies may also use benchmarks.metrics, which imports nothing of ours",
        size=11,
        fill=DIM,
    )
    return figure


def badge(label: str, value: str, colour: str) -> Figure:
    """A label and its value, in the form that readers know."""
    left, right = 7 * len(label) + 16, 7 * len(value) + 16
    figure = Figure(left + right, 22, f"{label}: {value}")
    figure.parts.append(f"<rect width='{left + right}' height='22' rx='4' fill='#555555'/>")
    figure.parts.append(
        f"<path d='M{left},0 h{right - 4} a4,4 0 0 1 4,4 v14 a4,4 0 0 1 -4,4 h-{right - 4} z' "
        f"fill='{colour}'/>"
    )
    figure.text(left / 2, 15, label, size=12, fill=PAPER)
    figure.text(left + right / 2, 15, value, size=12, fill=PAPER)
    return figure


if __name__ == "__main__":
    badge("licence", "Apache-2.0", "#1f6feb").save(ASSETS / "badge_licence.svg")
    badge("python", "3.11 or newer", "#1f6feb").save(ASSETS / "badge_python.svg")
    badge("tests", "run by .ci/run", "#1a7f37").save(ASSETS / "badge_tests.svg")
    step().save(ASSETS / "step.svg")
    packages().save(ASSETS / "packages.svg")
