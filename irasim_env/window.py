"""The window of render_mode "human"."""

import numpy as np
import pygame

# Learned frames are small: enlarge them by a whole factor until they are about this tall.
_HEIGHT = 480


class Window:
    """Shows frames at a steady rate.

    Args:
        title: Caption of the window.
        fps: Frames a second; `show` waits where it is called more often.

    Without a display pygame draws offscreen, as Gymnasium's own environments do there: checkers
    and wrappers run on a server too, and nobody sees it.

    Raises:
        ValueError: pygame cannot draw at all.
    """

    def __init__(self, title: str, fps: float):
        try:
            pygame.display.init()
        except pygame.error as error:
            raise ValueError(
                f"there is no display for a window ({error}), and SDL_VIDEODRIVER keeps pygame "
                "from drawing offscreen; unset it, or make the environment with "
                'render_mode="rgb_array"'
            ) from error
        self.fps = fps
        self._title = title
        self._clock = pygame.time.Clock()
        self._screen: pygame.Surface | None = None

    def show(self, frame: np.ndarray) -> None:
        """Draw a frame, uint8 (H, W, 3)."""
        height, width = frame.shape[:2]
        factor = max(1, round(_HEIGHT / height))
        size = width * factor, height * factor
        # A process has one display: another window may have closed it, or taken it.
        if self._screen is None or pygame.display.get_surface() is not self._screen:
            pygame.display.init()
            self._screen = pygame.display.set_mode(size)
            pygame.display.set_caption(self._title)
        picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        self._screen.blit(pygame.transform.scale(picture, size), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self.fps)

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()


def check_display(cure: str) -> None:
    """Open the display for a window that can be seen; SDL would also draw into nothing.

    Args:
        cure: What to do without a display.

    Raises:
        ValueError: there is none.
    """
    try:
        pygame.display.init()
        seen = pygame.display.get_driver() != "offscreen"
    except pygame.error:
        seen = False
    if not seen:
        pygame.display.quit()
        raise ValueError(f"there is no display for a window; {cure}")
