// Charts as SVG, drawn for the width they get. Each returns {node, ...} to put into the page.
page.charts = (() => {
  const { el, svg } = page;

  // A round number at least as large as `most`, and how to divide it.
  function ticks(most, unit = 10) {
    if (!(most > 0)) return [0, 1];
    const base = unit === 1024 ? 1024 ** Math.floor(Math.log(most) / Math.log(1024)) : 1;
    const x = most / base, power = 10 ** Math.floor(Math.log10(x / 3 || 1));
    const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => x / s <= 4) * base;
    const found = [];
    for (let v = 0; v < most + step; v += step) found.push(v);
    return found;
  }

  // Keep the shape of a long series: of each bucket the point with the largest total.
  function thin(length, totals, most) {
    if (length <= most) return Array.from({ length }, (_, k) => k);
    const found = [0];
    for (let b = 0; b < most; b++) {
      const from = Math.floor(b * length / most), to = Math.floor((b + 1) * length / most);
      let best = from;
      for (let k = from; k < to; k++) if (totals[k] > totals[best]) best = k;
      if (best > found[found.length - 1]) found.push(best);
    }
    if (found[found.length - 1] !== length - 1) found.push(length - 1);
    return found;
  }

  // Stacked areas over steps 0 ... n - 1, further series as lines, a cursor that can be moved.
  // series: [{name, color, values, line}]; options: {label, format, unit, height, width, most, pick(step), marks, axis}
  function timeline(series, options) {
    const width = options.width || 640, height = options.height || 180;
    const right = 8, top = 18, bottom = 22;
    const stacked = series.filter(s => !s.line), lines = series.filter(s => s.line);
    const length = Math.max(...series.map(s => s.values.length));
    const totals = Array.from({ length }, (_, k) => stacked.reduce((a, s) => a + (s.values[k] || 0), 0));
    const most = options.most || Math.max(1, ...totals.reduce((a, v) => [Math.max(a[0], v)], [0]),
      ...lines.map(s => s.values.reduce((a, v) => Math.max(a, v), 0)));
    const scale = ticks(most, options.unit), ceiling = scale[scale.length - 1];
    const names = scale.map(v => options.format(v).replace(/\.0+(?=\D)/, ""));
    const left = 12 + 6.8 * Math.max(...names.map(n => n.length));
    const x = k => left + (width - left - right) * (k / length);        // step k spans x(k) ... x(k + 1)
    const y = v => top + (height - top - bottom) * (1 - v / ceiling);
    const chart = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": options.label });
    for (const v of scale) {
      chart.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(v), y2: y(v) }));
    }
    const stairs = (steps, values, end) => steps.flatMap((k, i) => {
      const height = y(values[i]).toFixed(1), to = i + 1 < steps.length ? steps[i + 1] : end;
      return [`${x(k).toFixed(1)},${height}`, `${x(to).toFixed(1)},${height}`];
    });
    const kept = thin(length, totals, Math.max(60, Math.round(width)));
    let under = kept.map(() => 0);
    for (const s of stacked) {
      const over = kept.map((k, i) => under[i] + (s.values[k] || 0));
      const up = stairs(kept, over, length), down = stairs(kept, under, length).reverse();
      const area = svg("polygon", { points: [...up, ...down].join(" ") });
      area.style.fill = s.color;
      area.style.fillOpacity = "0.8";
      chart.append(area);
      under = over;
    }
    for (const s of lines) {
      const at = thin(s.values.length, s.values, Math.max(60, Math.round(width)));
      const line = svg("polyline", { points: stairs(at, at.map(k => s.values[k]), s.values.length).join(" "), fill: "none", "stroke-dasharray": "5 3", "stroke-width": 2 });
      line.style.stroke = s.color;
      chart.append(line);
    }
    scale.forEach((v, i) => chart.append(svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, names[i])));
    for (const mark of options.marks || []) {
      chart.append(svg("line", { class: "axis", x1: x(mark.at), x2: x(mark.at), y1: top - 6, y2: height - bottom, "stroke-dasharray": "2 3" }));
    }
    for (const mark of options.axis || []) {
      const anchor = mark.at > 0.85 ? "end" : "start";
      chart.append(svg("text", { x: left + mark.at * (width - left - right), y: height - 5, "text-anchor": anchor }, mark.text));
    }
    const cursor = svg("line", { class: "cursor", y1: top - 6, y2: height - bottom, x1: x(0), x2: x(0) });
    if (options.pick) {
      chart.append(cursor);
      const choose = event => {
        const box = chart.getBoundingClientRect();
        const share = ((event.clientX - box.left) / box.width * width - left) / (width - left - right);
        options.pick(Math.min(length - 1, Math.max(0, Math.floor(share * length))));
      };
      chart.style.cursor = "pointer";
      chart.addEventListener("pointerdown", event => {
        choose(event);
        chart.setPointerCapture(event.pointerId);
        chart.onpointermove = choose;
      });
      chart.addEventListener("pointerup", () => { chart.onpointermove = null; });
    }
    const clear = () => { cursor.style.visibility = "hidden"; };
    const move = k => {
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(k + 0.5));
      cursor.style.visibility = "visible";
    };
    clear();
    return { node: chart, move, clear };
  }

  function legend(series) {
    return el("ul", { class: "legend" }, series.map(s => el("li", {},
      el("span", { class: s.line ? "swatch stroke" : "swatch", "aria-hidden": "true",
        style: s.line ? { borderTopColor: s.color } : { background: s.color } }), s.name)));
  }

  return { timeline, legend, ticks };
})();
