// The line to the server, and what keys, mouse and touch say over it.
import { $, addSnapshot, addVideo, showHelp, showView } from "./view.js";

const ARROWS = { up: "\u2191", left: "\u2190", down: "\u2193", right: "\u2192" };
const LETTERS = { w: "up", a: "left", s: "down", d: "right" }; // the arrows' other names
// As the server calls them: as pygame does.
const KEY_NAMES = { ArrowUp: "up", ArrowLeft: "left", ArrowDown: "down", ArrowRight: "right", " ": "space" };
const COMMANDS = "r space n . [ ] g v 0 1 2 3 4 5 6 7 8 9".split(" ");
const POINTER_MS = 40; // a moving mouse makes more events than a world has steps

let socket = null;
let welcome = null;
let seq = 0;
let seen = 0;
let shown = 0;
let drawing = Promise.resolve();
const asked = new Map(); // when each input was sent, until a view tells that it has seen it
const latencies = [];
const byKey = new Set();
const byTouch = new Map(); // keys of the pad by pointer
let pointer = null;
let pointerSent = 0;
let lastSnapshot = null;

function send(message) {
  if (socket?.readyState === WebSocket.OPEN && welcome !== null) socket.send(JSON.stringify(message));
}

function sendInput() {
  if (welcome === null) return;
  seq += 1;
  asked.set(seq, performance.now());
  const held = [...new Set([...byKey, ...byTouch.values()])];
  send({ type: "input", seq, held, pointer });
  for (const button of document.querySelectorAll(".pad button")) {
    button.classList.toggle("held", held.includes(button.dataset.key));
  }
}

function releaseAll() {
  if (!byKey.size && !byTouch.size && pointer === null) return;
  byKey.clear();
  byTouch.clear();
  pointer = null;
  sendInput();
}

function command(key) {
  send({ type: "command", key });
}

function say(words, lost = false) {
  $("line").textContent = words;
  $("line").classList.toggle("lost", lost);
}

// Messages

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const files = message.sizes.map((size) => new Uint8Array(buffer, at, ((at += size), size)));
  return [message, files];
}

function noteLatency(view) {
  if (view.seen <= seen) return;
  seen = view.seen;
  const sent = asked.get(seen);
  for (const number of asked.keys()) if (number <= seen) asked.delete(number);
  if (sent === undefined) return;
  latencies.push(performance.now() - sent);
  if (latencies.length > 9) latencies.shift();
  const median = [...latencies].sort((a, b) => a - b)[latencies.length >> 1];
  $("latency").textContent = median.toFixed(0);
}

async function take(message, files) {
  if (message.type === "view") {
    if (message.frame > shown) await showView(message, files, welcome);
    shown = Math.max(shown, message.frame);
    send({ type: "ack", frame: message.frame });
    noteLatency(message);
    document.body.dataset.frame = message.frame;
  } else if (message.type === "snapshot") {
    lastSnapshot = message.snapshot;
    addSnapshot(message, files[0], act);
  } else if (message.type === "video") {
    addVideo(message, files);
  } else if (message.type === "welcome") {
    begin(message);
  } else if (message.type === "error") {
    $("message").textContent = message.message;
  }
}

function act(message) {
  if (message.type === "forget" && message.snapshot === lastSnapshot) lastSnapshot = null;
  send(message);
}

function begin(message) {
  welcome = message;
  $("world").textContent = welcome.world;
  document.title = `irasim play: ${welcome.world}`;
  document.body.classList.toggle("smooth", welcome.smooth);
  $("simulator").disabled = !welcome.simulator;
  $("uncertainty").disabled = welcome.samples === null;
  $("start").max = welcome.starts - 1;
  $("trace").title = `marked above ${welcome.uncertain_above} grey levels`;
  showHelp(welcome);
  makePad();
  say(`${welcome.fps} steps/s${welcome.waits_for_keys ? ", while a key is held" : ""}`);
}

function connect() {
  const token = decodeURIComponent(location.hash.slice(1));
  socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/play`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify({ type: "join", token }));
  socket.onmessage = ({ data }) => {
    const [message, files] = typeof data === "string" ? [JSON.parse(data), []] : unpack(data);
    drawing = drawing.then(() => take(message, files)).catch((error) => say(String(error), true));
  };
  socket.onclose = ({ reason, code }) => {
    welcome = null;
    document.body.dataset.closed = code;
    say(`${reason || "the server is not reached"}: reload the page to play again`, true);
  };
}

// Keys

const isField = (element) => element.matches?.("input, textarea, select");
const isButton = (element) => element.matches?.("button, a, summary");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isField(event.target) || welcome === null) return;
  const key = KEY_NAMES[event.key] ?? event.key.toLowerCase();
  if (isButton(event.target) && key === "space") return; // presses the button
  if (welcome.keys.includes(key)) {
    event.preventDefault();
    if (event.repeat) return;
    byKey.add(key);
    sendInput();
  } else if (!event.repeat && COMMANDS.includes(key)) {
    event.preventDefault();
    command(key);
  } else if (!event.repeat && key === "c") {
    act({ type: "snapshot" });
  } else if (!event.repeat && key === "b" && lastSnapshot !== null) {
    act({ type: "branch", snapshot: lastSnapshot });
  }
});
addEventListener("keyup", (event) => {
  if (byKey.delete(KEY_NAMES[event.key] ?? event.key.toLowerCase())) sendInput();
});
// Where the release is told to another window.
addEventListener("blur", releaseAll);
addEventListener("visibilitychange", releaseAll);

// Mouse and touch in the picture

const picture = document.querySelector("#learned .picture");
const canvas = picture.querySelector("canvas");

function point(event) {
  const box = canvas.getBoundingClientRect();
  const share = (at, from, size) => Math.min(1, Math.max(0, (at - from) / size));
  pointer = [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  pointerSent = performance.now();
  sendInput();
}
picture.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !event.isPrimary) return;
  picture.setPointerCapture(event.pointerId);
  point(event);
});
picture.addEventListener("pointermove", (event) => {
  if (pointer !== null && event.isPrimary && performance.now() - pointerSent > POINTER_MS) point(event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  picture.addEventListener(kind, (event) => {
    if (pointer === null || !event.isPrimary) return;
    pointer = null;
    sendInput();
  });
}

// The pad: what keys do, for fingers

function padButton(key, label, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.key = key;
  button.textContent = label;
  button.setAttribute("aria-label", name);
  button.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    button.setPointerCapture(event.pointerId);
    byTouch.set(event.pointerId, key);
    sendInput();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(kind, (event) => {
      if (byTouch.delete(event.pointerId)) sendInput();
    });
  }
  // With the keyboard a button acts as a short press of its key.
  button.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    byKey.add(key);
    sendInput();
    byKey.delete(key);
    sendInput();
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  return button;
}

function makePad() {
  const arrows = document.createElement("div");
  const letters = document.createElement("div");
  [arrows.className, letters.className] = ["arrows", "letters"];
  welcome.pairs.forEach(([add, take], i) => {
    const label = welcome.labels[i] ?? `component ${i}`;
    for (const [keys, way] of [[add, take.length ? "more" : ""], [take, "less"]]) {
      for (const key of keys) {
        const arrow = ARROWS[key];
        if (arrow) arrows.append(padButton(key, arrow, key));
        else if (!(key in LETTERS)) letters.append(padButton(key, key.toUpperCase(), `${label} ${way}`));
      }
    }
  });
  $("pad").replaceChildren(...[arrows, letters].filter((group) => group.children.length));
}

// Buttons

for (const button of document.querySelectorAll("[data-command]")) {
  button.addEventListener("click", () => command(button.dataset.command));
}
document.addEventListener("click", (event) => {
  // After a mouse press Space shall pause again, not press the same button.
  if (event.detail > 0) event.target.closest("button")?.blur();
});
$("uncertainty").addEventListener("click", (event) => {
  const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
  act({ type: "uncertainty", on });
});
$("snapshot").addEventListener("click", () => act({ type: "snapshot" }));
$("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  const start = $("start").value;
  act({ type: "begin", start: start === "" ? null : Number(start), seed: Number($("seed").value) });
});

connect();
