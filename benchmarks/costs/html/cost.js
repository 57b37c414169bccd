// The sections of the cost report, each with its chart and what it shows.
(() => {
  const { data, el, charts } = page;
  const { figure, quantity, times, flame, loglog } = costCharts;
  const STEP = ["forward", "backward", "update"], redraw = [];
  const section = (title, texts, ...parts) => el("section", { class: "panel" }, el("h2", {}, title), parts, texts.map(t => el("p", {}, t)));
  const widthOf = (node, least, most) => Math.max(least, Math.min(most, node.clientWidth || least));
  const sum = list => list.reduce((a, v) => a + v, 0);

  // Buttons of which one is pressed.
  function choice(label, options, chosen, pick) {
    const buttons = options.map(([key, text]) => el("button", { "aria-pressed": String(key === chosen), onclick: () => {
      buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(options[i][0] === key)));
      pick(key);
    } }, text));
    return el("div", { class: "choices", role: "group", "aria-label": label }, buttons);
  }
  function table(head, rows, classes = []) {
    const cell = (tag, c, k) => el(tag, { class: classes[k] || null, scope: tag === "th" ? "col" : null }, c);
    return el("div", { class: "scroll-x" }, el("table", {}, el("thead", {}, el("tr", {}, head.map((c, k) => cell("th", c, k)))),
      el("tbody", {}, rows.map(r => el("tr", {}, r.map((c, k) => cell("td", c, k)))))));
  }

  // Head ------------------------------------------------------------------------------------------

  function head() {
    const m = data.model, step = data.multiples.step, run = data.multiples.run;
    const box = (value, text) => el("li", {}, el("span", { class: "big number" }, value), el("span", { class: "small quiet" }, text));
    return el("header", { class: "top" }, el("h1", {}, data.title),
      el("p", { class: "quiet" }, `${m.parameters.toLocaleString("en")} parameters, batch ${m.batch}, ${m.optimizer}; measured ${data.created.slice(0, 10)} on ${data.machine.processor || "this machine"}, ${data.machine.threads} threads.`),
      el("ul", { class: "figures panel", "aria-label": "A training step over inference on the same batch" }, box(times(step.seconds), "the time of inference, for a step"),
        box(times(step.peak), "its peak memory"), box(times(step.flops), "its arithmetic"), run && box(times(run.seconds), "one prediction's time, for the whole run")));
  }

  // Memory ----------------------------------------------------------------------------------------

  const CATEGORIES = [["parameter", "parameters", 3], ["buffer", "buffers", 8], ["optimizer state", "optimizer state", 5], ["gradient", "gradients", 2],
    ["input", "inputs", 4], ["saved", "saved for backward", 1], ["temporary", "temporaries", 6]];
  const seriesOf = events => CATEGORIES.map(([key, name, color]) => ({ key, name, color: `var(--series-${color})`, values: events.live[key] }));
  const shown = list => list.filter(s => s.values.some(v => v > 0));

  function memory() {
    const { training, inference } = data.ledger, most = training.peak.total;
    const readout = el("div", { class: "readout", "aria-live": "polite" });
    const boxes = { training: el("figure", {}), inference: el("figure", {}) };
    const made = {};
    function pick(which, k) {
      const e = data.ledger[which].events, total = sum(CATEGORIES.map(([key]) => e.live[key][k]));
      const parts = CATEGORIES.filter(([key]) => e.live[key][k] > 0).sort((a, b) => e.live[b[0]][k] - e.live[a[0]][k]).slice(0, 3);
      readout.replaceChildren(el("p", {}, el("strong", {}, quantity(total, "B")), ` during ${e.op[k]}${e.layer[k] ? ` in ${e.layer[k]}` : ""}, ${e.phase[k]}, launch ${e.launch[k] + 1} of ${data.ledger[which].launches}: `,
        parts.map(([key, name]) => `${quantity(e.live[key][k], "B")} ${name}`).join(", "), "."));
      for (const other in made) if (other !== which) made[other].clear();
      made[which].move(k);
    }
    function draw() {
      for (const which of ["training", "inference"]) {
        const e = data.ledger[which].events;
        const starts = STEP.slice(1).map(p => ({ at: e.phase.indexOf(p), text: p })).filter(s => s.at > 0);
        made[which] = charts.timeline(shown(seriesOf(e)), { label: `Bytes alive in ${which}, by category`, format: v => quantity(v, "B"), most,
          width: widthOf(boxes[which], 280, 620), height: 230, pick: k => pick(which, k), marks: starts,
          axis: which === "training" ? [{ at: 0, text: "forward" }, ...starts.map(s => ({ at: s.at / e.op.length, text: s.text }))] : [{ at: 0, text: "inference" }] });
        boxes[which].replaceChildren(made[which].node);
      }
      const e = training.events, totals = e.op.map((_, k) => sum(CATEGORIES.map(([key]) => e.live[key][k])));
      pick("training", totals.indexOf(Math.max(...totals)));
    }
    redraw.push(draw);
    return section("What memory does over a step", data.texts.memory, el("div", { class: "pair-of-charts" },
      el("div", {}, el("h3", {}, "Training"), boxes.training), el("div", {}, el("h3", {}, "Inference, at the same scale"), boxes.inference)),
    charts.legend(shown(seriesOf(training.events))), readout);
  }

  // Layers ----------------------------------------------------------------------------------------

  const kinds = new Map(data.model.layers.map(([path, kind]) => [path, kind]));
  function tree() {
    const root = { path: "", name: data.model.name, kind: kinds.get("") || "", children: [], row: null };
    const known = new Map([["", root]]);
    const node = path => {
      if (known.has(path)) return known.get(path);
      const cut = path.lastIndexOf("."), up = node(cut < 0 ? "" : path.slice(0, cut));
      const made = { path, name: path.slice(cut + 1), kind: kinds.get(path) || "", children: [], row: null };
      up.children.push(made);
      known.set(path, made);
      return made;
    };
    data.layers.forEach(r => { node(r.path).row = r; });
    known.forEach(n => { n.name = n.path ? (n.kind ? `${n.name} ${n.kind}` : n.name) : n.name; });
    return root;
  }

  function layersSection() {
    const root = tree(), tints = ["#9cc3ea", "#f0b39f", "#96d6bb", "#e3cd8a", "#cbb3e8", "#b9c2d0", "#e8b0cf", "#a3d3dc"];
    const color = new Map();
    const paint = (n, tint) => { color.set(n, tint); n.children.forEach((c, i) => paint(c, n === root ? tints[i % tints.length] : tint)); };
    paint(root, "#d5dae2");
    const METRICS = { seconds: ["time", "s"], flops: ["operations", "FLOP"], moved: ["bytes moved", "B"], saved: ["bytes kept", "B"] };
    const own = (n, metric, phases) => (!n.row ? 0 : metric === "saved" ? (phases === STEP ? n.row.saved : 0) : sum(phases.map(p => n.row[p][metric] || 0)));
    const whole = (n, metric, phases) => own(n, metric, phases) + sum(n.children.map(c => whole(c, metric, phases)));
    let metric = sum(STEP.map(p => whole(root, "seconds", [p]))) > 0 ? "seconds" : "flops", chosen = null;
    const boxes = el("div", { class: "flame" }), readout = el("div", { class: "readout", "aria-live": "polite" });
    function tell(n) {
      chosen = n.path;
      const [name, unit] = METRICS[metric], step = whole(n, metric, STEP), pass = whole(n, metric, ["inference"]);
      readout.replaceChildren(el("p", {}, el("strong", {}, n.path ? `${n.path} ${n.kind}` : n.name), `: ${quantity(step, unit)} in a step, ${quantity(pass, unit)} in inference (${name})`,
        pass > 0 ? `, ${times(step / pass)}. ` : ". ", metric === "saved" ? "" : STEP.map(p => `${p} ${quantity(whole(n, metric, [p]), unit)}`).join(", ") + "."));
      draw();
    }
    function draw() {
      const total = whole(root, metric, STEP) || 1;
      const make = (phases, of) => { const title = n => { n.title = `${n.path || n.name} ${n.path ? n.kind : ""}: ${quantity(of(n), METRICS[metric][1])}`; n.children.forEach(title); }; title(root);
        return flame(root, { of, total, color: n => color.get(n), chosen, pick: tell }); };
      boxes.replaceChildren(el("h3", {}, `A training step: ${quantity(total, METRICS[metric][1])}`), make(STEP, n => whole(n, metric, STEP)),
        el("h3", {}, `Inference: ${quantity(whole(root, metric, ["inference"]), METRICS[metric][1])}`), make(["inference"], n => whole(n, metric, ["inference"])));
    }
    tell(root);
    return section("Which layers it goes to", data.texts.layers, choice("Width of the boxes", Object.entries(METRICS).map(([k, [name]]) => [k, name]), metric, key => { metric = key; tell(root); }), boxes, readout);
  }

  // Tables ----------------------------------------------------------------------------------------

  const short = v => (v > 0 && v < 0.005 ? "<0.01x" : v < 10 ? `${v.toFixed(2)}x` : times(v));
  function multiples() {
    const m = data.multiples, p = data.phases, inference = p.inference;
    const rows = [["time", "s", q => q.seconds.median, k => m[k].seconds], ["arithmetic", "FLOP", q => q.flops, k => m[k].flops],
      ["peak memory", "B", q => q.peak.total, k => p[k].peak.total / inference.peak.total]]
      .map(([name, unit, of, ratio]) => [el("span", {}, name, el("span", { class: "small quiet" }, quantity(of(inference), unit))),
        el("strong", {}, short(name === "time" ? m.step.seconds : name === "arithmetic" ? m.step.flops : m.step.peak)), ...STEP.map(k => short(ratio(k)))]);
    return section("Training over inference", data.texts.multiples, table(["inference = 1", "step", "forward", "backward", "update"], rows));
  }

  function predicted() {
    const box = el("div", {});
    const WAYS = { peak: ["peak memory", "B", q => q.peak.total], flops: ["arithmetic", "FLOP", q => q.flops], seconds: ["time", "s", q => (typeof q.seconds === "object" ? q.seconds.median : q.seconds)] };
    function draw(way) {
      const [, unit, of] = WAYS[way];
      box.replaceChildren(table(["phase", "predicted", "measured", "off by"], ["inference", ...STEP].map(k => {
        const found = data.phases[k], said = found.predicted;
        const off = said ? of(found) / of(said) - 1 : null;
        return [k, said ? quantity(of(said), unit) : "-", quantity(of(found), unit), off === null ? "-" : off === 0 ? "0 %" : Math.abs(off) < 9.995 ? `${off > 0 ? "+" : "−"}${figure(Math.abs(100 * off), 2)} %` : times(1 + off)];
      })));
    }
    draw("peak");
    return section("Predicted beside measured", data.texts.predicted, choice("Quantity", Object.entries(WAYS).map(([k, [name]]) => [k, name]), "peak", draw), box);
  }

  function kept() {
    const rows = data.arrays.map(a => [el("span", {}, el("span", { class: "mono" }, `${a.op}.${a.name}`), el("span", { class: "small quiet" }, [kinds.get(a.layer) && a.layer ? `${a.layer} ${kinds.get(a.layer)}` : a.layer || "the model", a.line && a.line.split("/").pop()].filter(Boolean).join(", "))),
      quantity(a.bytes, "B"), el("span", {}, a.category === "saved" ? "for backward" : a.category), `${a.freed_by.turn} of ${a.freed_by.of}`]);
    return section("What backward needs kept", data.texts.kept, table(["array", "bytes", "kept as", "freed by step"], rows, ["place"]));
  }

  // Roofline --------------------------------------------------------------------------------------

  const BOUND = { compute: "var(--series-1)", bandwidth: "var(--series-2)", overhead: "var(--series-6)" };
  function roofline() {
    const timed = data.roofline.filter(r => r.seconds > 0 && r.flops > 0 && r.moved > 0), most = Math.max(...timed.map(r => r.seconds));
    const rate = Math.max(...Object.values(data.rates.product)), memory = data.rates.stream[data.rates.stream.length - 1][1], cache = Math.max(...data.rates.stream.map(s => s[1]));
    const points = timed.map(r => ({ x: r.flops / r.moved, y: r.flops / r.seconds, r: 3 + 9 * Math.sqrt(r.seconds / most), color: BOUND[r.bound] || BOUND.overhead, title: `${r.op}, ${r.phase}: ${quantity(r.seconds, "s")}` }));
    const box = el("figure", {}), low = Math.min(0.05, ...points.map(p => p.x)), high = Math.max(100, ...points.map(p => p.x));
    const roof = stream => [[low, stream * low], [rate / stream, rate], [high, rate]].sort((a, b) => a[0] - b[0]);
    redraw.push(() => box.replaceChildren(loglog({ points, lines: [{ points: roof(memory) }, { points: roof(cache), dashed: true }], width: widthOf(box, 300, 980), label: "Kernels under the roof of this machine",
      xText: "operations for each byte moved", yText: "operations a second", xFormat: v => String(Number(v.toPrecision(2))), yFormat: v => quantity(v, "FLOP") }).node));
    const rows = data.roofline.slice(0, 8).map(r => [el("span", {}, el("span", { class: "mono" }, r.op), el("span", { class: "small quiet" }, r.phase)), quantity(r.seconds, "s"), r.bound || "-", r.share === null ? "-" : `${figure(100 * r.share, 2)} %`]);
    const legend = charts.legend([...Object.entries(BOUND).map(([name, color]) => ({ name: `bound by ${name}`, color })), { name: "roof from cache", color: "var(--strong-line)", line: true }]);
    return section("How close each kernel is to the machine's limits", data.texts.roofline, timed.length ? [box, legend] : null, table(["kernel", "time", "bound", "of the bound"], rows, ["place"]));
  }

  // Growth ----------------------------------------------------------------------------------------

  const at = (law, n) => (law ? sum(law.terms.map(([c, p]) => c * n ** p)) : null);
  function curve(g) {
    const by = name => g.quantities.find(q => q.name === name);
    const WAYS = { working: "memory beside the model", peak: "peak memory", seconds: "time", flops: "arithmetic" };
    const options = Object.entries(WAYS).filter(([k]) => by(`${k}_training`) && by(`${k}_inference`));
    if (!options.length) return null;
    let way = options.some(([k]) => k === "working") ? "working" : options[0][0], n = g.values[Math.floor(g.values.length / 2)], chart = null;
    const low = g.values[0], high = 4 * g.values[g.values.length - 1], box = el("figure", {}), readout = el("div", { class: "readout", "aria-live": "polite" }), said = el("output", { class: "number" });
    const slider = el("input", { type: "range", min: 0, max: 200, step: 1, "aria-label": g.over, oninput: e => move(low * (high / low) ** (e.target.value / 200)) });
    function move(v) {
      n = Math.max(low, Math.round(v));
      slider.value = Math.round(200 * Math.log(n / low) / Math.log(high / low));
      said.textContent = n.toLocaleString("en");
      slider.setAttribute("aria-valuetext", `${g.over} ${n}`);
      const [t, i] = ["training", "inference"].map(k => by(`${way}_${k}`)), a = at(t.law, n), b = at(i.law, n);
      readout.replaceChildren(el("p", {}, `At ${g.over} ${n.toLocaleString("en")}: training `, el("strong", {}, quantity(a, t.unit)), ", inference ", el("strong", {}, quantity(b, i.unit)), a > 0 && b > 0 ? `, ${times(a / b)}` : "",
        n > g.values[g.values.length - 1] ? "; beyond the sizes that were tried." : "."));
      if (chart) chart.move(n);
    }
    function draw() {
      const pair = [["training", "var(--series-2)"], ["inference", "var(--series-3)"]].map(([k, color]) => ({ ...by(`${way}_${k}`), color }));
      const steps = Array.from({ length: 41 }, (_, k) => low * (high / low) ** (k / 40));
      chart = loglog({ points: pair.flatMap(q => g.values.map((x, k) => ({ x, y: q.values[k], color: q.color, title: `${x}: ${quantity(q.values[k], q.unit)}` }))).filter(p => p.y > 0),
        lines: pair.filter(q => q.law).map(q => ({ color: q.color, points: steps.map(x => [x, at(q.law, x)]).filter(p => p[1] > 0) })), width: widthOf(box, 300, 980), height: 280, marker: true,
        label: `${WAYS[way]} over ${g.over}`, xText: g.over, yText: WAYS[way], xFormat: v => v.toLocaleString("en"), yFormat: v => quantity(v, pair[0].unit) });
      box.replaceChildren(chart.node);
      move(n);
    }
    redraw.push(draw);
    return el("div", { class: "growth" }, el("h3", {}, `${g.over}: ${g.family}`), choice("Quantity", options, way, key => { way = key; draw(); }), box,
      charts.legend([{ name: "training", color: "var(--series-2)" }, { name: "inference", color: "var(--series-3)" }]),
      el("div", { class: "slider" }, el("span", {}, g.over), slider, said), readout, el("ul", { class: "sentences" }, g.sentences.map(s => el("li", {}, s))));
  }
  const growthSection = () => (data.growth.length ? section("How it grows", data.texts.growth, data.growth.map(curve)) : null);

  const list = (title, items) => (items.length ? section(title, [], el("ul", { class: "sentences" }, items.map(s => el("li", {}, s)))) : null);
  document.getElementById("app").append(...[head(), memory(), layersSection(), multiples(), predicted(), kept(), roofline(), growthSection(),
    data.texts.run.length ? section("The whole run beside one prediction", data.texts.run) : null, list("In short", data.sentences), list("Notes", data.notes)].filter(Boolean));
  redraw.forEach(draw => draw());
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; redraw.forEach(draw => draw()); } });
})();
