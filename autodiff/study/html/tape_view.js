// The page around the tape: controls, the list, the stage, the memory.
(() => {
  const { data, el, bytes, plural } = page;
  const phone = window.matchMedia("(max-width: 719px)");
  let now = 0, playing = null;

  // Stage ---------------------------------------------------------------------------------------

  const goTo = node => {
    const phase = tape.at(now).phase;
    const back = phase === "backward" || phase === "seed";
    show((back ? tape.stepOf.backward[node] : tape.stepOf.forward[node]) ?? tape.stepOf.backward[node] ?? 0);
  };
  const chip = (node, index = 0) =>
    el("button", { class: "plain link mono", onclick: () => goTo(node) }, tape.output(node, index));
  const arrow = back => el("span", { class: "arrow", "aria-hidden": "true" }, back ? "←" : "→");
  const card = (kind, ...parts) => el("li", { class: `card ${kind}` }, parts);
  const line = (name, ...value) => el("p", { class: "pair" }, el("span", { class: "name" }, name), el("span", { class: "mono" }, value));
  // A long array's first numbers, and its range below.
  function value(text, before = "") {
    const parts = /^(\[.*\.\.\.\]) in (\S+) \.\. (\S+)$/.exec(text);
    return [el("p", { class: "value mono" }, before + (parts ? parts[1] : text)),
      parts && el("p", { class: "small quiet" }, `from ${parts[2]} to ${parts[3]}`)];
  }
  const listed = names => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}` : names.join(""));
  const where = n => [n.line && `Recorded at ${n.line}`, n.path && `in module ${n.path}`].filter(Boolean).join(", ");

  function forwardStage(k) {
    const n = data.nodes[k], op = data.ops[n.op];
    const inputs = n.inputs.map(i => card("input", line(i.label, i.node === null ? i.value : chip(i.node, i.output)),
      i.node === null ? null : value(i.value)));
    const outputs = n.outputs.map((o, j) => card("output", line(n.outputs.length > 1 ? `out[${j}]` : "out", o.array),
      value(o.value)));
    const single = n.outputs.length === 1 ? n.outputs[0].value : "";
    return [
      el("p", { class: "small quiet" }, op.doc, " ", where(n), "."),
      op.formula && el("div", { class: "formula mono" }, el("p", {}, op.formula),
        n.worked && el("p", {}, `= ${n.worked} = ${single}`)),
      n.attrs.length > 0 && el("p", { class: "small quiet mono" }, n.attrs.join(", ")),
      el("div", { class: "flow" }, el("ul", { "aria-label": "Inputs" }, inputs), arrow(false), el("ul", { "aria-label": "Outputs" }, outputs)),
      el("div", { class: "keeps" }, el("h3", {}, "Kept for backward"), keeps(n, op)),
    ];
  }

  function keeps(n, op) {
    if (n.deferred) return el("p", { class: "small" }, "Nothing: a checkpoint computes it again.");
    if (!n.saves.length) return el("p", { class: "small" }, "Nothing. The rule needs the incoming gradient alone.");
    return el("ul", { class: "tags" }, n.saves.map(s => el("li", { class: "tag saved" }, el("span", { class: "mono" }, s.name), ` ${bytes(s.bytes)}`,
      s.kind === "temporary" ? "" : `, ${s.kind}: there anyway`)));
  }

  function backwardStage(k, step) {
    const n = data.nodes[k];
    if (n.leaf) return leafStage(k, step);
    const op = data.ops[n.op];
    const sums = n.outputs.map((_, j) => tape.arrivals.get(`${k}.${j}`) || []);
    const arriving = step.gradients.map((g, j) => card("gradient",
      line(n.outputs.length > 1 ? `g[${j}]` : "g", `dL/d${n.name}`), value(g === null ? "none came" : g), sums[j].length > 1 && summed(sums[j])));
    const leaving = step.results.map(r => card("gradient",
      el("p", { class: "pair" }, el("span", { class: "name" }, `to ${r.label}`), chip(r.node, r.output)),
      el("p", { class: "mono rule" }, `d ${r.label}`, r.rule && ` = ${r.rule}`, r.worked && ` = ${r.worked}`),
      r.raw && el("p", { class: "mono" }, `= ${r.raw}, summed over broadcast axes`),
      value(r.value, "= "),
      manyTimes(r) && el("p", { class: r.added ? "added" : "added first" }, r.added ? `added to what was there: now ${r.total}` : "the first contribution; more will be added")));
    const freed = tape.arrays.freed(now).filter(a => a.saved !== null);
    return [
      el("p", { class: "small quiet" }, `The rule of ${n.op}. ${where(n)}.`),
      op.reason && el("p", { class: "formula" }, op.reason),
      step.rule && step.rule !== op.reason && el("p", { class: "small quiet" }, step.rule),
      step.saved.length > 0 && el("div", { class: "keeps" }, el("h3", {}, "Kept since forward"),
        step.saved.map(([name, value]) => line(name, value))),
      el("div", { class: "flow back" }, el("ul", { "aria-label": "Gradients passed on" }, leaving.length ? leaving : card("gradient", el("p", {}, "No input wants a gradient."))),
        arrow(true), el("ul", { "aria-label": "Gradient that arrives" }, arriving)),
      el("div", { class: "keeps" }, el("h3", {}, "Freed now"), freed.length
        ? el("ul", { class: "tags" }, freed.map(a => el("li", { class: "tag freed" }, el("span", { class: "mono" }, a.name), ` ${bytes(a.bytes)}`)))
        : el("p", { class: "small" }, "None of the saved arrays: what this record saved is needed elsewhere, or nothing was.")),
    ];
  }
  const manyTimes = r => tape.arrivals.get(`${r.node}.${r.output}`).length > 1;
  const summed = list => el("div", { class: "sum" }, el("p", { class: "small quiet" }, `the sum of ${list.length} contributions`),
    el("ol", {}, list.slice(0, 6).map(a => el("li", {}, el("span", { class: "mono" }, a.value), " from ", chip(a.from)))),
    list.length > 6 && el("p", { class: "small quiet" }, `and ${list.length - 6} more`));

  function leafStage(k, step) {
    const n = data.nodes[k], list = tape.arrivals.get(`${k}.0`) || [];
    return [
      el("p", { class: "small quiet" }, `${n.outputs[0].array}. All records that used it have been visited, so its gradient is finished.`),
      el("div", { class: "formula mono" }, el("p", {}, `gradient of ${n.name} = ${step.gradients[0]}`)),
      list.length > 1 ? summed(list) : el("p", { class: "small" }, "One contribution, from ", list.map(a => chip(a.from)), "."),
      el("p", { class: "small quiet" }, `This is what ${n.name}.grad holds after backward. The value, ${n.outputs[0].value}, is unchanged: only an optimizer's step changes it.`),
    ];
  }

  function startStage() {
    const leaves = data.nodes.slice(0, data.leaves), few = leaves.slice(0, 12);
    return [
      el("p", {}, "Leaves are where the tape ends: tensors whose gradient was asked for. Each operation on them will make one record, and keep what its derivative needs."),
      el("ul", { class: "leaves" }, few.map(n => card("input", line(n.name, n.outputs[0].array), value(n.outputs[0].value)))),
      leaves.length > 12 && el("p", { class: "small quiet" }, `and ${leaves.length - 12} more`),
    ];
  }

  function seedStage() {
    const kept = data.training.saved[data.turn], single = data.nodes[data.rootNode].outputs[0].array;
    return [
      el("div", { class: "formula mono" }, el("p", {}, `${data.root} = ${data.value}`), el("p", {}, `d${data.root}/d${data.root} = 1`)),
      el("p", {}, "Backward starts here: a change of the result changes the result by as much, so its gradient is 1. From now on each record is visited once, the youngest first, when all contributions to its gradient are in."),
      el("p", {}, `Training holds ${bytes(tape.bytesAt(data.turn - 1))} at this point, ${bytes(kept)} of it for backward. Inference would be done, with the result alone (${single}).`),
    ];
  }

  function summary(k) {
    const { phase, node, step } = tape.at(k), n = data.nodes[node];
    if (phase === "start") return `Nothing has run yet: ${plural(data.leaves, "leaf").replace("leafs", "leaves")}, no record.`;
    if (phase === "seed") return `Forward is done: ${data.root} = ${data.value}. Backward starts with the gradient 1.`;
    if (phase === "forward") {
      const held = n.saves.filter(s => s.kind === "temporary");
      const kept = held.length ? `It keeps ${listed(held.map(s => s.name))} for backward.` : "It keeps nothing of its own.";
      return `${n.op} computes ${n.name}${n.outputs.length === 1 ? ` = ${n.outputs[0].value}` : ""}. ${kept}`;
    }
    if (n.leaf) return `The gradient of ${n.name} is finished: ${step.gradients[0]}.`;
    const to = [...new Set(step.results.map(r => data.nodes[r.node].name))];
    return `The gradient of ${n.name} is complete; ${n.op} passes ${to.length ? `its share on to ${listed(to)}` : "nothing on"}.`;
  }

  const titles = {
    start: () => "Before anything runs", seed: () => "The turn",
    forward: ({ node }) => tape.label(node),
    backward: ({ node }) => tape.label(node),
  };
  const stage = el("section", { class: "panel stage", "aria-label": "This step" });
  function drawStage() {
    const place = tape.at(now);
    const body = { start: startStage, seed: seedStage, forward: () => forwardStage(place.node), backward: () => backwardStage(place.node, place.step) }[place.phase]();
    const word = { start: "Start", seed: "Turn", forward: "Forward", backward: "Backward" }[place.phase];
    stage.replaceChildren(el("p", { class: `phase ${place.phase}` }, word), el("h2", {}, titles[place.phase](place)), ...body.flat().filter(Boolean));
  }

  // Memory --------------------------------------------------------------------------------------

  const kinds = [
    { key: "saved", name: "saved for backward", color: "var(--saved)" },
    { key: "output", name: "outputs in use", color: "var(--output)" },
    { key: "gradient", name: "gradients", color: "var(--gradient)" },
  ];
  const series = [...kinds.map(k => ({ ...k, values: data.training[k.key] })),
    { name: "inference", color: "var(--inference)", values: data.inference, line: true }];
  let chart = null;
  const chartBox = el("figure", { class: "chart-box" }), meters = el("dl", { class: "meters" }), lists = el("div", { class: "arrays" });
  function makeChart() {
    const width = Math.max(260, Math.min(720, chartBox.clientWidth || 320));
    chart = page.charts.timeline(series, { label: "Bytes alive at each step of training, by kind, with inference as a dashed line", format: bytes, unit: 1024,
      width, height: 190, pick: show, marks: [{ at: data.turn }],
      axis: [{ at: 0, text: "forward" }, { at: data.turn / tape.last, text: "turn" }, { at: 1, text: "backward" }].filter((m, i) => i !== 1 || (m.at > 0.25 && m.at < 0.75)) });
    chartBox.replaceChildren(chart.node);
    chart.move(now);
  }
  const meter = (name, value, peak, color, note) => [el("dt", {}, name), el("dd", {},
    el("span", { class: "big number" }, bytes(value)), el("span", { class: "small quiet" }, note),
    el("span", { class: "bar", "aria-hidden": "true" }, bar(value, peak, color)))];
  function bar(value, peak, color) {
    const inner = el("span", {});
    inner.style.width = `${100 * Math.min(1, value / (peak || 1))}%`;
    inner.style.background = color;
    return inner;
  }
  function drawMemory() {
    const over = now >= data.turn, peak = tape.peak;
    meters.replaceChildren(...meter("Training", tape.bytesAt(now), peak.training, "var(--saved)", `of ${bytes(peak.training)} at its peak`),
      ...meter("Inference", tape.inferenceAt(now), peak.training, "var(--inference)", over ? "done: nothing was kept" : `of ${bytes(peak.inference)} at its peak`));
    if (chart) chart.move(now);
    const item = (mark, cls) => a => el("li", { class: cls }, el("span", { class: "mark", "aria-hidden": "true" }, mark), el("span", { class: "mono" }, a.name),
      el("span", { class: "number" }, bytes(a.bytes)));
    const born = tape.arrays.born(now), freed = tape.arrays.freed(now);
    const stay = tape.arrays.alive(now).filter(a => !born.includes(a) && !freed.includes(a)).sort((a, b) => b.bytes - a.bytes);
    const block = (title, items, mark, cls, none) => el("div", {}, el("h3", {}, title), items.length
      ? el("ul", {}, items.slice(0, 6).map(item(mark, cls)), items.length > 6 && el("li", { class: "quiet small" }, `and ${items.length - 6} more`)) : el("p", { class: "small quiet" }, none));
    lists.replaceChildren(block("Appears", born, "+", "new", "nothing"), block("Freed after this step", freed, "−", "gone", "nothing"),
      block("Stays", stay, "=", "", "nothing"));
  }
  const memory = el("section", { class: "panel memory", "aria-label": "Memory" }, el("h2", {}, "Memory"), meters, chartBox, page.charts.legend(series), lists,
    el("p", { class: "small quiet" }, `Parameters and inputs (${bytes(data.base)}) are there all the time, in training and in inference, and are not counted here; nor is the scratch space inside kernels.`));

  // List, controls and keys are in tape_controls.js; it calls `show`. ---------------------------

  const controls = makeControls({ show, play, data });
  const list = makeList({ show, data, current: () => now });
  const said = el("p", { class: "summary", role: "status", "aria-live": "polite" });
  document.getElementById("app").append(
    el("header", { class: "top" }, el("h1", {}, data.title),
      el("p", { class: "quiet" }, `${data.root} = ${data.value}: ${plural(data.records, "record")} on ${data.leaves === 1 ? "1 leaf" : `${data.leaves} leaves`}`), said),
    controls.node, el("main", { class: "grid" }, list.node, stage, memory));

  function show(k) {
    now = Math.min(tape.last, Math.max(0, k));
    drawStage();
    drawMemory();
    controls.update(now, playing !== null);
    list.update(now);
    said.textContent = summary(now);
    history.replaceState(null, "", `#${now}`);
  }
  function play(on = playing === null) {
    clearInterval(playing);
    playing = null;
    if (on) {
      if (now === tape.last) show(0);
      playing = setInterval(() => (now < tape.last ? show(now + 1) : play(false)), 900);
    }
    controls.update(now, playing !== null);
  }
  show(Number(location.hash.slice(1)) || 0);
  makeChart();
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) { width = window.innerWidth; makeChart(); list.update(now); }
  });
  phone.addEventListener("change", () => list.update(now));
})();
