// How held keys and the pointer become an action, as in `irasim play` (irasim_env/controls.py).
const OPPOSITE = { right: "left", left: "right", down: "up", up: "down" };
const POSITION_STEP = 0.04; // of its range, by which a held key moves a position each step
const VELOCITY_SHARE = 0.5; // of its bound, which a held key sets a velocity to

export class Controls {
  constructor({ action, keys }) {
    this.low = action.low;
    this.high = action.high;
    this.directions = keys.directions.slice(0, this.low.length);
    this.velocity = keys.velocity;
    this.place = keys.place ?? "agent_pos";
  }

  isVelocity(i) {
    return this.low[i] === -this.high[i];
  }

  // The action before any key: velocities are 0, positions the agent's own or the last action's.
  first(start) {
    const place = start.states[this.place];
    const fits = place !== undefined && place.length === this.low.length;
    const known = fits ? place : start.last_action;
    return this.low.map((low, i) => {
      if (this.isVelocity(i)) return 0;
      return this.within(i, known ? known[i] : (low + this.high[i]) / 2);
    });
  }

  // The action a step after `previous`. `pointer`: shares of the picture's width and height.
  next(previous, held, pointer) {
    return previous.map((before, i) => {
      const direction = this.directions[i];
      const sign = direction === undefined ? 0 : held.has(direction) - held.has(OPPOSITE[direction]);
      const span = this.high[i] - this.low[i];
      if (pointer !== null && direction !== undefined) {
        const seen = direction === "right" || direction === "left" ? pointer[0] : pointer[1];
        const share = direction === "right" || direction === "down" ? seen : 1 - seen;
        return this.low[i] + share * span;
      }
      if (this.isVelocity(i)) return this.within(i, sign * (this.velocity ?? VELOCITY_SHARE * this.high[i]));
      return this.within(i, before + sign * POSITION_STEP * span);
    });
  }

  // Where in the picture an action points, as `pointer`; null for velocities.
  target(action) {
    if (this.directions.length < 2 || this.isVelocity(0) || this.isVelocity(1)) return null;
    const point = [0, 0];
    this.directions.forEach((direction, i) => {
      const share = (action[i] - this.low[i]) / (this.high[i] - this.low[i]);
      const axis = direction === "right" || direction === "left" ? 0 : 1;
      point[axis] = direction === "right" || direction === "down" ? share : 1 - share;
    });
    return point;
  }

  within(i, value) {
    return Math.min(this.high[i], Math.max(this.low[i], value));
  }
}
