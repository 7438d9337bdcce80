// A scripted stand-in for the worker, so that the page's behaviour is tested apart from the engine's. Tests only.

/** Runs in the page before its scripts: `new Worker` gives this instead. */
export function install({ software, stopAfter, subset, failure, adapter = true, shaders = 42, hours = 0, silent = [] }) {
  const people = (first, count) => Array.from({ length: count }, (_, at) => first + at);
  const names = ["walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying"];
  const groups = [
    { name: "learning_rate", group: "lr", from: 1e-3, to: 1.8e-2 },
    { name: "momentum", group: "momentum", from: 0.5, to: 0.91 },
    { name: "l2.conv1", group: "l2", from: 1e-3, to: 4e-4 },
    { name: "l2.conv2", group: "l2", from: 1e-3, to: 2.1e-3 },
    { name: "l2.dense1", group: "l2", from: 1e-3, to: 6e-3 },
    { name: "l2.dense2", group: "l2", from: 1e-3, to: 1.4e-3 },
  ];
  const wave = (t, channel, index) =>
    (channel < 3 ? 0.3 : channel < 6 ? 1.1 : 0.4) * Math.sin(t / (4 + (channel % 3)) + channel + index) +
    0.2 * Math.sin(t / 1.7 + 3 * channel) +
    (channel === 6 ? 1 : 0);

  const confusion = (right) =>
    names.flatMap((_, row) => names.map((_, column) => (row === column ? right : Math.round((140 - right) / 5))));

  class Double extends EventTarget {
    constructor() {
      super();
      window.double = this;
      window.doubles = (window.doubles ?? 0) + 1;
      this.asked = [];
    }
    terminate() {
      this.say = () => {};
    }
    say(message) {
      this.dispatchEvent(new MessageEvent("message", { data: message }));
      // Whoever is gone says nothing more, also not what was asked before.
      if (message.kind === "broke") this.terminate();
    }
    postMessage(message) {
      this.asked.push(message.kind);
      if (message.kind === "prepare") this.prepared = message;
      const answer = this[message.kind];
      if (answer && !silent.includes(message.kind)) setTimeout(() => answer.call(this, message));
    }
    open() {
      if (failure) return this.say({ kind: "broke", ...failure });
      this.say({ kind: "loaded" });
      this.engines();
      this.load(subset ? "subset" : "builtin");
    }
    load(source, more = {}) {
      this.data = {
        kind: "data",
        name: "UCI HAR, raw signals through our own filters",
        source,
        fingerprint: "0",
        subset: source === "subset",
        train: { windows: 2731, people: people(1, 8) },
        validation: { windows: 712, people: people(14, 2) },
        test: { windows: 588, people: [2, 4] },
        classes: names.map((name, at) => ({ name, windows: 640 + 37 * ((at * 5) % 6), training: 400 })),
        notes: [],
        ...more,
      };
      this.say(this.data);
    }
    engines(measured) {
      const gpu = {
        engine: "webgpu",
        name: adapter ? (software ? "SwiftShader" : "NVIDIA Ampere") : "",
        software,
        ...(adapter ? {} : { problem: "no usable GPU adapter: none was found." }),
      };
      const cpu = { engine: "cpu", name: "", software: true };
      if (measured) {
        Object.assign(cpu, { step: 0.0041, run: 12.4 });
        if (adapter) gpu.shaders = { done: shaders, total: 42 };
        if (adapter && shaders === 42) Object.assign(gpu, software ? { step: 0.043, run: 95 } : { step: 0.0009, run: 4 });
        if (hours) for (const state of [cpu, gpu]) state.run = 3600 * hours;
      }
      // As the engine reckons: a step each, and 2.6 of them back.
      const { steps = 20 } = this.prepared?.settings ?? {};
      for (const state of [cpu, gpu]) if (state.step) state.advice = this.advice(state.step, steps);
      const faster = measured && (gpu.step < cpu.step ? "webgpu" : "cpu");
      this.say({ kind: "engines", engines: [gpu, cpu], ...(faster && { faster }) });
    }
    advice(step, steps) {
      const choice = (name, cost, mebibytes, more) => ({ name, seconds: cost * steps * step, bytes: mebibytes * 2 ** 20, exact: true, remark: "", ...more });
      const biased = (remark) => ({ exact: false, remark: `biased: ${remark}` });
      return {
        choices: [
          choice("reverse mode, every state kept", 3.6, 31 + steps / 16, { setting: "reverse" }),
          choice("forward mode", 7.6, 33.3, { setting: "forward" }),
          choice("truncated reverse mode", 1.26, 32.6, { setting: "truncated:2", ...biased("only the last 2 steps are differentiated") }),
          choice("implicit differentiation", 30, 32.3, { ...biased("x"), setting: "implicit:20", impossible: "implicit differentiation cannot see dropout by masks" }),
        ],
        best: 0,
        reason: `one way back costs the same however many hyperparameters there are, and the states of all ${steps} steps fit into the memory budget`,
      };
    }
    /** What goes with settings: an optimiser of Adam's has other hyperparameters, images have other networks. */
    form({ id, settings }) {
      const set = (name) => settings.more?.find((one) => one.name === name)?.value;
      const optimizer = set("optimizer") ?? "momentum";
      const offer = (setting, value, refusal, usual = []) => ({ setting, value, usual, ...(refusal && { refusal }) });
      const own = optimizer === "adam" ? "betas" : "momentum";
      const lacks = (kind) => ["momentum", "betas"].includes(kind) && kind !== own && `The optimizer is ${optimizer}: take another.`;
      this.say({
        kind: "form",
        id,
        offers: [
          ...["narrow", "paper", "mlp", "resnet1d"].map((name) => offer("network", name)),
          ...["cnn2d", "resnet2d"].map((name) => offer("network", name, "it takes images.")),
          ...["reverse", "forward", `truncated:${Math.ceil(settings.steps / 10)}`, "fixed-point:20"].map((name) => offer("method", name)),
          offer("method", "implicit:20", "implicit differentiation cannot see dropout by masks"),
          ...["lr", "momentum", "betas", "l2", "example-weights", "dropout", "lr-layers", "lr-schedule"].map((kind) => offer("hyperparameters", kind, lacks(kind))),
          offer("optimizer", "momentum", undefined, ["lr", "momentum", "l2"]),
          offer("optimizer", "adam", undefined, ["lr", "betas", "l2"]),
        ],
        values: Object.entries({ learning_rate: "0.04", optimizer, patience: "15", outer_method: "auto", task: "classification" }).map(([name, value]) => ({ name, value })),
        unused: optimizer === "adam" ? ["momentum"] : ["betas", "epsilon"],
        layers: JSON.stringify([{ type: "flatten" }, { type: "dense", name: "dense1", in: 1152, out: 6 }], null, 2),
        ...(set("folds") === "40" && { problem: "`folds` is 40, but must be at most 24. Take fewer." }),
      });
    }
    /** A hypergradient through the steps, every state kept. */
    unroll({ settings: { steps } }) {
      const say = (part, more) => this.say({ kind: "unroll", part, ...more });
      const actions = 2 * steps + 1;
      const kept = Array.from({ length: steps }, (_, step) => [step, step, actions - step]).flat();
      say("plan", { steps, places: steps + 1, bytes: 33 * 2 ** 20, actions, turns: [0, 0, steps, steps, steps + 1, steps, actions, 0], kept });
      for (let done = 0; done < steps; done++) say("progress", { done });
      say("turned", { loss: 0.72, losses: Array.from({ length: steps }, (_, step) => 2 / (1 + step)) });
      for (let from = steps - 2; from >= 0; from -= 2) {
        say("progress", { done: actions - from });
        say("back", { from, slopes: [-1 / (1 + from), 0.5 / (2 + from)] });
      }
      say("done", { seconds: 0.4 });
    }
    prepare(message) {
      this.form(message);
      this.engines(true);
      if (shaders === 42) this.say({ kind: "settled", id: message.id });
    }
    "use-builtin"({ subset }) {
      this.load(subset ? "subset" : "builtin");
    }
    fetch() {
      this.load("builtin");
    }
    window({ index }) {
      this.say({ kind: "trace", ...this.trace(index) });
    }
    trace(index) {
      const names = ["body_acc", "body_gyro", "total_acc"].flatMap((sensor) => ["x", "y", "z"].map((axis) => `${sensor}_${axis}`));
      return {
        index,
        person: 1 + (index % 30),
        activity: "walking downstairs",
        rate: 50,
        channels: names.map((name) => ({ name, unit: name.includes("gyro") ? "rad/s" : "g" })),
        samples: Array.from({ length: 128 * 9 }, (_, at) => wave(Math.floor(at / 9), at % 9, index)),
      };
    }
    evaluation(which, right) {
      const accuracy = right / 140;
      this.say({
        kind: "evaluation",
        which,
        loss: which === "before" ? 1.36 : 0.47,
        accuracy,
        macroF1: accuracy - 0.012,
        f1: names.map((_, at) => accuracy - 0.05 + 0.02 * at),
        precision: names.map((_, at) => accuracy - 0.04 + 0.02 * at),
        recall: names.map(() => accuracy),
        confusion: confusion(right),
      });
    }
    /** What a run is held against, and what its network does with single windows and people. */
    beside() {
      const { compare, mislabelled } = this.settings;
      if (mislabelled) this.evaluation("right-labels", 124);
      if (compare) {
        for (let spent = 1; spent <= 6; spent++) this.say({ kind: "drawn", spent, loss: 1.3 / (1 + (spent % 3)) });
        this.evaluation("random", 109);
      }
      const window = (index) => ({ trace: this.trace(index), named: "sitting", probability: 0.97, label: "laying", weight: 0.11 });
      this.say({
        kind: "details",
        people: [2, 4, 9].map((person) => ({ person, windows: 190 + person, accuracy: 0.7 + person / 40 })),
        worst: [1, 2, 3].map(window),
        doubted: mislabelled ? [4, 5].map(window) : [],
      });
    }
    differentiate({ moves }) {
      this.say({
        kind: "slope",
        loss: moves ? 0.6 : 0.72,
        pastEdge: false,
        variables: groups.slice(0, 3).map(({ name, from }, at) => ({ name, value: from, hypergradient: -0.3 / (1 + at) })),
        downhill: [0.3, 0.15, 0.1],
      });
    }
    foretell({ moves }) {
      this.say({ kind: "foretold", loss: 0.72 - 0.3 * moves[0], values: groups.slice(0, 3).map(({ from }, at) => from * Math.exp(moves[at])) });
    }
    "try-out"({ moves }) {
      this.say({ kind: "tried", foretold: 0.72 - 0.3 * moves[0], loss: 0.72 - 0.25 * moves[0], moves });
    }
    /** Trainings that so many iterations cost: a hypergradient, then three trainings alone. */
    cost(iterations) {
      return iterations + 2.6 * Math.ceil(iterations / 4);
    }
    /** Iterations that a budget allows; the first is always made. */
    all(budget) {
      let iterations = 1;
      while (this.cost(iterations + 1) <= budget) iterations += 1;
      return iterations;
    }
    /** One outer iteration. */
    iterate({ steps, budget, hyperparameters }, iteration) {
      const part = iteration / Math.max(1, this.all(budget) - 1);
      const losses = Array.from(
        { length: steps },
        (_, step) => 0.25 * (1.2 - part) + 1.6 * Math.exp((-step / steps) * (1 + 5 * part)) + 0.05 * Math.sin(step * 1.3 + iteration),
      );
      this.say({ kind: "inner-losses", iteration: iteration + 1, losses });
      if (this.settings.mislabelled) {
        const bins = (centre) => Array.from({ length: 20 }, (_, bin) => Math.round(400 * Math.exp(-(((bin - centre) / 3) ** 2))));
        this.say({ kind: "weights", iteration: iteration + 1, auc: 0.5 + 0.25 * part, right: bins(10 + 3 * part), wrong: bins(10 - 5 * part) });
      }
      const accepted = iteration !== 6;
      const differentiated = iteration % 4 === 0;
      this.say({
        kind: "outer",
        iteration: iteration + 1,
        spent: this.cost(iteration + 1),
        differentiated,
        pastEdge: iteration === 12,
        ...(differentiated && { roughness: iteration === 12 ? 40 : 0.03 }),
        ...(iteration > 0 && { foretold: 1.2 * (0.26 / 1.36) ** part }),
        loss: accepted ? 1.36 * (0.26 / 1.36) ** part : 1.1,
        accepted,
        seconds: 1.3,
        hyperparameters: groups
          .filter(({ group }) => hyperparameters.includes(group))
          .map(({ name, group, from, to }, at) => ({
            name,
            group,
            value: from * (to / from) ** (part ** 0.7),
            ...(differentiated && { hypergradient: (from < to ? -1 : 1) * (1.1 - part) * (1 / (1 + at)) }),
          })),
      });
    }
    start({ settings, engine }) {
      const { steps, budget } = settings;
      const all = this.all(budget);
      this.say({ kind: "started", settings, engine, data: this.data });
      this.settings = settings;
      if (shaders < 42) return;
      this.evaluation("before", 52);
      for (let iteration = 0; iteration < Math.min(all, stopAfter); iteration++) this.iterate(settings, iteration);
      if (stopAfter < all)
        return this.say({
          kind: "progress",
          iteration: stopAfter + 1,
          phase: "backward",
          step: Math.round(0.4 * steps),
          steps,
          spent: this.cost(stopAfter) + 2,
          seconds: 1.5 * stopAfter,
          secondsLeft: 1.5 * (all - stopAfter),
          share: Math.min(1, (this.cost(stopAfter) + 2) / budget) / (settings.compare ? 2 : 1),
        });
      this.finish("finished", all);
    }
    /** A check of the hypergradient with this outcome, which is that of the last direction. */
    check({ settings: { steps } }, outcome = "passed", edge = undefined) {
      const verdict = { passed: "agree", edge: "agree", unsettled: "unsettled", failed: "disagree" }[outcome];
      const exactSteps = Math.min(steps, 10);
      this.say({ kind: "checking", exactSteps, steps, seconds: 9.5, share: 0.25 });
      const values = [-0.1840123, -0.0879687, 2.25e-5];
      const part = (steps, methods, offs) => ({
        steps,
        batch: 8,
        validationWindows: 64,
        methods,
        values: offs.map((off) => values.map((value) => value * (1 + off))),
        verdicts: ["agree", "agree", methods.length === 3 ? verdict : "agree"],
      });
      this.say({
        kind: "checked",
        directions: ["learning_rate", "momentum", "l2, random signs 1"],
        exact: part(exactSteps, ["reverse mode", "forward mode", "differences"], [0, 1e-12, 3e-4]),
        device: part(steps, edge === "diverged" ? [] : ["reverse mode", "forward mode"], edge === "diverged" ? [] : [0, 1e-7]),
        edge,
        outcome,
      });
    }
    "check-gradient"(message) {
      this.check(message);
    }
    pause() {
      this.say({ kind: "paused" });
    }
    resume() {
      this.say({ kind: "resumed" });
    }
    stop() {
      if (shaders < 42) this.say({ kind: "cancelled" });
      else this.finish("stopped", stopAfter);
    }
    finish(ending, best, right = 118, settled = false) {
      // Scoring would have taken a while.
      if (ending !== "stopped") this.evaluation("after", right);
      if (ending === "finished") this.beside();
      const spent = this.cost(Math.max(1, best));
      const hypergradients = Math.ceil(Math.max(1, best) / 4);
      const pastEdge = best > 12 ? 1 : 0;
      const leader = { method: "probe-descent", reason: "the hyperparameters are few, and a training costs less than a hypergradient" };
      this.say({ kind: "done", ending, best, spent, hypergradients, pastEdge, settled, ...leader, seconds: 31.4, files: [{ name: "result.json", bytes: new TextEncoder().encode('{"seed":0}\n') }, { name: "model.safetensors", bytes: new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 123, 125]) }] });
    }
  }
  window.Worker = Double;
}
