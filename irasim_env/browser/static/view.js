// Draws what the server shows: pictures, numbers and the trace of the uncertainty.

export const $ = (id) => document.getElementById(id);

const show = (element, words, hidden = false) => {
  if (element.textContent !== words) element.textContent = words;
  element.hidden = hidden;
};
const number = (value, digits) => (value === null ? "\u2013" : value.toFixed(digits));
const trace = []; // [step, uncertainty] of the episode

async function draw(figure, file, target, shape) {
  const canvas = figure.querySelector("canvas");
  const picture = await createImageBitmap(new Blob([file]));
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    [canvas.width, canvas.height] = [picture.width, picture.height];
  }
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  const ring = figure.querySelector(".target");
  ring.hidden = target === null;
  if (target !== null) {
    // Pixels' middles lie half a pixel inside of the picture's edges.
    ring.style.left = `${((target[0] * (shape.width - 1) + 0.5) / shape.width) * 100}%`;
    ring.style.top = `${((target[1] * (shape.height - 1) + 0.5) / shape.height) * 100}%`;
  }
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

function drawTrace(limit) {
  const canvas = $("trace");
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const shown = trace.slice(-150);
  const most = Math.max(2 * limit, ...shown.map(([, value]) => value)) || 1;
  const bar = width / 150;
  shown.forEach(([, value], i) => {
    context.fillStyle = style.getPropertyValue(value > limit ? "--amber" : "--blue");
    const tall = Math.max(1, (value / most) * (height - 4));
    context.fillRect(i * bar, height - tall, bar - 1, tall);
  });
  context.fillStyle = style.getPropertyValue("--dim");
  context.fillRect(0, height - (limit / most) * (height - 4), width, 1);
}

function showUncertainty(view, welcome) {
  const on = view.samples !== null;
  $("unsure-row").hidden = !on;
  $("trace").hidden = !on;
  press($("uncertainty"), on);
  $("learned").querySelector(".mark").hidden = !view.uncertain;
  $("unsure").classList.toggle("high", view.uncertain);
  if (!on) return;
  show($("unsure"), number(view.uncertainty, 2) + (view.uncertain ? " high" : ""));
  while (trace.length && trace.at(-1)[0] >= view.steps) trace.pop();
  if (view.uncertainty !== null) trace.push([view.steps, view.uncertainty]);
  drawTrace(welcome.uncertain_above);
}

export async function showView(view, files, welcome) {
  await draw($("learned"), files[0], view.target, welcome);
  $("real").hidden = files.length < 2;
  if (files.length > 1) await draw($("real"), files[1], view.target, welcome);
  press($("simulator"), files.length > 1);
  const ended = view.real_ended_at;
  show($("real-note"), ended === null ? "" : `ended at step ${ended}`);
  show($("place").firstElementChild, `start ${view.start}`);
  show($("place").lastElementChild, ` of 0 to ${welcome.starts - 1}`);
  show($("steps"), String(view.steps));
  show($("pace"), number(view.pace, 1));
  show($("model"), number(view.latency_ms, 0));
  show($("reward"), number(view.reward, 2));
  show($("real-reward"), number(view.real_reward, 2));
  $("real-reward-row").hidden = files.length < 2;
  show($("message"), view.message);
  const banner = $("learned").querySelector(".banner");
  const words = view.ending ? `${view.ending}: R begins again` : "paused: Space goes on, N steps";
  show(banner, words, !view.ending && !view.paused);
  banner.classList.toggle("success", (view.ending ?? "").startsWith("success"));
  press($("pause"), view.paused);
  show($("pause").firstElementChild, view.paused ? "Go on" : "Pause");
  const recording = view.recorded !== null;
  press($("record"), recording);
  const share = `Stop (${view.recorded} of ${welcome.most_recorded})`;
  show($("record").firstElementChild, recording ? share : "Record");
  showUncertainty(view, welcome);
}

export function addSnapshot(message, file, act) {
  const item = document.createElement("li");
  item.dataset.snapshot = message.snapshot;
  const picture = new Image();
  picture.src = URL.createObjectURL(new Blob([file]));
  picture.onload = () => URL.revokeObjectURL(picture.src);
  picture.alt = "";
  const go = document.createElement("button");
  go.className = "go";
  go.append(picture, `start ${message.start}, step ${message.steps}`);
  go.setAttribute("aria-label", `Branch from start ${message.start}, step ${message.steps}`);
  go.onclick = () => act({ type: "branch", snapshot: message.snapshot });
  const remove = document.createElement("button");
  remove.className = "remove";
  remove.textContent = "\u00d7";
  remove.setAttribute("aria-label", `Remove the snapshot of step ${message.steps}`);
  remove.onclick = () => {
    act({ type: "forget", snapshot: message.snapshot });
    item.remove();
  };
  item.append(go, remove);
  $("snapshots").append(item);
}

export function addVideo(message, files) {
  const item = document.createElement("li");
  const link = (name, file, type) => {
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(new Blob([file], { type }));
    anchor.download = anchor.textContent = name;
    return anchor;
  };
  item.append(link(message.name, files[0], "video/mp4"));
  if (files.length > 1) {
    const note = message.name.replace(/mp4$/, "json");
    item.append(" and ", link(note, files[1], "application/json"));
  }
  $("videos").append(item);
  $("videos-section").hidden = false;
}

export function showHelp(welcome) {
  const lines = [...welcome.help, ["C", "keep a snapshot"], ["B", "back to the last snapshot"]];
  $("help").replaceChildren(
    ...lines.map(([keys, effect]) => {
      const row = document.createElement("tr");
      row.append(document.createElement("th"), document.createElement("td"));
      row.children[0].textContent = keys;
      row.children[1].textContent = effect;
      return row;
    }),
  );
}
