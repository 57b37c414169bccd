// Charts of the cost report alone: boxes of modules, the roofline, curves with their laws.
const costCharts = (() => {
  const { el, svg } = page;

  function units(unit) {
    return { B: [[1, "B"], [1e3, "kB"], [1e6, "MB"], [1e9, "GB"], [1e12, "TB"]],
      FLOP: [[1, "FLOP"], [1e3, "kFLOP"], [1e6, "MFLOP"], [1e9, "GFLOP"], [1e12, "TFLOP"], [1e15, "PFLOP"]],
      s: [[1e-9, "ns"], [1e-6, "µs"], [1e-3, "ms"], [1, "s"]] }[unit];
  }
  function figure(value, digits = 3) {
    if (value === 0) return "0";
    const power = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
    const places = Math.min(Math.max(0, digits - 1 - power), digits + 1);
    return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  }
  function quantity(value, unit) {
    if (value === null || value === undefined) return "-";
    const [size, name] = units(unit).filter(([s], i) => i === 0 || Math.abs(value) >= s).pop();
    return `${figure(value / size)} ${name}`;
  }
  const times = value => (value === null || value === undefined ? "-"
    : value >= 1e6 ? `${figure(value / 1e6)}Mx` : `${figure(value)}x`);

  // Boxes as wide as `of(node)`, children below their parents. root: {name, own, children, ...}.
  function flame(root, { of, total, color, chosen, pick, height = 30 }) {
    const box = el("div", { class: "flame-box" });
    let depth = 0;
    function place(node, left, level) {
      const width = of(node) / total;
      if (width < 0.0015) return;
      depth = Math.max(depth, level + 1);
      const button = el("button", { title: node.title, "aria-label": node.title, "aria-pressed": String(chosen === node.path), onclick: () => pick(node) }, width > 0.03 ? node.name : "");
      Object.assign(button.style, { left: `${100 * left}%`, width: `${100 * width}%`, top: `${level * (height + 2)}px`, background: color(node) });
      box.append(button);
      let at = left;
      for (const child of node.children) { place(child, at, level + 1); at += of(child) / total; }
    }
    place(root, 0, 0);
    box.style.height = `${depth * (height + 2)}px`;
    return box;
  }

  // The range of a logarithmic axis and its marks: 1, 2, 5 or decades alone, at most `most` of them.
  function axis(values, most) {
    const step = v => 10 ** Math.floor(Math.log10(v) + 1e-9);
    const low = Math.min(...values), high = Math.max(...values);
    const first = [5, 2, 1].map(m => m * step(low)).find(v => v <= low * 1.0001);
    const last = [1, 2, 5, 10].map(m => m * step(high)).find(v => v >= high * 0.9999);
    let marks = [];
    for (let p = step(first); p <= last; p *= 10) marks.push(...[1, 2, 5].map(m => m * p).filter(v => v >= first * 0.999 && v <= last * 1.001));
    if (marks.length > most) marks = marks.filter(v => Math.abs(v / step(v) - 1) < 1e-6);
    const every = Math.ceil(marks.length / most);
    const scale = v => (Math.log10(v) - Math.log10(first)) / (Math.log10(last / first) || 1);
    return { marks: marks.filter((_, k) => k % every === 0), scale };
  }
  const bare = text => text.replace(/\.0+(?=\D|$)/, "").replace(/(\.\d*[1-9])0+(?=\D|$)/, "$1");

  // Points {x, y, r, color, label, title} under lines [{points: [[x, y], ...]}], both axes logarithmic.
  function loglog({ points, lines, xText, yText, xFormat, yFormat, width, height = 320, label, marker }) {
    const left = 84, right = 14, top = 26, bottom = 44;
    const all = [...points, ...lines.flatMap(l => l.points.map(([x, y]) => ({ x, y })))];
    const across = axis(all.map(p => p.x), width < 420 ? 5 : 10), up = axis(all.map(p => p.y), 8);
    const x = v => left + (width - left - right) * across.scale(v);
    const y = v => top + (height - top - bottom) * (1 - up.scale(v));
    const chart = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    for (const v of up.marks) {
      chart.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(v), y2: y(v) }), svg("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, bare(yFormat(v))));
    }
    for (const v of across.marks) {
      chart.append(svg("line", { class: "axis", x1: x(v), x2: x(v), y1: top, y2: height - bottom }), svg("text", { x: x(v), y: height - bottom + 16, "text-anchor": "middle" }, bare(xFormat(v))));
    }
    chart.append(svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, xText), svg("text", { x: 0, y: 12 }, yText));
    for (const l of lines) {
      const line = svg("polyline", { points: l.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" "), fill: "none", "stroke-width": 2, "stroke-dasharray": l.dashed ? "5 3" : null });
      line.style.stroke = l.color || "var(--strong-line)";
      chart.append(line);
    }
    for (const p of points) {
      const dot = svg("circle", { cx: x(p.x), cy: y(p.y), r: p.r || 4 }, p.title ? svg("title", {}, p.title) : null);
      dot.style.fill = p.color;
      dot.style.fillOpacity = "0.85";
      chart.append(dot);
    }
    const cursor = svg("line", { class: "cursor", y1: top, y2: height - bottom });
    if (marker) chart.append(cursor);
    const move = v => { for (const end of ["x1", "x2"]) cursor.setAttribute(end, Math.min(width - right, Math.max(left, x(v)))); };
    return { node: chart, move };
  }

  return { figure, quantity, times, flame, loglog };
})();
