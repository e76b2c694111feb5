"""Makes the README's GIF of a video that `irasim play --record` wrote: `make gif`.

    irasim play --start 26 --reality --scale 5 --keys "..." --record play.mp4
    python docs/scripts/gif.py play.mp4 docs/assets/play.gif

The window is cut below its row of steps, as what follows tells how busy the machine was, and made
smaller, so that a world's pixel, five of the window's, is three of the GIF's. One palette for all
frames, without dithering: what stays white stays white, and costs nothing.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from world_model.video import read_video

CUT = 593  # of the window's rows at --scale 5
SHRINK = 3 / 5
COLOURS = 256
MS = 100  # a frame: Push-T's ten steps a second
HOLD_MS = 2500  # of the last


def main(source: Path, target: Path) -> None:
    """Convert the video, and say how large the GIF is."""
    frames = read_video(source)
    size = round(frames.shape[2] * SHRINK), round(CUT * SHRINK)
    pictures = [
        Image.fromarray(np.asarray(frame)[:CUT]).resize(size, Image.Resampling.BOX)
        for frame in frames
    ]
    # The palette is that of frames spread over the video, side by side.
    some = [
        np.asarray(picture) for picture in (*pictures[:: max(1, len(pictures) // 8)], pictures[-1])
    ]
    spread = Image.fromarray(np.concatenate(some))
    palette = spread.quantize(COLOURS, kmeans=3)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    target.parent.mkdir(parents=True, exist_ok=True)
    flat[0].save(
        target,
        save_all=True,
        append_images=flat[1:],
        duration=[MS] * (len(flat) - 1) + [HOLD_MS],
        loop=0,
        optimize=True,
    )
    print(f"{target}: {len(flat)} frames of {size[0]} x {size[1]}, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
