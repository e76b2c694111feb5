"""Where a model runs: a device by its name, refused where there is none."""

import torch


def find_device(name: str | torch.device) -> torch.device:
    """The device of a name, such as cpu or cuda:1.

    Raises:
        ValueError: There is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device is {name!r}, expected cpu or cuda ({error})") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {str(device)!r}, torch sees {torch.cuda.device_count()} GPUs here; say cpu"
        )
    return device
