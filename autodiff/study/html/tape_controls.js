// Buttons, slider, keys; and the list of records, of which only the rows in view exist.
function makeControls({ show, play, data }) {
  const { el } = page;
  let now = 0;
  const button = (path, label, key, action) => el("button", { "aria-label": label, title: `${label} (${key})`, onclick: action }, page.icon(path));
  const first = button("M2 3h2v10H2zM14 3v10L5 8z", "First step", "Home", () => show(0));
  const back = button("M12 3v10L4 8z", "Step back", "left arrow", () => show(now - 1));
  const run = el("button", { class: "primary", title: "space", onclick: () => play() }, "Play");
  const next = button("M4 3v10l8-5z", "Step forward", "right arrow", () => show(now + 1));
  const end = button("M12 3h2v10h-2zM2 3v10l9-5z", "Last step", "End", () => show(tape.last));
  const slider = el("input", { type: "range", min: 0, max: tape.last, step: 1, "aria-label": "Step", oninput: e => show(Number(e.target.value)) });
  const place = el("output", { class: "place number" });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName, key = event.key;
    if (tag === "INPUT" && key !== " ") return;              // the slider has keys of its own
    if ((tag === "BUTTON" || tag === "SUMMARY") && (key === " " || key === "Enter")) return;
    const action = { ArrowRight: () => show(now + 1), ArrowLeft: () => show(now - 1), Home: () => show(0), End: () => show(tape.last), " ": () => play() }[key];
    if (action) { event.preventDefault(); action(); }
  });
  return {
    node: el("nav", { class: "controls", "aria-label": "Steps" }, el("div", { class: "buttons" }, first, back, run, next, end), slider, place),
    update(k, playing) {
      now = k;
      first.disabled = back.disabled = k === 0;
      next.disabled = end.disabled = k === tape.last;
      run.textContent = playing ? "Pause" : "Play";
      slider.value = k;
      const word = { start: "start", seed: "turn", forward: "forward", backward: "backward" }[tape.at(k).phase];
      place.textContent = `Step ${k} of ${tape.last}, ${word}`;
      slider.setAttribute("aria-valuetext", place.textContent);
    },
  };
}

function makeList({ show, data, current }) {
  const { el, bytes } = page, HEIGHT = 34;
  const folded = new Set();
  if (data.leaves > 12) folded.add("0");                     // the header of the leaves
  let rows = tape.rows(folded), wanted = null;
  const inner = el("ul", { class: "rows" });
  const box = el("div", { class: "window", tabindex: "0", role: "group", "aria-label": "Records, in the order of recording" }, inner);
  const all = el("button", { class: "plain link small", onclick: () => fold(folded.size === 0) });
  box.addEventListener("scroll", draw, { passive: true });

  function fold(on, key) {
    if (key !== undefined) { if (on) folded.add(key); else folded.delete(key); }
    else { folded.clear(); if (on) tape.rows(new Set()).filter(r => r.header && r.depth === 0).forEach(r => folded.add(r.key)); }
    rows = tape.rows(folded);
    draw();
  }

  // 0: not reached, 1: computed, 2: its gradient is done.
  const progress = (k, now) => (tape.stepOf.backward[k] <= now ? 2 : data.nodes[k].leaf || tape.stepOf.forward[k] <= now ? 1 : 0);

  function draw() {
    const from = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 8);
    const to = Math.min(rows.length, from + Math.ceil((box.clientHeight || 600) / HEIGHT) + 16);
    inner.style.height = box.style.maxHeight = `${rows.length * HEIGHT}px`;
    const focused = document.activeElement && inner.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    inner.replaceChildren(...rows.slice(from, to).map((r, i) => row(r, from + i)));
    if (focused !== null) inner.querySelector(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
    all.textContent = folded.size ? "unfold all" : "fold all";
    all.hidden = !rows.some(r => r.header);
  }

  function row(r, i) {
    const now = current(), node = tape.at(now).node;
    const item = el("li", {});
    item.style.top = `${i * HEIGHT}px`;
    item.style.paddingLeft = `${4 + 14 * Math.min(r.depth, 6)}px`;
    if (r.header) {
      const shut = folded.has(r.key), inside = shut && node >= r.first && node <= r.end;
      item.append(el("button", { class: inside ? "plain row header here" : "plain row header", "data-row": `h${r.key}`, "aria-expanded": String(!shut), onclick: () => fold(!shut, r.key) },
        el("span", { "aria-hidden": "true", class: "mark" }, shut ? "▸" : "▾"), el("span", { class: "text" }, r.title), el("span", { class: "small number" }, String(r.count))));
      return item;
    }
    const n = data.nodes[r.node], stage = progress(r.node, now), here = node === r.node;
    const kept = n.leaf ? 0 : n.saves.filter(s => s.kind === "temporary").reduce((a, s) => a + s.bytes, 0);
    item.append(el("button", { class: `plain row stage-${stage}${here ? " here" : ""}`, "data-row": `n${r.node}`, "aria-current": here ? "step" : null, onclick: () => {
      const back = current() >= data.turn;
      show((back || n.leaf ? tape.stepOf.backward[r.node] : tape.stepOf.forward[r.node]) ?? tape.stepOf.forward[r.node] ?? 0);
    } }, el("span", { class: "mark", "aria-hidden": "true" }, ["○", "●", "✓"][stage]), el("span", { class: "text mono" }, tape.label(r.node)),
    kept > 0 && stage === 1 && el("span", { class: "small kept number" }, bytes(kept)), el("span", { class: "visually-hidden" }, ["not reached", n.leaf ? "" : "computed", "gradient done"][stage])));
    return item;
  }

  return {
    node: el("section", { class: "panel list", "aria-label": "Tape" }, el("div", { class: "list-head" }, el("h2", {}, "Tape"), all), box,
      el("p", { class: "small quiet" }, "○ not reached  ● computed  ✓ gradient done")),
    update(now) {
      draw();
      const node = tape.at(now).node;
      if (node !== undefined && node !== wanted) {
        const at = rows.findIndex(r => (r.header ? folded.has(r.key) && node >= r.first && node <= r.end : r.node === node));
        const top = at * HEIGHT, height = box.clientHeight || 600;
        if (at >= 0 && (top < box.scrollTop + HEIGHT || top > box.scrollTop + height - 2 * HEIGHT)) box.scrollTop = top - height / 2;
        wanted = node;
        draw();
      }
    },
  };
}
