"""The height and width that frames are brought to, as configs have them."""

from world_model.config_fields import check_least


class Resized:
    """Of a config with a height and a width in pixels: both or none."""

    height: int | None
    width: int | None

    def check_size(self) -> None:
        """Raise ValueError unless both or none are given, and are pixels."""
        if (self.height is None) != (self.width is None):
            raise ValueError(f"height {self.height} and width {self.width}: give both or none")
        check_least(self, height=1, width=1)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that frames are resized to, if they are."""
        return None if self.height is None or self.width is None else (self.height, self.width)
