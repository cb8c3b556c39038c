/** What the page knows of the emulator: from its stream, bounded, and the one place where views read it. */

// As many of each as the emulator itself keeps.
const KEPT = { event: 10_000, call: 4_000, log: 10_000 };
const SHORTEST_PAUSE_MS = 250; // between two updates of the views

export class Store {
  constructor() {
    this.emulator = { run: "", url: location.origin, region: "", version: "" };
    this.connected = false;
    this.endpoints = new Map(); // by name
    this.token = document.querySelector('meta[name="localmme-token"]')?.content ?? "";
    this._listeners = new Set();
    this._changed = new Set();
    this._scheduled = false;
    this._notified = 0;
    this._forget();
  }

  /** Call a function with the set of what has changed: connection, endpoints, models, events, calls, logs. */
  subscribe(listener) {
    this._listeners.add(listener);
  }

  /** The endpoint that the page shows: the chosen one, or the first. */
  get endpoint() {
    return this.endpoints.get(this._chosen) ?? this.endpoints.values().next().value ?? null;
  }

  choose(endpointName) {
    this._chosen = endpointName;
    this._touch("endpoints", "models", "events", "calls", "logs");
  }

  // What the stream says

  connection(connected) {
    this.connected = connected;
    this._touch("connection");
  }

  hello(emulator) {
    if (emulator.run !== this.emulator.run) this._forget();
    this.emulator = emulator;
    this._touch("connection", "events", "calls", "logs");
  }

  state({ endpoints }) {
    this.endpoints = new Map(endpoints.map((state) => [state.endpoint_name, endpointOf(state)]));
    this._touch("endpoints", "models");
  }

  models({ endpoint_name, instances = [], models = [], removed = [] }) {
    const endpoint = this.endpoints.get(endpoint_name);
    if (!endpoint) return;
    for (const instance of instances) {
      const known = endpoint.instances.find((each) => each.key === keyOf(instance, endpoint));
      if (known) mergeInstance(known, instance);
    }
    for (const model of models) endpoint.models.set(model.target_model, { ...endpoint.models.get(model.target_model), ...model });
    for (const name of removed) endpoint.models.delete(name);
    this._touch("models");
  }

  entries(batch) {
    const entries = Array.isArray(batch) ? batch : batch.entries;
    for (const entry of entries) {
      if (entry.sequence <= this.sequence) continue; // sent again after a reconnect
      this.sequence = entry.sequence;
      if (entry.type === "event") this.events.push(entry);
      else if (entry.type === "log") this.logs.push(entry);
      else this._addCall(entry);
    }
    this.leftOut += batch.left_out ?? 0;
    if (entries.length || batch.left_out) this._touch("events", "calls", "logs");
    bound(this.events, KEPT.event);
    bound(this.calls, KEPT.call);
    bound(this.logs, KEPT.log);
  }

  _addCall(call) {
    this.calls.push(call);
    if (!call.cold) return;
    const key = `${call.endpoint_name}\n${call.target_model}`;
    if (!this.coldStarts.has(key)) this.coldStarts.set(key, { count: 0, parts: {} });
    const seen = this.coldStarts.get(key);
    seen.count += 1;
    for (const step of call.steps) seen.parts[step.name] = (seen.parts[step.name] ?? 0) + step.duration_us;
  }

  /** Where the time of the cold starts seen went: a count, and microseconds by step. */
  coldStartsOf(endpointName, targetModel) {
    return this.coldStarts.get(`${endpointName}\n${targetModel}`) ?? { count: 0, parts: {} };
  }

  _forget() {
    this.sequence = 0;
    this.events = [];
    this.calls = [];
    this.logs = [];
    this.leftOut = 0; // calls that were too many to be sent
    this.coldStarts = new Map();
  }

  // Views are updated in animation frames, and not in each

  _touch(...topics) {
    for (const topic of topics) this._changed.add(topic);
    if (this._scheduled) return;
    this._scheduled = true;
    const pause = Math.max(0, this._notified + SHORTEST_PAUSE_MS - performance.now());
    setTimeout(() => requestAnimationFrame(() => this._notify()), pause);
  }

  _notify() {
    const changed = this._changed;
    this._changed = new Set();
    this._scheduled = false;
    for (const listener of this._listeners) listener(changed);
    this._notified = performance.now();
  }
}

function bound(entries, most) {
  // Not at each entry: to take the first out moves all others.
  if (entries.length > most * 1.1) entries.splice(0, entries.length - most);
}

/** How an instance is named where an endpoint has several variants: as in a model's ``instances``. */
function keyOf(instance, endpoint) {
  return endpoint.variants.length > 1 ? `${instance.variant_name}/${instance.instance_id}` : instance.instance_id;
}

/** An endpoint's state with its instances in one list, and its models with the place of each on each instance. */
function endpointOf(state) {
  const endpoint = { ...state, instances: [], models: new Map() };
  for (const model of state.models) endpoint.models.set(model.target_model, { locations: {}, ...model });
  for (const variant of state.variants) {
    for (const instance of variant.instances) {
      const known = { variant_name: variant.variant_name, memory: {}, volume: {}, ...instance };
      known.key = keyOf(known, endpoint);
      endpoint.instances.push(known);
      place(endpoint, known);
    }
  }
  return endpoint;
}

function place(endpoint, { key, memory, volume }) {
  const put = (name, where) => {
    const model = endpoint.models.get(name);
    if (model) model.locations = { ...model.locations, [key]: where };
  };
  for (const stored of volume.models ?? []) put(stored.target_model, "on_disk");
  for (const loaded of memory.models ?? []) put(loaded.target_model, loaded.in_flight ? "pinned" : "in_memory");
  for (const name of memory.loading ?? []) put(name, "loading");
  for (const name of memory.unloading ?? []) put(name, "unloading");
}

function mergeInstance(known, { memory, volume, ...rest }) {
  Object.assign(known, rest);
  known.memory = { ...known.memory, ...memory };
  known.volume = { ...known.volume, ...volume };
}
