"""Ways around round obstacles: the shortest path through points set around them (a visibility
graph). All in metres on the table.

K obstacles, N points.
"""

import heapq

import numpy as np

AROUND = 12  # points around each obstacle
BEYOND = 1.12  # their distance from its middle, in its radii


def next_corner(
    start: np.ndarray,
    goal: np.ndarray,
    middles: np.ndarray,
    radii: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Where to go first on the way from start to goal, (2,); the goal itself if nothing stands
    between, or if there is no way.

    Args:
        start: (2,).
        goal: (2,).
        middles: Of the obstacles, (K, 2).
        radii: How near the way may come to each, (K,). One that holds start or goal is taken
            smaller, so that these are free.
        low: Left and front of where the way may go, (2,).
        high: Right and back.
    """
    to_ends = [np.linalg.norm(middles - end, axis=1) for end in (start, goal)]
    radii = np.minimum(radii, np.maximum(np.minimum(*to_ends) - 1e-4, 1e-3))
    if not _blocked(start[None], goal[None], middles, radii)[0, 0]:
        return goal
    angles = 2 * np.pi * np.arange(AROUND) / AROUND
    ring = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    corners = (middles[:, None] + BEYOND * radii[:, None, None] * ring).reshape(-1, 2)
    inside = ((corners >= low) & (corners <= high)).all(1)
    free = (np.linalg.norm(corners[:, None] - middles, axis=-1) >= radii).all(1)
    points = np.vstack((start, goal, corners[inside & free]))
    lengths = np.linalg.norm(points[:, None] - points, axis=-1)
    lengths[_blocked(points, points, middles, radii)] = np.inf
    path = _shortest(lengths)
    return points[path[1]] if path else goal


def _blocked(
    begins: np.ndarray, ends: np.ndarray, middles: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """Whether the line from each of (N, 2) to each of (M, 2) cuts an obstacle, bool (N, M)."""
    along = ends[None] - begins[:, None]  # (N, M, 2)
    squared = np.maximum((along**2).sum(-1), 1e-12)
    cut = np.zeros(squared.shape, bool)
    for middle, radius in zip(middles, radii, strict=True):
        share = (((middle - begins)[:, None] * along).sum(-1) / squared).clip(0, 1)
        nearest = begins[:, None] + share[..., None] * along
        cut |= np.linalg.norm(nearest - middle, axis=-1) < radius
    return cut


def _shortest(lengths: np.ndarray) -> list[int]:
    """Dijkstra's path from point 0 to point 1 over lengths (N, N); empty where there is none."""
    best = np.full(len(lengths), np.inf)
    before = np.full(len(lengths), -1)
    best[0] = 0
    queue = [(0.0, 0)]
    while queue:
        length, at = heapq.heappop(queue)
        if at == 1:
            path = [1]
            while path[-1] != 0:
                path.append(int(before[path[-1]]))
            return path[::-1]
        if length > best[at]:
            continue
        for to in np.flatnonzero(np.isfinite(lengths[at]) & (best > length + lengths[at])):
            best[to], before[to] = length + lengths[at, to], at
            heapq.heappush(queue, (float(best[to]), int(to)))
    return []
