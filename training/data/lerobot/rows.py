"""Rows of a LeRobot dataset's parquet files, episode by episode, and columns as arrays.

Dimension key: L rows of an episode, n numbers in each.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from training.data.lerobot.index import BrokenEpisodeError, Place, parquet, parquet_errors

# Pictures in parquet files are read so many rows at a time.
BATCH_ROWS = 16


class LeRobotRows:
    """Finds the rows of an episode, in the file that meta/ names or, failing that, in any.

    Args:
        root: Directory of the dataset.
        columns: Names of the columns with numbers that are wanted; others are never read.
    """

    def __init__(self, root: Path, columns: Sequence[str]):
        self.root, self.columns = root, tuple(columns)
        self._kept: tuple[tuple[Path, tuple[int, ...]] | None, Any] = (None, None)
        self._groups: dict[Path, dict[int, list[int]]] = {}
        self._open: tuple[Path | None, Any] = (None, None)

    def read(self, place: Place) -> Any:
        """An episode's rows, as an Arrow table with the columns that its file has.

        Raises:
            BrokenEpisodeError: There are not as many as meta/ says, or not in their order.
        """
        import pyarrow as pa

        found = [self._of_file(path, place.index) for path in self.files(place)]
        if not found:
            raise self._none(place)
        table = pa.concat_tables(found) if len(found) > 1 else found[0]
        numbers = column_array(place.data, table, "frame_index")[:, 0]
        # The number first: a damaged one would take all memory.
        if len(numbers) != place.length or (numbers != np.arange(len(numbers))).any():
            raise BrokenEpisodeError(
                f"{place.data}: episode {place.index} has {len(numbers)} rows, expected frames 0 "
                f"to {place.length - 1} in order",
                "rows of another number or order than meta/ says",
            )
        return table

    def pictures(self, place: Place, name: str, step: int) -> Iterator[dict[str, Any]]:
        """The cells of a column of pictures in rows 0, step, 2 step, ..., a few in memory."""
        pq = parquet()
        row = 0
        for path in self.files(place):
            groups = self._row_groups(path)[place.index]
            try:
                file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
                batches = file.iter_batches(
                    BATCH_ROWS, row_groups=groups, columns=["episode_index", name]
                )
                for batch in batches:
                    mine = np.flatnonzero(batch["episode_index"].to_numpy() == place.index)
                    for position in mine:
                        if row % step == 0:
                            yield batch[name][int(position)].as_py() or {}
                        row += 1
            except parquet_errors() as error:
                raise BrokenEpisodeError(
                    f"{path}: pictures of episode {place.index} cannot be read ({error}); download "
                    "it again",
                    "rows cannot be read",
                ) from error

    def files(self, place: Place) -> list[Path]:
        """The parquet files with rows of an episode.

        The one that meta/ names, if it has any; else whichever have some, since LeRobot itself
        reads all files and goes by the column episode_index.
        """
        if place.data.is_file() and place.index in self._row_groups(place.data):
            return [place.data]
        return [path for path in self._all if place.index in self._row_groups(path)]

    def _of_file(self, path: Path, index: int) -> Any:
        import pyarrow.compute as pc

        groups = tuple(self._row_groups(path)[index])
        if self._kept[0] != (path, groups):  # episodes are read in order, and many share a group
            file = self._file(path)
            present = [name for name in self.columns if name in file.schema_arrow.names]
            columns = list(dict.fromkeys(["episode_index", "frame_index", *present]))
            try:
                table = file.read_row_groups(groups, columns=columns)
            except parquet_errors() as error:
                raise BrokenEpisodeError(
                    f"{path}: rows of episode {index} cannot be read ({error}); download it again",
                    "rows cannot be read",
                ) from error
            self._kept = ((path, groups), table)
        table = self._kept[1]
        return table.filter(pc.equal(table["episode_index"], index))  # pyright: ignore[reportAttributeAccessIssue]

    def _row_groups(self, path: Path) -> dict[int, list[int]]:
        """The row groups of a file in which each episode has rows."""
        if path not in self._groups:
            found: dict[int, list[int]] = {}
            try:
                file = self._file(path)
                names = file.schema_arrow.names
                if len(set(names)) < len(names):
                    raise ValueError("two of its columns have one name")
                missing = {"episode_index", "frame_index"} - set(names)
                if missing:
                    raise ValueError(f"it lacks the columns {', '.join(sorted(missing))}")
                for group in range(file.num_row_groups):
                    indices = file.read_row_group(group, columns=["episode_index"])[0]
                    for index in indices.unique().to_pylist():
                        found.setdefault(index, []).append(group)
            except parquet_errors() as error:
                raise BrokenEpisodeError(
                    f"{path}: cannot be read as parquet ({error}); download it again",
                    "rows cannot be read",
                ) from error
            self._groups[path] = found
        return self._groups[path]

    def _file(self, path: Path) -> Any:
        if self._open[0] != path:
            self._open = (path, parquet().ParquetFile(path))
        return self._open[1]

    @cached_property
    def _all(self) -> list[Path]:
        return sorted((self.root / "data").glob("*/*.parquet"))

    def _none(self, place: Place) -> BrokenEpisodeError:
        if place.data.is_file():
            return BrokenEpisodeError(
                f"{place.data}: has no rows of episode {place.index}, and neither has any of "
                f"the {len(self._all)} files in data/; download the dataset again",
                "rows absent",
            )
        return BrokenEpisodeError(
            f"{place.data}: missing, although it should contain episode {place.index}, and no "
            "other file in data/ has its rows",
            "rows absent",
        )


def column_array(path: Path, table: Any, name: str) -> np.ndarray:
    """A column as an array (L, n); matrices are laid out row by row.

    Raises:
        BrokenEpisodeError: There is no such column, values are missing, or rows are of unlike size.
    """
    if name not in table.column_names:
        raise BrokenEpisodeError(
            f"{path}: has no column {name!r}, though meta/info.json names it", "columns absent"
        )
    if table.column_names.count(name) > 1:
        raise BrokenEpisodeError(f"{path}: has two columns {name!r}", "columns twice")
    import pyarrow as pa
    import pyarrow.compute as pc

    values = table[name].combine_chunks()
    length = len(values)
    if isinstance(values, pa.ExtensionArray):  # matrices, as the package datasets writes them
        values = values.storage
    while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        _check_complete(path, name, values)
        sizes = np.unique(pc.list_value_length(values).to_numpy(zero_copy_only=False))  # pyright: ignore[reportAttributeAccessIssue]
        if len(sizes) > 1:
            raise BrokenEpisodeError(
                f"{path}: rows of {name!r} have {int(sizes[0])} to {int(sizes[-1])} values, "
                "expected as many in each",
                "rows of unlike size",
            )
        values = values.flatten()
    _check_complete(path, name, values)
    numbers = values.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind not in "biuf" or not numbers.size:
        raise BrokenEpisodeError(
            f"{path}: {name!r} is of {table[name].type} in {length} rows, expected numbers",
            "columns of no numbers",
        )
    return numbers.reshape(length, -1)


def _check_complete(path: Path, name: str, values: Any) -> None:
    if values.null_count:
        raise BrokenEpisodeError(
            f"{path}: {values.null_count} values of {name!r} are missing", "values missing"
        )
