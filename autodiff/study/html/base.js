"use strict";
// What all pages share: their data, and making elements. Text goes in as text nodes, never as HTML.
const page = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  function fill(node, props, children) {
    for (const [key, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "style") Object.assign(node.style, value);
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter(c => c !== null && c !== undefined && c !== false));
    return node;
  }
  const el = (tag, props, ...children) => fill(document.createElement(tag), props, children);
  const svg = (tag, props, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

  // A small picture for a button: a path in a box of 16 x 16.
  const icon = path => svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: path }));

  function bytes(n) {
    if (n < 1024) return `${Math.round(n)} B`;
    for (const unit of ["KiB", "MiB", "GiB"]) {
      n /= 1024;
      if (n < 1024 || unit === "GiB") return `${n.toFixed(2)} ${unit}`;
    }
  }
  function count(n) {
    for (const unit of ["", " K", " M", " G"]) {
      if (Math.abs(n) < 1000) return unit ? n.toFixed(2) + unit : String(+n.toPrecision(3));
      n /= 1000;
    }
    return `${n.toFixed(2)} T`;
  }
  const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  return { data, el, svg, icon, bytes, count, plural };
})();
