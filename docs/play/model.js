// A worker that runs an exported world: `irasim export WORLD --onnx` says in world.json what goes in
// and out. The page asks, one message at a time:
//   { type: "load", runs }    -> "progress"s, then "ready"
//   { type: "begin", start }  -> "shown"
//   { type: "step", action }  -> "shown"
// and any of them may be answered by "error".
const RUNTIME = new URL("runtime/", import.meta.url);
const WORLD = new URL("world/", import.meta.url);
// What holds numbers of the types that safetensors names.
const TYPES = { F32: Float32Array, I64: BigInt64Array, BOOL: Uint8Array, U8: Uint8Array };
const MOST_THREADS = 4; // more gain nothing with a model of this size
const CLOSE = 2; // grey levels by which a frame may differ from torch's

let ort = null;
let session = null;
let world = null;
let state = null; // tensors by the names of the model's inputs
let steps = 0;

onmessage = async ({ data }) => {
  try {
    if (data.type === "load") await load(data.runs);
    else if (data.type === "begin") await begin(data.start);
    else if (data.type === "step") await step(data.action);
  } catch (error) {
    postMessage({ type: "error", message: String(error?.message ?? error) });
  }
};

async function read(url, note = () => {}) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: the server answers ${response.status}`);
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    note(size);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function load(runs) {
  world = JSON.parse(new TextDecoder().decode(await read(new URL("world.json", WORLD))));
  const model = await read(new URL(world.model, WORLD), (loaded) => postMessage({ type: "progress", loaded }));
  postMessage({ type: "progress", loaded: null });
  let why = "";
  if (runs !== "wasm") {
    try {
      await findGpu();
      await open("ort.webgpu.min.mjs", "webgpu", model);
    } catch (error) {
      if (runs === "webgpu") throw error;
      session = null;
      why = String(error?.message ?? error);
    }
  }
  if (session === null) await open("ort.wasm.min.mjs", "wasm", model);
  const threads = ort.env.wasm.numThreads;
  postMessage({ type: "ready", world, runs: ran, threads, why });
}

// One that the processor only imitates is slower than WebAssembly.
async function findGpu() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("this browser offers no WebGPU here");
  if (adapter.info?.isFallbackAdapter) throw new Error("this browser's WebGPU is one without a GPU");
}

let ran = "";

async function open(file, provider, model) {
  ort = await import(new URL(file, RUNTIME).href);
  ort.env.wasm.wasmPaths = RUNTIME.href;
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  session = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
  // A step whose frame is known: whatever fails does so here, and a GPU's programs are compiled.
  const held = await restore(0);
  const made = await run(held["check.action"]);
  const frame = made[world.frame.output].data;
  if (frame.some((level, i) => Math.abs(level - held["check.frame"][i]) > CLOSE)) {
    throw new Error(`${provider} computes other frames here than torch does`);
  }
  ran = provider;
}

// A file of tensors: the length of a JSON in 8 bytes, the JSON that says what is where, the tensors.
function unpack(bytes) {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const held = {};
  for (const [name, { dtype, data_offsets: ends }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [first, last] = ends.map((end) => 8 + length + end);
    held[name] = new TYPES[dtype](bytes.slice(first, last).buffer);
  }
  return held;
}

// Takes a start's state; all that its file holds.
async function restore(start) {
  const held = unpack(await read(new URL(world.starts[start].file, WORLD)));
  state = {};
  for (const { input, dtype, shape } of world.state) state[input] = new ort.Tensor(dtype, held[input], shape);
  return held;
}

async function begin(start) {
  const held = await restore(start);
  steps = 0;
  show({ frame: held.frame, reward: null, terminated: false, ms: null });
}

function run(action) {
  const asked = new ort.Tensor("float32", Float32Array.from(action), [action.length]);
  return session.run({ [world.action.input]: asked, ...state });
}

async function step(action) {
  const began = performance.now();
  const made = await run(action);
  for (const { input, output } of world.state) state[input] = made[output];
  steps += 1;
  show({
    frame: made[world.frame.output].data.slice(),
    reward: world.reward.known ? made[world.reward.output].data[0] : null,
    terminated: Boolean(made[world.terminated.output].data[0]),
    ms: performance.now() - began,
  });
}

function show(shown) {
  postMessage({ type: "shown", steps, ...shown }, [shown.frame.buffer]);
}
