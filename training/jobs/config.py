"""Options of commands whose work spreads over a Ray cluster. Free of Ray: --help is quick."""

from world_model.config_fields import check_least


class OnCluster:
    """Of a config with `ray` and `ray_workers`: whether and how its work leaves this machine."""

    ray: str | None
    ray_workers: int | None

    def check_cluster(self) -> None:
        """Raise ValueError unless a number of workers goes with a cluster, and is one."""
        check_least(self, ray_workers=1)
        if self.ray_workers is not None and self.ray is None:
            raise ValueError(
                f"ray_workers is {self.ray_workers}, without a cluster: give --ray ADDRESS too"
            )
