// The player of the page: what is shown, and what keys, mouse and touch ask for. The world itself
// runs in a worker (model.js).
import { Controls } from "./controls.js";

const KEYS = {
  ArrowUp: "up", ArrowLeft: "left", ArrowDown: "down", ArrowRight: "right",
  w: "up", a: "left", s: "down", d: "right",
};
const COUNTED = 20; // steps that rates and medians are of
const ISOLATION_MS = 4000; // that the service worker has to come up
const BEGIN_AGAIN = "irasim-play"; // what a page remembers that loads itself once more

const player = document.querySelector(".player");
const $ = (name) => player.querySelector(`[data-part="${name}"]`);
const canvas = $("canvas");
const pen = canvas.getContext("2d");

let model = null;
let world = null;
let controls = null;
let action = null;
let held = new Set();
let pointer = null;
let paused = false;
let ended = false;
let busy = false; // a question is with the model
let wanted = false; // an episode shall begin once it has answered
let due = 0; // when the next step is, in ms
let askedAt = null; // when a key or the pointer asked for what no picture shows yet
let inStep = null; // `askedAt` of the step that is being taken
const finished = [];
const took = [];
const waited = [];

function say(words, wrong = false) {
  $("status").textContent = words;
  $("status").classList.toggle("wrong", wrong);
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

function keep(numbers, number) {
  numbers.push(number);
  if (numbers.length > COUNTED) numbers.shift();
}

// Loading

async function isolate() {
  if (crossOriginIsolated || !navigator.serviceWorker) return;
  await navigator.serviceWorker.register(new URL("isolate.js", import.meta.url));
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, ISOLATION_MS);
    });
  }
  // Once: where that changes nothing, one thread has to do.
  if (navigator.serviceWorker.controller && !sessionStorage.getItem(BEGIN_AGAIN)) {
    sessionStorage.setItem(BEGIN_AGAIN, $("runs").value);
    location.reload();
    await new Promise(() => {});
  }
}

async function load() {
  $("load").disabled = true;
  say("preparing");
  try {
    await isolate();
  } catch {
    // A browser without service workers here: one thread.
  }
  sessionStorage.removeItem(BEGIN_AGAIN);
  model = new Worker(new URL("model.js", import.meta.url), { type: "module" });
  model.onmessage = ({ data }) => take(data);
  model.onerror = (event) => say(`the player does not run here: ${event.message ?? "no module workers"}`, true);
  model.postMessage({ type: "load", runs: $("runs").value });
}

function take(message) {
  if (message.type === "progress") {
    say(message.loaded === null ? "making it ready" : `downloading: ${(message.loaded / 2 ** 20).toFixed(1)} MiB`);
  } else if (message.type === "ready") {
    ready(message);
  } else if (message.type === "shown") {
    busy = false;
    if (wanted) begin();
    else {
      show(message);
      // The next frame of the page may be long in coming while the world takes all cores.
      if (fastest() && !document.hidden) go(performance.now());
    }
  } else if (message.type === "error") {
    busy = false;
    paused = true;
    say(message.message, true);
    $("load").disabled = false;
  }
}

function ready(message) {
  world = message.world;
  controls = new Controls(world);
  [canvas.width, canvas.height] = [world.frame.width, world.frame.height];
  $("start").replaceChildren(...world.starts.map(({ start }, i) => new Option(`${start}`, i)));
  $("pace").options[0].textContent = `${world.fps} steps/s`;
  $("load").hidden = true;
  $("runs").disabled = true;
  for (const part of ["pause", "one", "again", "start", "pace"]) $(part).disabled = false;
  const threads = `${message.threads} ${message.threads === 1 ? "thread" : "threads"}`;
  const where = message.runs === "webgpu" ? "WebGPU" : `WebAssembly, ${threads}`;
  say(`${world.world} runs in this browser: ${where}${message.why && ` (${message.why})`}`);
  player.dataset.runs = message.runs;
  player.dataset.threads = message.threads;
  begin();
  $("picture").focus({ preventScroll: true });
  requestAnimationFrame(tick);
}

// Episodes and steps

function begin() {
  wanted = busy;
  if (busy) return;
  busy = true;
  const start = Number($("start").value);
  action = controls.first(world.starts[start]);
  rest();
  model.postMessage({ type: "begin", start });
}

function step() {
  if (busy || ended) return;
  busy = true;
  action = controls.next(action, held, pointer);
  [inStep, askedAt] = [askedAt, null];
  model.postMessage({ type: "step", action });
}

const fastest = () => $("pace").value === "fastest";

function tick(now) {
  requestAnimationFrame(tick);
  go(now);
}

function go(now) {
  if (paused || busy || ended || now < due) return;
  const pace = fastest() ? 0 : 1000 / world.fps;
  // From when it was due, so that the pace holds; a late step does not make the next ones hurry.
  due = Math.max(due + pace, now);
  step();
}

function rest() {
  finished.length = 0;
}

function show(shown) {
  const image = pen.createImageData(canvas.width, canvas.height);
  for (let from = 0, to = 0; from < shown.frame.length; from += 3, to += 4) {
    image.data.set(shown.frame.subarray(from, from + 3), to);
    image.data[to + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  const now = performance.now();
  if (shown.ms !== null) {
    keep(took, shown.ms);
    keep(finished, now);
    if (inStep !== null) keep(waited, now - inStep);
    inStep = null;
  }
  place();
  $("steps").textContent = shown.steps;
  $("reward").textContent = shown.reward === null ? "\u2013" : shown.reward.toFixed(2);
  const seconds = (finished.at(-1) - finished[0]) / 1000;
  $("rate").textContent = finished.length > 1 ? ((finished.length - 1) / seconds).toFixed(1) : "\u2013";
  $("ms").textContent = took.length ? median(took).toFixed(0) : "\u2013";
  $("latency").textContent = waited.length ? median(waited).toFixed(0) : "\u2013";
  const late = world.max_episode_steps !== null && shown.steps >= world.max_episode_steps;
  ended = shown.terminated || late;
  const won = shown.terminated && world.terminated.is_success;
  const words = won ? "Goal reached" : shown.terminated ? "The episode has ended" : "Time is over";
  $("banner").textContent = `${words}: Again begins anew`;
  $("banner").hidden = !ended;
  player.dataset.start = world.starts[$("start").value].start;
  player.dataset.action = JSON.stringify(action);
  player.dataset.steps = shown.steps;
}

function place() {
  const target = controls.target(action);
  $("target").hidden = target === null;
  if (target === null) return;
  $("target").style.left = `${100 * target[0]}%`;
  $("target").style.top = `${100 * target[1]}%`;
}

// Buttons

function pause(now = !paused) {
  paused = now;
  rest();
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
}

function one() {
  pause(true);
  step();
}

function choose(by) {
  const count = world.starts.length;
  $("start").value = (Number($("start").value) + by + count) % count;
  begin();
}

$("load").addEventListener("click", load);
$("pause").addEventListener("click", () => pause());
$("one").addEventListener("click", one);
$("again").addEventListener("click", begin);
$("start").addEventListener("change", begin);
$("pace").addEventListener("change", rest);

// Keys, in the picture alone: elsewhere they scroll the page and search the site.

const picture = $("picture");
picture.addEventListener("keydown", (event) => {
  if (world === null || event.target !== picture || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const commands = { " ": () => pause(), n: one, r: begin, "[": () => choose(-1), "]": () => choose(1) };
  if (!(key in KEYS || key in commands)) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.repeat) return;
  if (key in commands) commands[key]();
  else ask(() => held.add(KEYS[key]));
});
addEventListener("keyup", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (held.has(KEYS[key])) ask(() => held.delete(KEYS[key]));
});
// Where the release is told to another window.
addEventListener("blur", () => {
  held = new Set();
  pointer = null;
});

function ask(change) {
  change();
  askedAt ??= performance.now();
}

// Mouse and touch

function point(event) {
  const box = canvas.getBoundingClientRect();
  const share = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size));
  ask(() => {
    pointer = [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  });
}
picture.addEventListener("pointerdown", (event) => {
  if (world === null || event.button !== 0 || !event.isPrimary) return;
  picture.setPointerCapture(event.pointerId);
  point(event);
});
picture.addEventListener("pointermove", (event) => {
  if (pointer !== null && event.isPrimary) point(event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  picture.addEventListener(kind, (event) => {
    if (event.isPrimary) pointer = null;
  });
}

// A copy of the site that was built without the world says so, and how to have it.

async function find() {
  const found = await Promise.all(
    ["world/world.json", "runtime/ort.wasm.min.mjs"].map(async (file) => {
      const answer = await fetch(new URL(file, import.meta.url), { method: "HEAD" }).catch(() => null);
      return answer?.ok ?? false;
    }),
  );
  if (!found.every(Boolean)) {
    const missing = found[0] ? "onnxruntime-web" : "the world";
    say(`This copy of the site was built without ${missing}: run make docs where packages can be installed.`, true);
    return;
  }
  $("load").disabled = false;
  say("");
  const again = sessionStorage.getItem(BEGIN_AGAIN);
  if (again !== null) {
    $("runs").value = again;
    load();
  }
}

find();
