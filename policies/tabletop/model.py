"""The MuJoCo model of the table: blocks that slide and turn in its plane, and the pusher.

Blocks have three joints each (x, y, angle) with so much damping that they rest as soon as nothing
pushes them; they neither tip nor leave the table. The pusher has two, with position actuators of
limited force, so that it stalls against a block at the rim instead of going through it.
"""

import numpy as np

from policies.tabletop.scene import (
    BARS,
    BLOCK_HEIGHT,
    BLOCKS,
    CAMERA_FOVY,
    CAMERA_PLACE,
    CAMERA_RIGHT,
    CAMERA_UP,
    PUSHER_COLOUR,
    PUSHER_RADIUS,
    PUSHER_TIP,
    TABLE,
    Block,
)

TIMESTEP = 0.005
SUBSTEPS = 20  # of a step of 0.1 s
RAMP = 16  # substeps in which the pusher is led to its target; in the others it settles there
MASS, DAMPING = 0.05, 2.5  # of a block; it comes to rest with a time constant of 20 ms
TURN_DAMPING = 4e-4
# Of the pusher: mass, stiffness of its actuators, and the most force that they have (N).
PUSHER_MASS, GAIN, FORCE = 0.08, 1800.0, 5.0
SERVO_DAMPING = 2 * (GAIN * PUSHER_MASS) ** 0.5  # critical
RIM, RIM_HEIGHT = 0.008, 0.012  # its width and height, m

_TABLE_GREY, _RIM_GREY, _FLOOR_GREY = 0.93, 0.55, 0.70


def model_xml() -> str:
    """The model as MuJoCo reads it."""
    half = BLOCK_HEIGHT / 2
    return f"""
<mujoco model="tabletop">
  <compiler angle="radian" inertiafromgeom="false"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" gravity="0 0 0" cone="elliptic"/>
  <default>
    <geom solref="0.01 1" friction="0.4 0.005 0.0001" condim="3"/>
  </default>
  <visual>
    <global offwidth="1152" offheight="1152"/>
    <quality shadowsize="0" offsamples="0"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.12 0.12 0.12" specular="0 0 0"/>
    <map znear="0.01" zfar="10"/>
  </visual>
  <asset>
    <material name="dull" specular="0" shininess="0" reflectance="0"/>
    {_meshes(half)}
  </asset>
  <worldbody>
    <light directional="true" castshadow="false" pos="0 0 1" dir="-0.25 0.2 -1"
      diffuse="0.5 0.5 0.5" specular="0 0 0" ambient="0 0 0"/>
    <camera name="front" mode="fixed" pos="{_numbers(CAMERA_PLACE)}"
      xyaxes="{_numbers((*CAMERA_RIGHT, *CAMERA_UP))}" fovy="{CAMERA_FOVY}"/>
    {_furniture()}
    {"".join(_block(block, half) for block in BLOCKS)}
    {_pusher()}
  </worldbody>
  <actuator>
    {_actuators()}
  </actuator>
</mujoco>"""


def _numbers(values: tuple[float, ...] | np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _grey(value: float) -> str:
    return f'material="dull" rgba="{value} {value} {value} 1"'


def _meshes(half: float) -> str:
    lines = []
    for block in BLOCKS:
        if block.name == "prism":
            corners = [(*corner, z) for corner in block.outline for z in (-half, half)]
            vertices = "  ".join(_numbers(corner) for corner in corners)
            lines.append(f'<mesh name="{block.name}" vertex="{vertices}"/>')
    return "\n    ".join(lines)


def _furniture() -> str:
    """The table, its rim and the floor; only the rim can be touched."""
    x, y = TABLE
    seen = 'contype="0" conaffinity="0"'
    walls = (
        ((x + RIM / 2, 0), (RIM / 2, y + RIM)),
        ((-x - RIM / 2, 0), (RIM / 2, y + RIM)),
        ((0, y + RIM / 2), (x, RIM / 2)),
        ((0, -y - RIM / 2), (x, RIM / 2)),
    )
    lines = [
        f'<geom type="plane" size="2 2 0.1" pos="0 0 -0.03" {seen} {_grey(_FLOOR_GREY)}/>',
        f'<geom type="box" size="{x + RIM} {y + RIM} 0.015" pos="0 0 -0.015" {seen} '
        f"{_grey(_TABLE_GREY)}/>",
    ]
    lines += [
        f'<geom type="box" size="{w} {d} {RIM_HEIGHT / 2}" pos="{px} {py} {RIM_HEIGHT / 2}" '
        f"{_grey(_RIM_GREY)}/>"
        for (px, py), (w, d) in walls
    ]
    return "\n    ".join(lines)


def _block(block: Block, half: float) -> str:
    colour = f'material="dull" rgba="{_numbers(block.colour)} 1"'
    if block.name == "cube":
        side = abs(block.outline[0][0])
        geoms = f'<geom type="box" size="{side:.6g} {side:.6g} {half}" {colour}/>'
    elif block.name == "cylinder":
        geoms = f'<geom type="cylinder" size="{block.radius:.6g} {half}" {colour}/>'
    elif block.name == "cross":
        long, thin = BARS
        geoms = f'<geom type="box" size="{long} {thin} {half}" {colour}/>'
        geoms += f'<geom type="box" size="{thin} {long} {half}" {colour}/>'
    else:
        geoms = f'<geom type="mesh" mesh="{block.name}" {colour}/>'
    inertia = MASS * block.radius**2 / 2
    return f"""
    <body name="{block.name}" pos="0 0 {half}">
      <inertial pos="0 0 0" mass="{MASS}" diaginertia="{inertia:.6g} {inertia:.6g} {inertia:.6g}"/>
      <joint name="{block.name}_x" type="slide" axis="1 0 0" damping="{DAMPING}"/>
      <joint name="{block.name}_y" type="slide" axis="0 1 0" damping="{DAMPING}"/>
      <joint name="{block.name}_angle" type="hinge" axis="0 0 1" damping="{TURN_DAMPING}"/>
      {geoms}
    </body>"""


def _pusher() -> str:
    half = PUSHER_TIP / 2
    return f"""
    <body name="pusher" pos="0 0 {half + 0.001}">
      <inertial pos="0 0 0" mass="{PUSHER_MASS}" diaginertia="1e-4 1e-4 1e-4"/>
      <joint name="pusher_x" type="slide" axis="1 0 0"/>
      <joint name="pusher_y" type="slide" axis="0 1 0"/>
      <geom name="tip" type="cylinder" size="{PUSHER_RADIUS} {half}" material="dull"
        rgba="{_numbers(PUSHER_COLOUR)} 1"/>
    </body>"""


def _actuators() -> str:
    return "\n    ".join(
        f'<position joint="pusher_{axis}" kp="{GAIN}" kv="{SERVO_DAMPING:.6g}" '
        f'forcerange="{-FORCE} {FORCE}" ctrllimited="false"/>'
        for axis in "xy"
    )


def lead(substep: int, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Targets of the pusher's actuators in a substep (from 1) of a move from begin to end, (2,).

    A smooth way (3 s^2 - 2 s^3), ahead of it by what damping would make the pusher lag behind.
    """
    share = min(substep / RAMP, 1.0)
    place = begin + (3 * share**2 - 2 * share**3) * (end - begin)
    speed = 6 * share * (1 - share) / (RAMP * TIMESTEP) * (end - begin)
    return place + SERVO_DAMPING / GAIN * speed
